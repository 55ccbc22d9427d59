"""What the forecaster's drift report holds against what, and when it says nothing."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import wasserstein_distance

from seed_code.common import monitoring
from seed_code.common.drift_report import Drift, Regression, Table
from seed_code.forecaster import drift_report
from seed_code.forecaster.drift_report import DAILY, OF_ALARM, TRANSACTIONS
from seed_code.forecaster.frequency import Frequency
from seed_code.forecaster.online import OnlineMinutes

T = datetime(2026, 3, 9, 6, tzinfo=UTC)
FEE = "avg_fee_1min"
MINUTE = Frequency("min", 1)
HOUR = timedelta(hours=1)
OF = monitoring.Evaluation(
    project="p",
    workload="forecaster",
    stage="prod",
    time=T,
    endpoint="p-forecaster-prod",
    endpoint_config="deployment-1",
    model_package_arn="arn",
    model_version=3,
    root="s3://bucket/monitor/prod",
    capture_uri="s3://bucket/capture",
    experiment="p-forecaster",
)


class Store:
    """An online store, which knows minutes by what `value` gives for their age before T; None is no record."""

    def __init__(self, value):
        self.value = value

    def batch_get_record(self, Identifiers):
        records = []
        for name in Identifiers[0]["RecordIdentifiersValueAsString"]:
            minute = datetime.fromisoformat(name)
            value = self.value(T - minute)
            if value is not None:
                told = {"event_time": (minute + timedelta(seconds=61)).isoformat(), FEE: value, TRANSACTIONS: 300}
                records.append(
                    {
                        "RecordIdentifierValueAsString": name,
                        "Record": [
                            {"FeatureName": key, "ValueAsString": f"{told[key]}"}
                            for key in Identifiers[0]["FeatureNames"]
                        ],
                    }
                )
        return {"Records": records, "Errors": [], "UnprocessedIdentifiers": []}


def part_of(value, span=OF_ALARM):
    columns = {name: OnlineMinutes(Store(value), "minutes", name, MINUTE) for name in (FEE, TRANSACTIONS)}
    return drift_report.minutes(T, span, columns)


def test_minutes_are_held_against_the_same_hours_a_week_before():
    part = part_of(lambda age: 100 if age <= OF_ALARM.length else 50 if age > timedelta(days=6) else 1)
    assert isinstance(part, Drift)
    assert part.text == "The last 6 hours (current) against the same hours a week before (reference)."
    # The newest minute has no record yet at T.
    assert part.current[FEE] == [100.0] * 359 + [None]
    assert part.reference[FEE] == [50.0] * 360
    assert part.thresholds == {FEE: 1.35, TRANSACTIONS: 1.35}


def test_a_store_that_is_younger_than_a_week_is_held_against_the_day_before():
    part = part_of(lambda age: 100 if age <= timedelta(days=2) else None, DAILY)
    assert isinstance(part, Drift)
    assert "the same hours a day before (reference). The store does not reach back a week" in part.text
    assert set(part.reference[FEE]) == {100.0}


def test_a_column_that_is_not_known_is_left_out_and_none_is_said():
    part = part_of(lambda age: "" if age <= OF_ALARM.length else 50)
    assert isinstance(part, Drift)
    assert list(part.thresholds) == [TRANSACTIONS]


@pytest.mark.parametrize(
    ("oldest", "said"),
    [
        (timedelta(hours=2), "The store has 118 of the 360 steps of the last 6 hours. At least half, and 12, are"),
        (timedelta(hours=7), "The store has too few minutes of the same 6 hours a week and a day before."),
    ],
)
def test_too_few_minutes_are_said(oldest, said):
    part = part_of(lambda age: 100 if age < oldest else None)
    assert type(part) is drift_report.Part
    assert said in part.text


def report(time, config="deployment-1", points=60, forecast=90.0, verdict=monitoring.SCORED):
    """An hour's report as the monitor writes it, with two windows of which the second got no answer."""
    of = replace(OF, time=time, endpoint_config=config)
    window = {
        "origin": monitoring.iso(time - HOUR),
        "actual": [None, *[100.0] * (points - 1)] if points else [],
        "mean": [forecast] * points,
        "quantiles": {"0.5": [forecast] * points},
    }
    silent = {**window, "mean": None, "quantiles": None}
    metrics = {"MeanWeightedQuantileLoss": 0.1, "LossThreshold": 0.25}
    return json.loads(json.dumps(monitoring.report(of, verdict, "fine", metrics, windows=[window, silent])))


