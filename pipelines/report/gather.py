"""Collects what a report tells, through boto3 clients: the execution, its evaluation, package, jobs and logs, and what
the workload's stages serve.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pipelines import executions, registry
from pipelines import names as n
from pipelines.executions import Execution
from pipelines.names import Names
from pipelines.registry import Package
from pipelines.report.deployment import stage_of
from pipelines.report.gather_monitoring import gather_monitoring
from pipelines.report.gather_stages import attempt_of, stage_now
from pipelines.report.page import Inputs, JobDetail
from pipelines.report.tracking import experiment_id

__all__ = ["gather"]


def gather(
    sagemaker: Any,
    s3: Any,
    logs: Any,
    ssm: Any,
    cloudwatch: Any,
    dynamodb: Any,
    execution: Execution,
    *,
    names: Names,
    workload: str,
    kind: str,
    made_at: datetime,
    mlflow_url: str | None = None,
    file_values: Mapping[str, str] | None = None,
) -> Inputs:
    """The report's inputs for an execution. Steps without a job and executions without an evaluation lack theirs.

    An execution that found its model registered already shows that package, with the evaluation that led to it; a
    deployment that of the package which it was to deploy, and no evaluation.
    """
    known = registry.packages(sagemaker, names.package_group(workload))
    stages = [
        stage_now(
            sagemaker, s3, ssm, cloudwatch, names=names, workload=workload, stage=stage, packages=known, now=made_at
        )
        for stage in n.STAGES
    ]
    deploying = stage_of(kind) is not None
    jobs = {}
    for step in execution.steps:
        run = executions.run_that_worked(sagemaker, execution, step.name)
        if run is not None and run.job is not None:
            described = executions.describe_job(sagemaker, run.job) or {}
            image = described.get("AppSpecification", {}).get("ImageUri") or described.get(
                "AlgorithmSpecification", {}
            ).get("TrainingImage")
            jobs[step.name] = JobDetail(
                name=run.job[1],
                image=image,
                outputs=executions.outputs_of_job(described),
                log_tail=executions.log_tail(logs, run.job) if step.status == "Failed" else (),
            )
    evaluation = executions.evaluation_of(sagemaker, s3, execution)
    if deploying:
        package = _described(sagemaker, execution.parameters.get(n.MODEL_PACKAGE_ARN, ""))
    else:
        package = _registered(sagemaker, execution)
    if package is None and (before := _registered_before(execution, known)):
        package = _described(sagemaker, before.arn)
        if evaluation is None and "evaluation_uri" in before.metadata:
            evaluation = executions.document(s3, before.metadata["evaluation_uri"])
    return Inputs(
        project=names.project,
        workload=workload,
        kind=kind,
        execution=execution,
        made_at=made_at,
        evaluation=evaluation,
        package=package,
        jobs=jobs,
        mlflow_url=mlflow_url,
        mlflow_experiment_id=_experiment_id(mlflow_url, evaluation, package),
        file_values=file_values or {},
        stages=stages,
        packages=known,
        attempt=attempt_of(sagemaker, s3, execution, stages) if deploying else None,
        monitoring=gather_monitoring(
            s3,
            cloudwatch,
            dynamodb,
            names=names,
            workload=workload,
            stages=stages,
            packages=known,
            now=made_at,
            mlflow_url=mlflow_url,
        ),
    )


def _experiment_id(
    mlflow_url: str | None, evaluation: dict[str, Any] | None, package: dict[str, Any] | None
) -> str | None:
    """The experiment of the model's run, part of the address of the run's page; None when it cannot be asked."""
    run_id = ((evaluation or {}).get("mlflow") or {}).get("run_id") or (
        (package or {}).get("CustomerMetadataProperties", {}).get(n.RUN_ID_KEY)
    )
    return experiment_id(mlflow_url, run_id)


def _registered(sagemaker: Any, execution: Execution) -> dict[str, Any] | None:
    """The model package that the execution registered, as it is now; None when it did not, or it was deleted since."""
    for step in execution.steps:
        arn = step.metadata.get("RegisterModel", {}).get("Arn")
        if arn:
            return _described(sagemaker, arn)
    return None


def _registered_before(execution: Execution, known: list[Package]) -> Package | None:
    """The package, of all that are known, that the execution found its model in; None when it found none."""
    asked = execution.step(n.ALREADY_REGISTERED)
    if asked is None or not asked.outcome:
        return None
    model_uri, run_id = (execution.parameters.get(name) for name in (n.REGISTERED_MODEL_URI, n.REGISTERED_RUN_ID))
    for package in known:
        if model_uri is not None and package.model_uri == model_uri:
            return package
        if run_id is not None and package.metadata.get(n.RUN_ID_KEY) == run_id:
            return package
    return None


def _described(sagemaker: Any, arn: str) -> dict[str, Any] | None:
    """A package as it is now; None when it was deleted, or none was named."""
    if not arn:
        return None
    try:
        return dict(sagemaker.describe_model_package(ModelPackageName=arn))
    except sagemaker.exceptions.ClientError as error:
        if "does not exist" not in str(error) and "ResourceNotFound" not in str(error):
            raise
    return None
