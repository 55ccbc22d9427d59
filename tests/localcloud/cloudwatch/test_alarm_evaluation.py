"""The states that datapoints mean, by the tables of CloudWatch's own guide, and the words for it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from localcloud.cloudwatch import evaluation
from localcloud.cloudwatch.evaluation import Datapoint, Rule
from localcloud.cloudwatch.statistics import Aggregate, Statistic

NOW = datetime(2026, 1, 1, 0, 10, tzinfo=UTC)
NEWEST = int(NOW.timestamp()) - 60
TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")
STAYS = None


def rule(periods: int = 3, needed: int = 3, missing: str = "missing", **members: object) -> Rule:
    return Rule(Statistic("Sum"), 60, periods, needed, "GreaterThanThreshold", 5.0, missing, **members)  # type: ignore[arg-type]


def points(text: str) -> list[Datapoint | None]:
    """`0` is a datapoint that does not breach, `X` one that does, `-` none; the newest last."""
    found: list[Datapoint | None] = []
    for number, sign in enumerate(reversed(text.split())):
        value = {"0": 1.0, "X": 9.0}.get(sign)
        found.insert(0, None if value is None else Datapoint(NEWEST - number * 60, value, 1.0))
    return found


@pytest.mark.parametrize(
    ("text", "needed", "states"),
    [
        # The guide's table for 3 of 3 …
        ("0 - X - X", 3, ("OK", "OK", "OK", "OK")),
        ("0 - - - -", 3, ("OK", "OK", "OK", "OK")),
        ("- - - - -", 3, ("INSUFFICIENT_DATA", STAYS, "ALARM", "OK")),
        ("0 X X - X", 3, ("ALARM", "ALARM", "ALARM", "ALARM")),
        ("- - X - -", 3, ("ALARM", STAYS, "ALARM", "OK")),
        # … and for 2 of 3 …
        ("0 - X - X", 2, ("ALARM", "ALARM", "ALARM", "ALARM")),
        ("0 0 X 0 X", 2, ("ALARM", "ALARM", "ALARM", "ALARM")),
        ("0 - X - -", 2, ("OK", "OK", "ALARM", "OK")),
        ("- - - - 0", 2, ("OK", "OK", "ALARM", "OK")),
        ("- - - X -", 2, ("ALARM", STAYS, "ALARM", "OK")),
        # … and what it says of alarms that would come too early.
        ("- - - - X", 3, (STAYS, STAYS, "ALARM", "OK")),
        ("- - - X -", 3, (STAYS, STAYS, "ALARM", "OK")),
    ],
)
def test_the_states_are_those_of_the_guide(text: str, needed: int, states: tuple[str | None, ...]) -> None:
    found = []
    for treatment in TREATMENTS:
        verdict = evaluation.evaluate(rule(3, needed, treatment), points(text), NEWEST, "OK", NOW)
        found.append(verdict.state if verdict else None)
    assert tuple(found) == states


def test_the_reason_counts_the_datapoints_and_names_the_transition() -> None:
    verdict = evaluation.evaluate(rule(3, 2), points("0 0 X 0 X"), NEWEST, "INSUFFICIENT_DATA", NOW)
    assert verdict is not None
    assert verdict.reason == (
        "Threshold Crossed: 2 out of the last 3 datapoints [9.0 (01/01/26 00:09:00), 9.0 (01/01/26 00:07:00)] were"
        " greater than the threshold (5.0) (minimum 2 datapoints for OK -> ALARM transition)."
    )
    back = evaluation.evaluate(rule(3, 2), points("0 0 X 0 0"), NEWEST, "ALARM", NOW)
    assert back is not None
    assert back.reason == (
        "Threshold Crossed: 2 out of the last 3 datapoints [1.0 (01/01/26 00:09:00), 1.0 (01/01/26 00:08:00)] were not"
        " greater than the threshold (5.0) (minimum 2 datapoints for ALARM -> OK transition)."
    )


@pytest.mark.parametrize(
    ("treatment", "reason"),
    [
        ("missing", "Insufficient Data: 3 datapoints were unknown."),
        (
            "notBreaching",
            "Threshold Crossed: no datapoints were received for 3 periods and 3 missing datapoints were treated as"
            " [NonBreaching].",
        ),
        (
            "breaching",
            "Threshold Crossed: no datapoints were received for 3 periods and 3 missing datapoints were treated as"
            " [Breaching].",
        ),
    ],
)
def test_the_reason_says_what_is_missing(treatment: str, reason: str) -> None:
    before = "OK" if treatment == "breaching" else "ALARM"
    verdict = evaluation.evaluate(rule(missing=treatment), points("- - - - -"), NEWEST, before, NOW)
    assert verdict is not None
    assert verdict.reason == reason


def test_the_reason_data_hold_the_datapoints_newest_first() -> None:
    verdict = evaluation.evaluate(rule(2, 2, unit="Count"), points("X 0 X X"), NEWEST, "OK", NOW)
    assert verdict is not None
    assert json.loads(verdict.data) == {
        "version": "1.0",
        "queryDate": "2026-01-01T00:10:00.000+0000",
        "startDate": "2026-01-01T00:08:00.000+0000",
        "unit": "Count",
        "statistic": "Sum",
        "period": 60,
        "recentDatapoints": [9.0, 9.0],
        "threshold": 5.0,
        "evaluatedDatapoints": [
            {"timestamp": "2026-01-01T00:09:00.000+0000", "sampleCount": 1.0, "value": 9.0},
            {"timestamp": "2026-01-01T00:08:00.000+0000", "sampleCount": 1.0, "value": 9.0},
        ],
    }


def test_texts_stay_within_their_limits_however_many_periods_there_are() -> None:
    many = [Datapoint(NEWEST - number * 60, 9.0, 1.0) for number in range(1000)][::-1]
    verdict = evaluation.evaluate(rule(1000, 1000), many, NEWEST, "OK", NOW)
    assert verdict is not None
    assert verdict.reason.startswith(
        "Threshold Crossed: 1000 out of the last 1000 datapoints were greater than the threshold (5.0). The most recent"
        " datapoints which crossed the threshold: [9.0 (01/01/26 00:09:00), "
    )
    assert len(verdict.reason) < 1023
    assert len(verdict.data) < 4000


@pytest.mark.parametrize(
    ("statistic", "operator", "values", "for_good"),
    [
        ("Sum", "GreaterThanThreshold", [3, 3], True),
        ("Sum", "GreaterThanThreshold", [3], False),
        ("Sum", "GreaterThanThreshold", [9, -1], False),
        ("Maximum", "GreaterThanOrEqualToThreshold", [5], True),
        ("SampleCount", "GreaterThanThreshold", [0] * 6, True),
        ("Minimum", "LessThanThreshold", [4, 9], True),
        ("Minimum", "GreaterThanThreshold", [9], False),
        ("Average", "GreaterThanThreshold", [9], False),
        ("Sum", "LessThanThreshold", [1], False),
    ],
)
def test_a_period_that_runs_breaches_only_if_nothing_can_change_that(
    statistic: str, operator: str, values: list[float], for_good: bool
) -> None:
    aggregate = Aggregate()
    for value in values:
        aggregate.merge(Aggregate.of(value))
    assert Rule(Statistic(statistic), 60, 1, 1, operator, 5.0).breaches_for_good(aggregate) is for_good
