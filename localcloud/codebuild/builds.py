"""The operations on builds: start, stop, retry, look.

A build is what its project says, save where the call says otherwise.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from localcloud.codebuild.errors import invalid, limited, refused
from localcloud.codebuild.names import Names, new_build_id, short
from localcloud.codebuild.pages import batch, page
from localcloud.codebuild.projects import Projects, check, complete_environment
from localcloud.codebuild.records import Records
from localcloud.codebuild.runner import Runner
from localcloud.context import Context, Request
from localcloud.store import dumps

Document = dict[str, Any]
# Members of a build by those of a call that stand above the project's.
_OVERRIDES = {
    "artifactsOverride": "artifacts",
    "cacheOverride": "cache",
    "encryptionKeyOverride": "encryptionKey",
    "logsConfigOverride": "logsConfig",
    "queuedTimeoutInMinutesOverride": "queuedTimeoutInMinutes",
    "secondaryArtifactsOverride": "secondaryArtifacts",
    "secondarySourcesOverride": "secondarySources",
    "secondarySourcesVersionOverride": "secondarySourceVersions",
    "serviceRoleOverride": "serviceRole",
    "sourceVersion": "sourceVersion",
    "timeoutInMinutesOverride": "timeoutInMinutes",
}
_SOURCE_OVERRIDES = {
    "buildspecOverride": "buildspec",
    "gitCloneDepthOverride": "gitCloneDepth",
    "sourceLocationOverride": "location",
    "sourceTypeOverride": "type",
}
_ENVIRONMENT_OVERRIDES = {
    "computeTypeOverride": "computeType",
    "environmentTypeOverride": "type",
    "imageOverride": "image",
    "imagePullCredentialsTypeOverride": "imagePullCredentialsType",
    "privilegedModeOverride": "privilegedMode",
}
_NOT_HONOURED = (
    "autoRetryLimitOverride", "buildStatusConfigOverride", "certificateOverride", "debugSessionEnabled",
    "fleetOverride", "gitSubmodulesConfigOverride", "hostKernelOverride", "insecureSslOverride",
    "registryCredentialOverride", "reportBuildStatusOverride", "sourceAuthOverride",
)  # fmt: skip
_FROM_PROJECT = (
    "artifacts", "cache", "encryptionKey", "environment", "logsConfig", "queuedTimeoutInMinutes",
    "secondaryArtifacts", "secondarySourceVersions", "secondarySources", "serviceRole", "source", "sourceVersion",
    "timeoutInMinutes", "vpcConfig",
)  # fmt: skip
# What CodePipeline says of a build that it starts, where AWS says it behind the scenes.
_OF_PIPELINE = {
    "CODEBUILD_INITIATOR": "initiator",
    "CODEBUILD_RESOLVED_SOURCE_VERSION": "resolvedSourceVersion",
}


class Builds:
    """The operations. All methods may be called from any thread."""

    def __init__(self, context: Context, names: Names, projects: Projects, records: Records, runner: Runner) -> None:
        self._context, self._names, self._projects = context, names, projects
        self._records, self._runner = records, runner
        self._turn = threading.Lock()

    def start(self, request: Request) -> dict[str, Any]:
        """StartBuild."""
        params = request.params
        if given := [name for name in _NOT_HONOURED if params.get(name)]:
            raise refused(given, "build")
        project = self._projects.get(params["projectName"])
        settings = _overridden(project, params)
        if params.get("serviceRoleOverride"):
            self._projects.check_role(settings["serviceRole"], project["arn"])
        return self._start(request, project, settings, params)

    def retry(self, request: Request) -> dict[str, Any]:
        """RetryBuild: the same again, as a new build."""
        document = self._records.get(request.params["id"])
        if not document["Build"]["buildComplete"]:
            raise invalid(f"Build {request.params['id']} is still in progress; stop it, or wait for its end")
        project = self._projects.get(document["Build"]["projectName"])
        return self._start(request, project, document["Settings"], request.params)

    def stop(self, request: Request) -> dict[str, Any]:
        """StopBuild; one that has ended stays as it is."""
        document = self._records.get(request.params["id"])
        self._runner.stop(document["Build"]["id"])
        return {"build": self._records.get(request.params["id"])["Build"]}

    def batch_get(self, request: Request) -> dict[str, Any]:
        """BatchGetBuilds, by ids or ARNs."""

        def find(name: str) -> Document | None:
            document = self._records.find(name)
            return document["Build"] if document is not None else None

        return batch(request.params["ids"], find, "builds", "buildsNotFound")

    def batch_delete(self, request: Request) -> dict[str, Any]:
        """BatchDeleteBuilds: those that have ended."""
        deleted, left = [], []
        for name in dict.fromkeys(request.params["ids"]):
            document = self._records.find(name)
            if document is not None and document["Build"]["buildComplete"]:
                self._records.delete(document["Build"]["id"])
                deleted.append(document["Build"]["arn"])
            else:
                code = "BUILD_NOT_FOUND" if document is None else "BUILD_IN_PROGRESS"
                left.append({"id": name, "statusCode": code})
        return {"buildsDeleted": deleted, "buildsNotDeleted": left}

    def list(self, request: Request) -> dict[str, Any]:
        """ListBuilds, the newest first if nothing else is asked for."""
        return self._list("ListBuilds", None, request.params)

    def list_of_project(self, request: Request) -> dict[str, Any]:
        """ListBuildsForProject, the newest first if nothing else is asked for."""
        name = short(request.params["projectName"])
        found = self._list("ListBuildsForProject", name, request.params)
        if not found["ids"]:
            # The builds of a project outlive it.
            self._projects.get(name)
        return found

    def _list(self, operation: str, project: str | None, params: Mapping[str, Any]) -> dict[str, Any]:
        ids = self._records.ids(project)
        if params.get("sortOrder") != "ASCENDING":
            ids.reverse()
        return page(operation, ids, params, "ids")

    def _start(
        self, request: Request, project: Document, settings: Document, params: Mapping[str, Any]
    ) -> dict[str, Any]:
        token, asked = params.get("idempotencyToken"), dumps({**params, "projectName": project["name"]})
        with self._turn:
            if token and (earlier := self._earlier(project["name"], token, asked)) is not None:
                return {"build": earlier}
            self._check_limit(project)
            build_id = new_build_id(project["name"])
            build = {
                **{name: value for name, value in settings.items() if name != "logsConfig"},
                "projectName": project["name"],
                "arn": self._names.build(build_id),
                "initiator": settings.get("initiator") or self._initiator(request),
                "logs": self._logs(project["name"], settings, build_id),
                "artifacts": {"location": "", **_shown(settings["artifacts"])},
                "secondaryArtifacts": [_shown(one) for one in settings.get("secondaryArtifacts") or ()],
                "exportedEnvironmentVariables": [],
            }
            shown = self._records.add(build_id, {"Build": build, "Settings": settings}, token, asked)
            self._runner.begin(build_id)
        return {"build": shown}

    def _earlier(self, project: str, token: str, asked: str) -> Document | None:
        """The build that the same call started before. Raises InvalidInputException for another call's token."""
        found = self._records.started_by(project, token)
        if found is None:
            return None
        if found[1] != asked:
            raise invalid(f"Parameter mismatch: the idempotencyToken {token} was used with other parameters")
        earlier = self._records.find(found[0])
        return earlier["Build"] if earlier is not None else None

    def _check_limit(self, project: Document) -> None:
        limit = project.get("concurrentBuildLimit")
        if limit is not None and self._runner.count(project["name"]) >= limit:
            raise limited(f"Cannot have more than {limit} active builds for the project {project['name']}")

    def _initiator(self, request: Request) -> str:
        """Who starts a build: the role and its session, or `root`."""
        caller = self._context.principals.caller(request.access_key)
        return caller.shown.rpartition(":")[2].removeprefix("assumed-role/")

    def _logs(self, project: str, settings: Document, build_id: str) -> Document:
        asked = (settings.get("logsConfig") or {}).get("cloudWatchLogs") or {"status": "ENABLED"}
        if asked["status"] != "ENABLED":
            return {"cloudWatchLogs": asked}
        group = asked.get("groupName") or f"/aws/codebuild/{project}"
        stream = "/".join(part for part in (asked.get("streamName"), build_id.rpartition(":")[2]) if part)
        region, account = self._names.region, self._names.account_id
        shown = quote(quote(group, safe=""), safe="").replace("%", "$"), quote(stream, safe="")
        return {
            "groupName": group,
            "streamName": stream,
            "deepLink": f"https://console.aws.amazon.com/cloudwatch/home?region={region}#logsV2:log-groups/log-group/"
            f"{shown[0]}/log-events/{shown[1]}",
            "cloudWatchLogsArn": f"arn:aws:logs:{region}:{account}:log-group:{group}:log-stream:{stream}",
            "cloudWatchLogs": asked,
        }


