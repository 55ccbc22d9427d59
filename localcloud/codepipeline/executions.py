"""Executions as they are asked for: started, stopped, tried again, described."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from localcloud.codepipeline import actiontypes, declaration, records
from localcloud.codepipeline.declaration import Pipeline
from localcloud.codepipeline.engine import Engine
from localcloud.codepipeline.errors import no_stage
from localcloud.codepipeline.pages import page
from localcloud.codepipeline.records import Document, Records
from localcloud.codepipeline.starts import Start
from localcloud.context import Context, Request
from localcloud.errors import ServiceError, validation

STARTED_BY = "codepipeline/started-by"
"""Where EventBridge leaves, by the token of its request, which rule it starts a pipeline for."""


class Executions:
    """The operations on executions."""

    def __init__(self, context: Context, found: Records, engine: Engine) -> None:
        self._context, self._records, self._engine = context, found, engine

    def start(self, request: Request) -> dict[str, Any]:
        """StartPipelineExecution."""
        params = request.params
        name = params["name"]
        pipeline = declaration.read(self._records.pipeline(name)["Declaration"])
        overriding = _overriding(pipeline, params)
        by = self._context.principals.of(request.access_key)
        trigger = ("StartPipelineExecution", by)
        token = params.get("clientRequestToken")
        if token is not None and (rule := self._context.store.get(STARTED_BY, token)) is not None:
            trigger = ("CloudWatchEvent", rule["RuleArn"])
        variables = {one["name"]: one["value"] for one in params.get("variables") or ()}
        if len(variables) < len(params.get("variables") or ()):
            raise validation("A variable is given more than once")
        asked = json.dumps([variables, overriding], sort_keys=True)
        start = Start(*trigger, variables=variables, overriding=overriding, token=token, asked=asked)
        return {"pipelineExecutionId": self._engine.begin(name, start)}

    def stop(self, request: Request) -> dict[str, Any]:
        """StopPipelineExecution: what runs is waited for, or, with `abandon`, not. An abandoned build is stopped, if
        its action's role may; an abandoned stack or function goes on, as on AWS."""
        params = request.params
        name, execution_id = params["pipelineName"], params["pipelineExecutionId"]
        abandon = bool(params.get("abandon"))
        by = self._context.principals.of(request.access_key)
        with self._engine.lock:
            self._records.pipeline(name)
            execution = self._execution(name, execution_id)
            if execution["status"] == records.STOPPING and not abandon:
                raise ServiceError(
                    "DuplicatedStopRequestException",
                    f"The execution '{execution_id}' of pipeline '{name}' is already in the Stopping state",
                )
            if execution["status"] not in records.LIVE:
                raise ServiceError(
                    "PipelineExecutionNotStoppableException",
                    f"The execution '{execution_id}' of pipeline '{name}' cannot be stopped: it is"
                    f" {execution['status']}",
                )
            self._engine.stop(execution, params.get("reason"), abandon=abandon, by=by)
        return {"pipelineExecutionId": execution_id}

    def retry_stage(self, request: Request) -> dict[str, Any]:
        """RetryStageExecution: of the execution that was the last to enter the stage, and failed or stopped in it."""
        params = request.params
        name, stage, execution_id = params["pipelineName"], params["stageName"], params["pipelineExecutionId"]
        with self._engine.lock:
            document = self._records.pipeline(name)
            pipeline = declaration.read(document["Declaration"])
            if pipeline.stage(stage) is None:
                raise no_stage(name, stage)
            try:
                execution = self._execution(name, execution_id)
            except ServiceError as error:
                raise validation(error.message) from None
            self._check_retry(document, pipeline, execution, stage)
            self._engine.retry(execution, stage, all_actions=params["retryMode"] == "ALL_ACTIONS")
        return {"pipelineExecutionId": execution_id}

    def _check_retry(self, document: Document, pipeline: Pipeline, execution: Document, stage: str) -> None:
        name, execution_id = pipeline.name, execution["pipelineExecutionId"]
        latest = self._records.stage(name, stage).get("latest")
        if pipeline.mode != declaration.PARALLEL and latest not in (None, execution_id):
            raise ServiceError(
                "NotLatestPipelineExecutionException",
                f"The stage '{stage}' of pipeline '{name}' was entered later by the execution {latest}, so that"
                f" {execution_id} cannot be tried again in it",
            )
        status = execution["stages"].get(stage, {}).get("status")
        if status not in (records.FAILED, records.STOPPED) or execution["stage"] != stage:
            raise ServiceError(
                "StageNotRetryableException",
                f"The stage '{stage}' of pipeline '{name}' is {status or 'not reached'} in the execution"
                f" {execution_id}; only a stage that has Failed or Stopped can be tried again",
            )
        followed = self._records.version(name, execution["pipelineVersion"])
        if followed is None or followed["stages"] != document["Declaration"]["stages"]:
            raise ServiceError(
                "StageNotRetryableException",
                f"The structure of pipeline '{name}' has changed since the execution {execution_id} began: start"
                " another one",
            )

    def get(self, request: Request) -> dict[str, Any]:
        """GetPipelineExecution."""
        name = request.params["pipelineName"]
        self._records.pipeline(name)
        execution = self._execution(name, request.params["pipelineExecutionId"])
        found = {
            **_shown(execution, "pipelineName", "pipelineVersion", "artifactRevisions"),
            "variables": [{"name": key, "resolvedValue": value} for key, value in execution["variables"].items()],
        }
        return {"pipelineExecution": found}

    def list(self, request: Request) -> dict[str, Any]:
        """ListPipelineExecutions, the latest first."""
        params = request.params
        name = params["pipelineName"]
        self._records.pipeline(name)
        stage = params.get("filter", {}).get("succeededInStage", {}).get("stageName")
        found = []
        for execution in reversed(self._records.executions(name)):
            succeeded = execution["stages"].get(stage, {}).get("status") == records.SUCCEEDED if stage else True
            if succeeded:
                shown = _shown(execution, "startTime", "lastUpdateTime", "sourceRevisions")
                if execution.get("stopTrigger"):
                    shown["stopTrigger"] = execution["stopTrigger"]
                found.append(shown)
        return page(
            request.operation, found, params, "pipelineExecutionSummaries", lambda one: str(one["pipelineExecutionId"])
        )

    def list_actions(self, request: Request) -> dict[str, Any]:
        """ListActionExecutions, the latest first."""
        params = request.params
        name = params["pipelineName"]
        self._records.pipeline(name)
        chosen = params.get("filter", {})
        if chosen.get("latestInPipelineExecution"):
            raise validation("localcloud lists action executions by pipelineExecutionId, not latestInPipelineExecution")
        execution_id = chosen.get("pipelineExecutionId")
        if execution_id is not None:
            self._execution(name, execution_id)
        found = [_shown_run(run) for run in reversed(self._records.runs(name, execution_id))]
        return page(
            request.operation, found, params, "actionExecutionDetails", lambda one: str(one["actionExecutionId"])
        )

    def _execution(self, name: str, execution_id: str) -> Document:
        return self._records.execution(name, execution_id)


