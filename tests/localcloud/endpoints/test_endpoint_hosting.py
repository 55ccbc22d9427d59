"""Endpoints from their API, with servers that are no processes: invoked, updated, rolled back, taken up again."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from localcloud.context import Context, Request
from localcloud.errors import ServiceError
from localcloud.jobs.connections import Answer, NoAnswer, NoAnswerInTime, NotConnected
from localcloud.protocols.http import HttpRequest, HttpResponse
from localcloud.sagemaker.arns import Arns
from localcloud.sagemaker.endpoints.invocation import SageMakerRuntime
from localcloud.sagemaker.endpoints.operations import Endpoints
from localcloud.sagemaker.jobs import Runtime
from localcloud.sagemaker.model_registry import ModelRegistry
from localcloud.sagemaker.models import Models
from localcloud.signals import Event, Measurement
from tests.localcloud.endpoints.servers import IMAGE, Cluster, FakeInstance
from tests.surroundings import surroundings

ARN = "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/e"
IN_PROGRESS = f'Cannot update in-progress endpoint "{ARN}"'
TEN_PERCENT = {
    "TrafficRoutingConfiguration": {
        "Type": "CANARY",
        "WaitIntervalInSeconds": 60,
        "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 10},
    },
    "TerminationWaitInSeconds": 120,
}


class Lab:
    """Endpoints of one localcloud, with what a test needs to drive and watch them."""

    def __init__(
        self, context: Context, alarms: dict[str, str] | None = None, *, ping_rest_seconds: float = 0.0
    ) -> None:
        self.context, self.cluster = context, Cluster()
        self.alarms = alarms if alarms is not None else {}
        self.events: list[Event] = []
        self.measurements: list[Measurement] = []
        arns = Arns(context.region, context.account_id)
        runtime = Runtime(context, capacity=1)
        self.models = Models(context, arns, ModelRegistry(context, arns, lambda: runtime.images))
        context.signals.on_event(self.events.append)
        context.signals.on_measurement(self.measurements.extend)
        self.endpoints = Endpoints(
            context,
            arns,
            runtime,
            self.models,
            chance=Random(1),
            states=lambda names: {name: self.alarms[name] for name in names if name in self.alarms},
            make_instance=self.cluster.make,
            ping_rest_seconds=ping_rest_seconds,
        )
        self.runtime = SageMakerRuntime(context, self.endpoints)

    def settle(self) -> None:
        """Let all work end that is under way."""
        self.context.timetable.advance(0)

    def model(self, name: str) -> None:
        container = {"Image": IMAGE, "Environment": {"NAME": name}}
        params = {"ModelName": name, "PrimaryContainer": container, "ExecutionRoleArn": "arn:aws:iam::1:role/r"}
        self.models.create(Request("sagemaker", "CreateModel", params))

    def config(self, name: str, *variants: dict[str, Any], **members: Any) -> None:
        """An endpoint configuration, of a model of the same name where no variants are given."""
        params = {"EndpointConfigName": name, "ProductionVariants": list(variants) or [variant(name)], **members}
        for given in params["ProductionVariants"]:
            if self.context.store.get("sagemaker/model", given["ModelName"]) is None:
                self.model(given["ModelName"])
        self.endpoints.configs.create(Request("sagemaker", "CreateEndpointConfig", params))

    def create(self, config: str = "blue", **members: Any) -> None:
        """The endpoint `e`, in service."""
        self.endpoints.create(
            Request("sagemaker", "CreateEndpoint", {"EndpointName": "e", "EndpointConfigName": config, **members})
        )
        self.settle()

    def update(self, config: str = "green", **members: Any) -> None:
        params = {"EndpointName": "e", "EndpointConfigName": config, **members}
        self.endpoints.update(Request("sagemaker", "UpdateEndpoint", params))

    def scale(self, **desired: Any) -> None:
        params = {"EndpointName": "e", "DesiredWeightsAndCapacities": [{"VariantName": "v", **desired}]}
        self.endpoints.scale(Request("sagemaker", "UpdateEndpointWeightsAndCapacities", params))

    def delete(self) -> None:
        self.endpoints.delete(Request("sagemaker", "DeleteEndpoint", {"EndpointName": "e"}))

    def describe(self) -> dict[str, Any]:
        return self.endpoints.describe(Request("sagemaker", "DescribeEndpoint", {"EndpointName": "e"}))

    def status(self) -> tuple[str, str]:
        found = self.describe()
        return found["EndpointStatus"], found["EndpointConfigName"]

    def invoke(self, **params: Any) -> dict[str, Any]:
        params = {"EndpointName": "e", "Body": b"x", **params}
        return self.runtime.invoke(Request("sagemaker-runtime", "InvokeEndpoint", params))

    def answers(self, count: int) -> dict[str, int]:
        """How many of so many requests each model answered."""
        found = [self.invoke()["Body"].decode() for _ in range(count)]
        return {name: found.count(name) for name in sorted(set(found))}

    def alarm(self, name: str, state: str = "ALARM") -> None:
        self.alarms[name] = state
        detail = {"alarmName": name, "state": {"value": state}}
        now = self.context.clock.now()
        self.context.signals.event(Event("aws.cloudwatch", "CloudWatch Alarm State Change", detail, now))

    def statuses(self) -> list[str]:
        """The statuses that EventBridge was told of."""
        found = [event for event in self.events if event.detail_type == "SageMaker Endpoint State Change"]
        return [event.detail["EndpointStatus"] for event in found]


def variant(model: str, name: str = "v", count: int = 1, **members: Any) -> dict[str, Any]:
    """A production variant."""
    return {
        "VariantName": name,
        "ModelName": model,
        "InitialInstanceCount": count,
        "InstanceType": "ml.m5.large",
        **members,
    }


def serverless(model: str, concurrency: int = 1) -> dict[str, Any]:
    """A serverless production variant."""
    return {
        "VariantName": "v",
        "ModelName": model,
        "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": concurrency},
    }


def slowly(lab: Lab) -> tuple[threading.Event, threading.Event]:
    """Have servers wait for the second event when they start, which sets the first."""
    begun, gate = threading.Event(), threading.Event()

    def wait(_: FakeInstance) -> None:
        begun.set()
        gate.wait(30)

    lab.cluster.on_start = wait
    lab.cluster.on_kill = lambda _: gate.set()
    return begun, gate


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    found = Lab(surroundings(tmp_path))
    found.config("blue")
    found.config("green")
    yield found
    found.endpoints.stop()
    found.context.calls.close()
    # EventBridge sends them as JSON.
    assert json.dumps([event.detail for event in found.events])


def test_an_endpoint_is_created_described_listed_and_deleted(lab: Lab) -> None:
    lab.create(Tags=[{"Key": "team", "Value": "ml"}])
    found = lab.describe()
    assert found["EndpointStatus"] == "InService"
    assert "PendingDeploymentSummary" not in found
    (summary,) = found["ProductionVariants"]
    assert summary["DeployedImages"][0]["ResolvedImage"] == IMAGE.replace(":1", "@sha256:0")
    assert (summary["CurrentInstanceCount"], summary["DesiredInstanceCount"], summary["CurrentWeight"]) == (1, 1, 1.0)
    listed = lab.endpoints.resources.list(Request("sagemaker", "ListEndpoints", {"StatusEquals": "InService"}))
    assert [one["EndpointName"] for one in listed["Endpoints"]] == ["e"]
    lab.delete()
    lab.settle()
    with pytest.raises(ServiceError, match=f'Could not find endpoint "{ARN}"'):
        lab.describe()
    assert all(instance.ended for instance in lab.cluster.instances)
    assert lab.statuses() == ["CREATING", "IN_SERVICE", "DELETING"]
    event = lab.events[-1]
    assert event.resources == [ARN]
    assert event.detail["Tags"] == {"team": "ml"}
    assert event.detail["CreationTime"] == int(found["CreationTime"].timestamp() * 1000)


def test_servers_that_do_not_come_up_fail_the_endpoint(lab: Lab) -> None:
    lab.cluster.broken = "the server ended before it was ready: exit code 3"
    lab.create()
    found = lab.describe()
    assert found["EndpointStatus"] == "Failed"
    assert found["FailureReason"] == (
        "The primary container for production variant v did not pass the ping health check. Please check CloudWatch"
        " logs for this endpoint. (the server ended before it was ready: exit code 3)"
    )
    with pytest.raises(ServiceError, match=r"Endpoint e of account 123456789012 not found\."):
        lab.invoke()
    with pytest.raises(ServiceError, match="in status Failed: it can only be deleted"):
        lab.update()
    lab.delete()
    lab.settle()
    lab.cluster.broken = ""
    lab.create()
    assert lab.answers(1) == {"blue": 1}


def test_a_bug_while_servers_start_fails_the_endpoint_too(lab: Lab) -> None:
    def fail(_: FakeInstance) -> None:
        raise RuntimeError("no leaf")

    lab.cluster.on_start = fail
    lab.create()
    found = lab.describe()
    assert (found["EndpointStatus"], found["FailureReason"]) == ("Failed", "InternalServerError: RuntimeError: no leaf")


def test_while_something_is_under_way_nothing_else_is_begun(lab: Lab) -> None:
    begun, gate = slowly(lab)
    params = {"EndpointName": "e", "EndpointConfigName": "blue"}
    lab.endpoints.create(Request("sagemaker", "CreateEndpoint", params))
    assert begun.wait(30)
    pending = lab.describe()["PendingDeploymentSummary"]
    assert pending["ProductionVariants"][0]["VariantStatus"][0]["StatusMessage"] == "Launching 1 instance(s)."
    for attempt in (lab.update, lab.delete, lambda: lab.scale(DesiredInstanceCount=2)):
        with pytest.raises(ServiceError, match=IN_PROGRESS):
            attempt()
    with pytest.raises(ServiceError, match=f'Cannot create already existing endpoint "{ARN}"'):
        lab.endpoints.create(Request("sagemaker", "CreateEndpoint", params))
    with pytest.raises(ServiceError, match=r"not found\."):
        lab.invoke()
    gate.set()
    lab.settle()
    assert lab.status() == ("InService", "blue")


def test_an_update_without_a_policy_is_all_at_once(lab: Lab) -> None:
    lab.create()
    lab.update()
    lab.settle()
    assert lab.status() == ("InService", "green")
    assert lab.answers(5) == {"green": 5}
    assert [instance.ended for instance in lab.cluster.instances] == [True, False]
    assert lab.statuses() == ["CREATING", "IN_SERVICE", "UPDATING", "IN_SERVICE"]


def test_a_canary_bakes_before_everything_is_shifted(lab: Lab) -> None:
    lab.create()
    lab.update(DeploymentConfig={"BlueGreenUpdatePolicy": TEN_PERCENT})
    lab.settle()
    assert lab.answers(100) == {"blue": 90, "green": 10}
    found = lab.describe()
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("Updating", "blue")
    pending = found["PendingDeploymentSummary"]
    assert pending["EndpointConfigName"] == "green"
    status = pending["ProductionVariants"][0]["VariantStatus"][0]
    assert status["Status"] == "Baking"
    assert status["StatusMessage"].startswith("Baking for 60 seconds (WaitIntervalInSeconds)")
    event = next(one for one in reversed(lab.events) if "Deployment" in one.detail_type)
    assert event.detail["PendingDeploymentSummary"]["StartTime"] == int(pending["StartTime"].timestamp() * 1000)
    lab.context.timetable.advance(59)
    assert lab.answers(10) == {"blue": 9, "green": 1}
    lab.context.timetable.advance(1)
    assert lab.answers(10) == {"green": 10}
    assert len(lab.cluster.alive) == 2
    lab.context.timetable.advance(120)
    assert lab.status() == ("InService", "green")
    assert len(lab.cluster.alive) == 1
    assert lab.describe()["LastDeploymentConfig"] == {"BlueGreenUpdatePolicy": TEN_PERCENT}


@pytest.mark.parametrize("seconds", [0, 90])
def test_an_alarm_rolls_back(lab: Lab, seconds: int) -> None:
    lab.create()
    lab.alarms["errors"] = "OK"
    guard = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}]}}
    lab.update(DeploymentConfig={"BlueGreenUpdatePolicy": TEN_PERCENT, **guard})
    lab.context.timetable.advance(seconds)
    assert lab.status() == ("Updating", "blue")
    lab.alarm("others")
    lab.alarm("errors", "INSUFFICIENT_DATA")
    lab.settle()
    assert lab.status() == ("Updating", "blue")
    lab.alarm("errors")
    lab.settle()
    assert lab.status() == ("InService", "blue")
    assert lab.answers(10) == {"blue": 10}
    found = lab.describe()
    assert found["FailureReason"] == (
        "The deployment was rolled back: the CloudWatch alarm errors is in the ALARM state."
    )
    assert "PendingDeploymentSummary" not in found
    assert lab.statuses()[2:] == ["UPDATING", "ROLLING_BACK", "IN_SERVICE"]
    assert [instance.ended for instance in lab.cluster.instances] == [False, True]
    # Nothing of it is left in the timetable.
    lab.context.timetable.advance(3600)
    assert lab.status() == ("InService", "blue")
    lab.alarms["errors"] = "OK"
    lab.update()
    lab.settle()
    assert "FailureReason" not in lab.describe()


def test_an_alarm_that_is_there_already_rolls_back_before_anything_starts(lab: Lab) -> None:
    lab.create()
    lab.alarms["errors"] = "ALARM"
    lab.update(DeploymentConfig={"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}]}})
    lab.settle()
    assert lab.status() == ("InService", "blue")
    assert len(lab.cluster.instances) == 1


def test_an_alarm_that_there_is_not_is_refused(lab: Lab) -> None:
    lab.create()
    with pytest.raises(ServiceError, match="alarms that there are not: errors"):
        lab.update(DeploymentConfig={"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}]}})
    assert lab.status() == ("InService", "blue")


def test_an_update_whose_servers_do_not_come_up_leaves_what_was(lab: Lab) -> None:
    lab.create()
    lab.cluster.broken = "exit code 3"
    lab.update()
    lab.settle()
    assert lab.status() == ("InService", "blue")
    assert "did not pass the ping health check" in lab.describe()["FailureReason"]
    assert lab.answers(3) == {"blue": 3}


def test_a_deployment_that_takes_too_long_is_rolled_back(lab: Lab) -> None:
    lab.create()
    begun, gate = slowly(lab)
    lab.update(DeploymentConfig={"BlueGreenUpdatePolicy": {**TEN_PERCENT, "MaximumExecutionTimeoutInSeconds": 600}})
    assert begun.wait(30)
    # Time passes by itself here: whoever advances the clock waits for the servers.
    context = lab.context
    context.clock.set(context.clock.now() + timedelta(seconds=600))  # type: ignore[attr-defined]
    context.timetable.start()
    assert gate.wait(30)
    lab.settle()
    context.timetable.stop()
    assert lab.status() == ("InService", "blue")
    assert lab.describe()["FailureReason"] == (
        "The deployment took longer than its MaximumExecutionTimeoutInSeconds of 600."
    )


def test_properties_are_retained_by_request(lab: Lab) -> None:
    lab.config("large", variant("large", count=4, InitialVariantWeight=3.0))
    lab.create()
    lab.scale(DesiredInstanceCount=2)
    lab.settle()
    lab.update("large", RetainAllVariantProperties=True)
    lab.settle()
    (summary,) = lab.describe()["ProductionVariants"]
    assert (summary["CurrentInstanceCount"], summary["CurrentWeight"]) == (2, 1.0)
    excluded = [{"VariantPropertyType": "DesiredWeight"}]
    lab.update("large", RetainAllVariantProperties=True, ExcludeRetainedVariantProperties=excluded)
    lab.settle()
    (summary,) = lab.describe()["ProductionVariants"]
    assert (summary["CurrentInstanceCount"], summary["CurrentWeight"]) == (2, 3.0)
    lab.update("large")
    lab.settle()
    assert lab.describe()["ProductionVariants"][0]["CurrentInstanceCount"] == 4


def test_a_deployment_config_is_reused_by_request(lab: Lab) -> None:
    lab.create(DeploymentConfig={"BlueGreenUpdatePolicy": TEN_PERCENT})
    lab.update(RetainDeploymentConfig=True)
    lab.settle()
    assert lab.answers(10) == {"blue": 9, "green": 1}
    lab.context.timetable.advance(180)
    lab.update("blue")
    lab.settle()
    assert lab.status() == ("InService", "blue")
    assert "LastDeploymentConfig" not in lab.describe()


def test_variants_of_other_names_cannot_be_shifted_to(lab: Lab) -> None:
    lab.config("renamed", variant("renamed", name="w"))
    lab.create()
    with pytest.raises(ServiceError, match="expected v; got w"):
        lab.update("renamed", DeploymentConfig={"BlueGreenUpdatePolicy": TEN_PERCENT})
    lab.update("renamed")
    lab.settle()
    assert lab.invoke()["InvokedProductionVariant"] == "w"


def test_scaling_out_and_in(lab: Lab) -> None:
    lab.create()
    lab.scale(DesiredInstanceCount=3)
    lab.settle()
    assert len(lab.cluster.alive) == 3
    assert lab.describe()["ProductionVariants"][0]["CurrentInstanceCount"] == 3
    lab.answers(6)
    assert sorted(name for name, _, _ in lab.cluster.calls) == ["v/0", "v/0", "v/1", "v/1", "v/2", "v/2"]
    per_instance = [one.value for one in lab.measurements if one.name == "InvocationsPerInstance"]
    assert per_instance == [pytest.approx(1 / 3)] * 6
    lab.scale(DesiredInstanceCount=1)
    lab.settle()
    assert len(lab.cluster.alive) == 1
    lab.cluster.broken = "no more"
    lab.scale(DesiredInstanceCount=2)
    lab.settle()
    found = lab.describe()
    assert (found["EndpointStatus"], found["ProductionVariants"][0]["CurrentInstanceCount"]) == ("InService", 1)
    assert "no more" in found["FailureReason"]
    messages = [
        status["StatusMessage"]
        for event in lab.events
        if "Deployment" in event.detail_type
        for one in event.detail["ProductionVariants"]
        for status in one.get("VariantStatus", ())
    ]
    assert messages[:2] == [
        "Scaling out desired instance count to 3.",
        "Scaling in desired instance count to 1.",
    ]


def test_weights_are_followed_exactly(lab: Lab) -> None:
    lab.config("two", variant("a", "v", InitialVariantWeight=3.0), variant("b", "w"))
    lab.create("two")
    assert lab.answers(8) == {"a": 6, "b": 2}
    assert lab.invoke(TargetVariant="w")["Body"] == b"b"
    lab.scale(DesiredWeight=0.0)
    lab.settle()
    assert lab.answers(3) == {"b": 3}
    assert lab.invoke(TargetVariant="v")["Body"] == b"a"
    with pytest.raises(ServiceError, match="Variant x not found on endpoint e"):
        lab.invoke(TargetVariant="x")
    with pytest.raises(ServiceError, match='variant name\\(s\\) "x"'):
        lab.endpoints.scale(
            Request(
                "sagemaker",
                "UpdateEndpointWeightsAndCapacities",
                {"EndpointName": "e", "DesiredWeightsAndCapacities": [{"VariantName": "x"}]},
            )
        )


def test_a_request_goes_round_a_server_that_is_down(lab: Lab) -> None:
    lab.config("pair", variant("pair", count=2))
    lab.create("pair")
    lab.cluster.instances[0].fall()
    lab.answers(3)
    assert {name for name, _, _ in lab.cluster.calls} == {"v/1"}
    lab.cluster.instances[1].fall()
    with pytest.raises(ServiceError, match="transient exception occurred while retrieving variant instances") as caught:
        lab.invoke()
    assert (caught.value.code, caught.value.status) == ("ServiceUnavailable", 503)


def test_a_server_that_ends_this_very_moment_costs_no_request(lab: Lab) -> None:
    def answer(instance: FakeInstance, body: bytes) -> Answer:
        if instance.id == "v/0":
            raise NotConnected("refused")
        return Answer(200, b"well")

    lab.config("pair", variant("pair", count=2))
    lab.create("pair")
    lab.cluster.answer = answer
    assert [lab.invoke()["Body"] for _ in range(4)] == [b"well"] * 4
    lab.cluster.instances[1].fall()
    with pytest.raises(ServiceError, match="transient exception"):
        lab.invoke()


def test_old_servers_end_when_their_requests_have(lab: Lab) -> None:
    lab.create()
    gate, begun = threading.Event(), threading.Event()

    def answer(instance: FakeInstance, body: bytes) -> Answer:
        if body == b"slow":
            begun.set()
            assert gate.wait(30)
        return Answer(200, instance.model.encode())

    lab.cluster.answer = answer
    slow: list[bytes] = []
    request = threading.Thread(target=lambda: slow.append(lab.invoke(Body=b"slow")["Body"]))
    request.start()
    assert begun.wait(30)
    stopped: list[int] = []
    lab.cluster.on_stop = lambda instance: stopped.append(instance.busy)
    lab.update()
    while lab.invoke()["Body"] != b"green":
        pass
    assert not lab.cluster.instances[0].ended
    gate.set()
    request.join()
    lab.settle()
    assert slow == [b"blue"]
    assert stopped == [0]


@pytest.mark.parametrize(
    ("status", "whose", "counted"),
    [(400, "client", "Invocation4XXErrors"), (500, "server", "Invocation5XXErrors")],
)
def test_what_the_model_says_is_wrong_is_handed_on(lab: Lab, status: int, whose: str, counted: str) -> None:
    lab.create()
    lab.cluster.answer = lambda *_: Answer(status, b"no such field")
    with pytest.raises(ServiceError) as caught:
        lab.invoke()
    error = caught.value
    group = "/aws/sagemaker/Endpoints/e"
    assert (error.code, error.status) == ("ModelError", 424)
    assert error.fields == {
        "OriginalStatusCode": status,
        "OriginalMessage": "no such field",
        "LogStreamArn": f"arn:aws:logs:eu-west-1:123456789012:log-group:{group}",
    }
    assert error.message == (
        f'Received {whose} error ({status}) from primary with message "no such field". See'
        " https://eu-west-1.console.aws.amazon.com/cloudwatch/home?region=eu-west-1#logEventViewer:group="
        f"{group} in account 123456789012 for more information."
    )
    values = {one.name: one.value for one in lab.measurements}
    assert [name for name in values if "Error" in name and values[name]] == [counted, "InvocationModelErrors"]


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (NoAnswerInTime("60 s"), "Your invocation timed out while waiting for a response from container primary."),
        (NoAnswer("reset"), "The connection to container primary was closed before it answered: reset"),
    ],
)
def test_no_answer_is_an_error_of_the_model(lab: Lab, failure: Exception, message: str) -> None:
    def fail(*_: Any) -> Answer:
        raise failure

    lab.create()
    lab.cluster.answer = fail
    with pytest.raises(ServiceError) as caught:
        lab.invoke()
    assert caught.value.fields["OriginalStatusCode"] == 0
    assert caught.value.fields["OriginalMessage"].startswith(message)
    assert caught.value.message.startswith(f'Received server error (0) from primary with message "{message}')
    assert {one.name: one.value for one in lab.measurements}["Invocation5XXErrors"] == 1.0


def test_a_request_is_measured(lab: Lab) -> None:
    lab.create()
    lab.invoke()
    found = {one.name: one for one in lab.measurements}
    assert {one.namespace for one in lab.measurements} == {"AWS/SageMaker"}
    assert found["Invocations"].dimensions == {"EndpointName": "e", "VariantName": "v"}
    assert [found[name].value for name in ("Invocations", "Invocation4XXErrors", "InvocationsPerInstance")] == [1, 0, 1]
    assert found["ModelLatency"].unit == found["OverheadLatency"].unit == "Microseconds"
    assert 0 < found["ModelLatency"].value < 60e6


def test_what_a_request_says_reaches_the_model_and_what_it_answers_comes_back(lab: Lab) -> None:
    lab.create()
    lab.cluster.answer = lambda *_: Answer(
        201, b"{}", {"content-type": "application/json", "x-amzn-sagemaker-custom-attributes": "seen=1"}
    )
    answer = lab.invoke(ContentType="text/csv", Accept="application/json", CustomAttributes="a=1", InferenceId="i-7")
    assert answer == {
        "Body": b"{}",
        "ContentType": "application/json",
        "InvokedProductionVariant": "v",
        "CustomAttributes": "seen=1",
    }
    assert lab.cluster.calls[-1][2] == {
        "Content-Type": "text/csv",
        "Accept": "application/json",
        "X-Amzn-SageMaker-Custom-Attributes": "a=1",
        "X-Amzn-SageMaker-Inference-Id": "i-7",
    }
    with pytest.raises(ServiceError, match="localcloud invokes no endpoint with TargetModel"):
        lab.invoke(TargetModel="m.tar.gz")
    with pytest.raises(ServiceError, match="length less than or equal to 6291456"):
        lab.invoke(Body=bytes(6 * 1024 * 1024 + 1))
    lab.cluster.answer = lambda *_: Answer(200, bytes(6 * 1024 * 1024 + 1))
    with pytest.raises(ServiceError, match="exceeds the limit"):
        lab.invoke()


def test_a_serverless_variant_takes_so_many_requests_at_once(lab: Lab) -> None:
    lab.config("less", serverless("less"))
    lab.create("less")
    (summary,) = lab.describe()["ProductionVariants"]
    assert summary["CurrentServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 1}
    assert "CurrentInstanceCount" not in summary
    throttled: list[ServiceError] = []

    def answer(instance: FakeInstance, body: bytes) -> Answer:
        if body == b"outer":
            try:
                lab.invoke()
            except ServiceError as error:
                throttled.append(error)
        return Answer(200, b"")

    lab.cluster.answer = answer
    lab.invoke(Body=b"outer")
    assert [(error.code, error.status) for error in throttled] == [("ThrottlingException", 429)]
    lab.endpoints.scale(
        Request(
            "sagemaker",
            "UpdateEndpointWeightsAndCapacities",
            {
                "EndpointName": "e",
                "DesiredWeightsAndCapacities": [{"VariantName": "v", "ServerlessUpdateConfig": {"MaxConcurrency": 2}}],
            },
        )
    )
    lab.settle()
    lab.invoke(Body=b"outer")
    assert len(throttled) == 1
    assert lab.describe()["ProductionVariants"][0]["CurrentServerlessConfig"]["MaxConcurrency"] == 2
    with pytest.raises(ServiceError, match="not supported for serverless endpoints"):
        lab.update("blue", DeploymentConfig={"BlueGreenUpdatePolicy": TEN_PERCENT})
    assert "InvocationsPerInstance" not in {one.name for one in lab.measurements}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"ProductionVariants": [variant("blue"), variant("blue")]}, "names must be unique"),
        ({"ProductionVariants": [variant("blue", InitialVariantWeight=0.0)]}, "greater than 0"),
        ({"ProductionVariants": [{"VariantName": "v", "ModelName": "blue"}]}, "needs an InstanceType"),
        ({"ProductionVariants": [{**variant("blue"), "ModelName": ""}]}, "no inference components"),
        ({"ProductionVariants": [variant("blue", CoreDumpConfig={"DestinationS3Uri": "s3://b"})]}, "CoreDumpConfig"),
        ({"ProductionVariants": [{**serverless("blue"), "InitialInstanceCount": 1}]}, "is serverless"),
        ({"ProductionVariants": [serverless("blue"), variant("blue", "w")]}, "has one production variant; got 2"),
        (
            {
                "ProductionVariants": [
                    {
                        "VariantName": "v",
                        "ModelName": "blue",
                        "ServerlessConfig": {"MemorySizeInMB": 1500, "MaxConcurrency": 1},
                    }
                ]
            },
            "must be one of 1024",
        ),
        ({"ProductionVariants": [variant("blue")], "AsyncInferenceConfig": {"OutputConfig": {}}}, "AsyncInference"),
        ({"ProductionVariants": [variant("nowhere")]}, "Could not find model"),
        (
            {
                "ProductionVariants": [serverless("blue")],
                "DataCaptureConfig": {
                    "InitialSamplingPercentage": 1,
                    "DestinationS3Uri": "s3://b",
                    "CaptureOptions": [{"CaptureMode": "Input"}],
                },
            },
            "Serverless endpoints do not support DataCaptureConfig",
        ),
        (
            {
                "ProductionVariants": [variant("blue")],
                "DataCaptureConfig": {
                    "InitialSamplingPercentage": 1,
                    "DestinationS3Uri": "https://b",
                    "CaptureOptions": [{"CaptureMode": "Input"}],
                },
            },
            "'https://b' is no S3 location",
        ),
    ],
)
def test_configurations_that_cannot_be_served_are_refused(lab: Lab, params: dict[str, Any], message: str) -> None:
    with pytest.raises(ServiceError, match=message):
        lab.endpoints.configs.create(
            Request("sagemaker", "CreateEndpointConfig", {"EndpointConfigName": "bad", **params})
        )


def test_servers_are_asked_how_they_are_for_as_long_as_there_is_an_endpoint(lab: Lab) -> None:
    lab.create()
    lab.context.timetable.advance(600)
    assert lab.cluster.checks == 10
    lab.delete()
    lab.settle()
    lab.context.timetable.advance(600)
    assert lab.cluster.checks == 10


def test_a_clock_that_is_advanced_makes_no_more_pings_than_time_allows(tmp_path: Path) -> None:
    lab = Lab(surroundings(tmp_path), ping_rest_seconds=3600)
    lab.config("blue")
    lab.create()
    lab.context.timetable.advance(86_400)
    assert lab.cluster.checks == 1
    lab.endpoints.stop()
    lab.context.calls.close()


def test_what_was_captured_is_written_before_a_stop(lab: Lab) -> None:
    written: list[HttpRequest] = []

    def s3(request: HttpRequest) -> HttpResponse:
        written.append(request)
        return HttpResponse(200, [], b"")

    lab.context.clients.connect(s3)
    capture = {
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": "s3://bucket/captured",
        "CaptureOptions": [{"CaptureMode": "Input"}],
    }
    lab.config("seen", DataCaptureConfig=capture)
    lab.create("seen")
    assert lab.describe()["DataCaptureConfig"] == {
        "EnableCapture": True,
        "CaptureStatus": "Started",
        "CurrentSamplingPercentage": 100,
        "DestinationS3Uri": "s3://bucket/captured",
        "KmsKeyId": "",
    }
    lab.invoke()
    assert not written
    lab.endpoints.stop()
    (request,) = written
    assert request.path.startswith("/bucket/captured/e/v/2026/01/01/00/00-00-")
    # By the role that the model runs as.
    key = lab.context.principals.access_key("arn:aws:iam::1:role/r")
    assert f"Credential={key}/" in request.headers["authorization"]


def again(lab: Lab, tmp_path: Path) -> Lab:
    """The next localcloud over the same state, its endpoints not started yet."""
    lab.endpoints.stop()
    other = surroundings(tmp_path, lab.context.clock)  # type: ignore[arg-type]
    return Lab(other, lab.alarms)


def test_an_endpoint_is_taken_up_after_a_restart(lab: Lab, tmp_path: Path) -> None:
    lab.create()
    lab.scale(DesiredInstanceCount=2)
    lab.settle()
    lab.endpoints.configs.resources.remove("blue")
    second = again(lab, tmp_path)
    second.endpoints.start()
    # The request waits for the servers.
    assert second.invoke()["Body"] == b"blue"
    second.settle()
    assert second.status() == ("InService", "blue")
    assert len(second.cluster.alive) == 2
    assert second.statuses() == []
    second.endpoints.stop()
    second.context.calls.close()


def test_what_is_asked_for_while_servers_come_up_again_is_done_then(lab: Lab, tmp_path: Path) -> None:
    lab.create()
    second = again(lab, tmp_path)
    begun, gate = slowly(second)
    second.endpoints.start()
    assert begun.wait(30)
    second.update()
    gate.set()
    second.settle()
    assert second.status() == ("InService", "green")
    assert second.answers(2) == {"green": 2}
    third = again(second, tmp_path)
    begun, _ = slowly(third)
    third.endpoints.start()
    assert begun.wait(30)
    third.delete()
    third.settle()
    assert third.context.store.get("sagemaker/endpoint", "e") is None
    assert all(instance.ended for instance in third.cluster.instances)
    third.endpoints.stop()
    for one in (second, third):
        one.context.calls.close()


def test_servers_that_do_not_come_up_again_fail_the_endpoint(lab: Lab, tmp_path: Path) -> None:
    lab.create()
    second = again(lab, tmp_path)
    second.cluster.broken = "no model"
    second.endpoints.start()
    second.settle()
    assert second.status() == ("Failed", "blue")
    assert "no model" in second.describe()["FailureReason"]
    with pytest.raises(ServiceError, match=r"not found\."):
        second.invoke()
    second.endpoints.stop()
    second.context.calls.close()


def test_an_update_that_was_cut_off_is_rolled_back_after_a_restart(lab: Lab, tmp_path: Path) -> None:
    lab.create()
    lab.update(DeploymentConfig={"BlueGreenUpdatePolicy": TEN_PERCENT})
    lab.settle()
    second = again(lab, tmp_path)
    second.endpoints.start()
    second.settle()
    assert second.status() == ("InService", "blue")
    assert second.answers(10) == {"blue": 10}
    assert second.describe()["FailureReason"].startswith("localcloud stopped while the endpoint was updated")
    assert second.statuses() == ["ROLLING_BACK", "IN_SERVICE"]
    second.endpoints.stop()
    second.context.calls.close()


def test_a_creation_and_a_deletion_are_completed_after_a_restart(lab: Lab, tmp_path: Path) -> None:
    lab.create()
    lab.context.store.update("sagemaker/endpoint", "e", lambda document: {**document, "EndpointStatus": "Deleting"})
    second = again(lab, tmp_path)
    second.endpoints.start()
    second.settle()
    assert second.context.store.get("sagemaker/endpoint", "e") is None
    second.create()
    second.context.store.update(
        "sagemaker/endpoint",
        "e",
        lambda document: {**document, "EndpointStatus": "Creating", "Wanted": document["Served"], "Served": None},
    )
    third = again(second, tmp_path)
    third.endpoints.start()
    third.settle()
    assert third.status() == ("InService", "blue")
    assert third.answers(1) == {"blue": 1}
    third.endpoints.stop()
    for one in (second, third):
        one.context.calls.close()
