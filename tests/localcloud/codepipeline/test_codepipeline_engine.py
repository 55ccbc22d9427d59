"""Executions at work: who is let in, who is superseded, what becomes of those that stop, fail, or are cut off.

The actions are ended by the tests; what they do is tested with real ones, in the contract.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from localcloud.codepipeline import actiontypes, records
from localcloud.codepipeline.engine import Engine
from localcloud.codepipeline.errors import no_pipeline
from localcloud.codepipeline.notices import Notices
from localcloud.codepipeline.records import Records, key_of_run
from localcloud.codepipeline.starts import Start
from localcloud.codepipeline.turn import Halted, Outcome, Turn
from localcloud.context import Context
from localcloud.errors import ServiceError
from localcloud.signals import Event
from tests.declared_pipelines import approval, build, pipeline, source, stage
from tests.surroundings import surroundings


class Waiting:
    """Actions that somebody else ends."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    def run(self, turn: Turn) -> None:
        self.begun.append(turn.action.name)


class Busy:
    """Actions that end when their run is not wanted any more."""

    def __init__(self) -> None:
        self.begun, self.halted = threading.Event(), threading.Event()

    def run(self, turn: Turn) -> Outcome:
        self.begun.set()
        try:
            while True:
                turn.pause(60)
        except Halted:
            self.halted.set()
            raise


class World:
    """An engine over a store, with one pipeline."""

    def __init__(self, context: Context) -> None:
        self.context, self.waiting = context, Waiting()
        self.records = Records(context)
        self.told: list[tuple[str, ...]] = []
        context.signals.on_event(self._hear)
        self.kinds: dict[tuple[str, str], Any] = dict.fromkeys(actiontypes.TYPES, self.waiting)
        self.engine = Engine(context, self.records, Notices(context), self.kinds)

    def _hear(self, event: Event) -> None:
        what = event.detail_type.split()[1]
        names = [str(event.detail[member]) for member in ("stage", "action") if member in event.detail]
        self.told.append((what, *names, str(event.detail["state"])))

    def declare(self, document: dict[str, Any]) -> None:
        now = self.context.clock.now()
        declared = {**document, "version": 1}
        self.records.put_version({"Declaration": declared, "Tags": {}, "Created": now, "Updated": now, "Executions": 0})

    def start(self, **members: Any) -> str:
        return self.engine.begin("p", Start("StartPipelineExecution", "somebody", **members))

    def execution(self, execution_id: str) -> dict[str, Any]:
        return self.records.execution("p", execution_id)

    def running(self, execution_id: str) -> list[str]:
        runs = self.records.runs("p", execution_id)
        return [run["actionName"] for run in runs if run["status"] == "InProgress"]

    def end(self, execution_id: str, action: str, outcome: Outcome | None = None) -> bool:
        """End an action that runs; whether it was waited for."""
        runs = [run for run in self.records.runs("p", execution_id) if run["actionName"] == action]
        return self.engine.complete(key_of_run(runs[-1]), outcome or Outcome())

    def fail(self, execution_id: str, action: str) -> None:
        self.end(execution_id, action, Outcome.failed("JobFailed", f"{action} went wrong"))

    def place(self, execution_id: str) -> tuple[str, str, bool]:
        found = self.execution(execution_id)
        return found["status"], found["stage"], found["waiting"]


@pytest.fixture
def open_world(tmp_path: Path) -> Iterator[Callable[[], World]]:
    """Makes worlds over the same store, one after the other."""
    context = surroundings(tmp_path)
    made: list[World] = []

    def make() -> World:
        for world in made:
            world.engine.close()
        made.append(World(context))
        return made[-1]

    yield make
    for world in made:
        world.engine.close()
    context.calls.close()
    context.store.close()


@pytest.fixture
def world(open_world: Callable[[], World]) -> World:
    return open_world()


def three_stages(**members: Any) -> dict[str, Any]:
    return pipeline(
        stage("Source", source(namespace="Source")),
        stage("Build", build(outputs=["Built"], namespace="Built"), build("After", runOrder=2), build("Beside")),
        stage("Approve", approval()),
        **members,
    )


