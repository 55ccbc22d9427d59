"""Deployments that are interrupted, overtaken, or fail on their way back."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localcloud.cloudformation.service import CloudFormation
from localcloud.context import Context
from localcloud.dispatch import Dispatcher
from localcloud.protocols.http import HttpRequest, HttpResponse
from localcloud.signals import Event
from tests.surroundings import surroundings

DEADLINE_SECONDS = 20.0


class ParameterStore:
    """SSM's parameters, in place of the leaf. Calls for a parameter named in `held` wait for `released`; those for one
    in `broken` fail."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.held: set[str] = set()
        self.broken: set[str] = set()
        self.reached, self.released = threading.Event(), threading.Event()

    def issued(self, access_key: str) -> bool:
        return False

    def handle(self, service: str, request: HttpRequest) -> HttpResponse:
        operation = request.headers["x-amz-target"].rpartition(".")[2]
        body = json.loads(request.body)
        name = body["Name"]
        if name in self.held:
            self.reached.set()
            assert self.released.wait(DEADLINE_SECONDS)
        if name in self.broken:
            return _error("InternalServerError", "it is broken")
        if operation == "PutParameter":
            if name in self.values and not body.get("Overwrite"):
                return _error("ParameterAlreadyExists", "The parameter already exists.")
            self.values[name] = body["Value"]
        elif name not in self.values:
            return _error("ParameterNotFound", f"Parameter {name} not found.")
        elif operation == "DeleteParameter":
            del self.values[name]
        return HttpResponse(200, [("Content-Type", "application/x-amz-json-1.1")], b"{}")


def _error(code: str, message: str) -> HttpResponse:
    body = json.dumps({"__type": code, "message": message}).encode()
    return HttpResponse(400, [("Content-Type", "application/x-amz-json-1.1")], body)


class Cloud:
    """A localcloud with CloudFormation and a parameter store, and nothing else."""

    def __init__(self, folder: Path, parameters: ParameterStore) -> None:
        self.parameters = parameters
        self.context: Context = replace(surroundings(folder), leaf=parameters)  # type: ignore[arg-type]
        self.service = CloudFormation(self.context)
        self.context.clients.connect(Dispatcher(self.context, [self.service]).handle)
        self.client = self.context.clients.of("cloudformation")
        self.events: list[Event] = []
        self.context.signals.on_event(self.events.append)
        self.service.start()

    def create(self, resources: dict[str, Any], **params: Any) -> str:
        answer = self.client.create_stack(StackName="demo", TemplateBody=body(resources), **params)
        return str(answer["StackId"])

    def status(self, stack_id: str = "demo") -> str:
        return str(self.client.describe_stacks(StackName=stack_id)["Stacks"][0]["StackStatus"])

    def settled(self, stack_id: str = "demo") -> str:
        """The status when nobody works on a stack any more."""
        for thread in list(self.service._threads.values()):
            thread.join(DEADLINE_SECONDS)
        return self.status(stack_id)

    def stop(self) -> None:
        self.service.stop()
        self.context.calls.close()
        self.context.store.close()


@pytest.fixture
def parameters() -> ParameterStore:
    return ParameterStore()


@pytest.fixture
def cloud(tmp_path: Path, parameters: ParameterStore) -> Iterator[Cloud]:
    found = Cloud(tmp_path, parameters)
    yield found
    parameters.released.set()
    found.stop()


def body(resources: dict[str, Any]) -> str:
    return json.dumps({"Resources": resources})


def parameter(name: str, value: Any = "1", **attributes: Any) -> dict[str, Any]:
    properties = {"Name": name, "Type": "String", "Value": value}
    return {"Type": "AWS::SSM::Parameter", "Properties": properties, **attributes}


CHAIN = {"A": parameter("/a"), "B": parameter("/b", DependsOn="A"), "C": parameter("/c", DependsOn="B")}


