"""The order in which a deployment does things to its endpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localcloud.context import Context
from localcloud.sagemaker.endpoints.background import Background
from localcloud.sagemaker.endpoints.deployment import Deployment
from localcloud.sagemaker.endpoints.fleet import FleetError
from localcloud.sagemaker.endpoints.policy import Stage, stages
from tests.surroundings import surroundings

LINEAR = {
    "BlueGreenUpdatePolicy": {
        "TrafficRoutingConfiguration": {
            "Type": "LINEAR",
            "WaitIntervalInSeconds": 60,
            "LinearStepSize": {"Type": "CAPACITY_PERCENT", "Value": 50},
        },
        "TerminationWaitInSeconds": 30,
    }
}


class Diary:
    """An endpoint that writes down what is done to it."""

    def __init__(self) -> None:
        self.entries: list[str] = []
        self.on_launch: Callable[[], None] = lambda: None

    def launch(self) -> None:
        self.entries.append("launch")
        self.on_launch()

    def abandon(self) -> None:
        self.entries.append("abandon")

    def activate(self, stage: Stage) -> None:
        self.entries.append(f"activate {stage.shares['v']:g}")

    def bake(self, stage: Stage) -> None:
        self.entries.append(f"bake {stage.bake_seconds}")

    def complete(self) -> None:
        self.entries.append("complete")

    def roll_back(self, reason: str) -> None:
        self.entries.append(f"roll back: {reason}")


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    found = surroundings(tmp_path)
    yield found
    found.calls.close()


@pytest.fixture
def diary() -> Diary:
    return Diary()


@pytest.fixture
def deployment(context: Context, diary: Diary) -> Deployment:
    background = Background(context.timetable)
    return Deployment(
        diary,
        stages(LINEAR, {"v": 2}),
        background,
        alarms=["errors"],
        states=lambda names: dict.fromkeys(names, "OK"),
        limit_seconds=600,
    )


def test_stage_by_stage(context: Context, diary: Diary, deployment: Deployment) -> None:
    deployment.run()
    assert diary.entries == ["launch", "activate 0.5", "bake 60"]
    context.timetable.advance(60)
    assert diary.entries[3:] == ["activate 1", "bake 30"]
    context.timetable.advance(29)
    assert len(diary.entries) == 5
    context.timetable.advance(1)
    assert diary.entries[5:] == ["complete"]
    # Neither the time limit nor an alarm has a say any more.
    deployment.on_alarm("errors")
    context.timetable.advance(3600)
    assert diary.entries[5:] == ["complete"]


def test_a_roll_back_ends_it(context: Context, diary: Diary, deployment: Deployment) -> None:
    deployment.run()
    deployment.on_alarm("others")
    deployment.on_alarm("errors")
    context.timetable.advance(3600)
    assert diary.entries[3:] == [
        "roll back: The deployment was rolled back: the CloudWatch alarm errors is in the ALARM state."
    ]


def test_servers_that_do_not_come_up(context: Context, diary: Diary, deployment: Deployment) -> None:
    def fail() -> None:
        raise FleetError("no server")

    diary.on_launch = fail
    deployment.run()
    context.timetable.advance(3600)
    assert diary.entries == ["launch", "roll back: no server"]


def test_servers_that_come_up_after_the_roll_back_are_abandoned(
    context: Context, diary: Diary, deployment: Deployment
) -> None:
    diary.on_launch = lambda: deployment.fail("too late")
    deployment.run()
    context.timetable.advance(3600)
    assert diary.entries == ["launch", "roll back: too late", "abandon"]
