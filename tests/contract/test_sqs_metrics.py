"""What CloudWatch says of SQS's queues: how many messages are in them, as alarms need it."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import pytest

from localcloud import instance

_VISIBLE = "ApproximateNumberOfMessagesVisible"


@pytest.fixture
def advance(cloud: Any, localcloud_only: None) -> Any:
    """Lets time pass, in minutes."""
    port = urlsplit(cloud.endpoint_url).port
    assert port is not None
    return lambda minutes: instance.advance(port, minutes * 60)


def _now(cloud: Any) -> datetime:
    return parsedate_to_datetime(cloud.client("sqs").list_queues()["ResponseMetadata"]["HTTPHeaders"]["date"])


def _values(cloud: Any, queue: str, since: datetime, metric: str = _VISIBLE) -> list[float]:
    """The maximum of every minute since then, in order."""
    answer = cloud.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SQS",
        MetricName=metric,
        Dimensions=[{"Name": "QueueName", "Value": queue}],
        StartTime=since,
        EndTime=_now(cloud) + timedelta(minutes=1),
        Period=60,
        Statistics=["Maximum"],
    )
    points = sorted(answer["Datapoints"], key=lambda point: point["Timestamp"])
    return [point["Maximum"] for point in points]


def test_messages_are_counted_every_minute_until_six_hours_after_the_last(cloud: Any, advance: Any) -> None:
    sqs, name = cloud.client("sqs"), f"metrics-{uuid.uuid4().hex[:8]}"
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    begin = _now(cloud)
    advance(2)
    assert _values(cloud, name, begin) == []
    for _ in range(3):
        sqs.send_message(QueueUrl=url, MessageBody="m")
    advance(3)
    assert _values(cloud, name, begin) == [3, 3, 3]
    message = sqs.receive_message(QueueUrl=url, VisibilityTimeout=90)["Messages"][0]
    received = _now(cloud)
    advance(1)
    # What was measured in the minute in which it was received may be from before.
    assert _values(cloud, name, received)[-1] == 2
    assert _values(cloud, name, received, "ApproximateNumberOfMessagesNotVisible")[-1] == 1
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    sqs.purge_queue(QueueUrl=url)
    purged = _now(cloud)
    advance(7 * 60)
    found = _values(cloud, name, purged + timedelta(minutes=1))
    assert 358 <= len(found) <= 362
    assert set(found) == {0}
    sqs.delete_queue(QueueUrl=url)


def test_an_alarm_on_a_dead_letter_queue_fires_and_clears(cloud: Any, advance: Any) -> None:
    sqs, cloudwatch = cloud.client("sqs"), cloud.client("cloudwatch")
    name = f"dead-{uuid.uuid4().hex[:8]}"
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        Namespace="AWS/SQS",
        MetricName=_VISIBLE,
        Dimensions=[{"Name": "QueueName", "Value": name}],
        Statistic="Maximum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=0,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
    )

    def state() -> str:
        return str(cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"])

    advance(3)
    assert state() == "OK"
    sqs.send_message(QueueUrl=url, MessageBody="dead")
    advance(3)
    assert state() == "ALARM"
    sqs.purge_queue(QueueUrl=url)
    advance(4)
    assert state() == "OK"
    cloudwatch.delete_alarms(AlarmNames=[name])
    sqs.delete_queue(QueueUrl=url)
