"""CodeBuild projects: what a build is to be made of, where, and as whom.

Source: "CreateProject" and "ProjectSource", "ProjectArtifacts", "ProjectEnvironment" (AWS CodeBuild API Reference).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from localcloud.codebuild.buildspec import is_inline
from localcloud.codebuild.errors import exists, invalid, missing, refused
from localcloud.codebuild.names import Names, short
from localcloud.codebuild.pages import batch, in_order, page
from localcloud.context import Context, Request
from localcloud.resource_policies import allows

Document = dict[str, Any]
_KIND = "codebuild/project"
_PRINCIPAL = "codebuild.amazonaws.com"
_SOURCES = ("CODECOMMIT", "CODEPIPELINE", "NO_SOURCE", "S3")
_SECONDARY_SOURCES = ("CODECOMMIT", "S3")
_ENVIRONMENTS = ("LINUX_CONTAINER", "ARM_CONTAINER")
_ROLE = re.compile(r"arn:aws:iam::\d{12}:role/\S+")
_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,127}")
_BUILD_MINUTES, _QUEUED_MINUTES = 60, 480
_NO_LIMIT = -1
_NOT_HONOURED = ("autoRetryLimit", "badgeEnabled", "buildBatchConfig", "fileSystemLocations")
_ENVIRONMENT_NOT_HONOURED = (
    "certificate", "computeConfiguration", "dockerServer", "fleet", "hostKernel", "registryCredential",
)  # fmt: skip
_SOURCE_NOT_HONOURED = ("auth", "buildStatusConfig", "insecureSsl", "reportBuildStatus")
# Of an update: what is given replaces what is there.
_MEMBERS = (
    "artifacts", "cache", "concurrentBuildLimit", "description", "encryptionKey", "environment", "logsConfig",
    "queuedTimeoutInMinutes", "secondaryArtifacts", "secondarySourceVersions", "secondarySources", "serviceRole",
    "source", "sourceVersion", "tags", "timeoutInMinutes", "vpcConfig",
)  # fmt: skip


class Projects:
    """The operations on projects. Any thread may call all methods."""

    def __init__(self, context: Context, names: Names) -> None:
        self._context, self._store, self._names = context, context.store, names

    def create(self, request: Request) -> dict[str, Any]:
        """CreateProject."""
        params = request.params
        now = self._context.clock.now()
        document = self._completed(
            {
                "name": params["name"],
                "arn": self._names.project(params["name"]),
                "created": now,
                "lastModified": now,
                "badge": {"badgeEnabled": False},
                "projectVisibility": "PRIVATE",
                "timeoutInMinutes": _BUILD_MINUTES,
                "queuedTimeoutInMinutes": _QUEUED_MINUTES,
                "encryptionKey": f"arn:aws:kms:{self._names.region}:{self._names.account_id}:alias/aws/s3",
                "cache": {"type": "NO_CACHE"},
                "tags": [],
            },
            params,
        )
        self.check_role(document["serviceRole"], document["arn"])
        if not self._store.put(_KIND, params["name"], document, if_absent=True):
            raise exists(f"Project already exists: {document['arn']}")
        return {"project": document}

    def update(self, request: Request) -> dict[str, Any]:
        """UpdateProject."""
        params = request.params
        name = short(params["name"])

        def changed(document: Document) -> Document:
            return {**self._completed(document, params), "lastModified": self._context.clock.now()}

        there = self.get(name)
        if params.get("serviceRole") is not None:
            self.check_role(params["serviceRole"], there["arn"])
        return {"project": self._store.update(_KIND, name, changed)}

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteProject: its builds stay. That there is none is no error."""
        self._store.delete(_KIND, short(request.params["name"]))
        return {}

    def batch_get(self, request: Request) -> dict[str, Any]:
        """BatchGetProjects, by names or ARNs."""
        return batch(
            request.params["names"], lambda name: self._store.get(_KIND, short(name)), "projects", "projectsNotFound"
        )

    def list(self, request: Request) -> dict[str, Any]:
        """ListProjects, by name if nothing else is asked for."""
        found = in_order([document for _, document in self._store.list(_KIND)], request.params)
        return page("ListProjects", [document["name"] for document in found], request.params, "projects")

    def get(self, name: str) -> Document:
        """A project by its name or ARN. Raises ResourceNotFoundException."""
        found = self._store.get(_KIND, short(name))
        if found is None:
            raise missing(f"Project cannot be found: {self._names.project(short(name))}")
        return found

    def check_role(self, role_arn: str, project_arn: str) -> None:
        """Raise InvalidInputException unless CodeBuild may assume a role for a project."""
        try:
            role = self._context.leaf.client("iam").get_role(RoleName=role_arn.rpartition("/")[2])["Role"]
            trust = json.dumps(role["AssumeRolePolicyDocument"]) if role["Arn"] == role_arn else None
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchEntity":
                raise
            trust = None
        account = self._context.account_id
        if not allows(trust, service=_PRINCIPAL, action="sts:AssumeRole", source_arn=project_arn, account=account):
            raise invalid(
                f"CodeBuild is not authorized to perform: sts:AssumeRole on {role_arn}. It must be a role whose trust"
                f" policy lets {_PRINCIPAL} do that"
            )

    def _completed(self, there: Document, params: Mapping[str, Any]) -> Document:
        """A project with what a request gives; raises InvalidInputException for what cannot be."""
        given = {name: params[name] for name in _MEMBERS if params.get(name) is not None}
        _only(params, _NOT_HONOURED, "project")
        document = {**there, **given}
        # An update empties them in this way.
        document = {name: value for name, value in document.items() if value not in ({}, "")}
        if document.get("concurrentBuildLimit") == _NO_LIMIT:
            del document["concurrentBuildLimit"]
        document["source"] = {"insecureSsl": False, **document["source"]}
        document["environment"] = complete_environment(document["environment"])
        check(document)
        return document


