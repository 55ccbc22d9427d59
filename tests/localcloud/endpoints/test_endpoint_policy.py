"""The stages of a deployment, and which ones AWS refuses."""

from __future__ import annotations

from typing import Any

import pytest

from localcloud.errors import ServiceError
from localcloud.sagemaker.endpoints.policy import check, stages


def config(kind: str, size: tuple[str, int] | None = None, **policy: Any) -> dict[str, Any]:
    """A DeploymentConfig; `size` is that of the canary or the step."""
    routing: dict[str, Any] = {"Type": kind, "WaitIntervalInSeconds": policy.pop("wait", 60)}
    if size is not None:
        routing["CanarySize" if kind == "CANARY" else "LinearStepSize"] = {"Type": size[0], "Value": size[1]}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing, **policy}}


def shares(deployment: dict[str, Any] | None, **counts: int) -> list[tuple[float, int]]:
    """Share and bake of each stage, of the first variant."""
    name = next(iter(counts))
    return [(stage.shares[name], stage.bake_seconds) for stage in stages(deployment, counts)]


def test_everything_is_shifted_at_once_where_nothing_else_is_said() -> None:
    assert shares(None, a=2) == [(1.0, 0)]
    assert shares(config("ALL_AT_ONCE", TerminationWaitInSeconds=120), a=2) == [(1.0, 120)]


def test_a_canary_is_a_part_and_then_everything() -> None:
    canary = config("CANARY", ("CAPACITY_PERCENT", 10), TerminationWaitInSeconds=30)
    assert shares(canary, a=1) == [(0.1, 60), (1.0, 30)]
    assert shares(config("CANARY", ("INSTANCE_COUNT", 1)), a=4) == [(0.25, 60), (1.0, 0)]


def test_linear_steps_add_up() -> None:
    assert shares(config("LINEAR", ("CAPACITY_PERCENT", 40)), a=1) == [(0.4, 60), (0.8, 60), (1.0, 0)]
    thirds = [pytest.approx(1 / 3), pytest.approx(2 / 3), 1.0]
    assert [share for share, _ in shares(config("LINEAR", ("INSTANCE_COUNT", 1)), a=3)] == thirds
    assert shares(config("LINEAR", ("CAPACITY_PERCENT", 50)), a=1) == [(0.5, 60), (1.0, 0)]


def test_variants_of_different_sizes_are_shifted_together() -> None:
    found = stages(config("LINEAR", ("INSTANCE_COUNT", 1)), {"a": 2, "b": 4})
    assert [dict(stage.shares) for stage in found] == [
        {"a": 0.5, "b": 0.25},
        {"a": 1.0, "b": 0.5},
        {"a": 1.0, "b": 0.75},
        {"a": 1.0, "b": 1.0},
    ]


def test_the_status_says_what_is_waited_for() -> None:
    first, last = stages(config("CANARY", ("CAPACITY_PERCENT", 30), TerminationWaitInSeconds=9), {"a": 2})
    assert first.activating == {"a": "Activating traffic on canary capacity of 1 instance(s)."}
    assert first.baking == {
        "a": "Baking for 60 seconds (WaitIntervalInSeconds) with traffic enabled on canary capacity of 1 instance(s)."
    }
    assert last.baking == {
        "a": "Baking for 9 seconds (TerminationWaitInSeconds) with traffic enabled on full capacity of 2 instance(s)."
    }


@pytest.mark.parametrize(
    ("deployment", "message"),
    [
        ({"RollingUpdatePolicy": {"WaitIntervalInSeconds": 0}}, "got a RollingUpdatePolicy"),
        (config("CANARY"), "of Type CANARY needs a CanarySize"),
        (config("LINEAR"), "of Type LINEAR needs a LinearStepSize"),
        (config("CANARY", ("CAPACITY_PERCENT", 60)), r"CanarySize must be at most 50 % .* got 60 \(CAPACITY_PERCENT\)"),
        (config("CANARY", ("INSTANCE_COUNT", 2)), r"got 2 \(INSTANCE_COUNT\) for 'a', which has 3"),
        (config("LINEAR", ("CAPACITY_PERCENT", 5)), "LinearStepSize must be from 10 % to 50 %"),
        (
            config("CANARY", ("CAPACITY_PERCENT", 10), wait=600, MaximumExecutionTimeoutInSeconds=600),
            "MaximumExecutionTimeoutInSeconds must be greater than the deployment's waiting time of 600 seconds",
        ),
    ],
)
def test_what_aws_refuses_is_refused(deployment: dict[str, Any], message: str) -> None:
    with pytest.raises(ServiceError, match=message):
        check(deployment, {"a": 3})


def test_a_size_of_another_kind_is_refused() -> None:
    deployment = config("ALL_AT_ONCE")
    routing = deployment["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    routing["CanarySize"] = {"Type": "CAPACITY_PERCENT", "Value": 10}
    with pytest.raises(ServiceError, match="CanarySize is for TrafficRoutingConfiguration of Type CANARY"):
        check(deployment, {"a": 1})
