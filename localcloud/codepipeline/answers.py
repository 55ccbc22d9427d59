"""What ends actions that wait for somebody: the result of an approval, or of a function's job."""

from __future__ import annotations

from typing import Any

from localcloud.codepipeline import records
from localcloud.codepipeline.actiontypes import MANUAL
from localcloud.codepipeline.declaration import read
from localcloud.codepipeline.engine import Engine
from localcloud.codepipeline.errors import no_action, no_stage
from localcloud.codepipeline.records import Document, Records, key_of_run
from localcloud.codepipeline.turn import JOB_FAILED, Outcome
from localcloud.context import Context, Request
from localcloud.errors import ServiceError, validation

_MOST_VARIABLE_CHARACTERS = 122_880


class Answers:
    """PutApprovalResult, PutJobSuccessResult and PutJobFailureResult."""

    def __init__(self, context: Context, found: Records, engine: Engine) -> None:
        self._context, self._records, self._engine = context, found, engine

    def approve(self, request: Request) -> dict[str, Any]:
        """PutApprovalResult, by the token that GetPipelineState tells while the action waits."""
        params = request.params
        name, stage, action = params["pipelineName"], params["stageName"], params["actionName"]
        with self._engine.lock:
            self._check_place(name, stage, action)
            run = self._run_of(name, stage, action, params["token"])
            if run["status"] != records.IN_PROGRESS:
                raise ServiceError(
                    "ApprovalAlreadyCompletedException",
                    f"The approval action '{action}' of stage '{stage}' in pipeline '{name}' was completed already: it"
                    f" is {run['status']}",
                )
            result, by = params["result"], self._context.principals.of(request.access_key)
            summary = result["summary"] or result["status"]
            if result["status"] == "Approved":
                outcome = Outcome(summary=summary, by=by)
            else:
                outcome = Outcome.failed(JOB_FAILED, summary, by=by)
            self._engine.complete(key_of_run(run), outcome)
        return {"approvedAt": self._context.clock.now()}

    def _check_place(self, name: str, stage: str, action: str) -> None:
        pipeline = read(self._records.pipeline(name)["Declaration"])
        found = pipeline.stage(stage)
        if found is None:
            raise no_stage(name, stage)
        there = found.action(action)
        if there is None:
            raise no_action(name, stage, action)
        if there.provider != MANUAL:
            raise validation(f"The action '{action}' of stage '{stage}' in pipeline '{name}' is no approval")

    def _run_of(self, name: str, stage: str, action: str, token: str) -> Document:
        for run in reversed(self._records.runs(name)):
            if (run["stageName"], run["actionName"]) == (stage, action) and run.get("token") == token:
                return run
        raise ServiceError(
            "InvalidApprovalTokenException",
            f"The token {token} is none of the approval action '{action}' of stage '{stage}' in pipeline '{name}': ask"
            " GetPipelineState for it",
        )

    def job_succeeded(self, request: Request) -> dict[str, Any]:
        """PutJobSuccessResult; with a continuation token the function is called again in half a minute."""
        params = request.params
        if params.get("currentRevision"):
            raise validation("currentRevision is for source actions of one's own, which localcloud does not run")
        variables = params.get("outputVariables") or {}
        if sum(len(name) + len(value) for name, value in variables.items()) > _MOST_VARIABLE_CHARACTERS:
            raise ServiceError(
                "OutputVariablesSizeExceededException",
                f"The output variables are longer than {_MOST_VARIABLE_CHARACTERS} characters",
            )
        details = params.get("executionDetails") or {}
        with self._engine.lock:
            run = self._run_of_job(params["jobId"])
            if params.get("continuationToken"):
                self._engine.again(key_of_run(run), params["continuationToken"])
                return {}
            outcome = Outcome(
                summary=details.get("summary", ""),
                external_id=details.get("externalExecutionId", ""),
                variables=variables,
            )
            self._engine.complete(key_of_run(run), outcome)
        return {}

    def job_failed(self, request: Request) -> dict[str, Any]:
        """PutJobFailureResult."""
        details = request.params["failureDetails"]
        with self._engine.lock:
            run = self._run_of_job(request.params["jobId"])
            outcome = Outcome.failed(
                details["type"], details["message"], external_id=details.get("externalExecutionId", "")
            )
            self._engine.complete(key_of_run(run), outcome)
        return {}

    def _run_of_job(self, job_id: str) -> Document:
        found = self._context.store.get(records.JOB, job_id)
        run = self._records.run(found["Run"]) if found is not None else None
        if run is None:
            raise ServiceError("JobNotFoundException", f"There is no job with the id '{job_id}'")
        if run["status"] != records.IN_PROGRESS or run["jobId"] != job_id:
            raise ServiceError(
                "InvalidJobStateException",
                f"The job '{job_id}' of the action '{run['actionName']}' is over: its run is {run['status']}",
            )
        return run