def test_a_creation_that_was_cut_off_is_taken_back(tmp_path: Path, parameters: ParameterStore) -> None:
    cloud = Cloud(tmp_path, parameters)
    parameters.held.add("/b")
    stack_id = cloud.create(CHAIN)
    assert parameters.reached.wait(DEADLINE_SECONDS)
    stopping = threading.Thread(target=cloud.stop)
    stopping.start()
    assert cloud.service._stopping.wait(DEADLINE_SECONDS)
    parameters.released.set()
    stopping.join(DEADLINE_SECONDS)
    assert parameters.values == {"/a": "1", "/b": "1"}

    again = Cloud(tmp_path, parameters)
    assert again.settled(stack_id) == "ROLLBACK_COMPLETE"
    assert parameters.values == {}
    reasons = [
        event.get("ResourceStatusReason")
        for event in again.client.describe_stack_events(StackName=stack_id)["StackEvents"]
        if event["ResourceStatus"] == "ROLLBACK_IN_PROGRESS"
    ]
    assert reasons == ["localcloud stopped while the stack was in CREATE_IN_PROGRESS. Rollback requested by user."]
    again.stop()


def test_a_resource_of_which_nothing_is_known_is_left_and_named(tmp_path: Path, parameters: ParameterStore) -> None:
    cloud = Cloud(tmp_path, parameters)
    stack_id = cloud.create({"A": parameter("/a")})
    cloud.settled()
    # As a process leaves it that was killed between the call and its record.
    cloud.context.store.update(
        "cloudformation/resource",
        f"{stack_id}/A",
        lambda record: {**record, "PhysicalResourceId": None, "ResourceStatus": "CREATE_IN_PROGRESS"},
    )
    cloud.context.store.update(
        "cloudformation/stack", stack_id, lambda stack: {**stack, "StackStatus": "CREATE_IN_PROGRESS"}
    )
    cloud.stop()
    again = Cloud(tmp_path, parameters)
    assert again.settled() == "ROLLBACK_COMPLETE"
    assert parameters.values == {"/a": "1"}
    events = again.client.describe_stack_events(StackName=stack_id)["StackEvents"]
    failed = next(event for event in events if event["ResourceStatus"] == "CREATE_FAILED")
    assert "whether it is there is not known" in failed["ResourceStatusReason"]
    again.stop()


def test_an_update_that_was_cut_off_is_taken_back(tmp_path: Path, parameters: ParameterStore) -> None:
    cloud = Cloud(tmp_path, parameters)
    cloud.create(CHAIN)
    assert cloud.settled() == "CREATE_COMPLETE"
    parameters.held.add("/b")
    changed = {"A": parameter("/a", "2"), "B": parameter("/b", "2", DependsOn="A"), "N": parameter("/n", DependsOn="B")}
    cloud.client.update_stack(StackName="demo", TemplateBody=body(changed))
    assert parameters.reached.wait(DEADLINE_SECONDS)
    stopping = threading.Thread(target=cloud.stop)
    stopping.start()
    assert cloud.service._stopping.wait(DEADLINE_SECONDS)
    parameters.released.set()
    stopping.join(DEADLINE_SECONDS)
    assert parameters.values == {"/a": "2", "/b": "2", "/c": "1"}

    again = Cloud(tmp_path, parameters)
    assert again.settled() == "UPDATE_ROLLBACK_COMPLETE"
    assert parameters.values == {"/a": "1", "/b": "1", "/c": "1"}
    again.client.delete_stack(StackName="demo")
    again.stop()
    last = Cloud(tmp_path, parameters)
    for stack in last.client.list_stacks()["StackSummaries"]:
        assert last.settled(stack["StackId"]) == "DELETE_COMPLETE"
    assert parameters.values == {}
    last.stop()


def test_a_stack_that_is_being_made_can_be_deleted(cloud: Cloud, parameters: ParameterStore) -> None:
    parameters.held.add("/b")
    stack_id = cloud.create(CHAIN)
    assert parameters.reached.wait(DEADLINE_SECONDS)
    cloud.client.delete_stack(StackName="demo")
    assert cloud.status() == "DELETE_IN_PROGRESS"
    parameters.released.set()
    assert cloud.settled(stack_id) == "DELETE_COMPLETE"
    assert parameters.values == {}
    events = cloud.client.describe_stack_events(StackName=stack_id)["StackEvents"]
    assert "C" not in {event["LogicalResourceId"] for event in events}


