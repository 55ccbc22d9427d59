"""Collects what a report tells, through boto3 clients: the execution, its evaluation, package, jobs and logs."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from pipelines import executions
from pipelines.executions import Execution
from pipelines.report.page import Inputs, JobDetail
from pipelines.stack import answering

__all__ = ["gather"]


def gather(
    sagemaker: Any,
    s3: Any,
    logs: Any,
    execution: Execution,
    *,
    project: str,
    workload: str,
    kind: str,
    made_at: datetime,
    mlflow_url: str | None = None,
) -> Inputs:
    """The report's inputs for an execution. Steps without a job and executions without an evaluation lack theirs."""
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
    return Inputs(
        project=project,
        workload=workload,
        kind=kind,
        execution=execution,
        made_at=made_at,
        evaluation=evaluation,
        package=_package(sagemaker, execution),
        jobs=jobs,
        mlflow_url=mlflow_url,
        mlflow_experiment_id=_experiment_id(mlflow_url, evaluation),
    )


def _experiment_id(mlflow_url: str | None, evaluation: dict[str, Any] | None) -> str | None:
    """The experiment of the evaluation's run, part of the address of the run's page; None when it cannot be asked."""
    run_id = ((evaluation or {}).get("mlflow") or {}).get("run_id")
    if not mlflow_url or not run_id:
        return None
    answer = answering(f"{mlflow_url}/api/2.0/mlflow/runs/get?{urlencode({'run_id': run_id})}")
    try:
        return str(answer["run"]["info"]["experiment_id"])
    except (TypeError, KeyError):
        return None


def _package(sagemaker: Any, execution: Execution) -> dict[str, Any] | None:
    """The model package that the execution registered, as it is now; None when it did not, or it was deleted since."""
    for step in execution.steps:
        arn = step.metadata.get("RegisterModel", {}).get("Arn")
        if arn:
            try:
                return dict(sagemaker.describe_model_package(ModelPackageName=arn))
            except sagemaker.exceptions.ClientError as error:
                if "does not exist" not in str(error) and "ResourceNotFound" not in str(error):
                    raise
    return None