def _overridden(project: Document, params: Mapping[str, Any]) -> Document:
    """The settings of a build. Raises InvalidInputException for what cannot be built."""
    settings = {name: project[name] for name in _FROM_PROJECT if project.get(name) is not None}
    settings |= {member: params[name] for name, member in _OVERRIDES.items() if params.get(name) is not None}
    settings["source"] = {
        **project["source"],
        **{member: params[name] for name, member in _SOURCE_OVERRIDES.items() if params.get(name) is not None},
    }
    environment = {
        **project["environment"],
        **{member: params[name] for name, member in _ENVIRONMENT_OVERRIDES.items() if params.get(name) is not None},
    }
    variables = {one["name"]: one for one in environment["environmentVariables"]}
    for one in params.get("environmentVariablesOverride") or ():
        if one["name"] in _OF_PIPELINE:
            settings[_OF_PIPELINE[one["name"]]] = one["value"]
        else:
            variables[one["name"]] = one
    environment["environmentVariables"] = list(variables.values())
    settings["environment"] = complete_environment(environment)
    check(settings)
    for what in ("source", "artifacts"):
        if settings[what]["type"] == "CODEPIPELINE":
            raise invalid(
                f"The {what} of the project {project['name']} is of type CODEPIPELINE: only a pipeline of CodePipeline"
                f" starts its builds, or a call that overrides the type"
            )
    return settings


def _shown(artifacts: Mapping[str, Any]) -> Document:
    """What a build shows of where an artifact goes, before it is there."""
    same = ("artifactIdentifier", "encryptionDisabled", "overrideArtifactName")
    shown = {name: artifacts[name] for name in same if name in artifacts}
    if artifacts["type"] == "S3":
        parts = (artifacts["location"], (artifacts.get("path") or "").strip("/"), artifacts.get("name") or "")
        shown["location"] = f"arn:aws:s3:::{'/'.join(part for part in parts if part)}"
    return shown