def test_an_update_under_way_is_not_disturbed(cloud: Cloud, parameters: ParameterStore) -> None:
    stack_id = cloud.create({"A": parameter("/a")})
    cloud.settled()
    parameters.held.add("/a")
    cloud.client.update_stack(StackName="demo", TemplateBody=body({"A": parameter("/a", "2")}))
    assert parameters.reached.wait(DEADLINE_SECONDS)
    refused = cloud.client.exceptions.ClientError
    with pytest.raises(refused, match="UPDATE_IN_PROGRESS state and can not be updated"):
        cloud.client.update_stack(StackName="demo", TemplateBody=body({"A": parameter("/a", "3")}))
    with pytest.raises(refused, match="cannot be deleted while in status UPDATE_IN_PROGRESS"):
        cloud.client.delete_stack(StackName="demo")
    parameters.released.set()
    assert cloud.settled(stack_id) == "UPDATE_COMPLETE"


def test_a_roll_back_that_fails_can_be_gone_on_with(cloud: Cloud, parameters: ParameterStore) -> None:
    cloud.create({"A": parameter("/a"), "B": parameter("/b", DependsOn="A")})
    cloud.settled()
    parameters.held.add("/b")
    parameters.broken.add("/b")
    cloud.client.update_stack(
        StackName="demo", TemplateBody=body({"A": parameter("/a", "2"), "B": parameter("/b", "2", DependsOn="A")})
    )
    assert parameters.reached.wait(DEADLINE_SECONDS)
    parameters.broken.add("/a")
    parameters.released.set()
    assert cloud.settled() == "UPDATE_ROLLBACK_FAILED"
    assert parameters.values == {"/a": "2", "/b": "1"}
    parameters.broken.clear()
    cloud.client.continue_update_rollback(StackName="demo")
    assert cloud.settled() == "UPDATE_ROLLBACK_COMPLETE"
    assert parameters.values == {"/a": "1", "/b": "1"}


def test_what_could_not_be_deleted_keeps_what_it_needs(cloud: Cloud, parameters: ParameterStore) -> None:
    cloud.create(CHAIN)
    cloud.settled()
    parameters.broken.add("/b")
    cloud.client.delete_stack(StackName="demo")
    assert cloud.settled() == "DELETE_FAILED"
    assert parameters.values == {"/a": "1", "/b": "1"}
    cloud.client.delete_stack(StackName="demo", DeletionMode="FORCE_DELETE_STACK")
    stack_id = cloud.client.list_stacks()["StackSummaries"][0]["StackId"]
    assert cloud.settled(stack_id) == "DELETE_COMPLETE"
    assert parameters.values == {"/b": "1"}


@pytest.mark.parametrize(
    ("policy", "after_failure", "after_deletion"),
    [("Delete", False, False), ("Retain", True, True), ("RetainExceptOnCreate", False, True)],
)
def test_deletion_policies(
    tmp_path: Path, policy: str, after_failure: bool, after_deletion: bool, parameters: ParameterStore
) -> None:
    cloud = Cloud(tmp_path, parameters)
    kept = parameter("/kept", DeletionPolicy=policy)
    parameters.broken.add("/bad")
    failed = cloud.create({"A": kept, "Bad": parameter("/bad", DependsOn="A")})
    assert cloud.settled(failed) == "ROLLBACK_COMPLETE"
    assert ("/kept" in parameters.values) is after_failure
    parameters.values.clear()
    cloud.client.delete_stack(StackName="demo")
    cloud.settled(failed)
    made = cloud.create({"A": kept})
    assert cloud.settled(made) == "CREATE_COMPLETE"
    cloud.client.delete_stack(StackName="demo")
    assert cloud.settled(made) == "DELETE_COMPLETE"
    assert ("/kept" in parameters.values) is after_deletion
    cloud.stop()


