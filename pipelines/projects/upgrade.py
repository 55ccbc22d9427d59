"""Bringing a project to another version of the template: what would change, then UpdateProject.

What somebody chose when the project was made stays; every other parameter takes the new version's default.
"""

from __future__ import annotations

import io
import uuid
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import boto3
from botocore.exceptions import ClientError, WaiterError

from pipelines.errors import ServiceError, UsageError
from pipelines.names import Names
from pipelines.projects import reading
from pipelines.projects.reading import Project, Stack
from pipelines.publishing import catalog, templates
from pipelines.publishing.bucket import TemplateBucket
from pipelines.session import client

__all__ = ["Change", "Plan", "SeedChange", "begin", "plan"]

_GIVEN_BY_SAGEMAKER = ("SageMakerProjectName", "SageMakerProjectId")
_MOST_POLLS = 600


@dataclass(frozen=True)
class Change:
    """A resource that would be added, changed or removed."""

    action: str
    type: str
    logical_id: str
    replaced: bool


@dataclass(frozen=True)
class SeedChange:
    """How the files of a new repository differ between two versions."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    content: bytes
    """The newer seed, a zip file."""

    @property
    def count(self) -> int:
        return len(self.added) + len(self.changed) + len(self.removed)


@dataclass(frozen=True)
class Plan:
    """What an upgrade would do."""

    names: Names
    project: Project
    version: str
    template_url: str
    given: Mapping[str, str]
    """The parameters that somebody chose."""
    parameters: tuple[tuple[str, str | None, str | None], ...]
    """(name, before, after) of those that would be others; None for one that there is not."""
    changes: tuple[Change, ...]
    seed: SeedChange | None
    """None where the seed is the same, or the one before is no longer there."""
    template_name: str
    """What the project calls its template; empty for one of Service Catalog."""
    artifact_id: str | None

    @property
    def empty(self) -> bool:
        return not self.changes and not self.parameters


def plan(
    session: boto3.Session,
    names: Names,
    version: str | None,
    poll_seconds: float,
    configured: Mapping[str, str] = MappingProxyType({}),
) -> Plan:
    """What an upgrade would do, by a change set that is deleted again. version: the newest when None.

    configured: parameters that come of the project's own configuration; what else was given stays.

    Raises UsageError for a project that cannot be upgraded so, ServiceError when CloudFormation refuses the template.
    """
    project = reading.describe(session, names)
    if project is None or project.stack is None:
        raise UsageError(f"there is no project `{names.project}`; `mlops project list` lists them")
    if project.status == reading.NO_PROJECT:
        raise UsageError(f"`{names.project}` was made by `mlops up`, which also brings it up to date")
    if project.status not in ("CreateCompleted", "UpdateCompleted", "UpdateFailed"):
        raise UsageError(f"the project `{names.project}` is {project.status}, expected one that is made")
    bucket = TemplateBucket(session, names)
    wanted = version or bucket.newest()
    if wanted is None:
        raise ServiceError(f"no template is published in s3://{bucket.name}; `mlops publish` publishes one")
    template = bucket.template(wanted)
    known = templates.parameters(template)
    template_name, chosen = _given(session, names)
    given = {name: value for name, value in {**chosen, **configured}.items() if name in known}
    after = {**known, **given, **{name: project.stack.parameters.get(name) for name in _GIVEN_BY_SAGEMAKER}}
    before = project.stack.parameters
    parameters = tuple(
        (name, before.get(name), after.get(name))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    )
    url = bucket.template_url(wanted)
    return Plan(
        names,
        project,
        wanted,
        url,
        given,
        parameters,
        _changes(session, project.stack, url, {**given, **_injected(project.stack, known)}, poll_seconds),
        _seed_change(bucket, before.get("SeedKey"), known.get("SeedKey")),
        template_name,
        _artifact(session, project, wanted),
    )


def begin(session: boto3.Session, plan: Plan) -> None:
    """Ask SageMaker to do it. Raises ClientError when it refuses."""
    pairs = [{"Key": name, "Value": value} for name, value in sorted(plan.given.items())]
    wanted: dict[str, Any]
    if plan.artifact_id is not None:
        wanted = {
            "ServiceCatalogProvisioningUpdateDetails": {
                "ProvisioningArtifactId": plan.artifact_id,
                "ProvisioningParameters": pairs,
            }
        }
    else:
        template = {
            "TemplateName": plan.template_name,
            "TemplateURL": plan.template_url,
            "Parameters": pairs,
        }
        wanted = {"TemplateProvidersToUpdate": [{"CfnTemplateProvider": template}]}
    client(session, "sagemaker").update_project(
        ProjectName=plan.names.project,
        ProjectDescription=f"Made from version {plan.version} of the MLOps template.",
        **wanted,
    )


def _given(session: boto3.Session, names: Names) -> tuple[str, dict[str, str]]:
    """What the project calls its template, and the parameters that it was made, or last changed, with."""
    record = client(session, "sagemaker").describe_project(ProjectName=names.project)
    template_name = ""
    pairs = list(record.get("ServiceCatalogProvisioningDetails", {}).get("ProvisioningParameters", []))
    for provider in record.get("TemplateProviderDetails", []):
        template: Mapping[str, Any] = provider.get("CfnTemplateProviderDetail", {})
        template_name = template.get("TemplateName", "")
        pairs += template.get("Parameters", [])
    given = {pair["Key"]: pair.get("Value", "") for pair in pairs if pair["Key"] not in _GIVEN_BY_SAGEMAKER}
    return template_name, given


def _injected(stack: Stack, known: Mapping[str, Any]) -> dict[str, str]:
    return {name: stack.parameters[name] for name in _GIVEN_BY_SAGEMAKER if name in known and name in stack.parameters}


def _changes(
    session: boto3.Session, stack: Stack, template_url: str, parameters: Mapping[str, str], poll_seconds: float
) -> tuple[Change, ...]:
    cloudformation: Any = client(session, "cloudformation")
    role = {"RoleARN": stack.role_arn} if stack.role_arn else {}
    arn = cloudformation.create_change_set(
        StackName=stack.name,
        ChangeSetName=f"mlops-preview-{uuid.uuid4().hex}",
        ChangeSetType="UPDATE",
        TemplateURL=template_url,
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],
        **role,
    )["Id"]
    try:
        polling = {"Delay": poll_seconds, "MaxAttempts": _MOST_POLLS}
        cloudformation.get_waiter("change_set_create_complete").wait(ChangeSetName=arn, WaiterConfig=polling)
        return tuple(_read_changes(cloudformation, arn))
    except WaiterError:
        reason = cloudformation.describe_change_set(ChangeSetName=arn).get("StatusReason", "")
        if "didn't contain changes" in reason or "No updates are to be performed" in reason:
            return ()
        raise ServiceError(f"CloudFormation refuses the template for `{stack.name}`: {reason}") from None
    finally:
        cloudformation.delete_change_set(ChangeSetName=arn)


def _read_changes(cloudformation: Any, arn: str) -> list[Change]:
    found: list[Change] = []
    for page in cloudformation.get_paginator("describe_change_set").paginate(ChangeSetName=arn):
        for change in page["Changes"]:
            resource = change["ResourceChange"]
            replaced = resource.get("Replacement", "False") != "False"
            found.append(Change(resource["Action"], resource["ResourceType"], resource["LogicalResourceId"], replaced))
    return found


def _seed_change(bucket: TemplateBucket, old: str | None, new: str | None) -> SeedChange | None:
    if not old or not new or old == new:
        return None
    content = bucket.read(new)
    try:
        before = _files(bucket.read(old))
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            return None
        raise
    after = _files(content)
    found = SeedChange(
        added=tuple(sorted(after.keys() - before.keys())),
        changed=tuple(sorted(name for name in after.keys() & before.keys() if after[name] != before[name])),
        removed=tuple(sorted(before.keys() - after.keys())),
        content=content,
    )
    return found if found.count else None


def _files(content: bytes) -> dict[str, tuple[int, int]]:
    """By name, what tells whether a file is the same: checksum and mode."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {entry.filename: (entry.CRC, entry.external_attr) for entry in archive.infolist()}


def _artifact(session: boto3.Session, project: Project, version: str) -> str | None:
    """Service Catalog's name of the version, for a project that was made from a product."""
    if project.product_id is None:
        return None
    found = catalog.artifact(session, project.product_id, version)
    if found is None:
        raise ServiceError(
            f"Service Catalog's product {project.product_id} has no version {version}; "
            "`mlops publish --route catalog` adds it"
        )
    return found
