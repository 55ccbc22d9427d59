"""How long a year of hourly alarms takes: metrics come in and the clock moves on, 8,760 times.

    python benchmarks/alarm_year.py [--hours 8760] [--output benchmarks/results/alarm_year.json]

A localcloud of its own, with a temporary state, has the three alarms of one stage: the loss over its threshold (metric
math, 2 of 3 hours), the age of the data, and drift. Every hour its clock is moved on by an hour and eight metrics with
their dimensions are put over HTTP, as an evaluation does. What is put is drawn beforehand, with episodes of high loss,
gaps and drift in it. Every change of an alarm is read from the alarms' history and compared with what a plain
recomputation of the same hours expects; a difference fails the program.

The year passes twice: once with boto3, whose own work is a good part of a small call, and once with a plain HTTP client
that sends the same request as boto3 does. Processor time is given apart for the client and for localcloud: unlike the
seconds it hardly hangs on what else the machine does.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import random
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import psutil
from botocore.config import Config

TARGET_SECONDS = 30.0
NAMESPACE = "MLOps/Monitoring"
DIMENSIONS = [
    {"Name": "Project", "Value": "fraud"},
    {"Name": "Workload", "Value": "forecaster"},
    {"Name": "Stage", "Value": "prod"},
]
PERIOD = 3600
PERIODS, NEEDED = 3, 2
LONGEST_AGE = 120.0
THRESHOLD = 0.25
# CloudWatch looks at somewhat more periods than it needs datapoints for.
RANGE = PERIODS + 2
# The history is kept for 30 days.
HISTORY_HOURS = 24 * 20

Change = tuple[int, str, str, str]
"""The hour, the alarm, the state before and after."""


@dataclass(frozen=True)
class Hour:
    """What an evaluation found in one hour. `loss` is None where there was nothing to score."""

    loss: float | None
    age: float
    drift: int


def year(hours: int, seed: int = 7) -> list[Hour]:
    """The hours of a year, with an episode of high loss or a gap of data every few days."""
    draw = random.Random(seed)
    found: list[Hour] = []
    while len(found) < hours:
        kind = draw.choices(("calm", "high", "gap", "drift"), (20, 3, 1, 1))[0]
        for number in range(draw.randint(1, 9)):
            high = draw.random() < {"calm": 0.03, "high": 0.8, "gap": 0.0, "drift": 0.3}[kind]
            loss = round(draw.uniform(0.3, 0.6) if high else draw.uniform(0.05, 0.2), 6)
            gap = kind == "gap"
            age = 60.0 * (number + 1) if gap else 1.0
            found.append(Hour(None if gap else loss, age, int(kind == "drift" and number == 0)))
    return found[:hours]


def expected(hours: Sequence[Hour]) -> list[Change]:
    """The changes that these hours mean, worked out from the hours alone."""
    scores = [None if hour.loss is None else hour.loss > THRESHOLD for hour in hours]
    changes: list[Change] = []
    states = {"quality": "INSUFFICIENT_DATA", "data": "INSUFFICIENT_DATA", "drift": "INSUFFICIENT_DATA"}

    def change(number: int, alarm: str, breaches: bool) -> None:
        state = "ALARM" if breaches else "OK"
        if states[alarm] != state:
            changes.append((number, alarm, states[alarm], state))
            states[alarm] = state

    # Of an alarm that treats missing data as not breaching, so that it is OK before any came.
    change(-1, "quality", False)
    for number, hour in enumerate(hours):
        # At the hour's end, before its values have come, and when they have.
        for newest in (number - 1, number):
            looked_at = scores[max(0, number - RANGE + 1) : newest + 1]
            taken = [score for score in looked_at if score is not None][-PERIODS:]
            change(number, "quality", sum(taken) >= NEEDED)
        change(number, "data", hour.age > LONGEST_AGE)
        change(number, "drift", hour.drift >= 1)
    return changes


def data_of(hour: Hour, moment: datetime) -> list[dict[str, Any]]:
    """Eight metrics as an evaluation puts them; six where there was nothing to score."""
    values = {
        "LossThreshold": THRESHOLD,
        "DataFreshnessMinutes": hour.age,
        "DriftDetected": hour.drift,
        "PageHinkleyStatistic": 0.5,
        "AdwinWidth": 100.0,
        "MissingMinutes": 0.0 if hour.loss is not None else 60.0,
    }
    if hour.loss is not None:
        values |= {"MeanWeightedQuantileLoss": hour.loss, "IntervalCoverage": 0.8}
    return [
        {"MetricName": name, "Value": value, "Timestamp": moment, "Dimensions": DIMENSIONS}
        for name, value in values.items()
    ]


def put_alarms(cloudwatch: Any) -> None:
    """The three alarms of a stage."""

    def query(name: str, metric: str) -> dict[str, Any]:
        stat = {
            "Metric": {"Namespace": NAMESPACE, "MetricName": metric, "Dimensions": DIMENSIONS},
            "Period": PERIOD,
            "Stat": "Maximum",
        }
        return {"Id": name, "MetricStat": stat, "ReturnData": False}

    cloudwatch.put_metric_alarm(
        AlarmName="quality",
        EvaluationPeriods=PERIODS,
        DatapointsToAlarm=NEEDED,
        Threshold=0,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
        Metrics=[
            {"Id": "excess", "Expression": "loss - threshold", "Label": "loss over threshold"},
            query("loss", "MeanWeightedQuantileLoss"),
            query("threshold", "LossThreshold"),
        ],
    )
    for name, metric, operator, threshold in (
        ("data", "DataFreshnessMinutes", "GreaterThanThreshold", LONGEST_AGE),
        ("drift", "DriftDetected", "GreaterThanOrEqualToThreshold", 1),
    ):
        cloudwatch.put_metric_alarm(
            AlarmName=name,
            Namespace=NAMESPACE,
            MetricName=metric,
            Dimensions=DIMENSIONS,
            Statistic="Maximum",
            Period=PERIOD,
            EvaluationPeriods=1,
            Threshold=threshold,
            ComparisonOperator=operator,
        )


class PlainClient:
    """PutMetricData as boto3 sends it, in AWS JSON 1.0, but for the signature, which localcloud does not check."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        scope = "AWS4-HMAC-SHA256 Credential=test/20260101/eu-west-1/monitoring/aws4_request"
        self._headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": "GraniteServiceVersion20100801.PutMetricData",
            "Authorization": f"{scope}, SignedHeaders=host, Signature=0",
        }

    def put_metric_data(self, **params: Any) -> None:
        body = json.dumps(params, default=lambda moment: moment.timestamp())
        self._connection.request("POST", "/", body, self._headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"PutMetricData: {answer.status} {text.decode()}")


