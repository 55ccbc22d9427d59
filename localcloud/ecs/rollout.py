"""What a service needs next, as a pure function of what it is and of its tasks.

Sources: "Amazon ECS service deployment parameters", "Deploy Amazon ECS services by replacing tasks" and "How the Amazon
ECS deployment circuit breaker detects failures" (Amazon ECS Developer Guide).

A task counts for minimumHealthyPercent when it is RUNNING and, if its containers are asked how they are, HEALTHY. One
that is stopping counts for maximumPercent until it has stopped, so that a service of one task with 0 and 100 percent
never has two.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from localcloud.ecs.records import STOPPED

_LEAST_FAILURES, _MOST_FAILURES = 3, 200


@dataclass(frozen=True)
class Step:
    """What is to be done now."""

    start: int = 0
    """So many tasks of the primary deployment."""
    stop: Sequence[tuple[str, str]] = ()
    """ARNs of tasks, each with the reason."""
    steady: bool = False
    """Whether everything is as it shall be, and the primary deployment complete."""


@dataclass(frozen=True)
class Wanted:
    """What a service is to be."""

    deployment: str
    """The id of the primary deployment, which its tasks have as startedBy."""
    count: int
    least_percent: int = 100
    most_percent: int = 200
    may_start: bool = True
    """Not while it waits after tasks that ended soon, nor when its deployment has failed."""
    excused: frozenset[str] = field(default_factory=frozenset)
    """ARNs of tasks in their grace period, whose health does not count against them."""
    unproven: frozenset[str] = field(default_factory=frozenset)
    """ARNs of tasks that have only just come to be RUNNING."""


def next_step(wanted: Wanted, tasks: Sequence[Mapping[str, Any]]) -> Step:
    """The next step of a service with these tasks, of which none has STOPPED. The oldest come first."""
    up = [task for task in tasks if task["desiredStatus"] != STOPPED]
    stop = [
        (task["taskArn"], "Task failed container health checks")
        for task in up
        if task["healthStatus"] == "UNHEALTHY" and task["taskArn"] not in wanted.excused
    ]
    gone = {arn for arn, _ in stop}
    up = [task for task in up if task["taskArn"] not in gone]
    own = [task for task in up if task.get("startedBy") == wanted.deployment]
    old = [task for task in up if task.get("startedBy") != wanted.deployment]
    reason = f"Scaling activity initiated by (deployment {wanted.deployment})"
    surplus = _least_useful_first(own)[: max(len(own) - wanted.count, 0)]
    stop += [(task["taskArn"], reason) for task in surplus]
    well = [task for task in up if is_well(task) and task not in surplus]
    spare = len(well) - math.ceil(wanted.count * wanted.least_percent / 100)
    for task in _least_useful_first(old):
        if is_well(task):
            if spare <= 0:
                continue
            spare -= 1
        stop.append((task["taskArn"], reason))
    room = math.floor(wanted.count * wanted.most_percent / 100) - len(tasks)
    start = max(min(wanted.count - len(own), room), 0) if wanted.may_start else 0
    proven = [task for task in own if is_well(task) and task["taskArn"] not in wanted.unproven]
    steady = not stop and len(tasks) == len(proven) == wanted.count
    return Step(start, stop, steady)


def is_well(task: Mapping[str, Any]) -> bool:
    """Whether a task does its work, as far as one can see."""
    if task["lastStatus"] != "RUNNING":
        return False
    return all(one.get("healthStatus", "HEALTHY") == "HEALTHY" for one in task["containers"])


def threshold(count: int) -> int:
    """After so many failed tasks the circuit breaker gives a deployment up."""
    return min(max(math.ceil(count / 2), _LEAST_FAILURES), _MOST_FAILURES)


def _least_useful_first(tasks: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those that do not work yet, then the newest."""
    return sorted(reversed(tasks), key=is_well)
