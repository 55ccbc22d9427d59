"""What state an alarm is in, given its datapoints: pure functions.

CloudWatch looks at somewhat more periods than the alarm's EvaluationPeriods (N) and takes the N newest datapoints that
there are. M of them must breach. Only where fewer than N are found does TreatMissingData matter:

    breaching     the missing ones count as breaching
    notBreaching  they count as not breaching
    ignore        without any datapoint, or while the ones there are all breach and are fewer than M: the state stays
    missing       without any datapoint: INSUFFICIENT_DATA. While the ones there all breach and are fewer than M: ALARM
                  if the oldest is M periods old, since nothing that came later says otherwise; else the state stays
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from localcloud.cloudwatch import moments
from localcloud.cloudwatch.statistics import Aggregate, Statistic, find

OK, ALARM, INSUFFICIENT_DATA = "OK", "ALARM", "INSUFFICIENT_DATA"
MISSING, IGNORE, BREACHING, NOT_BREACHING = "missing", "ignore", "breaching", "notBreaching"
_FURTHER_PERIODS = 2

_COMPARED = {
    "GreaterThanOrEqualToThreshold": "greater than or equal to",
    "GreaterThanThreshold": "greater than",
    "LessThanThreshold": "less than",
    "LessThanOrEqualToThreshold": "less than or equal to",
}
OPERATORS = tuple(_COMPARED)
_TREATED = {BREACHING: "[Breaching]", NOT_BREACHING: "[NonBreaching]"}
_SHOWN_IN_REASON, _SHOWN_IN_DATA = 5, 20


@dataclass(frozen=True)
class Rule:
    """What an alarm on one metric, or on an expression, asks."""

    statistic: Statistic | None
    """None of an expression: its metrics have theirs."""
    period: int
    periods: int
    """N, EvaluationPeriods."""
    needed: int
    """M, DatapointsToAlarm."""
    operator: str
    threshold: float
    missing: str = MISSING
    unit: str | None = None

    @staticmethod
    def of(alarm: Mapping[str, Any]) -> Rule:
        """The rule of a stored alarm."""
        if "Metrics" in alarm:
            statistic, period = None, period_of(alarm["Metrics"])
        else:
            statistic, period = find(alarm.get("Statistic") or alarm["ExtendedStatistic"]), alarm["Period"]
        return Rule(
            statistic=statistic,
            period=period,
            periods=alarm["EvaluationPeriods"],
            needed=alarm.get("DatapointsToAlarm", alarm["EvaluationPeriods"]),
            operator=alarm["ComparisonOperator"],
            threshold=alarm["Threshold"],
            missing=alarm.get("TreatMissingData", MISSING),
            unit=alarm.get("Unit"),
        )

    @property
    def range(self) -> int:
        """How many periods are looked at."""
        return self.periods + _FURTHER_PERIODS

    def begin(self, epoch: float) -> int:
        """The begin of the period in which a moment lies."""
        return int(epoch // self.period) * self.period

    def begins(self, newest: int) -> Sequence[int]:
        """The begins of the periods that are looked at, the newest one's given, oldest first."""
        return range(newest - (self.range - 1) * self.period, newest + 1, self.period)

    def breaches(self, value: float) -> bool:
        """Whether a value is beyond the threshold."""
        match self.operator:
            case "GreaterThanThreshold":
                return value > self.threshold
            case "GreaterThanOrEqualToThreshold":
                return value >= self.threshold
            case "LessThanThreshold":
                return value < self.threshold
            case _:
                return value <= self.threshold

    @property
    def may_breach_early(self) -> bool:
        """Whether a period can breach for good before it is over. An expression's value may do anything."""
        if self.statistic is None:
            return False
        if self.operator.startswith("Greater"):
            return self.statistic.name in ("SampleCount", "Maximum", "Sum")
        return self.statistic.only_falls()

    def breaches_for_good(self, running: Aggregate) -> bool:
        """Whether a period that is not over breaches, and nothing that it may still bring can change that."""
        if self.statistic is None:
            return False
        value = self.statistic.of(running)
        if value is None or not self.breaches(value):
            return False
        if self.operator.startswith("Greater"):
            return self.statistic.only_grows(running)
        return self.statistic.only_falls()


@dataclass(frozen=True)
class Datapoint:
    """A period's statistic."""

    begin: int
    value: float
    count: float | None = None
    """How many values it is made of; None of an expression."""


@dataclass(frozen=True)
class Verdict:
    """A state and what led to it."""

    state: str
    reason: str
    data: str
    """StateReasonData: JSON."""
    newest: float | None = None
    """The newest datapoint's value."""


def window(rule: Rule, periods: Mapping[int, Aggregate], newest: int) -> list[Datapoint | None]:
    """The datapoints of the periods that are looked at, the newest one's begin given, oldest first."""
    assert rule.statistic is not None
    found: list[Datapoint | None] = []
    for begin in rule.begins(newest):
        aggregate = periods.get(begin)
        value = rule.statistic.of(aggregate) if aggregate is not None else None
        found.append(None if value is None or aggregate is None else Datapoint(begin, value, aggregate.count))
    return found


