"""The template as SageMaker deploys it: through the launch role of template/admin.yml, which suffices whatever the
provider, and under the boundary.
"""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from pipelines import infrastructure
from pipelines.infrastructure import Wanted
from pipelines.names import ADMIN_STACK, Names
from pipelines.session import client
from tests.conftest import ROOT, Localcloud, point_at
from tests.pipelines.conftest import Project
from tests.pipelines.deploy.loop import started

CONNECTION = "arn:aws:codeconnections:eu-west-1:123456789012:connection/0f6c1a2b-3d4e-4f50-8a61-7b8c9d0e1f23"
PROVIDER = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
KINDS = {
    "CodeCommit": {"Workloads": "both", "MonthlyBudgetDollars": "50"},
    "GitHub": {"Workloads": "cardholders", "ConnectionArn": CONNECTION, "RepositoryId": "me/fraud"},
    "GitHubActions": {"Workloads": "forecaster", "GitHubOidcProviderArn": PROVIDER, "RepositoryId": "me/fraud"},
}
_SECONDS = 120


@pytest.fixture(scope="module")
def own() -> Iterator[Localcloud]:
    """A localcloud for these tests alone: an account has one template/admin.yml, and others' is a small one."""
    with started() as localcloud:
        yield localcloud


@pytest.fixture
def aws(own: Localcloud, monkeypatch: pytest.MonkeyPatch) -> None:
    point_at(own, monkeypatch)


def _zip(name: str, content: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(name, content)
    return made.getvalue()


class Account:
    """What the test does with an account that has template/admin.yml."""

    def __init__(self, project: Project) -> None:
        self.session, self.names = project.session, project.names
        kept = infrastructure.parameters(self.session, ADMIN_STACK)
        text = (ROOT / "template" / "admin.yml").read_text()
        infrastructure.deploy(self.session, self.names, ADMIN_STACK, Wanted(text, kept), 0.05)
        self.cloudformation = client(self.session, "cloudformation")

    def put(self, key: str, content: bytes) -> str:
        """An object in the template bucket; gives its address."""
        bucket = self.names.template_bucket
        client(self.session, "s3").put_object(Bucket=bucket, Key=key, Body=content)
        return f"https://{bucket}.s3.{self.names.region}.amazonaws.com/{key}"

    def create(self, parameters: dict[str, str]) -> dict[str, Any]:
        """The stack of the project as SageMaker makes it, when nothing is under way."""
        bucket, project = self.names.template_bucket, self.names.project
        self.put(f"{project}/code.zip", _zip("pipelines/__init__.py", ""))
        self.put(f"{project}/seed.zip", _zip("README.md", "A project.\n"))
        given = {
            "SageMakerProjectName": project,
            "PermissionsBoundary": self.names.boundary_arn,
            "CodeBucket": bucket,
            "CodeKey": f"{project}/code.zip",
            "SeedBucket": bucket,
            "SeedKey": f"{project}/seed.zip",
            "Retraining": "{}",
            "MlflowTrackingUri": "http://127.0.0.1:9",
            **parameters,
        }
        self.cloudformation.create_stack(
            StackName=f"SP-{project}-p-abcdefghijkl",
            TemplateURL=self.put(f"{project}/project.yml", (ROOT / "template" / "project.yml").read_bytes()),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
            Capabilities=["CAPABILITY_NAMED_IAM"],
            RoleARN=self.names.launch_role_arn,
            Tags=[{"Key": "sagemaker:project-name", "Value": project}],
        )
        return self.settled()

    def settled(self) -> dict[str, Any]:
        """The stack, when nothing is under way."""
        deadline = time.monotonic() + _SECONDS
        while True:
            stacks = self.cloudformation.list_stacks()["StackSummaries"]
            [found] = [one for one in stacks if one["StackName"] == f"SP-{self.names.project}-p-abcdefghijkl"]
            if not found["StackStatus"].endswith("IN_PROGRESS"):
                return found  # type: ignore[no-any-return]
            assert time.monotonic() < deadline, found
            time.sleep(0.05)

    def failures(self, stack_id: str) -> list[str]:
        """The reasons of what failed."""
        pages = self.cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack_id)
        events = [event for page in pages for event in page["StackEvents"]]
        return [
            f"{one['LogicalResourceId']}: {one.get('ResourceStatusReason')}"
            for one in events
            if "FAILED" in one["ResourceStatus"]
        ]


@pytest.mark.parametrize("provider", KINDS)
def test_a_project_is_made_through_the_launch_role_and_deleted(project: Project, provider: str) -> None:
    account = Account(project)
    named, session = project.names, project.session
    stack = account.create({"RepositoryProvider": provider, **KINDS[provider]})
    assert (stack["StackStatus"], account.failures(stack["StackId"])) == ("CREATE_COMPLETE", [])
    described = account.cloudformation.describe_stack_resources(StackName=stack["StackId"])["StackResources"]
    by_type: dict[str, list[str]] = {}
    for resource in described:
        by_type.setdefault(resource["ResourceType"], []).append(resource["PhysicalResourceId"])
    iam = client(session, "iam")
    for role in by_type["AWS::IAM::Role"]:
        boundary = iam.get_role(RoleName=role)["Role"]["PermissionsBoundary"]["PermissionsBoundaryArn"]
        assert boundary == named.boundary_arn, role
    wanted = {"CodeCommit": 6, "GitHub": 3, "GitHubActions": 0}[provider]
    assert len(by_type.get("AWS::CodePipeline::Pipeline", [])) == wanted
    if provider == "CodeCommit":
        _is_delivered_by_codecommit(session, named)
    account.cloudformation.delete_stack(StackName=stack["StackId"])
    assert (account.settled()["StackStatus"], account.failures(stack["StackId"])) == ("DELETE_COMPLETE", [])


def _is_delivered_by_codecommit(session: Any, named: Names) -> None:
    """What the rest of the project finds by its names is there; and no pipeline runs by itself."""
    codecommit = client(session, "codecommit")
    repository = codecommit.get_repository(repositoryName=named.repository)["repositoryMetadata"]
    assert repository["defaultBranch"] == "main"
    codepipeline = client(session, "codepipeline")
    for workload in ("cardholders", "forecaster"):
        for kind in ("build", "deploy", "monitor"):
            name = named.code_pipeline(workload, kind)
            assert codepipeline.list_pipeline_executions(pipelineName=name)["pipelineExecutionSummaries"] == []
    versioning = client(session, "s3").get_bucket_versioning(Bucket=named.artifacts_bucket)
    assert versioning["Status"] == "Enabled"
    budget = client(session, "budgets").describe_budget(AccountId=named.account_id, BudgetName=named.project)
    assert budget["Budget"]["BudgetLimit"]["Unit"] == "USD"
    for function in ("changes", "guard"):
        client(session, "lambda").get_function(FunctionName=named.function(function))
