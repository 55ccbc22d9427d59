"""Alarms on metric math: an hour's loss over a threshold that is a metric itself."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest
from botocore.exceptions import ClientError

from tests.localcloud.cloudwatch.account import TOPIC_ARN, Account

HOUR = 3600


def metric(name: str, metric_name: str, **members: Any) -> dict[str, Any]:
    stat = {
        "Metric": {
            "Namespace": "Demo",
            "MetricName": metric_name,
            "Dimensions": [{"Name": "Stage", "Value": "prod"}],
        },
        "Period": HOUR,
        "Stat": "Maximum",
        **members,
    }
    return {"Id": name, "MetricStat": stat, "ReturnData": False}


METRICS = [
    {"Id": "excess", "Expression": "loss - threshold", "Label": "over"},
    metric("loss", "Loss"),
    metric("threshold", "Limit"),
]


def put_quality(account: Account, **members: Any) -> None:
    defaults = {
        "EvaluationPeriods": 3,
        "DatapointsToAlarm": 2,
        "Threshold": 0,
        "ComparisonOperator": "GreaterThanThreshold",
        "Metrics": METRICS,
        "AlarmActions": [TOPIC_ARN],
    }
    account.client("cloudwatch").put_metric_alarm(AlarmName="quality", **{**defaults, **members})


def put_hour(account: Account, loss: float | None, limit: float | None = 0.2, *, ago: int = 1) -> None:
    """The values of the hour that ended `ago` - 1 hours before."""
    values = {"Loss": loss, "Limit": limit}
    data = [
        {
            "MetricName": name,
            "Value": value,
            "Dimensions": [{"Name": "Stage", "Value": "prod"}],
            "Timestamp": account.clock.now() - timedelta(hours=ago),
        }
        for name, value in values.items()
        if value is not None
    ]
    account.client("cloudwatch").put_metric_data(Namespace="Demo", MetricData=data)


def hours(account: Account, *losses: float | None, limit: float | None = 0.2) -> list[str]:
    """Let hours pass; the alarm's state after each."""
    states = []
    for loss in losses:
        account.advance(HOUR)
        put_hour(account, loss, limit)
        states.append(account.state("quality"))
    return states


def test_m_of_n_hours_over_the_threshold(account: Account) -> None:
    put_quality(account)
    assert account.state("quality") == "INSUFFICIENT_DATA"
    assert hours(account, 0.1, 0.3, 0.1, 0.3, 0.3, 0.1, 0.1) == ["OK", "OK", "OK", "ALARM", "ALARM", "ALARM", "OK"]
    account.advance()
    (alarm,) = account.client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert alarm["Metrics"] == METRICS
    assert "Period" not in alarm
    assert alarm["StateReason"].startswith("Threshold Crossed: 2 out of the last 3 datapoints [-0.1 (")
    data = json.loads(alarm["StateReasonData"])
    assert data["period"] == HOUR
    assert "statistic" not in data
    assert data["evaluatedDatapoints"][0]["value"] == pytest.approx(-0.1)
    assert account.changes() == [
        ("quality", "INSUFFICIENT_DATA", "OK"),
        ("quality", "OK", "ALARM"),
        ("quality", "ALARM", "OK"),
    ]


def test_the_level_follows_the_threshold(account: Account) -> None:
    put_quality(account)
    assert hours(account, 0.3, 0.3, 0.3)[-1] == "ALARM"
    assert hours(account, 0.3, 0.3, limit=0.4)[-1] == "OK"
    assert hours(account, 0.3, 0.3, limit=0.25)[-1] == "ALARM"


def test_an_hour_without_one_of_the_values_is_missing(account: Account) -> None:
    put_quality(account, TreatMissingData="notBreaching")
    assert hours(account, 0.3, None, 0.3) == ["OK", "OK", "ALARM"]
    account.advance(HOUR)
    put_hour(account, 0.9, limit=None)
    # Two of the three newest hours that have a datapoint still breach; then they are out of sight.
    assert account.state("quality") == "ALARM"
    account.advance(4 * HOUR)
    assert account.state("quality") == "OK"


def test_values_that_come_late_or_out_of_order_count_in_their_hour(account: Account) -> None:
    put_quality(account)
    hours(account, 0.1, 0.1)
    account.advance(3 * HOUR)
    put_hour(account, 0.3, ago=1)
    assert account.state("quality") == "OK"
    put_hour(account, 0.3, ago=2)
    assert account.state("quality") == "ALARM"


def test_a_value_put_twice_is_one_datapoint(account: Account) -> None:
    put_quality(account)
    account.advance(HOUR)
    for _ in range(3):
        put_hour(account, 0.3)
    # One of three hours: that it was told three times makes it no more.
    assert account.state("quality") == "INSUFFICIENT_DATA"


