"""Projects whose stacks are under way: what a later process finds, and what is refused meanwhile."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.cloudformation.service import CloudFormation
from localcloud.context import Context
from localcloud.dispatch import Dispatcher
from localcloud.protocols.http import HttpRequest, HttpResponse
from localcloud.sagemaker.arns import Arns
from localcloud.sagemaker.projects.operations import Projects
from tests.surroundings import ACCOUNT_ID, REGION, surroundings

DEADLINE_SECONDS = 20.0
URL = "https://templates.s3.eu-west-1.amazonaws.com/project.json"
NAMES = ("first", "second", "third")
TEMPLATE = {
    "Parameters": {"SageMakerProjectName": {"Type": "String"}, "SageMakerProjectId": {"Type": "String"}},
    "Resources": {
        name: {
            "Type": "AWS::SSM::Parameter",
            "DependsOn": list(NAMES[: NAMES.index(name)]),
            "Properties": {"Name": f"/{name}", "Type": "String", "Value": "1"},
        }
        for name in NAMES
    },
}


class Leaf:
    """S3 with one template, and SSM's parameters. While `holding`, the second parameter waits for `released`."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.holding = False
        self.reached, self.released = threading.Event(), threading.Event()

    def issued(self, access_key: str) -> bool:
        return False

    def handle(self, service: str, request: HttpRequest) -> HttpResponse:
        if service == "s3":
            return HttpResponse(200, [("Content-Type", "application/json")], json.dumps(TEMPLATE).encode())
        body = json.loads(request.body)
        operation = request.headers["x-amz-target"].rpartition(".")[2]
        if body["Name"] == "/second" and self.holding:
            self.reached.set()
            assert self.released.wait(DEADLINE_SECONDS)
        if operation == "PutParameter":
            self.values[body["Name"]] = body["Value"]
        elif body["Name"] not in self.values:
            missing = json.dumps({"__type": "ParameterNotFound", "message": "not found"}).encode()
            return HttpResponse(400, [("Content-Type", "application/x-amz-json-1.1")], missing)
        else:
            del self.values[body["Name"]]
        return HttpResponse(200, [("Content-Type", "application/x-amz-json-1.1")], b"{}")


class SageMaker:
    """SageMaker with its projects, and nothing else."""

    name = "sagemaker"

    def __init__(self, context: Context) -> None:
        self.projects = Projects(context, Arns(REGION, ACCOUNT_ID))
        self.operations = {
            "CreateProject": self.projects.create,
            "DescribeProject": self.projects.describe,
            "UpdateProject": self.projects.update,
            "DeleteProject": self.projects.delete,
        }

    def start(self) -> None:
        self.projects.recover()

    def stop(self) -> None:
        self.projects.close()


class Cloud:
    """A localcloud with projects and stacks."""

    def __init__(self, folder: Path, leaf: Leaf) -> None:
        self.leaf = leaf
        self.context: Context = replace(surroundings(folder), leaf=leaf)  # type: ignore[arg-type]
        self.sagemaker, self.stacks = SageMaker(self.context), CloudFormation(self.context)
        self.context.clients.connect(Dispatcher(self.context, [self.sagemaker, self.stacks]).handle)
        self.client = self.context.clients.of("sagemaker")
        self.sagemaker.start()
        self.stacks.start()

    def create(self) -> None:
        provider = {"CfnTemplateProvider": {"TemplateName": "t", "TemplateURL": URL}}
        self.client.create_project(ProjectName="demo", TemplateProviders=[provider])

    def project(self) -> dict[str, Any]:
        found: dict[str, Any] = self.client.describe_project(ProjectName="demo")
        return found

    def settled(self) -> dict[str, Any]:
        """The project when nobody works on it any more."""
        for thread in list(self.sagemaker.projects._threads.values()):
            thread.join(DEADLINE_SECONDS)
        return self.project()

    def stop(self) -> None:
        self.leaf.released.set()
        self.stacks.stop()
        self.sagemaker.stop()
        self.context.calls.close()
        self.context.store.close()


@pytest.fixture
def leaf() -> Leaf:
    return Leaf()


@pytest.fixture
def cloud(tmp_path: Path, leaf: Leaf) -> Iterator[Cloud]:
    found = Cloud(tmp_path, leaf)
    yield found
    found.stop()


def message_of(project: dict[str, Any]) -> str:
    (provider,) = project["TemplateProviderDetails"]
    return str(provider["CfnTemplateProviderDetail"]["StackDetail"]["StatusMessage"])


def test_a_project_that_is_being_made_is_left_alone(cloud: Cloud) -> None:
    cloud.leaf.holding = True
    cloud.create()
    assert cloud.leaf.reached.wait(DEADLINE_SECONDS)
    assert cloud.project()["ProjectStatus"] == "CreateInProgress"
    for call, params in (
        (cloud.client.delete_project, {}),
        (cloud.client.update_project, {"ProjectDescription": "other"}),
    ):
        with pytest.raises(ClientError) as refused:
            call(ProjectName="demo", **params)
        assert refused.value.response["Error"]["Code"] == "ConflictException"
        assert "in CreateInProgress status" in refused.value.response["Error"]["Message"]
    cloud.leaf.released.set()
    assert cloud.settled()["ProjectStatus"] == "CreateCompleted"


def test_what_was_cut_off_is_taken_back_and_told(tmp_path: Path, leaf: Leaf) -> None:
    cloud = Cloud(tmp_path, leaf)
    leaf.holding = True
    cloud.create()
    assert leaf.reached.wait(DEADLINE_SECONDS)
    # The stack's thread is within a call: it ends with that, and does not begin the next resource.
    cloud.stacks._stopping.set()
    cloud.stop()

    leaf.holding = False
    again = Cloud(tmp_path, leaf)
    project = again.settled()
    assert project["ProjectStatus"] == "CreateFailed"
    assert message_of(project).startswith("ROLLBACK_COMPLETE: ")
    assert leaf.values == {}
    again.client.delete_project(ProjectName="demo")
    assert again.settled()["ProjectStatus"] == "DeleteCompleted"
    again.stop()


def test_what_had_not_begun_is_begun_by_the_next_process(tmp_path: Path, leaf: Leaf) -> None:
    cloud = Cloud(tmp_path, leaf)
    # Its process ends before the thread that makes the stack has begun.
    cloud.sagemaker.projects._stopping = True
    cloud.create()
    assert cloud.project()["ProjectStatus"] == "Pending"
    cloud.stop()
    again = Cloud(tmp_path, leaf)
    assert again.settled()["ProjectStatus"] == "CreateCompleted"
    assert leaf.values == {f"/{name}": "1" for name in NAMES}
    again.stop()


def test_a_stack_that_somebody_deleted_is_no_ones_project(cloud: Cloud) -> None:
    cloud.create()
    project = cloud.settled()
    (provider,) = project["TemplateProviderDetails"]
    stacks = cloud.context.clients.of("cloudformation")
    stacks.delete_stack(StackName=provider["CfnTemplateProviderDetail"]["StackDetail"]["Id"])
    for thread in list(cloud.stacks._threads.values()):
        thread.join(DEADLINE_SECONDS)
    cloud.client.delete_project(ProjectName="demo")
    assert cloud.settled()["ProjectStatus"] == "DeleteCompleted"
