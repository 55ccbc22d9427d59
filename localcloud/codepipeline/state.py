"""The state of a pipeline's stages, and the transitions into them."""

from __future__ import annotations

from typing import Any

from localcloud.codepipeline import actiontypes, checks, declaration
from localcloud.codepipeline.declaration import Action, Stage
from localcloud.codepipeline.engine import Engine
from localcloud.codepipeline.errors import no_stage
from localcloud.codepipeline.records import Document, Records
from localcloud.context import Context, Request
from localcloud.errors import validation


class State:
    """GetPipelineState, EnableStageTransition and DisableStageTransition."""

    def __init__(self, context: Context, records: Records, engine: Engine) -> None:
        self._context, self._records, self._engine = context, records, engine

    def get(self, request: Request) -> dict[str, Any]:
        """GetPipelineState: of each stage who is in it and who waits, of each action its latest run."""
        name = request.params["name"]
        with self._engine.lock:
            document = self._records.pipeline(name)
            pipeline = declaration.read(document["Declaration"])
            live = self._records.executions(name, live=True)
            stages = [self._stage(name, stage, live) for stage in pipeline.stages]
        return {
            "pipelineName": name,
            "pipelineVersion": document["Declaration"]["version"],
            "stageStates": stages,
            "created": document["Created"],
            "updated": document["Updated"],
        }

    def _stage(self, name: str, stage: Stage, live: list[Document]) -> Document:
        known = self._records.stage(name, stage.name)
        latest = known.get("runs", {})
        waiting = [
            {"pipelineExecutionId": one["pipelineExecutionId"], "status": one["status"], "type": "STANDARD"}
            for one in live
            if one["waiting"] and one["stage"] == stage.name
        ]
        state: Document = {
            "stageName": stage.name,
            "inboundExecutions": waiting,
            "inboundTransitionState": known.get("transition", {"enabled": True}),
            "actionStates": [
                _action_state(action, self._records.run(latest[action.name]) if action.name in latest else None)
                for action in stage.actions
            ],
        }
        if waiting:
            state["inboundExecution"] = waiting[0]
        if known.get("latest") is not None:
            entered = self._records.execution(name, known["latest"])["stages"][stage.name]
            state["latestExecution"] = {
                "pipelineExecutionId": known["latest"], "status": entered["status"], "type": "STANDARD",
            }  # fmt: skip
            if entered.get("retries"):
                state["retryStageMetadata"] = {
                    "manualStageRetryAttempt": entered["retries"], "latestRetryTrigger": "ManualStageRetry",
                }  # fmt: skip
        return state

    def enable(self, request: Request) -> dict[str, Any]:
        """EnableStageTransition: who waits goes in."""
        self._change(request, {"enabled": True})
        return {}

    def disable(self, request: Request) -> dict[str, Any]:
        """DisableStageTransition: nobody enters the stage any more."""
        reason = request.params["reason"]
        self._change(request, {"enabled": False, "disabledReason": reason})
        return {}

    def _change(self, request: Request, transition: Document) -> None:
        params = request.params
        name, stage = params["pipelineName"], params["stageName"]
        with self._engine.lock:
            pipeline = declaration.read(self._records.pipeline(name)["Declaration"])
            found = pipeline.stage(stage)
            if found is None:
                raise no_stage(name, stage)
            if params["transitionType"] == "Outbound":
                following = pipeline.after(stage)
                if following is None:
                    raise validation(f"The stage '{stage}' is the last of pipeline '{name}': it has no way out")
                found = following
            if not transition["enabled"]:
                checks.check_mode(pipeline)
            by, now = self._context.principals.of(request.access_key), self._context.clock.now()
            self._records.change_stage(
                name, found.name, transition={**transition, "lastChangedBy": by, "lastChangedAt": now}
            )
            self._engine.advance(name)


def _action_state(action: Action, run: Document | None) -> Document:
    state: Document = {"actionName": action.name}
    if run is None:
        return state
    result = run["output"].get("executionResult", {})
    shown = {
        "actionExecutionId": run["actionExecutionId"],
        "status": run["status"],
        "summary": result.get("externalExecutionSummary"),
        "lastStatusChange": run["lastUpdateTime"],
        "token": run.get("token") if run["status"] == "InProgress" else None,
        "lastUpdatedBy": run.get("updatedBy"),
        "externalExecutionId": result.get("externalExecutionId") or run["progress"].get("buildId"),
        "externalExecutionUrl": result.get("externalExecutionUrl"),
        "errorDetails": result.get("errorDetails"),
    }
    state["latestExecution"] = {name: value for name, value in shown.items() if value}
    revision = run["output"].get("revision")
    if action.category == actiontypes.SOURCE and revision:
        state["currentRevision"] = {
            "revisionId": revision["revisionId"],
            "revisionChangeId": revision["revisionChangeIdentifier"],
            "created": revision["created"],
        }
        if revision.get("revisionUrl"):
            state["revisionUrl"] = revision["revisionUrl"]
    if action.provider == actiontypes.MANUAL:
        link = run["input"].get("resolvedConfiguration", {}).get("ExternalEntityLink")
        if link:
            state["entityUrl"] = link
    return state