def test_stage_by_stage_and_run_order_by_run_order(world: World) -> None:
    world.declare(three_stages())
    one = world.start()
    assert world.running(one) == ["Source"]
    world.end(one, "Source", Outcome(variables={"CommitId": "abc"}, revision={"revisionId": "abc"}))
    assert world.running(one) == ["Build", "Beside"]
    world.end(one, "Build", Outcome(variables={"REPORT": "url"}))
    assert world.running(one) == ["Beside"]
    world.end(one, "Beside")
    assert world.running(one) == ["After"]
    world.end(one, "After")
    assert world.running(one) == ["Approve"]
    found = world.execution(one)
    assert found["namespaces"]["Source"] == {"CommitId": "abc"}
    assert found["namespaces"]["Built"] == {"REPORT": "url"}
    assert found["artifacts"]["Source"]["revision"] == "abc"
    assert found["artifacts"]["Built"]["key"].startswith("p/Built/")
    assert found["sourceRevisions"] == [{"actionName": "Source", "revisionId": "abc"}]
    world.end(one, "Approve")
    assert world.execution(one)["status"] == "Succeeded"
    assert world.told[:4] == [
        ("Pipeline", "STARTED"),
        ("Stage", "Source", "STARTED"),
        ("Action", "Source", "Source", "STARTED"),
        ("Action", "Source", "Source", "SUCCEEDED"),
    ]
    assert world.told[-3:] == [
        ("Action", "Approve", "Approve", "SUCCEEDED"),
        ("Stage", "Approve", "SUCCEEDED"),
        ("Pipeline", "SUCCEEDED"),
    ]
    # What has ended is not ended again.
    assert not world.end(one, "Approve")


def test_those_beside_a_failed_action_still_end(world: World) -> None:
    world.declare(three_stages())
    one = world.start()
    world.end(one, "Source")
    world.fail(one, "Build")
    assert world.place(one) == ("InProgress", "Build", False)
    world.end(one, "Beside")
    assert world.place(one) == ("Failed", "Build", False)
    assert world.told[-2:] == [("Stage", "Build", "FAILED"), ("Pipeline", "FAILED")]
    assert "After" not in [run["actionName"] for run in world.records.runs("p")]


def test_the_newest_that_waits_supersedes_the_others(world: World) -> None:
    world.declare(three_stages())
    first, second, third = world.start(), world.start(), world.start()
    assert world.place(first) == ("InProgress", "Source", False)
    assert world.execution(second)["status"] == "Superseded"
    assert third in world.execution(second)["statusSummary"]
    assert world.place(third) == ("InProgress", "Source", True)
    world.end(first, "Source")
    assert world.place(third) == ("InProgress", "Source", False)
    world.end(third, "Source")
    # The stage before it is taken, and the first holds it until it has ended.
    assert world.place(third) == ("InProgress", "Build", True)
    world.fail(first, "Build")
    world.end(first, "Beside")
    assert world.place(third) == ("InProgress", "Build", False)


def test_in_turn(world: World) -> None:
    world.declare(three_stages(executionMode="QUEUED"))
    first, second, third = world.start(), world.start(), world.start()
    assert [world.place(one)[2] for one in (first, second, third)] == [False, True, True]
    world.end(first, "Source")
    assert [world.place(one)[1:] for one in (first, second, third)] == [
        ("Build", False), ("Source", False), ("Source", True),
    ]  # fmt: skip
    for _ in range(47):
        world.start()
    with pytest.raises(ServiceError, match="50 is the most"):
        world.start()


def test_side_by_side(world: World) -> None:
    world.declare(three_stages(executionMode="PARALLEL"))
    first, second = world.start(), world.start()
    assert [world.place(one) for one in (first, second)] == [("InProgress", "Source", False)] * 2


def test_a_disabled_transition_keeps_the_newest(world: World) -> None:
    world.declare(three_stages())
    world.records.change_stage("p", "Build", transition={"enabled": False, "disabledReason": "no"})
    first, second = world.start(), None
    world.end(first, "Source")
    assert world.place(first) == ("InProgress", "Build", True)
    second = world.start()
    world.end(second, "Source")
    assert (world.execution(first)["status"], world.place(second)) == ("Superseded", ("InProgress", "Build", True))
    world.records.change_stage("p", "Build", transition={"enabled": True})
    world.engine.advance("p")
    assert world.running(second) == ["Build", "Beside"]


def test_stop_and_wait(world: World) -> None:
    world.declare(three_stages())
    one = world.start()
    world.end(one, "Source")
    world.engine.stop(world.execution(one), "enough", abandon=False, by="me")
    assert world.place(one)[0] == "Stopping"
    world.end(one, "Build")
    assert world.place(one)[0] == "Stopping"
    world.end(one, "Beside")
    found = world.execution(one)
    assert (found["status"], found["statusSummary"], found["stages"]["Build"]["status"]) == (
        "Stopped", "enough", "Stopped",
    )  # fmt: skip
    assert ("Stage", "Build", "STOPPING") in world.told
    assert world.told[-2:] == [("Stage", "Build", "STOPPED"), ("Pipeline", "STOPPED")]


def test_stop_and_abandon_ends_what_runs(world: World) -> None:
    busy = Busy()
    world.kinds["Build", "CodeBuild"] = busy
    world.declare(three_stages())
    one, other = world.start(), None
    world.end(one, "Source")
    other = world.start()
    assert busy.begun.wait(10)
    world.engine.stop(world.execution(one), None, abandon=True, by="me")
    assert world.execution(one)["status"] == "Stopped"
    assert busy.halted.wait(10)
    assert ("Action", "Build", "Build", "ABANDONED") in world.told
    # Whoever waits for nobody is stopped at once.
    world.end(other, "Source")
    world.engine.stop(world.execution(other), None, abandon=True, by="me")
    assert world.execution(other)["status"] == "Stopped"


