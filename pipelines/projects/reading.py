"""What there is of projects: SageMaker's record, the stack behind it, and its repository."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import boto3
from botocore.exceptions import ClientError

from pipelines.names import CODECOMMIT, Names
from pipelines.session import client, web_address

__all__ = ["NO_PROJECT", "Project", "Stack", "clone_url", "describe", "list_all", "stacks", "stacks_of"]

PROJECT_PARAMETER = "SageMakerProjectName"
# A project that `mlops up` has made: a stack without SageMaker's record.
NO_PROJECT = "StackOnly"
# What a stack of template/project.yml has and no other stack of a project.
_MAIN_PARAMETER = "CodeKey"
_DELETED = "DeleteCompleted"


@dataclass(frozen=True)
class Stack:
    """A stack as CloudFormation describes it."""

    name: str
    id: str
    status: str
    role_arn: str | None
    created: datetime
    parameters: Mapping[str, str] = field(repr=False)
    outputs: Mapping[str, str] = field(repr=False)

    @property
    def project(self) -> str | None:
        return self.parameters.get(PROJECT_PARAMETER)


@dataclass(frozen=True)
class Project:
    """A project. `id` is empty and `status` is StackOnly where SageMaker knows none."""

    name: str
    id: str
    status: str
    created: datetime
    stack: Stack | None
    reason: str | None = None
    """Why it failed."""
    product_id: str | None = None
    """Service Catalog's product that it was made from, on that route."""

    @property
    def version(self) -> str | None:
        """Of the template that it has now."""
        return self.stack.parameters.get("TemplateVersion") or None if self.stack else None

    @property
    def provider(self) -> str | None:
        return self.stack.parameters.get("RepositoryProvider") if self.stack else None

    @property
    def repository_id(self) -> str | None:
        """`owner/name` on GitHub."""
        return self.stack.parameters.get("RepositoryId") or None if self.stack else None


def stacks(session: boto3.Session) -> Iterator[Stack]:
    """All stacks of the account and region that are not deleted."""
    for page in client(session, "cloudformation").get_paginator("describe_stacks").paginate():
        for found in page["Stacks"]:
            yield _stack(found)


def stacks_of(session: boto3.Session, names: Names) -> list[Stack]:
    """The main stacks of a project: one, but for what an attempt that failed has left."""
    return [stack for stack in stacks(session) if stack.project == names.project and _is_main(stack, names)]


def describe(session: boto3.Session, names: Names) -> Project | None:
    """A project; None when neither SageMaker nor CloudFormation knows one of that name."""
    found = stacks_of(session, names)
    record = _record(session, names.project)
    if record is None:
        return _alone(found[0]) if found else None
    detail: Mapping[str, Any] = {}
    for provider in record.get("TemplateProviderDetails", []):
        detail = provider.get("CfnTemplateProviderDetail", {}).get("StackDetail", {})
    stack = next((stack for stack in found if stack.name == detail.get("Name")), None) or next(iter(found), None)
    provisioned = record.get("ServiceCatalogProvisionedProductDetails", {})
    reason = detail.get("StatusMessage") or provisioned.get("ProvisionedProductStatusMessage")
    return Project(
        name=record["ProjectName"],
        id=record["ProjectId"],
        status=record["ProjectStatus"],
        created=record["CreationTime"],
        stack=stack,
        reason=reason if record["ProjectStatus"].endswith("Failed") else None,
        product_id=record.get("ServiceCatalogProvisioningDetails", {}).get("ProductId"),
    )


def list_all(session: boto3.Session) -> list[Project]:
    """All projects of the account and region by name, also those that `mlops up` has made; no deleted ones."""
    by_project: dict[str, Stack] = {}
    for stack in stacks(session):
        if stack.project and _MAIN_PARAMETER in stack.parameters and "--" not in stack.name:
            by_project.setdefault(stack.project, stack)
    found: dict[str, Project] = {}
    for page in client(session, "sagemaker").get_paginator("list_projects").paginate():
        for summary in page["ProjectSummaryList"]:
            name, status = summary["ProjectName"], summary["ProjectStatus"]
            if status != _DELETED:
                created = summary["CreationTime"]
                found[name] = Project(name, summary["ProjectId"], status, created, by_project.get(name))
    for name, stack in by_project.items():
        found.setdefault(name, _alone(stack))
    return [found[name] for name in sorted(found)]


def clone_url(session: boto3.Session, project: Project) -> str | None:
    """Where its repository is cloned from; None for one without. Raises ClientError when CodeCommit refuses."""
    if project.stack is not None and (url := project.stack.outputs.get("CloneUrlHttp")):
        return url
    if project.provider == CODECOMMIT:
        found = client(session, "codecommit").get_repository(repositoryName=project.name)
        return str(found["repositoryMetadata"]["cloneUrlHttp"])
    if project.repository_id is None:
        return None
    return web_address("connections", f"{project.repository_id}.git", f"github.com/{project.repository_id}.git")


def _alone(stack: Stack) -> Project:
    return Project(stack.project or stack.name, "", NO_PROJECT, stack.created, stack)


def _is_main(stack: Stack, names: Names) -> bool:
    return stack.name not in (names.api_stack, names.ingestion_stack) and _MAIN_PARAMETER in stack.parameters


def _record(session: boto3.Session, name: str) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = client(session, "sagemaker").describe_project(ProjectName=name)
    except ClientError as error:
        if "does not exist" in error.response["Error"]["Message"]:
            return None
        raise
    return None if record["ProjectStatus"] == _DELETED else record


def _stack(found: Mapping[str, Any]) -> Stack:
    return Stack(
        name=found["StackName"],
        id=found["StackId"],
        status=found["StackStatus"],
        role_arn=found.get("RoleARN"),
        created=found["CreationTime"],
        parameters={one["ParameterKey"]: one["ParameterValue"] for one in found.get("Parameters", [])},
        outputs={one["OutputKey"]: one["OutputValue"] for one in found.get("Outputs", [])},
    )
