"""CodeBuild actions, to build and to test: a build of the project, with the pipeline's artifacts for its own.

Source: "AWS CodeBuild build and test action reference" (AWS CodePipeline User Guide).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from localcloud.codepipeline import actiontypes
from localcloud.codepipeline.refusals import REFUSALS, failure
from localcloud.codepipeline.turn import CONFIGURATION, JOB_FAILED, ActionFailed, Halted, Outcome, Turn
from localcloud.errors import ServiceError

_LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 1.0
"""Of the machine. CodeBuild's events wake who waits; this is for one that was lost."""
_PLAIN = "PLAINTEXT"
_UNDER_WAY, _SUCCEEDED = "IN_PROGRESS", "SUCCEEDED"


class CodeBuild:
    """Starts builds and waits for them; a build whose run is abandoned is stopped."""

    def run(self, turn: Turn) -> Outcome:
        """See `Kind`."""
        build_id = turn.progress.get("buildId")
        if build_id is None:
            build_id = self._start(turn)
            turn.note(buildId=build_id)
        try:
            while (build := self._build(turn, build_id))["buildStatus"] == _UNDER_WAY:
                turn.pause(_LOOK_SECONDS)
        except Halted:
            self._stop(turn, build_id)
            raise
        return _outcome(turn, build)

    def _stop(self, turn: Turn, build_id: str) -> None:
        try:
            turn.client("codebuild").stop_build(id=build_id)
        except REFUSALS as error:
            # It may have ended by itself, or the role may not: then it runs on, and nobody waits for it.
            _LOG.warning("the build %s of the action %s is not stopped: %s", build_id, turn.action.name, error)

    def _start(self, turn: Turn) -> str:
        turn.check()
        primary = turn.configuration.get("PrimarySource", turn.action.inputs[0])
        others = [name for name in turn.action.inputs if name != primary]
        request: dict[str, Any] = {
            "projectName": turn.configuration["ProjectName"],
            "sourceTypeOverride": "S3",
            "sourceLocationOverride": _location(turn.inputs[primary]),
            "artifactsOverride": {"type": "NO_ARTIFACTS"},
            # Whoever begins anew after a restart gets the build that it had begun.
            "idempotencyToken": turn.id,
        }
        if others:
            request["secondarySourcesOverride"] = [
                {"type": "S3", "location": _location(turn.inputs[name]), "sourceIdentifier": name} for name in others
            ]
        if turn.pipeline.key_id is not None:
            request["encryptionKeyOverride"] = turn.pipeline.key_id
        outputs = [_artifacts(turn.outputs[name]) for name in turn.action.outputs]
        if len(outputs) == 1:
            (request["artifactsOverride"],) = outputs
        elif outputs:
            request["secondaryArtifactsOverride"] = [
                {**output, "artifactIdentifier": name}
                for name, output in zip(turn.action.outputs, outputs, strict=True)
            ]
        try:
            variables = actiontypes.environment(turn.action.name, turn.configuration)
        except ServiceError as error:
            raise ActionFailed(CONFIGURATION, error.message) from None
        request["environmentVariablesOverride"] = [
            *variables,
            # What CodeBuild tells a build of the pipeline that it is for.
            {"name": "CODEBUILD_INITIATOR", "value": f"codepipeline/{turn.pipeline.name}", "type": _PLAIN},
        ]
        if (revision := turn.inputs[primary].get("revision")) is not None:
            told = {"name": "CODEBUILD_RESOLVED_SOURCE_VERSION", "value": revision, "type": _PLAIN}
            request["environmentVariablesOverride"].append(told)
        try:
            return str(turn.client("codebuild").start_build(**request)["build"]["id"])
        except REFUSALS as error:
            raise failure(error, f"Error calling startBuild of the project {request['projectName']}") from error

    def _build(self, turn: Turn, build_id: str) -> Mapping[str, Any]:
        try:
            found = turn.client("codebuild").batch_get_builds(ids=[build_id])["builds"]
        except REFUSALS as error:
            raise failure(error, f"Error calling batchGetBuilds for {build_id}") from error
        if not found:
            raise ActionFailed(JOB_FAILED, f"The build {build_id} is gone, so that how it ended is not known")
        build: Mapping[str, Any] = found[0]
        return build


def _location(place: Mapping[str, Any]) -> str:
    return f"{place['bucket']}/{place['key']}"


def _artifacts(place: Mapping[str, Any]) -> dict[str, Any]:
    folder, _, name = place["key"].rpartition("/")
    return {
        "type": "S3",
        "location": place["bucket"],
        "path": folder,
        "name": name,
        "namespaceType": "NONE",
        "packaging": "ZIP",
        "overrideArtifactName": False,
    }


def _outcome(turn: Turn, build: Mapping[str, Any]) -> Outcome:
    build_id = build["id"]
    url = f"https://console.aws.amazon.com/codebuild/home?region={turn.context.region}#/builds/{build_id}/view/new"
    if build["buildStatus"] == _SUCCEEDED:
        exported = build.get("exportedEnvironmentVariables") or ()
        variables = {variable["name"]: variable.get("value", "") for variable in exported}
        return Outcome(external_id=build_id, external_url=url, variables=variables)
    reason = f"Build terminated with state: {build['buildStatus']}"
    return Outcome.failed(JOB_FAILED, reason + _details(build), external_id=build_id, external_url=url)


def _details(build: Mapping[str, Any]) -> str:
    """The first phase that has something to tell, in CodePipeline's words."""
    for phase in build.get("phases") or ():
        if phase.get("phaseStatus") in (None, _SUCCEEDED):
            continue
        for context in phase.get("contexts") or ():
            if context.get("message"):
                code = context.get("statusCode", "")
                return f". Phase: {phase['phaseType']}, Code: {code}, Message: {context['message']}"
    return ""