@pytest.mark.parametrize(("all_actions", "again"), [(False, ["Build"]), (True, ["Build", "Beside"])])
def test_a_stage_is_tried_again(world: World, all_actions: bool, again: list[str]) -> None:
    world.declare(three_stages())
    one = world.start()
    world.end(one, "Source")
    world.end(one, "Beside")
    world.fail(one, "Build")
    world.engine.retry(world.execution(one), "Build", all_actions=all_actions)
    assert (world.running(one), world.execution(one)["attempt"]) == (again, 2)
    assert ("Pipeline", "RESUMED") in world.told
    assert ("Stage", "Build", "RESUMED") in world.told
    for name in again:
        world.end(one, name)
    assert world.running(one) == ["After"]


def test_a_variable_without_a_value_fails_the_action(world: World) -> None:
    world.declare(
        pipeline(
            stage("Source", source(namespace="Source")),
            stage("Approve", approval(configuration={"CustomData": "#{Source.Nope}"})),
        )
    )
    one = world.start()
    world.end(one, "Source", Outcome(variables={"CommitId": "abc"}))
    world.context.timetable.advance(0)
    assert world.execution(one)["status"] == "Failed"
    (run,) = (run for run in world.records.runs("p", one) if run["actionName"] == "Approve")
    assert "#{Source.Nope}" in run["output"]["executionResult"]["errorDetails"]["message"]
    assert "Approve" not in world.waiting.begun


def test_variables_of_the_pipeline(world: World) -> None:
    world.declare(three_stages(variables=[{"name": "Reason", "defaultValue": "none"}, {"name": "Version"}]))
    for given, told in (({}, "Version of the pipeline 'p' have no default"), ({"X": "1"}, "has no variable X")):
        with pytest.raises(ServiceError, match=told):
            world.start(variables=given)
    one = world.start(variables={"Version": "3"})
    assert world.execution(one)["namespaces"]["variables"] == {"Reason": "none", "Version": "3"}


def test_a_request_that_is_made_twice(world: World) -> None:
    world.declare(three_stages())
    one = world.start(token="t", asked="this")
    assert world.start(token="t", asked="this") == one
    with pytest.raises(ServiceError) as raised:
        world.start(token="t", asked="that")
    assert raised.value.code == "ConflictException"


def test_nobody_answers_an_approval(world: World) -> None:
    world.declare(three_stages())
    one = world.start()
    for name in ("Source", "Build", "Beside", "After"):
        world.end(one, name)
    world.context.timetable.advance(7 * 86_400 - 1)
    assert world.running(one) == ["Approve"]
    world.context.timetable.advance(1)
    (run,) = (run for run in world.records.runs("p", one) if run["actionName"] == "Approve")
    assert "has timed out" in run["output"]["executionResult"]["errorDetails"]["message"]
    assert world.execution(one)["status"] == "Failed"


def test_a_restart_goes_on(open_world: Callable[[], World]) -> None:
    world = open_world()
    world.declare(three_stages())
    one = world.start()
    world.end(one, "Source")
    two = world.start()
    world = open_world()
    world.engine.start()
    world.context.timetable.advance(0)
    # What ran is carried out again, from what it had noted; what waited waits.
    assert sorted(world.waiting.begun) == ["Beside", "Build", "Source"]
    assert world.running(one) == ["Build", "Beside"]
    assert world.running(two) == ["Source"]
    world.end(one, "Build")
    world.end(one, "Beside")
    assert world.running(one) == ["After"]


def test_a_restart_between_the_end_of_an_action_and_what_follows(open_world: Callable[[], World]) -> None:
    world = open_world()
    world.declare(three_stages())
    one = world.start()
    (run,) = world.records.runs("p", one)
    with world.context.store.transaction():
        world.records.change_run(key_of_run(run), status=records.SUCCEEDED)
        world.records.change_execution(world.execution(one), artifacts={"Source": {"bucket": "b", "key": "k"}})
    world = open_world()
    world.engine.start()
    world.context.timetable.advance(0)
    assert world.running(one) == ["Build", "Beside"]


def test_a_bug_ends_the_action(world: World) -> None:
    class Broken:
        def run(self, turn: Turn) -> Outcome:
            raise no_pipeline("another")

    world.kinds["Source", "CodeCommit"] = Broken()
    world.declare(three_stages())
    one = world.start()
    world.context.timetable.advance(0)
    (run,) = world.records.runs("p", one)
    assert run["output"]["executionResult"]["errorDetails"]["code"] == "SystemUnavailable"
    assert world.execution(one)["status"] == "Failed"
