"""How the stream does right now, read in one go: what `mlops stream` shows."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.exceptions import ClientError

from pipelines import names as n
from pipelines.ingestion import minutes
from pipelines.ingestion.minutes import Minute
from pipelines.ingestion.missing import missing
from pipelines.names import Names

__all__ = ["METRICS", "Clients", "Program", "StreamSeen", "Tail", "look"]

SPAN_MINUTES = 60
# What is counted, by who counts it; summed over the span.
METRICS = (
    "Polls",
    "Transactions",
    "DuplicatesAcrossPages",
    "Gaps",
    "SetAside",
    "SourceErrors",
    "Dropped",
    "Duplicates",
    "Published",
    "MinutesWritten",
    "QuietMinutes",
    "LateTransactions",
    "PoisonRecords",
)
_QUEUES = (n.SET_ASIDE_QUEUE, n.INGESTION_DEAD_QUEUE)
_TAIL_SECONDS = 60
_THROTTLED = "ProvisionedThroughputExceededException"
_GONE = ("ExpiredIteratorException", "ResourceNotFoundException")


@dataclass(frozen=True)
class Clients:
    """boto3's clients of what the stream is made of."""

    ecs: Any
    flink: Any
    cloudwatch: Any
    runtime: Any
    sqs: Any


@dataclass(frozen=True)
class Program:
    """The poller, or what makes minutes: how it is called, its status in AWS's words, and whether it is at work."""

    name: str
    status: str
    running: bool


@dataclass(frozen=True)
class StreamSeen:
    """The stream at a moment, the account's `now`, aware.

    Attributes:
        counts: sums of `METRICS` over the last hour; those that were not measured are left out.
        lag_seconds: how old the newest transaction of a page was; None when it is not known.
        minutes: the last hour's, in order.
        alarms: the states of `names.INGESTION_ALARMS`, those that are there.
        waiting: messages in the queues for what cannot be used, by queue.
    """

    now: datetime
    programs: Sequence[Program]
    counts: Mapping[str, float]
    lag_seconds: float | None
    minutes: Sequence[Minute]
    alarms: Mapping[str, str]
    waiting: Mapping[str, int]

    @property
    def newest(self) -> Minute | None:
        return minutes.latest(self.minutes)


def look(clients: Clients, names: Names) -> StreamSeen:
    """Read how the stream does. Raises ServiceError when its stack is not there."""
    answer = clients.cloudwatch.describe_alarms(
        AlarmNames=[names.ingestion_alarm(alarm) for alarm in n.INGESTION_ALARMS]
    )
    now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).astimezone(UTC)
    states = {alarm["AlarmName"]: alarm["StateValue"] for alarm in answer["MetricAlarms"]}
    first = minutes.whole(now) - SPAN_MINUTES * minutes.MINUTE
    counts, lag = _measured(clients.cloudwatch, names, now)
    return StreamSeen(
        now=now,
        programs=[*_programs(clients, names)],
        counts=counts,
        lag_seconds=lag,
        minutes=minutes.read(clients.runtime, names, first, SPAN_MINUTES + 1),
        alarms={kind: states[name] for kind in n.INGESTION_ALARMS if (name := names.ingestion_alarm(kind)) in states},
        waiting={queue: _waiting(clients.sqs, names, queue) for queue in _QUEUES},
    )


def _programs(clients: Clients, names: Names) -> list[Program]:
    cluster, wanted = names.ingestion_cluster, [names.task_family(name) for name in (n.POLLER, n.OPERATOR)]
    try:
        services = clients.ecs.describe_services(cluster=cluster, services=wanted)["services"]
    except clients.ecs.exceptions.ClusterNotFoundException:
        raise missing(names, f"cluster `{cluster}`") from None
    found = [
        Program(
            str(service["serviceName"]).removeprefix(f"{names.project}-"),
            f"{service['runningCount']} of {service['desiredCount']} running",
            service["runningCount"] > 0,
        )
        for service in services
        if service["status"] == "ACTIVE"
    ]
    try:
        detail = clients.flink.describe_application(ApplicationName=names.flink_application)["ApplicationDetail"]
    except clients.flink.exceptions.ResourceNotFoundException:
        return found
    status = str(detail["ApplicationStatus"])
    return [*found, Program("Flink", status, status == "RUNNING")]


