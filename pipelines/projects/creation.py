"""Making a project from the published template, as SageMaker Studio does it: by CreateProject.

Everything that can be wrong is looked at before anything is made, and all that is found is said at once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

from pipelines import infrastructure, provision
from pipelines.config import Configuration
from pipelines.errors import ServiceError, UsageError, suggestion
from pipelines.names import (
    ADMIN_STACK,
    CODECOMMIT,
    GITHUB,
    GITHUB_ACTIONS,
    NO_REPOSITORY,
    OVERRIDES_VARIABLE,
    REPOSITORY_PROVIDERS,
    SOURCE_URL_VARIABLE,
    Names,
)
from pipelines.projects import reading
from pipelines.publishing import catalog, templates
from pipelines.publishing.bucket import TemplateBucket
from pipelines.session import client

__all__ = ["CATALOG", "ROUTES", "S3", "Wish", "begin", "overrides_inside", "plan", "project_names"]

S3, CATALOG = ROUTES = ("s3", "catalog")
# What SageMaker calls the template within a project; the same in every version.
TEMPLATE_NAME = "mlops"
# SageMaker gives them.
_GIVEN = ("SageMakerProjectName", "SageMakerProjectId")


@dataclass(frozen=True)
class Wish:
    """What somebody asks for. Empty texts are the template's defaults."""

    repository: str = CODECOMMIT
    connection_arn: str = ""
    repository_id: str = ""
    workloads: str = ""
    overrides: str = ""
    route: str = S3
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """A project that can be made: nothing is in its way."""

    names: Names
    route: str
    version: str
    template_url: str
    parameters: Mapping[str, str]
    product_id: str | None = None
    artifact_id: str | None = None


def project_names(name: str, configuration: Configuration) -> Names:
    """The names of a project in a configuration's account and region. Raises UsageError for a name that is none."""
    try:
        return Names(name, configuration.names.account_id, configuration.names.region)
    except ValueError as error:
        raise UsageError(str(error)) from None


def overrides_inside(root: Path, environ: Mapping[str, str]) -> str:
    """The overrides file that MLOPS_OVERRIDES names, as the project's repository has it; empty for one outside."""
    named = environ.get(OVERRIDES_VARIABLE)
    if not named:
        return ""
    file = Path(os.path.abspath(named))
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else ""


def plan(session: boto3.Session, names: Names, configuration: Configuration, wish: Wish) -> Plan:
    """What would be made; only reads.

    Raises UsageError for a wish that cannot be, ServiceError for what is in its way.
    """
    _check(wish)
    bucket = TemplateBucket(session, names)
    version = bucket.newest()
    if version is None:
        raise ServiceError(
            f"no template is published in s3://{bucket.name}; `mlops publish`, in a working copy of the template, "
            "publishes it"
        )
    template = bucket.template(version)
    parameters = _parameters(template, configuration, wish)
    if found := conflicts(session, names):
        listed = "\n".join(f"  {one}" for one in found)
        raise ServiceError(
            f"the project `{names.project}` cannot be made:\n{listed}\n"
            f"`mlops project destroy {names.project}` removes what is left of a project; or choose another name"
        )
    url = bucket.template_url(version)
    if wish.route == S3:
        return Plan(names, S3, version, url, parameters)
    product_id = (infrastructure.outputs(session, ADMIN_STACK) or {}).get("ProductId")
    artifact_id = catalog.artifact(session, product_id, version) if product_id else None
    if product_id is None or artifact_id is None:
        raise ServiceError(f"Service Catalog has no version {version}; `mlops publish --route catalog` publishes it")
    return Plan(names, CATALOG, version, url, parameters, product_id, artifact_id)


