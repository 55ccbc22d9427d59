"""Alarms over time: when they are looked at, what they tell, and what they do."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from botocore.exceptions import ClientError

from localcloud.signals import Measurement
from tests.localcloud.cloudwatch.account import FUNCTION_ARN, TOPIC_ARN, Account

ALARM_ARN = "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:errors"


def history(account: Account, name: str = "errors", **members: Any) -> list[str]:
    items = account.client("cloudwatch").describe_alarm_history(AlarmName=name, ScanBy="TimestampAscending", **members)[
        "AlarmHistoryItems"
    ]
    return [item["HistorySummary"] for item in items]


def test_a_sum_that_breaches_does_not_wait_for_the_end_of_its_minute(account: Account) -> None:
    account.put_alarm(TreatMissingData="notBreaching", Threshold=2)
    assert account.state("errors") == "OK"
    account.put(2)
    assert account.state("errors") == "OK"
    account.put(1)
    assert account.state("errors") == "ALARM"
    # The minute that breached, and the two after it, are looked at again.
    account.advance(180)
    assert account.state("errors") == "ALARM"
    account.advance(60)
    assert account.state("errors") == "OK"
    assert account.changes() == [
        ("errors", "INSUFFICIENT_DATA", "OK"),
        ("errors", "OK", "ALARM"),
        ("errors", "ALARM", "OK"),
    ]


def test_an_average_is_looked_at_when_its_period_is_over(account: Account) -> None:
    account.put_alarm(Statistic="Average", Threshold=5)
    assert account.state("errors") == "INSUFFICIENT_DATA"
    account.put(9)
    account.advance(59)
    assert account.state("errors") == "INSUFFICIENT_DATA"
    account.advance(1)
    assert account.state("errors") == "ALARM"


def test_percentiles_can_be_watched(account: Account) -> None:
    account.put_alarm(Statistic=None, ExtendedStatistic="p90", Threshold=100)
    for value in (*[10] * 8, 200, 300):
        account.put(value)
    account.advance(60)
    assert account.state("errors") == "ALARM"


def test_values_of_a_period_that_is_over_are_looked_at_as_they_come(account: Account) -> None:
    account.put_alarm(Statistic="Average", Period=3600, Threshold=5)
    account.put(9, Timestamp=account.clock.now() - timedelta(minutes=30))
    assert account.state("errors") == "ALARM"


def test_m_of_n_datapoints(account: Account) -> None:
    account.put_alarm(EvaluationPeriods=3, DatapointsToAlarm=2)
    states = []
    for value in (0, 0, 0, 1, 0, 1, 0, 0):
        account.put(value)
        states.append(account.state("errors"))
        account.advance(60)
    # The minute that runs counts as soon as it breaches, the others when they are over.
    assert states == ["INSUFFICIENT_DATA", "OK", "OK", "OK", "OK", "ALARM", "ALARM", "OK"]


def test_without_values_an_alarm_has_insufficient_data_and_costs_nothing(account: Account) -> None:
    account.put_alarm(InsufficientDataActions=[FUNCTION_ARN])
    account.put(1)
    account.advance(30 * 86_400)
    assert account.state("errors") == "INSUFFICIENT_DATA"
    assert [payload["alarmData"]["state"]["value"] for payload in account.functions.payloads] == ["INSUFFICIENT_DATA"]


def test_a_metric_is_its_dimensions_and_unit_too(account: Account) -> None:
    stage = [{"Name": "Stage", "Value": "prod"}]
    account.put_alarm(Dimensions=stage, Unit="Count")
    account.put(1)
    account.put(1, Dimensions=stage)
    account.put(1, Dimensions=[*stage, {"Name": "Api", "Value": "a"}], Unit="Count")
    assert account.state("errors") == "INSUFFICIENT_DATA"
    account.put(1, Dimensions=stage, Unit="Count")
    assert account.state("errors") == "ALARM"


def test_what_services_measure_is_watched(account: Account) -> None:
    account.put_alarm(Namespace="AWS/SageMaker", MetricName="Invocation5XXErrors")
    measurement = Measurement("AWS/SageMaker", "Invocation5XXErrors", 1.0, "Count", account.clock.now(), {})
    account.context.signals.measurements([measurement])
    account.advance()
    assert account.state("errors") == "ALARM"


def test_a_function_gets_the_alarm_in_awss_form(account: Account) -> None:
    account.put_alarm(
        AlarmActions=[FUNCTION_ARN], AlarmDescription="Too many", Dimensions=[{"Name": "S", "Value": "p"}]
    )
    account.put(1, Dimensions=[{"Name": "S", "Value": "p"}])
    account.advance()
    (payload,) = account.functions.payloads
    metric_id = payload["alarmData"]["configuration"]["metrics"][0].pop("id")
    data = json.loads(payload["alarmData"]["state"].pop("reasonData"))
    assert metric_id
    assert data["recentDatapoints"] == [1.0]
    assert payload == {
        "source": "aws.cloudwatch",
        "alarmArn": ALARM_ARN,
        "accountId": "123456789012",
        "time": "2026-01-01T00:00:00.000+0000",
        "region": "eu-west-1",
        "alarmData": {
            "alarmName": "errors",
            "state": {
                "value": "ALARM",
                "reason": "Threshold Crossed: 1 out of the last 1 datapoints [1.0 (01/01/26 00:00:00)] was greater than"
                " the threshold (0.0) (minimum 1 datapoint for OK -> ALARM transition).",
                "timestamp": "2026-01-01T00:00:00.000+0000",
            },
            "previousState": {
                "value": "INSUFFICIENT_DATA",
                "reason": "Unchecked: Initial alarm creation",
                "timestamp": "2026-01-01T00:00:00.000+0000",
            },
            "configuration": {
                "description": "Too many",
                "metrics": [
                    {
                        "metricStat": {
                            "metric": {"namespace": "Demo", "name": "Errors", "dimensions": {"S": "p"}},
                            "period": 60,
                            "stat": "Sum",
                        },
                        "returnData": True,
                    }
                ],
            },
        },
    }
    assert f"Successfully executed action {FUNCTION_ARN}" in history(account)


@pytest.mark.parametrize("allowed", ["arn:aws:cloudwatch:eu-west-1:123456789012:alarm:other", None])
def test_a_function_that_alarms_may_not_call_is_not_called(account: Account, allowed: str | None) -> None:
    if allowed is None:
        account.functions.policy = None
    else:
        assert account.functions.policy is not None
        account.functions.policy["Condition"] = {"ArnLike": {"AWS:SourceArn": allowed}}
    account.put_alarm(AlarmActions=[FUNCTION_ARN])
    account.put(1)
    account.advance()
    assert account.functions.payloads == []
    (item,) = account.client("cloudwatch").describe_alarm_history(HistoryItemType="Action")["AlarmHistoryItems"]
    assert item["HistorySummary"] == f"Failed to execute action {FUNCTION_ARN}"
    assert "is not authorized to perform: lambda:InvokeFunction" in json.loads(item["HistoryData"])["error"]


def test_a_topic_gets_the_alarm_in_awss_form(account: Account) -> None:
    account.put_alarm(OKActions=[TOPIC_ARN], TreatMissingData="notBreaching")
    account.advance()
    (body,) = account.topics.published
    form = parse_qs(body)
    message = json.loads(form["Message"][0])
    assert form["TopicArn"] == [TOPIC_ARN]
    assert form["Subject"] == ['OK: "errors" in Europe (Ireland)']
    assert (message["AlarmName"], message["OldStateValue"], message["NewStateValue"]) == (
        "errors",
        "INSUFFICIENT_DATA",
        "OK",
    )
    assert message["Trigger"]["Statistic"] == "SUM"
    assert message["Trigger"]["Threshold"] == 0.0


def test_actions_are_for_changes_only_and_can_be_switched_off(account: Account) -> None:
    account.put_alarm(AlarmActions=[FUNCTION_ARN])
    cloudwatch = account.client("cloudwatch")
    for _ in range(3):
        account.put(1)
        account.advance(60)
    assert len(account.functions.payloads) == 1
    cloudwatch.disable_alarm_actions(AlarmNames=["errors"])
    cloudwatch.set_alarm_state(AlarmName="errors", StateValue="OK", StateReason="by hand")
    account.put(1)
    account.advance()
    assert account.state("errors") == "ALARM"
    assert len(account.functions.payloads) == 1
    assert account.changes()[-2:] == [("errors", "ALARM", "OK"), ("errors", "OK", "ALARM")]


def test_a_state_that_is_set_by_hand_lasts_to_the_next_look(account: Account) -> None:
    account.put_alarm(TreatMissingData="notBreaching", AlarmActions=[FUNCTION_ARN], Period=3600)
    account.client("cloudwatch").set_alarm_state(AlarmName="errors", StateValue="ALARM", StateReason="a drill")
    assert account.state("errors") == "ALARM"
    account.advance(60)
    assert account.state("errors") == "OK"
    assert account.functions.payloads[0]["alarmData"]["state"]["reason"] == "a drill"
    assert history(account, HistoryItemType="StateUpdate") == [
        "Alarm updated from INSUFFICIENT_DATA to OK",
        "Alarm updated from OK to ALARM",
        "Alarm updated from ALARM to OK",
    ]


def test_a_change_keeps_the_state_and_is_looked_at_anew(account: Account) -> None:
    account.put_alarm()
    account.put(1)
    account.put_alarm(Threshold=0)
    assert account.state("errors") == "ALARM"
    account.put_alarm(MetricName="Other", TreatMissingData="ignore")
    assert account.state("errors") == "ALARM"
    account.put_alarm(MetricName="Other", TreatMissingData="notBreaching")
    assert account.state("errors") == "OK"
    account.put(1)
    assert account.state("errors") == "OK"
    account.put(1, "Other")
    assert account.state("errors") == "ALARM"
    operations = [
        event.detail["operation"]
        for event in account.events
        if event.detail_type == "CloudWatch Alarm Configuration Change"
    ]
    assert operations == ["create", "update", "update", "update"]


def test_a_composite_alarm_follows_the_alarms_that_it_asks(account: Account) -> None:
    cloudwatch = account.client("cloudwatch")
    account.put_alarm("a", MetricName="A")
    account.put_alarm("b", MetricName="B", TreatMissingData="notBreaching")
    cloudwatch.put_composite_alarm(AlarmName="both", AlarmRule="ALARM(a) AND ALARM(b)", AlarmActions=[FUNCTION_ARN])
    cloudwatch.put_composite_alarm(AlarmName="over", AlarmRule='NOT OK("both")')
    assert account.state("both", "CompositeAlarm") == "OK"
    account.put(1, "A")
    assert account.state("both", "CompositeAlarm") == "OK"
    account.put(1, "B")
    account.advance()
    assert account.state("both", "CompositeAlarm") == "ALARM"
    assert account.state("over", "CompositeAlarm") == "ALARM"
    (payload,) = account.functions.payloads
    assert payload["alarmData"]["configuration"] == {"alarmRule": "ALARM(a) AND ALARM(b)"}
    assert payload["alarmData"]["state"]["reason"] == (
        "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:b transitioned to ALARM at Thursday 01 January, 2026 00:00:00"
        " UTC"
    )
    with pytest.raises(ClientError, match=r"Cannot delete b as there are composite alarm\(s\) depending on it: both"):
        cloudwatch.delete_alarms(AlarmNames=["b"])
    with pytest.raises(ClientError, match="its alarm rule asks the alarm itself: both"):
        cloudwatch.put_composite_alarm(AlarmName="both", AlarmRule="ALARM(over)")
    with pytest.raises(ClientError, match=r"alarms \[c\] in the alarm rule do not exist"):
        cloudwatch.put_composite_alarm(AlarmName="both", AlarmRule="ALARM(c)")


def test_a_day_is_the_same_every_time(tmp_path: Path) -> None:
    def day(folder: Path) -> list[tuple[str, str, str, str]]:
        account = Account(folder)
        for number in range(6):
            account.put_alarm(f"alarm-{number}", EvaluationPeriods=1 + number % 4, Threshold=number / 2)
        for hour in range(8):
            account.put(hour % 7)
            account.advance(3600)
        told = [
            (*change, event.time.isoformat())
            for change, event in zip(
                account.changes(),
                (event for event in account.events if "State Change" in event.detail_type),
                strict=True,
            )
        ]
        account.stop()
        return told

    first = day(tmp_path / "first")
    assert len(first) > 40
    assert first == day(tmp_path / "second")


def test_alarms_metrics_and_what_is_left_to_do_outlive_localcloud(tmp_path: Path) -> None:
    account = Account(tmp_path)
    account.put_alarm(AlarmActions=[FUNCTION_ARN])
    account.put(0)
    # As it is after a kill between the change and its action.
    account.context.store.put(
        "cloudwatch/due",
        "key",
        {"Before": _told(account), "After": _told(account), "Arns": [FUNCTION_ARN], "Value": 1.0},
    )
    again = account.restart()
    again.advance()
    assert len(again.functions.payloads) == 1
    assert len(again.changes()) == 1
    assert again.context.store.list("cloudwatch/due") == []
    again.advance(60)
    assert again.state("errors") == "OK"
    again.put(1)
    assert again.state("errors") == "ALARM"
    assert history(again)[0] == 'Alarm "errors" created'
    again.stop()


def _told(account: Account) -> dict[str, Any]:
    found = account.context.store.get("cloudwatch/alarm", "errors")
    assert found is not None
    return found


def test_what_was_measured_last_is_kept_when_localcloud_is_stopped(tmp_path: Path) -> None:
    account = Account(tmp_path)
    now = account.clock.now()
    measurement = Measurement("AWS/Lambda", "Errors", 3.0, "Count", now, {"FunctionName": "f"})
    account.context.signals.measurements([measurement])
    again = account.restart()
    (datapoint,) = again.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName="Errors",
        Dimensions=[{"Name": "FunctionName", "Value": "f"}],
        StartTime=now,
        EndTime=now + timedelta(minutes=1),
        Period=60,
        Statistics=["Sum"],
    )["Datapoints"]
    assert (datapoint["Sum"], datapoint["Unit"]) == (3, "Count")
    again.stop()


def test_many_at_once_lose_nothing(account: Account) -> None:
    """Users and services that measure, and readers, while alarms change."""
    now = account.clock.now()
    account.put_alarm(Threshold=50)
    account.client("cloudwatch").put_composite_alarm(AlarmName="any", AlarmRule="ALARM(errors)")

    def measure() -> None:
        for _ in range(20):
            account.context.signals.measurements([Measurement("Demo", "Errors", 1.0, "None", now, {})])
            account.put(1)
            account.state("any", "CompositeAlarm")

    threads = [threading.Thread(target=measure) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    (datapoint,) = account.client("cloudwatch").get_metric_statistics(
        Namespace="Demo",
        MetricName="Errors",
        StartTime=now,
        EndTime=now + timedelta(minutes=1),
        Period=60,
        Statistics=["Sum", "SampleCount"],
    )["Datapoints"]
    assert (datapoint["Sum"], datapoint["SampleCount"]) == (160, 160)
    account.advance()
    assert account.state("any", "CompositeAlarm") == "ALARM"
