"""The events that executions and their steps send to EventBridge, in AWS's shapes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from localcloud.context import Context
from localcloud.signals import Event

_SOURCE = "aws.sagemaker"
_EXECUTION = "SageMaker Model Building Pipeline Execution Status Change"
_STEP = "SageMaker Model Building Pipeline Execution Step Status Change"
_ENDED = ("Succeeded", "Failed", "Stopped")


def execution_changed(context: Context, document: Mapping[str, Any], previous: str | None) -> None:
    """Tell of an execution's new status, once it is stored."""
    status = document["PipelineExecutionStatus"]
    detail = {
        "pipelineExecutionDisplayName": document.get("PipelineExecutionDisplayName"),
        "currentPipelineExecutionStatus": status,
        "previousPipelineExecutionStatus": previous,
        "executionStartTime": _moment(document["CreationTime"]),
        "executionEndTime": _moment(document["LastModifiedTime"]) if status in _ENDED else None,
        "pipelineExecutionDescription": document.get("PipelineExecutionDescription"),
        "pipelineArn": document["PipelineArn"],
        "pipelineExecutionArn": document["PipelineExecutionArn"],
    }
    _send(context, _EXECUTION, detail)


def step_changed(
    context: Context,
    pipeline_arn: str,
    execution_arn: str,
    step_type: str,
    record: Mapping[str, Any],
    previous: str | None,
) -> None:
    """Tell of a step's new status, once it is stored."""
    detail = {
        "metadata": _lower(record.get("Metadata", {})),
        "stepStartTime": _moment(record["StartTime"]),
        "stepEndTime": _moment(record["EndTime"]) if "EndTime" in record else None,
        "stepName": record["StepName"],
        "stepType": step_type,
        "previousStepStatus": previous,
        "currentStepStatus": record["StepStatus"],
        "failureReason": record.get("FailureReason"),
        "cacheHitResult": _lower(record["CacheHitResult"]) if record.get("CacheHitResult") else None,
        "pipelineArn": pipeline_arn,
        "pipelineExecutionArn": execution_arn,
    }
    _send(context, _STEP, detail)


def _send(context: Context, detail_type: str, detail: dict[str, Any]) -> None:
    known = {name: value for name, value in detail.items() if value is not None}
    resources = [detail["pipelineArn"], detail["pipelineExecutionArn"]]
    context.signals.event(Event(_SOURCE, detail_type, known, context.clock.now(), resources))


def _moment(value: datetime) -> str:
    return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _lower(value: Any) -> Any:
    """Members as events spell them: `ProcessingJob` is `processingJob`."""
    if isinstance(value, Mapping):
        return {name[:1].lower() + name[1:]: _lower(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_lower(item) for item in value]
    return value
