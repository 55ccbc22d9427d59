"""Executions of the build pipeline, as retrainings: started, found again, and what became of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from pipelines import names as n
from pipelines import starter
from pipelines.carried import retraining
from pipelines.carried.project import Session, client, log, names
from pipelines.carried.retraining import Attempt
from pipelines.errors import ProjectError

KIND = "build"
# The step that a build ends with whose model the gate refuses.
REFUSED = "QualityTooLow"
_LIVE = ("Executing", "Stopping")
# Executions are looked at from the newest: what is under way is among so many.
_NEWEST = 20


@dataclass(frozen=True)
class Inputs:
    """What the build pipeline's last execution was given, which a retraining is given again."""

    input_data_uri: str
    git_commit: str


def under_way(workload: str) -> list[str]:
    """Executions of the workload's build and deploy pipelines that have not ended, by their ARNs."""
    return [
        summary["PipelineExecutionArn"]
        for kind in (KIND, *n.DEPLOY_KINDS.values())
        for summary in _newest(workload, kind)
        if summary["PipelineExecutionStatus"] in _LIVE
    ]


def last_inputs(workload: str) -> Inputs:
    """Those of the last execution; the workload's own data where there was none."""
    given: dict[str, str] = {}
    for summary in _newest(workload, KIND)[:1]:
        pages = (
            client("sagemaker")
            .get_paginator("list_pipeline_parameters_for_execution")
            .paginate(PipelineExecutionArn=summary["PipelineExecutionArn"])
        )
        given = {one["Name"]: one["Value"] for page in pages for one in page["PipelineParameters"]}
    return Inputs(given.get(n.INPUT_DATA_URI) or names().data_uri(workload), given.get(n.GIT_COMMIT) or "unknown")


def begin(workload: str, attempt: Attempt, min_improvement: float) -> Attempt:
    """Start the execution of an attempt, or find the one that it has started; gives the attempt with it.

    min_improvement: by how much its model must beat the champion; stricter than what a person's build must.

    An attempt that cannot be started comes back as failed, with the reason. What AWS refuses for now is raised: the
    attempt is begun by the next who looks.
    """
    found = _started(workload, attempt)
    if found is None:
        limit, better = n.CHAMPION_DIFFERENCE[workload]
        try:
            found = starter.start(
                Session(),
                names(),
                workload,
                KIND,
                evaluation_time=attempt.started,
                git_commit=attempt.git_commit,
                mlflow_tracking_uri=os.environ[n.MLFLOW_TRACKING_URI_VARIABLE],
                input_data_uri=attempt.input_data_uri,
                overrides={limit: repr(better * min_improvement)},
                token=f"{names().project} {workload} {attempt.number} {attempt.cause}",
                display_name=attempt.display_name,
                description=f"Retraining: {attempt.reason}",
            )
        except ProjectError as error:
            return replace(attempt, outcome=retraining.FAILED, outcome_reason=str(error), ended=attempt.started)
        except ClientError as error:
            # Begun by another invocation, which had read other runtime values.
            found = _started(workload, attempt) if error.response["Error"]["Code"] == "ConflictException" else None
            if found is None:
                raise
    _tag(found, attempt)
    return replace(attempt, execution_arn=found)


def outcome(attempt: Attempt) -> Attempt:
    """An attempt with what became of its execution; the same while that is under way."""
    sagemaker = client("sagemaker")
    try:
        described = sagemaker.describe_pipeline_execution(PipelineExecutionArn=attempt.execution_arn)
    except sagemaker.exceptions.ResourceNotFound:
        return replace(
            attempt,
            outcome=retraining.FAILED,
            outcome_reason="its execution does not exist any more",
            ended=attempt.started,
        )
    status, ended = described["PipelineExecutionStatus"], described["LastModifiedTime"]
    if status in _LIVE:
        return attempt
    if status == "Stopped":
        return replace(attempt, outcome=retraining.STOPPED, outcome_reason="somebody stopped it", ended=ended)
    return _ended(attempt, list(_steps(attempt.execution_arn)), status, described, ended)


def _ended(
    attempt: Attempt, steps: list[dict[str, Any]], status: str, described: Mapping[str, Any], ended: datetime
) -> Attempt:
    packages = [step["Metadata"]["RegisterModel"]["Arn"] for step in steps if "RegisterModel" in step["Metadata"]]
    if status == "Succeeded" and packages:
        version = packages[-1].rpartition("/")[2]
        told = f"version {version} was registered"
        return replace(
            attempt, outcome=retraining.REGISTERED, outcome_reason=told, package_arn=packages[-1], ended=ended
        )
    if status == "Succeeded":
        told = "the newest model package is this very model: nothing was registered"
        return replace(attempt, outcome=retraining.UNCHANGED, outcome_reason=told, ended=ended)
    failed = [step for step in steps if step.get("StepStatus") == "Failed"]
    refused = [step for step in failed if step["StepName"] == REFUSED]
    if refused:
        told = refused[0].get("FailureReason", "")
        return replace(attempt, outcome=retraining.NOT_BETTER, outcome_reason=told, ended=ended)
    told = "; ".join(f"{step['StepName']}: {step.get('FailureReason', 'no reason is given')}" for step in failed)
    told = told or described.get("FailureReason", "") or "no reason is given"
    return replace(attempt, outcome=retraining.FAILED, outcome_reason=told, ended=ended)


def _steps(execution_arn: str) -> Iterator[dict[str, Any]]:
    """An execution's steps, each with its Metadata."""
    pages = (
        client("sagemaker")
        .get_paginator("list_pipeline_execution_steps")
        .paginate(PipelineExecutionArn=execution_arn, SortOrder="Ascending")
    )
    for page in pages:
        for step in page["PipelineExecutionSteps"]:
            yield {"Metadata": {}, **step}


def _started(workload: str, attempt: Attempt) -> str | None:
    """The execution that an attempt has started, by its name."""
    for summary in _newest(workload, KIND):
        if summary.get("PipelineExecutionDisplayName") == attempt.display_name:
            return str(summary["PipelineExecutionArn"])
    return None


def _newest(workload: str, kind: str) -> list[dict[str, Any]]:
    """The newest executions of a pipeline, the newest first; none where there is no such pipeline."""
    sagemaker = client("sagemaker")
    try:
        found: list[dict[str, Any]] = sagemaker.list_pipeline_executions(
            PipelineName=names().pipeline(workload, kind),
            SortBy="CreationTime",
            SortOrder="Descending",
            MaxResults=_NEWEST,
        )["PipelineExecutionSummaries"]
    except sagemaker.exceptions.ResourceNotFound:
        return []
    return found


def _tag(execution_arn: str, attempt: Attempt) -> None:
    """Say on the execution why it is. SageMaker's pages do not say that executions take tags: where one takes none, its
    name and description tell the same.
    """
    tags = {"mlops:alarm": attempt.alarm, "mlops:cause": attempt.cause, "mlops:try": str(attempt.try_number)}
    try:
        client("sagemaker").add_tags(
            ResourceArn=execution_arn, Tags=[{"Key": key, "Value": value} for key, value in tags.items()]
        )
    except ClientError as error:
        log.warning("the execution takes no tags", extra={"execution": execution_arn, "because": str(error)})
