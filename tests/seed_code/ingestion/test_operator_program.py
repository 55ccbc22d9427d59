"""The operator's program between two streams of a localcloud: killed, started again, and told to end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from seed_code.common.clients import client
from seed_code.ingestion.operator import lines
from seed_code.ingestion.operator.windows import Event, Minutes
from tests.conftest import Localcloud
from tests.contract.sagemaker_account import until

ROOT = Path(__file__).resolve().parents[3]
T = 1_763_820_180
_LONGEST_SECONDS = 60


class Streams:
    """Two streams, and a bucket."""

    def __init__(self) -> None:
        self.kinesis = client("kinesis")
        self.s3 = client("s3")
        name = f"operator-{uuid.uuid4().hex[:12]}"
        self.bucket = name
        self.environ = {
            "TRANSACTIONS_STREAM": f"{name}-transactions",
            "MINUTES_STREAM": f"{name}-minutes",
            "LATENESS_SECONDS": "30",
            "CHECKPOINT_URI": f"s3://{name}/ingestion/operator",
        }
        self.s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        for stream in ("TRANSACTIONS_STREAM", "MINUTES_STREAM"):
            self.kinesis.create_stream(StreamName=self.environ[stream], ShardCount=1)
        for stream in ("TRANSACTIONS_STREAM", "MINUTES_STREAM"):
            self.kinesis.get_waiter("stream_exists").wait(
                StreamName=self.environ[stream], WaiterConfig={"Delay": 1, "MaxAttempts": _LONGEST_SECONDS}
            )

    def put(self, events: list[Event]) -> None:
        records = [
            {"Data": lines.encode({"hash": name, "time": at, "fee": fee}), "PartitionKey": "transactions"}
            for name, at, fee in events
        ]
        assert not self.kinesis.put_records(StreamName=self.environ["TRANSACTIONS_STREAM"], Records=records)[
            "FailedRecordCount"
        ]

    def rows(self, count: int) -> list[dict[str, Any]]:
        """What has been written, as soon as it is so much."""
        stream = self.environ["MINUTES_STREAM"]
        shard = self.kinesis.list_shards(StreamName=stream)["Shards"][0]["ShardId"]
        place = self.kinesis.get_shard_iterator(StreamName=stream, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
        iterator: str = place["ShardIterator"]
        found: list[dict[str, Any]] = []

        def enough() -> bool:
            nonlocal iterator
            answer = self.kinesis.get_records(ShardIterator=iterator)
            found.extend(json.loads(record["Data"]) for record in answer["Records"])
            iterator = answer["NextShardIterator"]
            return len(found) >= count

        until(enough, f"{count} rows on {stream}")
        return found

    @contextmanager
    def operator(self) -> Iterator[subprocess.Popen[str]]:
        """The program, until it ends or is killed."""
        program = [sys.executable, "-P", "-m", "seed_code.ingestion.operator"]
        environ = {**os.environ, **self.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(program, env=environ, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield process
            finally:
                process.kill()


@pytest.fixture
def streams(aws: Localcloud) -> Streams:
    return Streams()


def test_killed_and_started_again_it_writes_every_row(streams: Streams) -> None:
    events: list[Event] = [(f"h{number}", T + 7 * number, number) for number in range(60)]
    expected = Minutes(30).feed(events)
    streams.put(events[:30])
    with streams.operator() as process:
        before = streams.rows(2)
        process.kill()  # before any checkpoint: another one begins with the oldest record
    streams.put(events[30:])
    with streams.operator() as process:
        found = streams.rows(len(before) + len(expected))
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=_LONGEST_SECONDS)
    assert process.returncode == 0
    assert found == before + expected
    assert before == expected[:2]
    assert [json.loads(line)["message"] for line in said.splitlines()] == [
        "the operator begins",
        "the operator has ended",
    ]
    streams.put([(None, T + 600, None)])
    with streams.operator():  # from the checkpoint: no row comes again, and what was open is not forgotten
        more = Minutes(30)
        whole = more.feed([*events, (None, T + 600, None)])
        assert streams.rows(len(before) + len(whole)) == before + whole


def test_what_it_cannot_begin_with_is_said(streams: Streams) -> None:
    streams.environ["TRANSACTIONS_STREAM"] = "no-such-stream"
    with streams.operator() as process:
        said, _ = process.communicate(timeout=_LONGEST_SECONDS)
    assert process.returncode == 1
    (told,) = [json.loads(line) for line in said.splitlines()]
    assert told["message"] == "the operator could not begin"
    assert "no-such-stream" in told["reason"]