def begin(session: boto3.Session, plan: Plan) -> None:
    """Ask SageMaker for the project. Raises ClientError when it refuses."""
    provider: dict[str, Any]
    if plan.route == S3:
        template = {
            "TemplateName": TEMPLATE_NAME,
            "TemplateURL": plan.template_url,
            "RoleARN": plan.names.launch_role_arn,
            "Parameters": _pairs(plan.parameters),
        }
        provider = {"TemplateProviders": [{"CfnTemplateProvider": template}]}
    else:
        details = {
            "ProductId": plan.product_id,
            "ProvisioningArtifactId": plan.artifact_id,
            "ProvisioningParameters": _pairs(plan.parameters),
        }
        provider = {"ServiceCatalogProvisioningDetails": details}
    description = f"Made from version {plan.version} of the MLOps template."
    client(session, "sagemaker").create_project(
        ProjectName=plan.names.project, ProjectDescription=description, **provider
    )


def conflicts(session: boto3.Session, names: Names) -> list[str]:
    """What is there already by a project's names."""
    found: list[str] = []
    project = reading.describe(session, names)
    if project is not None and project.status != reading.NO_PROJECT:
        found.append(f"the project exists: {project.status}, since {project.created:%Y-%m-%d %H:%M}")
    found += [f"the stack {stack.name} exists: {stack.status}" for stack in reading.stacks_of(session, names)]
    s3: Any = client(session, "s3")
    for bucket in (names.bucket, names.artifacts_bucket):
        if (status := _bucket_status(s3, bucket)) != 404:
            found.append(f"the bucket {bucket} exists" + (", and is another account's" if status == 403 else ""))
    codecommit: Any = client(session, "codecommit")
    try:
        codecommit.get_repository(repositoryName=names.repository)
        found.append(f"the CodeCommit repository {names.repository} exists")
    except codecommit.exceptions.RepositoryDoesNotExistException:
        pass
    return found


def _check(wish: Wish) -> None:
    for what, value, known in (
        ("repository", wish.repository, REPOSITORY_PROVIDERS),
        ("route", wish.route, ROUTES),
    ):
        if value not in known:
            hint = suggestion(value, known) or f"; expected one of {', '.join(known)}"
            raise UsageError(f"{what} `{value}` does not exist{hint}")
    wants = {
        CODECOMMIT: (False, False),
        GITHUB: (True, True),
        GITHUB_ACTIONS: (False, True),
        NO_REPOSITORY: (False, False),
    }[wish.repository]
    given = (("--connection-arn", wish.connection_arn), ("--repository-id", wish.repository_id))
    for (option, value), wanted in zip(given, wants, strict=True):
        if wanted and not value:
            raise UsageError(f"--repository {wish.repository} needs {option}; `mlops project create --help` says what")
        if value and not wanted:
            raise UsageError(f"{option} does not go with --repository {wish.repository}; leave it away")


def _parameters(template: str, configuration: Configuration, wish: Wish) -> dict[str, str]:
    """The template's parameters that are not its defaults."""
    known = templates.parameters(template)
    for name in wish.parameters:
        if name in _GIVEN:
            raise UsageError(f"parameter `{name}` is SageMaker's to give; leave it away")
        if name not in known:
            raise UsageError(
                f"the template has no parameter `{name}`{suggestion(name, known) or '; expected ' + ', '.join(known)}"
            )
    wished = {
        **provision.configured(configuration),
        "RepositoryProvider": wish.repository,
        "ConnectionArn": wish.connection_arn,
        "RepositoryId": wish.repository_id,
        "Workloads": wish.workloads,
        "Overrides": wish.overrides,
        # Where this command line's own stream gets its transactions from, the project's does.
        "SourceUrl": os.environ.get(SOURCE_URL_VARIABLE, ""),
        **wish.parameters,
    }
    for name, value in wished.items():
        if name not in known and value:
            raise ServiceError(
                f"the published template has no parameter `{name}`; it is older than this command line: `mlops publish`"
            )
    return {name: value for name, value in wished.items() if name in known and value not in ("", known[name])}


def _pairs(parameters: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": name, "Value": value} for name, value in sorted(parameters.items())]


def _bucket_status(s3: Any, bucket: str) -> int:
    try:
        s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
    return 200