def window_of_values(rule: Rule, values: Mapping[int, float], newest: int) -> list[Datapoint | None]:
    """The same, of the values of an expression."""
    return [Datapoint(begin, values[begin]) if begin in values else None for begin in rule.begins(newest)]


def period_of(queries: Sequence[Mapping[str, Any]]) -> int:
    """The period that all metrics of an expression have."""
    return next(int(query["MetricStat"]["Period"]) for query in queries if "MetricStat" in query)


def evaluate(rule: Rule, points: Sequence[Datapoint | None], newest: int, state: str, now: datetime) -> Verdict | None:
    """The state that the datapoints of `window` mean; None where they leave it as it is.

    `newest` is the begin of the newest period. A verdict may be of the state that the alarm is in already; it has no
    reason then, since nobody asks for it, and making it takes most of the time.
    """
    taken = [point for point in points if point is not None][-rule.periods :]
    found = _state(rule, taken, newest)
    if found is None:
        return None
    value = taken[-1].value if taken else None
    if found == state:
        return Verdict(found, "", "", value)
    return Verdict(found, _reason(rule, taken, found, state), _data(rule, taken, points, newest, now), value)


def _state(rule: Rule, taken: Sequence[Datapoint], newest: int) -> str | None:
    breaching = sum(rule.breaches(point.value) for point in taken)
    absent = rule.periods - len(taken)
    if breaching >= rule.needed or (rule.missing == BREACHING and breaching + absent >= rule.needed):
        return ALARM
    if not absent or rule.missing in (BREACHING, NOT_BREACHING) or breaching < len(taken):
        return OK
    # From here on all datapoints that there are breach, and they are too few.
    if rule.missing == IGNORE:
        return None
    if not taken:
        return INSUFFICIENT_DATA
    age = (newest - taken[0].begin) // rule.period + 1
    return ALARM if age >= rule.needed else None


def _reason(rule: Rule, taken: Sequence[Datapoint], state: str, before: str) -> str:
    if state == INSUFFICIENT_DATA:
        return f"Insufficient Data: {_plural(rule.periods, 'datapoint')} {_was(rule.periods)} unknown."
    absent = rule.periods - len(taken)
    treated = _TREATED.get(rule.missing, "")
    if not taken:
        return (
            f"Threshold Crossed: no datapoints were received for {_plural(absent, 'period')} and"
            f" {_plural(absent, 'missing datapoint')} {_was(absent)} treated as {treated}."
        )
    told = [point for point in taken if rule.breaches(point.value) == (state == ALARM)]
    negation = "" if state == ALARM else "not "
    newest = ", ".join(f"{point.value} ({moments.short(point.begin)})" for point in reversed(told[-_SHOWN_IN_REASON:]))
    few = len(told) <= _SHOWN_IN_REASON
    text = (
        f"Threshold Crossed: {len(told)} out of the last {len(taken)} datapoints{f' [{newest}]' if few else ''}"
        f" {_was(len(told))} {negation}{_COMPARED[rule.operator]} the threshold ({rule.threshold})"
    )
    if not few:
        crossing = "crossed" if state == ALARM else "did not cross"
        text += f". The most recent datapoints which {crossing} the threshold: [{newest}]"
    if absent and rule.missing in (BREACHING, NOT_BREACHING):
        text += f" and {_plural(absent, 'missing datapoint')} {_was(absent)} treated as {treated}"
    minimum = rule.needed if state == ALARM else rule.periods - rule.needed + 1
    origin = {ALARM: OK, OK: ALARM}[state] if before == INSUFFICIENT_DATA else before
    return f"{text} (minimum {_plural(minimum, 'datapoint')} for {origin} -> {state} transition)."


def _data(
    rule: Rule, taken: Sequence[Datapoint], points: Sequence[Datapoint | None], newest: int, now: datetime
) -> str:
    by_begin = {point.begin: point for point in points if point is not None}
    begins = [point.begin for point in taken] or [newest - number * rule.period for number in range(rule.periods)]
    evaluated = []
    for begin in sorted(begins, reverse=True):
        point = by_begin.get(begin)
        known: dict[str, float] = {"value": point.value} if point else {}
        if point and point.count is not None:
            known = {"sampleCount": point.count, **known}
        evaluated.append({"timestamp": moments.exact(moments.of_epoch(begin)), **known})
    data: dict[str, Any] = {"version": "1.0", "queryDate": moments.exact(now)}
    if taken:
        data["startDate"] = moments.exact(moments.of_epoch(taken[0].begin))
    if rule.unit:
        data["unit"] = rule.unit
    if rule.statistic is not None:
        data["statistic"] = rule.statistic.name
    data |= {
        "period": rule.period,
        # StateReasonData holds 4,000 characters at most: the newest datapoints.
        "recentDatapoints": [point.value for point in taken[-_SHOWN_IN_DATA:]],
        "threshold": rule.threshold,
        "evaluatedDatapoints": evaluated[:_SHOWN_IN_DATA],
    }
    return json.dumps(data, separators=(",", ":"))


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _was(number: int) -> str:
    return "was" if number == 1 else "were"
