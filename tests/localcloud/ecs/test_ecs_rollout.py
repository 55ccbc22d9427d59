"""What a service needs next: tables of what there is and what is to be done."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from localcloud.ecs.rollout import Step, Wanted, is_well, next_step, threshold


def task(arn: str, deployment: str = "new", status: str = "RUNNING", **members: Any) -> dict[str, Any]:
    return {
        "taskArn": arn,
        "startedBy": deployment,
        "lastStatus": status,
        "desiredStatus": "RUNNING",
        "healthStatus": "UNKNOWN",
        "containers": [{"name": "main"}],
        **members,
    }


def unwell(arn: str, deployment: str = "new") -> dict[str, Any]:
    return task(arn, deployment, healthStatus="UNHEALTHY", containers=[{"name": "main", "healthStatus": "UNHEALTHY"}])


def stopping(arn: str, deployment: str = "new") -> dict[str, Any]:
    return task(arn, deployment, desiredStatus="STOPPED")


def stopped(step: Step) -> list[str]:
    return [arn for arn, _ in step.stop]


ONE, TWO = Wanted("new", 1), Wanted("new", 2)
SINGLE = Wanted("new", 1, least_percent=0, most_percent=100)


@pytest.mark.parametrize(
    ("wanted", "tasks", "start", "stop", "steady"),
    [
        (ONE, [], 1, [], False),
        (ONE, [task("a")], 0, [], True),
        (ONE, [task("a", status="PENDING")], 0, [], False),
        (TWO, [task("a")], 1, [], False),
        # Too many: the newest goes, and one that does not run yet before it.
        (ONE, [task("a"), task("b")], 0, ["b"], False),
        (ONE, [task("a"), task("b", status="PENDING"), task("c")], 0, ["b", "c"], False),
        # Another deployment: with 200 percent the new one is there first.
        (ONE, [task("a", "old")], 1, [], False),
        (ONE, [task("a", "old"), task("b", status="PENDING")], 0, [], False),
        (ONE, [task("a", "old"), task("b")], 0, ["a"], False),
        (ONE, [stopping("a", "old"), task("b")], 0, [], False),
        # With 0 and 100 percent there are never two.
        (SINGLE, [task("a", "old")], 0, ["a"], False),
        (SINGLE, [stopping("a", "old")], 0, [], False),
        (SINGLE, [], 1, [], False),
        # An old one that does not work helps nobody.
        (ONE, [task("a", "old", status="PENDING")], 1, ["a"], False),
        # One that is unwell is replaced.
        (ONE, [unwell("a")], 1, ["a"], False),
        (SINGLE, [unwell("a")], 0, ["a"], False),
        (Wanted("new", 0), [task("a")], 0, ["a"], False),
        (Wanted("new", 0), [], 0, [], True),
        (Wanted("new", 1, may_start=False), [], 0, [], False),
        (Wanted("new", 1, excused=frozenset("a")), [unwell("a")], 0, [], False),
        (Wanted("new", 1, unproven=frozenset("a")), [task("a")], 0, [], False),
    ],
)
def test_the_next_step(wanted: Wanted, tasks: list[dict[str, Any]], start: int, stop: list[str], steady: bool) -> None:
    step = next_step(wanted, tasks)
    assert (step.start, stopped(step), step.steady) == (start, stop, steady)


@given(
    count=st.integers(0, 6),
    percents=st.sampled_from([(0, 100), (100, 200), (50, 150), (0, 200), (50, 100)]),
    states=st.lists(st.sampled_from(["PENDING", "RUNNING", "UNHEALTHY", "STOPPING"]), max_size=6),
    own=st.integers(0, 6),
)
def test_it_comes_to_rest_and_never_has_too_many(
    count: int, percents: tuple[int, int], states: list[str], own: int
) -> None:
    # Without room for one more or one less a deployment waits for ever, on AWS as well.
    assume(not count or count * percents[1] // 100 > math.ceil(count * percents[0] / 100))
    wanted = Wanted("new", count, *percents)
    made = {"UNHEALTHY": unwell, "STOPPING": stopping}
    tasks = []
    for number, state in enumerate(states):
        deployment = "new" if number < own else "old"
        make = made.get(state)
        tasks.append(make(str(number), deployment) if make else task(str(number), deployment, state))
    most = max(count * percents[1] // 100, len(tasks))
    for turn in range(40):
        step = next_step(wanted, tasks)
        if step.steady:
            break
        tasks = [one for one in tasks if one["desiredStatus"] != "STOPPED"]
        gone = set(stopped(step))
        tasks = [{**one, "desiredStatus": "STOPPED"} if one["taskArn"] in gone else one for one in tasks]
        tasks = [{**one, "lastStatus": "RUNNING"} for one in tasks]
        tasks += [task(f"{turn}-{number}", status="PENDING") for number in range(step.start)]
        assert len(tasks) <= most
    assert step.steady
    assert len(tasks) == count
    assert all(one["startedBy"] == "new" for one in tasks)


def test_only_what_is_healthy_is_well() -> None:
    assert is_well(task("a"))
    assert not is_well(task("a", status="PENDING"))
    assert not is_well(task("a", containers=[{"name": "a", "healthStatus": "UNKNOWN"}, {"name": "b"}]))


def test_the_circuit_breakers_threshold() -> None:
    assert [threshold(count) for count in (1, 6, 7, 100, 1000)] == [3, 3, 4, 50, 200]