class Clock:
    """Moves a localcloud's clock on, over a connection that stays open."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)

    def advance(self, seconds: float) -> datetime:
        """Let so much time pass; gives the moment reached."""
        self._connection.request("POST", "/_localcloud/advance", str(seconds))
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"advance: {answer.status} {text.decode()}")
        return datetime.fromisoformat(json.loads(text)["now"])

    def to_the_hour(self) -> datetime:
        """Move on to the begin of the next hour, but for a second."""
        now = self.advance(0)
        following = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        return self.advance((following - now).total_seconds() + 1)


def changes_since(cloudwatch: Any, since: datetime, first: datetime) -> Iterator[Change]:
    """The changes that the history tells of from a moment on, in order; hours are counted from `first`."""
    pages = cloudwatch.get_paginator("describe_alarm_history").paginate(
        HistoryItemType="StateUpdate", StartDate=since, ScanBy="TimestampAscending"
    )
    for page in pages:
        for item in page["AlarmHistoryItems"]:
            data = json.loads(item["HistoryData"])
            number = int((item["Timestamp"] - first).total_seconds() // PERIOD) - 1
            yield (
                number,
                item["AlarmName"],
                data["oldState"]["stateValue"],
                data["newState"]["stateValue"],
            )


def run(process: psutil.Process, port: int, hours: Sequence[Hour], *, plain: bool) -> dict[str, Any]:
    """The year; gives its figures."""
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-west-1")
    cloudwatch = session.client(
        "cloudwatch", endpoint_url=f"http://127.0.0.1:{port}", config=Config(retries={"total_max_attempts": 1})
    )
    client = PlainClient(port) if plain else cloudwatch
    clock = Clock(port)
    first = clock.to_the_hour()
    first, read_to = first.replace(minute=0, second=0, microsecond=0), first - timedelta(minutes=1)
    put_alarms(cloudwatch)
    found: list[Change] = []
    server_cpu, client_cpu = sum(process.cpu_times()[:2]), time.process_time()
    began = time.perf_counter()
    for number, hour in enumerate(hours):
        now = clock.advance(PERIOD)
        client.put_metric_data(
            Namespace=NAMESPACE, MetricData=data_of(hour, first + timedelta(seconds=PERIOD * number))
        )
        if (number + 1) % HISTORY_HOURS == 0 or number == len(hours) - 1:
            found += changes_since(cloudwatch, read_to, first)
            read_to = now + timedelta(seconds=PERIOD / 2)
    seconds = time.perf_counter() - began
    server_cpu, client_cpu = sum(process.cpu_times()[:2]) - server_cpu, time.process_time() - client_cpu
    return {
        "hours": len(hours),
        "seconds": round(seconds, 1),
        "milliseconds_an_hour": round(seconds / len(hours) * 1000, 2),
        "processor_milliseconds_an_hour": {
            "client": round(client_cpu / len(hours) * 1000, 2),
            "localcloud": round(server_cpu / len(hours) * 1000, 2),
        },
        "changes": found,
    }


def started_and_run(hours: Sequence[Hour], *, plain: bool) -> dict[str, Any]:
    """The year in a localcloud of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(
        [sys.executable, "-m", "localcloud", "up", "--port", "0"], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline().partition("http://127.0.0.1:")[2].split()[0])
        # Its own start is not what is measured: that of moto goes on behind the first calls.
        status = f"http://127.0.0.1:{port}/_localcloud/status"
        while not json.load(urllib.request.urlopen(status))["leaf"]["ready"]:
            time.sleep(0.05)
        return run(psutil.Process(process.pid), port, hours, plain=plain)
    finally:
        process.terminate()
        process.wait(timeout=30)
        process.stdout.close()


def main() -> int:
    """Measure, print, and write the result; 1 where the changes are not those expected."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=int, default=365 * 24)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "alarm_year.json")
    arguments = parser.parse_args()
    hours = year(arguments.hours)
    wanted = sorted(expected(hours))
    results, wrong = {}, 0
    for name, plain in (("boto3", False), ("plain HTTP", True)):
        result = started_and_run(hours, plain=plain)
        found = sorted(result.pop("changes"))
        differences = [change for change in (*found, *wanted) if found.count(change) != wanted.count(change)]
        wrong += len(differences)
        results[name] = result | {"changes": len(found), "changes_expected": len(wanted), "differing": len(differences)}
        print(
            f"{name}: {result['hours']} hours in {result['seconds']} s ({result['milliseconds_an_hour']} ms each; goal"
            f" for a year: {TARGET_SECONDS:.0f} s): {len(found)} changes of alarms, {len(wanted)} expected"
        )
        for change in differences[:10]:
            print("differs:", change)
    report = {
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "load": os.getloadavg()[0],
        },
        "target_seconds": TARGET_SECONDS,
        "results": results,
    }
    arguments.output.write_text(json.dumps(report, indent=2) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
