"""What is known of a metric's values within a period, and the statistics that are read from it.

A period is kept as an aggregate: count, sum, minimum, maximum, and the values with how often each was seen, for
percentiles. Where too many values differ they are kept to three digits, as CloudWatch too keeps a rounded distribution.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from functools import cache

_EXACT_VALUES = 256
_SIMPLE = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d{1,10})?|100)")


@dataclass
class Aggregate:
    """The values of one period. `values` is None where a statistic set has hidden them."""

    count: float = 0.0
    total: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    values: dict[float, float] | None = field(default_factory=dict)

    @staticmethod
    def of(value: float, count: float = 1.0) -> Aggregate:
        """One value, seen so often."""
        return Aggregate(count, value * count, value, value, {value: count})

    @staticmethod
    def of_set(count: float, total: float, low: float, high: float) -> Aggregate:
        """A statistic set. Its values are known only where they are all the same."""
        return Aggregate(count, total, low, high, {low: count} if low == high else None)

    def merge(self, other: Aggregate) -> None:
        """Take in another period, or another part of this one."""
        self.count += other.count
        self.total += other.total
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        if self.values is None or other.values is None:
            self.values = None
            return
        for value, count in other.values.items():
            self.values[value] = self.values.get(value, 0.0) + count
        if len(self.values) > _EXACT_VALUES:
            self._round()

    def _round(self) -> None:
        rounded: dict[float, float] = {}
        for value, count in (self.values or {}).items():
            key = float(f"{value:.3g}")
            rounded[key] = rounded.get(key, 0.0) + count
        self.values = rounded


@dataclass(frozen=True)
class Statistic:
    """One of SampleCount, Average, Sum, Minimum, Maximum, or a percentile such as `p99.9`."""

    name: str
    percent: float | None = None

    def of(self, aggregate: Aggregate) -> float | None:
        """The statistic of a period; None where there is nothing, or where it cannot be told."""
        if not aggregate.count:
            return None
        if self.percent is not None:
            return self._percentile(aggregate, self.percent)
        return {
            "SampleCount": aggregate.count,
            "Average": aggregate.total / aggregate.count,
            "Sum": aggregate.total,
            "Minimum": aggregate.low,
            "Maximum": aggregate.high,
        }[self.name]

    @staticmethod
    def _percentile(aggregate: Aggregate, percent: float) -> float | None:
        """The smallest value that so many of a hundred values do not exceed."""
        if aggregate.values is None:
            return None
        rank, seen = aggregate.count * percent / 100, 0.0
        for value in sorted(aggregate.values):
            seen += aggregate.values[value]
            # Counts are floats: a sum of tenths may fall short of the whole by a hair.
            if seen >= rank - 1e-9:
                return value
        return aggregate.high

    def only_grows(self, aggregate: Aggregate) -> bool:
        """Whether more values in the period can only make it greater. A sum does while no value is negative."""
        return self.name in ("SampleCount", "Maximum") or (self.name == "Sum" and aggregate.low >= 0)

    def only_falls(self) -> bool:
        """Whether more values in the period can only make it smaller."""
        return self.name == "Minimum"


@cache
def find(name: str) -> Statistic | None:
    """The statistic of a name; None for one that is not known here."""
    if name in _SIMPLE:
        return Statistic(name)
    found = _PERCENTILE.fullmatch(name)
    return Statistic(name, float(found[1])) if found else None