def _overriding(pipeline: Pipeline, params: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The revisions that are asked for. Raises ValidationException for those of no source action."""
    sources = {action.name: action for action in pipeline.stages[0].actions}
    found: dict[str, dict[str, str]] = {}
    for revision in params.get("sourceRevisions") or ():
        name, kind = revision["actionName"], revision["revisionType"]
        if name not in sources or name in found:
            raise validation(
                f"sourceRevisions must name source actions of the pipeline '{pipeline.name}', each once; got '{name}',"
                f" there are {', '.join(sources)}"
            )
        source = sources[name]
        fitting = actiontypes.TYPES[source.category, source.provider].revisions
        if kind not in fitting:
            raise validation(
                f"The source action '{name}' ({source.provider}) takes the revisionType {' or '.join(fitting)} at"
                f" localcloud; got {kind}"
            )
        found[name] = {"revisionType": kind, "revisionValue": revision["revisionValue"]}
    return found


def _shown(execution: Document, *members: str) -> Document:
    shown = {name: execution[name] for name in ("pipelineExecutionId", "status", "trigger", "executionMode", *members)}
    if execution.get("statusSummary"):
        shown["statusSummary"] = execution["statusSummary"]
    return {**shown, "executionType": "STANDARD"}


def _shown_run(run: Document) -> Document:
    given = {name: value for name, value in run["input"].items() if name != "unresolved"}
    told = {name: value for name, value in run["output"].items() if name != "revision"}
    members = ("pipelineExecutionId", "actionExecutionId", "pipelineVersion", "stageName", "actionName", "startTime")
    shown = {name: run[name] for name in (*members, "lastUpdateTime", "status")}
    if run.get("updatedBy"):
        shown["updatedBy"] = run["updatedBy"]
    return {**shown, "input": given, "output": told}