def complete_environment(environment: Mapping[str, Any]) -> Document:
    """A project's environment with what it is where nothing is said."""
    variables = [{"type": "PLAINTEXT", **one} for one in environment.get("environmentVariables") or ()]
    return {
        "privilegedMode": False,
        "imagePullCredentialsType": "CODEBUILD",
        **environment,
        "environmentVariables": variables,
    }


def check(settings: Mapping[str, Any]) -> None:
    """Raise InvalidInputException for the settings of a project, or of a build, that cannot be built, or not here."""
    source, artifacts = settings["source"], settings["artifacts"]
    _check_source(source, _SOURCES, "source")
    if source["type"] == "NO_SOURCE" and not is_inline(source.get("buildspec") or "") and not _in_s3(source):
        raise invalid("A project with the source type NO_SOURCE needs a buildspec: its text, or where it lies in S3")
    # What is added for a pipeline's artifact bears its name.
    secondary = settings.get("secondarySources") or []
    for one in secondary:
        _check_source(one, _SECONDARY_SOURCES, f"secondary source {one.get('sourceIdentifier')}")
    _check_identifiers([one.get("sourceIdentifier") for one in secondary], "sourceIdentifier", "secondarySources")
    _check_artifacts(artifacts, "artifacts")
    more = settings.get("secondaryArtifacts") or []
    for one in more:
        _check_artifacts(one, f"secondary artifact {one.get('artifactIdentifier')}")
        if one["type"] == "CODEPIPELINE":
            raise invalid("Invalid artifacts: secondary artifacts cannot be of the type CODEPIPELINE")
    _check_identifiers([one.get("artifactIdentifier") for one in more], "artifactIdentifier", "secondaryArtifacts")
    _check_environment(settings["environment"])
    if not _ROLE.fullmatch(settings["serviceRole"]):
        raise invalid(f"Invalid service role: {settings['serviceRole']!r} is no ARN of a role")
    cache = settings.get("cache") or {"type": "NO_CACHE"}
    if cache["type"] == "S3":
        raise invalid("localcloud has no cache of type S3; use LOCAL with the mode LOCAL_CUSTOM_CACHE")
    if cache["type"] == "LOCAL" and not cache.get("modes"):
        raise invalid("Invalid cache: local cache requires at least one mode")
    if cache.get("cacheNamespace"):
        raise refused(["cacheNamespace"], "cache")
    _check_limits(settings)
    s3_logs = (settings.get("logsConfig") or {}).get("s3Logs") or {}
    if s3_logs.get("status") == "ENABLED":
        raise refused(["s3Logs ENABLED"], "logsConfig")