def _measured(cloudwatch: Any, names: Names, now: datetime) -> tuple[dict[str, float], float | None]:
    """The sums of the counts, and the newest lag."""
    dimensions = [{"Name": "Project", "Value": names.project}]

    def query(place: int, name: str, stat: str, period: int) -> dict[str, Any]:
        metric = {"Namespace": n.INGESTION_METRICS, "MetricName": name, "Dimensions": dimensions}
        return {"Id": f"m{place}", "MetricStat": {"Metric": metric, "Period": period, "Stat": stat}}

    wanted = [query(place, name, "Sum", 60) for place, name in enumerate(METRICS)]
    wanted.append(query(len(METRICS), "SourceLagSeconds", "Average", 60))
    found: dict[str, list[float]] = {}
    pages = cloudwatch.get_paginator("get_metric_data").paginate(
        MetricDataQueries=wanted,
        StartTime=now - timedelta(minutes=SPAN_MINUTES),
        EndTime=now + timedelta(minutes=1),
        ScanBy="TimestampAscending",
    )
    for page in pages:
        for result in page["MetricDataResults"]:
            found.setdefault(result["Id"], []).extend(result["Values"])
    counts = {name: sum(found[f"m{place}"]) for place, name in enumerate(METRICS) if found.get(f"m{place}")}
    lags = found.get(f"m{len(METRICS)}")
    return counts, lags[-1] if lags else None


def _waiting(sqs: Any, names: Names, queue: str) -> int:
    try:
        url = sqs.get_queue_url(QueueName=names.queue(queue))["QueueUrl"]
    except sqs.exceptions.QueueDoesNotExist:
        return 0
    counted = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]
    return int(counted["ApproximateNumberOfMessages"])


@dataclass
class Tail:
    """The transactions that pass by, second by second, from when it was made on. It reads the stream as any consumer
    does, from all of its shards.

    kinesis: boto3's client.
    """

    kinesis: Any
    names: Names
    _iterators: dict[str, str] = field(default_factory=dict)
    _seconds: dict[int, list[int]] = field(default_factory=dict)
    _seen: deque[str] = field(default_factory=lambda: deque(maxlen=5_000))

    def read(self) -> None:
        """Take what has come since the last time. A shard that is throttled, as others read it too, gives nothing.

        Raises ServiceError when there is no stream.
        """
        stream = self.names.stream(n.TRANSACTIONS_STREAM)
        if not self._iterators:
            for shard in self._shards(stream):
                self._iterators[shard["ShardId"]] = self.kinesis.get_shard_iterator(
                    StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="LATEST"
                )["ShardIterator"]
        known = set(self._seen)
        for shard_id, iterator in list(self._iterators.items()):
            try:
                answer = self.kinesis.get_records(ShardIterator=iterator)
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code in _GONE:
                    self._iterators.clear()
                    break
                if code != _THROTTLED:
                    raise
                continue
            for record in answer["Records"]:
                self._take(record["Data"], known)
            if not answer.get("NextShardIterator"):
                self._iterators.clear()  # the shard was split: its children are found the next time
                break
            self._iterators[shard_id] = answer["NextShardIterator"]
        newest = max(self._seconds, default=0)
        self._seconds = {at: fees for at, fees in self._seconds.items() if at > newest - _TAIL_SECONDS}

    def _shards(self, stream: str) -> list[dict[str, Any]]:
        try:
            shards: list[dict[str, Any]] = self.kinesis.list_shards(StreamName=stream)["Shards"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                raise missing(self.names, f"stream `{stream}`") from None
            raise
        return shards

    def rate(self) -> float | None:
        """Transactions a second over what was seen; None before anything was."""
        if len(self._seconds) < 2:
            return None
        return sum(map(len, self._seconds.values())) / (max(self._seconds) - min(self._seconds) + 1)

    def fees(self) -> list[float | None]:
        """The average fee of each second that was seen, in satoshi; None for one without a fee."""
        if not self._seconds:
            return []
        found = (self._seconds.get(at, []) for at in range(min(self._seconds), max(self._seconds) + 1))
        known = ([fee for fee in fees if fee >= 0] for fees in found)
        return [sum(fees) / len(fees) if fees else None for fees in known]

    def _take(self, data: bytes, known: set[str]) -> None:
        try:
            record = json.loads(data)
            name, second, fee = record["hash"], int(record["time"]), record["fee"]
        except (ValueError, KeyError, TypeError):
            return
        fees = self._seconds.setdefault(second, [])
        if name is not None and name not in known:
            known.add(name)
            self._seen.append(name)
            fees.append(-1 if fee is None else int(fee))
