"""Collects what a report tells of the stages and of deployments, through boto3 clients."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pipelines import names as n
from pipelines import stages as live
from pipelines.executions import Execution
from pipelines.names import Names
from pipelines.registry import Package
from pipelines.report.deployment import Attempt
from pipelines.report.outcomes import outputs
from pipelines.report.serving import Deployment, Stage

__all__ = ["attempt_of", "stage_now"]

# Of a stage. Each is asked for on its own.
_DEPLOYMENTS = 12


def stage_now(
    sagemaker: Any,
    s3: Any,
    ssm: Any,
    cloudwatch: Any,
    *,
    names: Names,
    workload: str,
    stage: str,
    packages: Sequence[Package],
    now: datetime,
) -> Stage:
    """What a stage of a workload serves, and how; with its last deployments. packages: all of the workload."""
    serving = live.serving(ssm, names, workload, stage)
    endpoint = live.endpoint(sagemaker, names, workload, stage)
    arn = serving.model_package_arn if serving else None
    return Stage(
        name=stage,
        serving=serving,
        endpoint=endpoint,
        traffic=live.traffic(cloudwatch, endpoint.name, now=now) if endpoint else None,
        package=next((package for package in packages if package.arn == arn), None),
        tests=live.tests_of(s3, serving.test_report_uri) if serving else None,
        deployments=_deployments(sagemaker, names.pipeline(workload, n.DEPLOY_KINDS[stage])),
    )


def attempt_of(sagemaker: Any, s3: Any, execution: Execution, stages: Sequence[Stage]) -> Attempt:
    """What is known of a deploy execution beside its steps."""
    described = sagemaker.describe_pipeline_execution(PipelineExecutionArn=execution.arn)
    given = {step.name: outputs(step) for step in execution.steps}
    uri = given.get("TestEndpoint", {}).get("ReportUri", "")
    config = given.get("RollBack", {}).get("EndpointConfigName", "")
    return Attempt(
        why=described.get("PipelineExecutionDescription", ""),
        tests=live.tests_of(s3, uri) if uri else None,
        back_to=_version_of_config(sagemaker, config, stages) if config else None,
    )


def _deployments(sagemaker: Any, pipeline: str) -> tuple[Deployment, ...]:
    """The last executions of a deploy pipeline; none while there is no such pipeline."""
    try:
        listed = sagemaker.list_pipeline_executions(
            PipelineName=pipeline, SortBy="CreationTime", SortOrder="Descending", MaxResults=_DEPLOYMENTS
        )["PipelineExecutionSummaries"]
    except sagemaker.exceptions.ResourceNotFound:
        return ()
    found = []
    for summary in listed:
        version = _version_of(sagemaker, summary)
        if version is not None:
            arn, status = summary["PipelineExecutionArn"], summary["PipelineExecutionStatus"]
            running = status in ("Executing", "Stopping")
            ended = (
                None
                if running
                else sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn).get("LastModifiedTime")
            )
            found.append(Deployment(arn, version, status, summary["StartTime"], ended))
    return tuple(found)


def _version_of(sagemaker: Any, summary: Mapping[str, Any]) -> int | None:
    """The version that an execution was to deploy: the functions put it into its name, a person may not have."""
    named = re.fullmatch(r"version-(\d+)", summary.get("PipelineExecutionDisplayName", ""))
    if named:
        return int(named[1])
    answer = sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=summary["PipelineExecutionArn"])
    given = {parameter["Name"]: parameter["Value"] for parameter in answer["PipelineParameters"]}
    return _version_in(given.get(n.MODEL_PACKAGE_ARN, ""))


def _version_of_config(sagemaker: Any, config: str, stages: Sequence[Stage]) -> int | None:
    """The version that an endpoint's configuration serves; None when it is gone, or its model."""
    for stage in stages:
        if stage.serving is not None and stage.serving.endpoint_config == config:
            return stage.serving.version
    try:
        described = sagemaker.describe_endpoint_config(EndpointConfigName=config)
        model = sagemaker.describe_model(ModelName=described["ProductionVariants"][0]["ModelName"])
    except sagemaker.exceptions.ClientError as error:
        if "Could not find" in error.response["Error"]["Message"]:
            return None
        raise
    containers = [model.get("PrimaryContainer", {}), *model.get("Containers", [])]
    arns = [container["ModelPackageName"] for container in containers if "ModelPackageName" in container]
    return _version_in(arns[0]) if arns else None


def _version_in(arn: str) -> int | None:
    """The version at the end of a model package's ARN."""
    version = arn.rpartition("/")[2]
    return int(version) if version.isdecimal() else None