def _check_source(source: Mapping[str, Any], types: tuple[str, ...], what: str) -> None:
    if source["type"] not in types:
        raise invalid(f"localcloud has no {what} of type {source['type']}; expected one of {', '.join(types)}")
    _only(source, _SOURCE_NOT_HONOURED, what)
    if (source.get("gitSubmodulesConfig") or {}).get("fetchSubmodules"):
        raise refused(["gitSubmodulesConfig"], what)
    if source["type"] in ("S3", "CODECOMMIT") and not source.get("location"):
        raise invalid(f"Invalid project {what}: location must be specified for source type {source['type']}")
    if source["type"] == "S3" and "/" not in source["location"]:
        raise invalid(
            f"Invalid project {what}: location must be bucket/key or bucket/folder/; got {source['location']}"
        )


def _check_artifacts(artifacts: Mapping[str, Any], what: str) -> None:
    if artifacts["type"] == "S3" and not artifacts.get("location"):
        raise invalid(f"Invalid {what}: location, a bucket, must be specified for artifacts of type S3")
    if artifacts["type"] == "S3" and artifacts.get("packaging") == "ZIP" and not artifacts.get("name"):
        raise invalid(f"Invalid {what}: name must be specified for an artifact that is packaged as ZIP")
    if artifacts.get("encryptionDisabled") and artifacts["type"] != "S3":
        raise invalid(f"Invalid {what}: encryptionDisabled is for artifacts of type S3, not {artifacts['type']}")
    if artifacts.get("bucketOwnerAccess", "NONE") != "NONE":
        raise refused(["bucketOwnerAccess"], what)


def _check_environment(environment: Mapping[str, Any]) -> None:
    if environment["type"] not in _ENVIRONMENTS:
        raise invalid(
            f"localcloud has no environment of type {environment['type']}; expected {' or '.join(_ENVIRONMENTS)}"
        )
    _only(environment, _ENVIRONMENT_NOT_HONOURED, "environment")
    for variable in environment["environmentVariables"]:
        if "\0" in variable["value"] or "\0" in variable["name"] or "=" in variable["name"]:
            raise invalid(f"Invalid environment variable {variable['name']!r}: it cannot be set in a process")


def _check_limits(settings: Mapping[str, Any]) -> None:
    if settings.get("concurrentBuildLimit", 1) < 1:
        raise invalid(f"concurrentBuildLimit is {settings['concurrentBuildLimit']}; expected 1 or more, or -1 for none")


def _check_identifiers(identifiers: list[str | None], member: str, what: str) -> None:
    for identifier in identifiers:
        if not identifier or not _IDENTIFIER.fullmatch(identifier):
            raise invalid(f"Invalid {what}: {member} is {identifier!r}; expected letters, digits, _ and -")
    if len(set(identifiers)) != len(identifiers):
        raise invalid(f"Invalid {what}: each {member} must be another; got {', '.join(map(str, identifiers))}")


def _in_s3(source: Mapping[str, Any]) -> bool:
    return str(source.get("buildspec") or "").startswith("arn:aws:s3:::")


def _only(params: Mapping[str, Any], not_honoured: tuple[str, ...], what: str) -> None:
    if given := [name for name in not_honoured if params.get(name)]:
        raise refused(given, what)