def test_what_events_and_topics_are_told(account: Account) -> None:
    put_quality(account, AlarmDescription="too far over")
    hours(account, 0.3, 0.3)
    account.advance()
    event = next(event for event in account.events if event.detail.get("state", {}).get("value") == "ALARM")
    configuration = event.detail["configuration"]
    assert configuration["description"] == "too far over"
    assert configuration["metrics"] == [
        {"id": "excess", "expression": "loss - threshold", "label": "over", "returnData": True},
        *(
            {
                "id": name,
                "metricStat": {
                    "metric": {"namespace": "Demo", "name": metric_name, "dimensions": {"Stage": "prod"}},
                    "period": HOUR,
                    "stat": "Maximum",
                },
                "returnData": False,
            }
            for name, metric_name in (("loss", "Loss"), ("threshold", "Limit"))
        ),
    ]
    message = json.loads(parse_qs(account.topics.published[0])["Message"][0])
    assert message["Trigger"]["Period"] == HOUR
    assert "MetricName" not in message["Trigger"]
    expression, loss, _ = message["Trigger"]["Metrics"]
    assert expression == {"Id": "excess", "Label": "over", "Expression": "loss - threshold", "ReturnData": True}
    assert loss["MetricStat"]["Metric"]["Dimensions"] == [{"name": "Stage", "value": "prod"}]


def test_a_restart_goes_on_with_the_alarm(account: Account) -> None:
    put_quality(account)
    hours(account, 0.1, 0.3)
    again = account.restart()
    try:
        assert hours(again, 0.3) == ["ALARM"]
    finally:
        again.stop()


def test_an_alarm_may_change_from_a_metric_to_an_expression_and_back(account: Account) -> None:
    account.put_alarm("quality", Period=HOUR)
    put_quality(account)
    assert hours(account, 0.3, 0.3)[-1] == "ALARM"
    cloudwatch = account.client("cloudwatch")
    # As on AWS, alarms on expressions are not told of a metric.
    stage = [{"Name": "Stage", "Value": "prod"}]
    found = cloudwatch.describe_alarms_for_metric(MetricName="Loss", Namespace="Demo", Dimensions=stage)
    assert found["MetricAlarms"] == []
    account.put_alarm("quality", Period=HOUR, MetricName="Loss", Dimensions=stage)
    assert hours(account, 0.9) == ["ALARM"]
    cloudwatch.delete_alarms(AlarmNames=["quality"])
    put_hour(account, 0.9)
    assert cloudwatch.describe_alarms()["MetricAlarms"] == []


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"Metrics": []}, "Exactly one element of the metrics list should return data."),
        ({"Metrics": METRICS[1:]}, "Exactly one element of the metrics list should return data."),
        (
            {"Metrics": [*METRICS, {"Id": "other", "Expression": "loss"}]},
            "Exactly one element of the metrics list should return data.",
        ),
        ({"Period": 60}, "Period should not be set if list of Metrics is set."),
        ({"Statistic": "Sum"}, "Statistic should not be set if list of Metrics is set."),
        (
            {"Metrics": [METRICS[0], METRICS[1], metric("threshold", "Limit", Period=60)]},
            "Error in expression: localcloud has expressions on metrics of one period; those of 'excess' have periods"
            " 60, 3600",
        ),
        (
            {"Metrics": METRICS[:2]},
            "Error in expression 'excess': there is no metric or expression with the id 'threshold'",
        ),
        (
            {"Metrics": [{"Id": "excess", "Expression": "MAX(loss)"}, METRICS[1]]},
            "Invalid metrics list: The expression 'MAX(loss)' must give a single time series; it gives a number",
        ),
        (
            {"Metrics": [{"Id": "excess", "Expression": "RATE(loss)"}, METRICS[1]]},
            "Error in expression 'excess': RATE() is not among localcloud's functions: MIN, MAX, SUM, AVG, ABS, FILL,"
            " IF",
        ),
        (
            {"Metrics": [METRICS[0], METRICS[1], METRICS[1], METRICS[2]]},
            "The values for parameter id in Metrics are not unique: loss.",
        ),
        (
            {"EvaluationPeriods": 200, "DatapointsToAlarm": 1},
            "Metrics cannot be checked across more than seven days (EvaluationPeriods * Period must be <= 604800).",
        ),
    ],
)
def test_expressions_that_cannot_be_are_refused(account: Account, members: dict[str, Any], message: str) -> None:
    with pytest.raises(ClientError) as error:
        put_quality(account, **members)
    assert error.value.response["Error"]["Message"] == message
    assert account.client("cloudwatch").describe_alarms()["MetricAlarms"] == []
