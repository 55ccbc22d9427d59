"""The service scheduler by itself: tasks that cannot start, waits that grow, a circuit breaker, and what is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localcloud.context import Context, Request
from localcloud.ecs.clusters import SERVICE
from localcloud.ecs.deployments import new_deployment
from localcloud.ecs.pace import Pace
from localcloud.ecs.service import Ecs
from localcloud.jobs.images import Image, ImageError
from localcloud.jobs.reaper import Reaper
from localcloud.signals import Event
from tests.surroundings import surroundings

DEFINITION = {
    "family": "f",
    "requiresCompatibilities": ["FARGATE"],
    "networkMode": "awsvpc",
    "cpu": "256",
    "memory": "512",
    "executionRoleArn": "arn:aws:iam::123456789012:role/execution",
    "containerDefinitions": [{"name": "main", "image": "not-there"}],
}


class Told:
    """The events, by their names."""

    def __init__(self, context: Context) -> None:
        self.names: list[str] = []
        self._changed = threading.Condition()
        context.signals.on_event(self._take)

    def _take(self, event: Event) -> None:
        with self._changed:
            self.names.append(str(event.detail.get("eventName") or event.detail.get("lastStatus")))
            self._changed.notify_all()

    def wait_for(self, name: str, count: int = 1) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.names.count(name) >= count, 30), self.names


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return surroundings(tmp_path)


@pytest.fixture
def told(context: Context) -> Told:
    return Told(context)


@pytest.fixture
def ecs(context: Context, told: Told) -> Iterator[Ecs]:
    """Whose images are never there, and whose seconds take five milliseconds."""

    def image(uri: str) -> Image:
        raise ImageError(f"the image {uri!r} does not exist")

    reaper = Reaper()
    found = Ecs(context, image, reaper, Pace(0.005))
    call(found, "CreateCluster", clusterName="c")
    call(found, "RegisterTaskDefinition", **DEFINITION)
    yield found
    found.stop()
    reaper.stop()


def call(ecs: Ecs, operation: str, **params: Any) -> dict[str, Any]:
    return ecs.operations[operation](Request("ecs", operation, params))


def service(context: Context, ecs: Ecs, **breaker: bool) -> None:
    """One that is there, as after a restart: its network needs no looking up."""
    definition = call(ecs, "DescribeTaskDefinition", taskDefinition="f")["taskDefinition"]
    network = {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}
    document: dict[str, Any] = {
        "serviceArn": "arn:aws:ecs:eu-west-1:123456789012:service/c/s",
        "serviceName": "s",
        "clusterArn": "arn:aws:ecs:eu-west-1:123456789012:cluster/c",
        "status": "ACTIVE",
        "desiredCount": 1,
        "launchType": "FARGATE",
        "platformVersion": "LATEST",
        "taskDefinition": definition["taskDefinitionArn"],
        "deploymentConfiguration": {
            "maximumPercent": 100,
            "minimumHealthyPercent": 0,
            "deploymentCircuitBreaker": {"enable": False, "rollback": False, **breaker},
        },
        "events": [],
        "networkConfiguration": network,
        "enableECSManagedTags": False,
        "propagateTags": "NONE",
        "Steady": False,
    }
    document["deployments"] = [new_deployment(document, context.clock.now())]
    context.store.put(SERVICE, "c/s", document)
    ecs.start()


def test_a_task_that_cannot_start_is_tried_again_and_told_of(context: Context, ecs: Ecs, told: Told) -> None:
    service(context, ecs)
    told.wait_for("SERVICE_TASK_START_IMPAIRED")
    told.wait_for("STOPPED", 4)
    (found,) = call(ecs, "DescribeServices", cluster="c", services=["s"])["services"]
    assert found["deployments"][0]["failedTasks"] >= 3
    assert found["deployments"][0]["rolloutState"] == "IN_PROGRESS"
    assert any("unable to consistently start" in event["message"] for event in found["events"])
    (arn, *_) = call(ecs, "ListTasks", cluster="c", desiredStatus="STOPPED")["taskArns"]
    (task,) = call(ecs, "DescribeTasks", cluster="c", tasks=[arn])["tasks"]
    assert (task["stopCode"], "not-there" in task["stoppedReason"]) == ("TaskFailedToStart", True)


def test_the_circuit_breaker_gives_a_first_deployment_up(context: Context, ecs: Ecs, told: Told) -> None:
    service(context, ecs, enable=True, rollback=True)
    told.wait_for("SERVICE_DEPLOYMENT_FAILED")
    (found,) = call(ecs, "DescribeServices", cluster="c", services=["s"])["services"]
    # There is none before it that it could go back to.
    assert [one["rolloutState"] for one in found["deployments"]] == ["FAILED"]
    assert found["deployments"][0]["failedTasks"] == 3


def test_a_service_of_none_is_deleted_at_once(context: Context, ecs: Ecs, told: Told) -> None:
    service(context, ecs)
    told.wait_for("STOPPED")
    call(ecs, "UpdateService", cluster="c", service="s", desiredCount=0)
    told.wait_for("SERVICE_STEADY_STATE")
    call(ecs, "DeleteService", cluster="c", service="s")
    call(ecs, "DeleteCluster", cluster="c")
    assert call(ecs, "ListClusters")["clusterArns"] == []