def test_forecasts_are_held_against_those_of_the_same_deployment_before():
    reports = [report(T - number * HOUR, forecast=90.0 + number) for number in range(9, -1, -1)]
    part = drift_report.forecasts(OF, OF_ALARM, reports, MINUTE)
    assert isinstance(part, Regression)
    assert part.text == (
        "The 354 forecast values of the last 6 hours (current) against the 236 that the same deployment made in the 6 "
        "hours before (reference)."
    )
    assert (len(part.current["time"]), len(part.reference["time"])) == (6 * 59, 4 * 59)
    assert part.current["time"][0] == (T - 6 * HOUR + timedelta(minutes=1)).replace(tzinfo=None)
    assert part.current["forecast"][-1] == 90.0
    assert set(part.reference["forecast"]) == {96.0, 97.0, 98.0, 99.0}


def test_another_deployment_is_no_reference():
    reports = [report(T - 7 * HOUR, config="deployment-0"), report(T, points=30)]
    part = drift_report.forecasts(OF, OF_ALARM, reports, MINUTE)
    assert isinstance(part, Regression)
    assert part.reference is None
    assert "this deployment has 0, too few to compare with" in part.text


def test_too_few_forecasts_are_said():
    part = drift_report.forecasts(OF, DAILY, [report(T, points=9)], MINUTE)
    assert type(part) is drift_report.Part
    assert part.text == "In the last 24 hours 8 forecast values could be held against what came; 12 are needed."


def test_the_table_has_the_hours_of_the_span():
    reports = [
        report(T - number * HOUR, verdict=monitoring.NO_DATA if number == 1 else "scored") for number in (7, 1, 0)
    ]
    table = drift_report.hours(OF, OF_ALARM, reports)
    assert isinstance(table, Table)
    assert [row[:5] for row in table.rows] == [
        ("2026-03-09T04:00:00Z", 3, "no-data", "0.1", "0.25"),
        ("2026-03-09T05:00:00Z", 3, "scored", "0.1", "0.25"),
    ]
    assert drift_report.hours(OF, OF_ALARM, reports[:1]).text == "None of the last 6 hours was evaluated."


@pytest.fixture(scope="module")
def invented(tmp_path_factory):
    """Forty days of invented minutes: fee and transactions, (minutes,), NaN where missing."""
    file = tmp_path_factory.mktemp("minutes") / "minutes.parquet"
    program = [sys.executable, "-m", "seed_code.forecaster.generate", "--out", str(file), "--days", "40", "--seed", "5"]
    subprocess.run(program, check=True, capture_output=True)
    rows = pq.read_table(file).to_pydict()
    values = {name: np.full(40 * 1440, math.nan) for name in (FEE, TRANSACTIONS)}
    first = datetime.fromisoformat(min(rows["tx_minute"]))
    for row, minute in enumerate(rows["tx_minute"]):
        at = int((datetime.fromisoformat(minute) - first).total_seconds() // 60)
        if at < 40 * 1440:
            for name, column in values.items():
                column[at] = math.nan if rows[name][row] is None else rows[name][row]
    return values


def distance(values, end, span, factor=1.0, drifted=0):
    """The distance that the report would find at a minute; in its last minutes values are multiplied."""
    length = span.length // timedelta(minutes=1)
    current, reference = values[end - length : end].copy(), values[end - length - 10_080 : end - 10_080]
    current[length - drifted :] *= factor
    current, reference = (one[~np.isnan(one)] for one in (current, reference))
    return wasserstein_distance(reference, current) / np.std(reference)


@pytest.mark.parametrize(("column", "factor"), [(FEE, 2.0), (TRANSACTIONS, 0.5)])
def test_ordinary_days_are_seldom_called_drifted_and_three_hours_of_drift_often(invented, column, factor):
    values = invented[column]
    ends = range(8 * 1440, 40 * 1440, 360)
    for span in (DAILY, OF_ALARM):
        ordinary = [distance(values, end, span) > span.threshold for end in ends]
        assert np.mean(ordinary) < 0.1, span
    assert np.mean([distance(values, end, OF_ALARM, factor, 180) > OF_ALARM.threshold for end in ends]) > 0.7
    assert min(distance(values, end, DAILY, factor, 1440) for end in ends) > DAILY.threshold
