"""The runs of actions as documents: what each is given, and what it leaves behind."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from localcloud.codepipeline import actiontypes, records, variables
from localcloud.codepipeline.actions import approvals, invocations
from localcloud.codepipeline.declaration import Action, Pipeline
from localcloud.codepipeline.records import Document
from localcloud.codepipeline.turn import Outcome, location

_MOST_MESSAGE_CHARACTERS, _MOST_SUMMARY_CHARACTERS = 5000, 2048
_GIT = (actiontypes.CODE_COMMIT, actiontypes.CONNECTION)


def new_run(execution: Document, pipeline: Pipeline, action: Action, region: str, now: datetime) -> Document:
    """The document of a run that is about to begin: what it is given, and where its artifacts are to be."""
    given: Document = {
        "actionTypeId": action.type,
        "configuration": dict(action.configuration),
        "region": action.region or region,
        "inputArtifacts": [_detail(name, execution["artifacts"][name]) for name in action.inputs],
    }
    if action.role_arn is not None:
        given["roleArn"] = action.role_arn
    if action.namespace is not None:
        given["namespace"] = action.namespace
    try:
        given["resolvedConfiguration"] = variables.resolved(action.configuration, execution["namespaces"])
    except variables.Unresolved as error:
        given["unresolved"] = str(error)
    run: Document = {
        "pipelineName": pipeline.name,
        "pipelineExecutionId": execution["pipelineExecutionId"],
        "pipelineVersion": execution["pipelineVersion"],
        "actionExecutionId": str(uuid.uuid4()),
        "stageName": action.stage,
        "actionName": action.name,
        "status": records.IN_PROGRESS,
        "startTime": now,
        "lastUpdateTime": now,
        "input": given,
        "output": {},
        "outputs": {name: location(pipeline, name, _suffix(action)) for name in action.outputs},
        "progress": {},
    }
    if action.provider == actiontypes.MANUAL:
        minutes = action.timeout_minutes or approvals.MOST_MINUTES
        run |= {"token": str(uuid.uuid4()), "expiresAt": now + timedelta(minutes=minutes)}
    if action.provider == actiontypes.LAMBDA:
        run |= {"jobId": str(uuid.uuid4()), "expiresAt": now + timedelta(hours=invocations.MOST_HOURS)}
    return run


def action_of(pipeline: Pipeline, run: Document) -> Action:
    """The action that a run is of."""
    stage = pipeline.stage(run["stageName"])
    action = stage.action(run["actionName"]) if stage is not None else None
    assert action is not None
    return action


def output(run: Document, outcome: Outcome) -> Document:
    """What a run tells when it has ended."""
    result: Document = {
        "externalExecutionId": outcome.external_id or None,
        "externalExecutionSummary": (outcome.summary or outcome.message)[:_MOST_SUMMARY_CHARACTERS] or None,
        "externalExecutionUrl": outcome.external_url or None,
    }
    if not outcome.succeeded:
        result["errorDetails"] = {"code": outcome.code, "message": outcome.message[:_MOST_MESSAGE_CHARACTERS]}
    return {
        "outputArtifacts": [_detail(name, place) for name, place in run["outputs"].items()]
        if outcome.succeeded
        else [],
        "executionResult": {name: value for name, value in result.items() if value is not None},
        "outputVariables": dict(outcome.variables),
        "revision": dict(outcome.revision),
    }


def results(execution: Document, action: Action, run: Document, outcome: Outcome) -> Document:
    """What a run that has succeeded leaves to the execution."""
    revision = outcome.revision
    made = {name: {**place, "revision": revision.get("revisionId")} for name, place in run["outputs"].items()}
    members: Document = {"artifacts": {**execution["artifacts"], **made}}
    if action.namespace is not None:
        members["namespaces"] = {**execution["namespaces"], action.namespace: dict(outcome.variables)}
    if revision:
        told = ("revisionId", "revisionSummary", "revisionUrl")
        source = {"actionName": action.name, **{name: revision[name] for name in told if name in revision}}
        others = [one for one in execution["sourceRevisions"] if one["actionName"] != action.name]
        members["sourceRevisions"] = [*others, source]
        names = set(made)
        kept = [one for one in execution["artifactRevisions"] if one["name"] not in names]
        members["artifactRevisions"] = [*kept, *({"name": name, **revision} for name in sorted(names))]
    return members


def _detail(name: str, place: Mapping[str, Any]) -> Document:
    return {"name": name, "s3location": {"bucket": place["bucket"], "key": place["key"]}}


def _suffix(action: Action) -> str:
    """How the keys of a source's artifacts end; those of others end in nothing."""
    if action.provider in _GIT:
        return ".zip"
    name = action.configuration.get("S3ObjectKey", "").rpartition("/")[2]
    return f".{name.rpartition('.')[2]}" if "." in name else ""
