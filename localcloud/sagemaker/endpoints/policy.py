"""How an update shifts traffic from the old servers to the new ones: the stages of a deployment, as data.

    ALL_AT_ONCE   everything                       ── TerminationWaitInSeconds
    CANARY        a part ── WaitIntervalInSeconds ── everything ── TerminationWaitInSeconds
    LINEAR        a step ── WaitIntervalInSeconds ── two steps ── … ── everything ── TerminationWaitInSeconds

A size in instances is the same part of the variant's traffic; a size in percent is that part exactly, however few
servers there are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from localcloud.errors import validation

DeploymentConfig = Mapping[str, Any]
Counts = Mapping[str, int]
"""Instances by variant."""

_HALF, _TENTH = Fraction(1, 2), Fraction(1, 10)
_SIZES = {"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}
_CAPACITY = {"CANARY": "canary", "LINEAR": "linear step"}


@dataclass(frozen=True)
class Stage:
    """One shift of traffic, and the wait after it."""

    shares: Mapping[str, float]
    """The new servers' part of the traffic, by variant."""
    bake_seconds: int
    setting: str
    """Which setting says how long to bake, for the status."""
    capacity: str
    """`canary`, `linear step` or `full`."""
    instances: Counts
    """How many of the new instances that stands for."""

    @property
    def activating(self) -> Mapping[str, str]:
        """The message of the variants' status while traffic is shifted."""
        return {
            name: f"Activating traffic on {self.capacity} capacity of {count} instance(s)."
            for name, count in self.instances.items()
        }

    @property
    def baking(self) -> Mapping[str, str]:
        """The message of the variants' status while it is waited."""
        return {
            name: f"Baking for {self.bake_seconds} seconds ({self.setting}) with traffic enabled on {self.capacity}"
            f" capacity of {count} instance(s)."
            for name, count in self.instances.items()
        }


def check(config: DeploymentConfig | None, counts: Counts) -> None:
    """Raise ValidationException for a DeploymentConfig that AWS refuses for variants of these sizes, or that localcloud
    does not follow."""
    if not config:
        return
    if config.get("RollingUpdatePolicy"):
        raise validation("localcloud updates endpoints by BlueGreenUpdatePolicy; got a RollingUpdatePolicy")
    policy = config.get("BlueGreenUpdatePolicy")
    if policy is None:
        return
    routing = policy["TrafficRoutingConfiguration"]
    kind = routing["Type"]
    for other, member in _SIZES.items():
        if other == kind and member not in routing:
            raise validation(f"TrafficRoutingConfiguration of Type {kind} needs a {member}")
        if other != kind and member in routing:
            raise validation(f"{member} is for TrafficRoutingConfiguration of Type {other}; got Type {kind}")
    if kind in _SIZES:
        _check_size(kind, routing[_SIZES[kind]], counts)
    limit = policy.get("MaximumExecutionTimeoutInSeconds")
    waits = sum(stage.bake_seconds for stage in stages(config, counts))
    if limit is not None and limit <= waits:
        raise validation(
            f"MaximumExecutionTimeoutInSeconds must be greater than the deployment's waiting time of {waits} seconds"
            f" (WaitIntervalInSeconds and TerminationWaitInSeconds); got {limit}"
        )


def stages(config: DeploymentConfig | None, counts: Counts) -> Sequence[Stage]:
    """The shifts of an update, the last of which is of everything."""
    policy = (config or {}).get("BlueGreenUpdatePolicy") or {}
    routing = policy.get("TrafficRoutingConfiguration") or {"Type": "ALL_AT_ONCE"}
    everything = Stage(
        dict.fromkeys(counts, 1.0),
        policy.get("TerminationWaitInSeconds", 0),
        "TerminationWaitInSeconds",
        "full",
        counts,
    )
    kind = routing["Type"]
    if kind == "ALL_AT_ONCE":
        return [everything]
    size = routing[_SIZES[kind]]
    steps = 1 if kind == "CANARY" else math.ceil(max(1 / part(size, count) for count in counts.values())) - 1
    found = []
    for number in range(1, steps + 1):
        parts = {name: min(number * part(size, count), Fraction(1)) for name, count in counts.items()}
        found.append(
            Stage(
                {name: float(share) for name, share in parts.items()},
                routing["WaitIntervalInSeconds"],
                "WaitIntervalInSeconds",
                _CAPACITY[kind],
                {name: math.ceil(share * counts[name]) for name, share in parts.items()},
            )
        )
    return [*found, everything]


def part(size: Mapping[str, Any], count: int) -> Fraction:
    """A CapacitySize as a part of a variant with `count` instances."""
    return Fraction(size["Value"], 100 if size["Type"] == "CAPACITY_PERCENT" else count)


def _check_size(kind: str, size: Mapping[str, Any], counts: Counts) -> None:
    lowest = _TENTH if kind == "LINEAR" else Fraction(0)
    expected = "from 10 % to 50 %" if kind == "LINEAR" else "at most 50 %"
    for name, count in counts.items():
        if not lowest <= part(size, count) <= _HALF:
            raise validation(
                f"{_SIZES[kind]} must be {expected} of the variant's total instance count; got {size['Value']}"
                f" ({size['Type']}) for {name!r}, which has {count}"
            )
