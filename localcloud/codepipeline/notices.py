"""The events of pipelines, stages and actions, in AWS's shapes.

Source: "Monitoring CodePipeline events" (AWS CodePipeline User Guide).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from localcloud.codepipeline.declaration import Action
from localcloud.context import Context
from localcloud.signals import Event

Document = Mapping[str, Any]

STARTED, RESUMED, STOPPING, STOPPED = "STARTED", "RESUMED", "STOPPING", "STOPPED"
SUCCEEDED, FAILED, CANCELED, SUPERSEDED, ABANDONED = "SUCCEEDED", "FAILED", "CANCELED", "SUPERSEDED", "ABANDONED"


class Notices:
    """Tells EventBridge. Call it after what it tells of is committed."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def pipeline(self, execution: Document, state: str) -> None:
        """A pipeline's execution has another state."""
        detail = {**_common(execution), "start-time": _moment(execution["startTime"]), "state": state}
        detail["execution-trigger"] = dict(execution["triggerFacts"])
        if state in (STOPPING, STOPPED) and execution.get("stopTrigger", {}).get("reason"):
            detail["stop-execution-comments"] = execution["stopTrigger"]["reason"]
        if execution.get("retriedAt") is not None:
            detail["last-retry-attempt-time"] = _moment(execution["retriedAt"])
        self._send("CodePipeline Pipeline Execution State Change", execution, detail)

    def stage(self, execution: Document, stage: str, state: str) -> None:
        """A stage of an execution has another state."""
        known = execution["stages"].get(stage, {})
        detail = {**_common(execution), "stage": stage, "state": state}
        if known.get("startTime") is not None:
            detail["start-time"] = _moment(known["startTime"])
        if known.get("retriedAt") is not None:
            detail["stage-last-retry-attempt-time"] = _moment(known["retriedAt"])
        self._send("CodePipeline Stage Execution State Change", execution, detail)

    def action(self, execution: Document, action: Action, run: Document, state: str) -> None:
        """A run of an action has another state."""
        detail = {
            **_common(execution),
            "start-time": _moment(run["startTime"]),
            "stage": run["stageName"],
            "action": run["actionName"],
            "action-execution-id": run["actionExecutionId"],
            "state": state,
            "region": self._context.region,
            "type": action.type,
        }
        for member, artifacts in (
            ("input-artifacts", run["input"].get("inputArtifacts")),
            ("output-artifacts", run.get("output", {}).get("outputArtifacts")),
        ):
            if artifacts:
                detail[member] = [{"name": one["name"], "s3location": one["s3location"]} for one in artifacts]
        result = run.get("output", {}).get("executionResult") or {}
        told = {
            "external-execution-url": result.get("externalExecutionUrl"),
            "external-execution-summary": result.get("externalExecutionSummary"),
            "external-execution-id": result.get("externalExecutionId"),
            "error-code": result.get("errorDetails", {}).get("code"),
        }
        if state != STARTED and any(told.values()):
            detail["execution-result"] = {name: text for name, text in told.items() if text}
        self._send("CodePipeline Action Execution State Change", execution, detail)

    def _send(self, detail_type: str, execution: Document, detail: Document) -> None:
        context = self._context
        arn = f"arn:aws:codepipeline:{context.region}:{context.account_id}:{execution['pipelineName']}"
        context.signals.event(Event("aws.codepipeline", detail_type, detail, context.clock.now(), (arn,)))


def _common(execution: Document) -> dict[str, Any]:
    return {
        "pipeline": execution["pipelineName"],
        "execution-id": execution["pipelineExecutionId"],
        "version": float(execution["pipelineVersion"]),
        "pipeline-execution-attempt": float(execution["attempt"]),
    }


def _moment(moment: datetime) -> str:
    """`2026-01-01T00:00:00.000Z`."""
    moment = moment.astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