@pytest.mark.parametrize(("policy", "there"), [("Delete", False), ("Retain", True), ("RetainExceptOnCreate", True)])
def test_what_an_update_leaves_out_follows_its_policy(
    cloud: Cloud, parameters: ParameterStore, policy: str, there: bool
) -> None:
    cloud.create({"A": parameter("/a", DeletionPolicy=policy), "B": parameter("/b")})
    cloud.settled()
    cloud.client.update_stack(StackName="demo", TemplateBody=body({"B": parameter("/b")}))
    assert cloud.settled() == "UPDATE_COMPLETE"
    assert ("/a" in parameters.values) is there


def test_a_replaced_resource_follows_its_own_policy(cloud: Cloud, parameters: ParameterStore) -> None:
    cloud.create({"A": parameter("/one", UpdateReplacePolicy="Retain"), "B": parameter("/two")})
    cloud.settled()
    cloud.client.update_stack(
        StackName="demo",
        TemplateBody=body({"A": parameter("/three", UpdateReplacePolicy="Retain"), "B": parameter("/four")}),
    )
    assert cloud.settled() == "UPDATE_COMPLETE"
    assert set(parameters.values) == {"/one", "/three", "/four"}


def test_what_is_gone_already_is_deleted(cloud: Cloud, parameters: ParameterStore) -> None:
    stack_id = cloud.create({"A": parameter("/a")})
    cloud.settled()
    parameters.values.clear()
    cloud.client.delete_stack(StackName="demo")
    assert cloud.settled(stack_id) == "DELETE_COMPLETE"


def test_a_services_error_is_the_reason(cloud: Cloud, parameters: ParameterStore) -> None:
    parameters.values["/a"] = "somebody else's"
    stack_id = cloud.create({"A": parameter("/a")})
    assert cloud.settled(stack_id) == "ROLLBACK_COMPLETE"
    assert parameters.values == {"/a": "somebody else's"}
    events = cloud.client.describe_stack_events(StackName=stack_id)["StackEvents"]
    reason = next(event["ResourceStatusReason"] for event in events if event["ResourceStatus"] == "CREATE_FAILED")
    assert reason.startswith('Resource handler returned message: "The parameter already exists. (Service: SSM, ')
    assert reason.endswith("HandlerErrorCode: AlreadyExists)")


def test_a_stack_tells_eventbridge_of_its_statuses(cloud: Cloud) -> None:
    stack_id = cloud.create({"A": parameter("/a")})
    cloud.settled()
    told = [
        (event.detail_type, event.detail["status-details"]["status"])
        for event in cloud.events
        if event.source == "aws.cloudformation"
    ]
    assert told == [
        ("CloudFormation Stack Status Change", "CREATE_IN_PROGRESS"),
        ("CloudFormation Resource Status Change", "CREATE_IN_PROGRESS"),
        ("CloudFormation Resource Status Change", "CREATE_IN_PROGRESS"),
        ("CloudFormation Resource Status Change", "CREATE_COMPLETE"),
        ("CloudFormation Stack Status Change", "CREATE_COMPLETE"),
    ]
    assert {event.detail["stack-id"] for event in cloud.events} == {stack_id}


def test_long_lists_come_in_pages(cloud: Cloud) -> None:
    cloud.create({f"P{number}": parameter(f"/{number}") for number in range(120)})
    assert cloud.settled() == "CREATE_COMPLETE"
    pages = cloud.client.get_paginator("list_stack_resources").paginate(StackName="demo")
    listed = [one["LogicalResourceId"] for page in pages for one in page["StackResourceSummaries"]]
    assert len(listed) == len(set(listed)) == 120
    pages = cloud.client.get_paginator("describe_stack_events").paginate(StackName="demo")
    assert len([event for page in pages for event in page["StackEvents"]]) == 2 + 3 * 120
