"""Batches of a stream's records as a function gets them, and the record of a batch that is given up, in AWS's shapes.

Source: "Process Amazon Kinesis Data Streams records with Lambda", "Retain discarded batch records for a Kinesis Data
Streams event source in Lambda" and "Using event filtering with a Kinesis event source" in the Lambda Developer Guide.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from localcloud.events.patterns import Pattern
from localcloud.functions.functions import Document
from localcloud.functions.invocation import MOST_SYNCHRONOUS_BYTES, Outcome
from localcloud.kinesis.records import Record
from localcloud.kinesis.shards import sequence_number, shard_id

RETRIES_EXHAUSTED, TOO_OLD = "RetryAttemptsExhausted", "RecordAgeExceeded"
# What a record takes in an event beside its data and its partition key; an ARN of a stream and of a role in it.
_RECORD_BYTES = 1_024
_EVENT_BYTES = MOST_SYNCHRONOUS_BYTES - 64


@dataclass(frozen=True)
class Batch:
    """Records of one shard that go to the function together."""

    records: Sequence[Record]
    end: int
    """The position up to which the shard was looked at: what is not among the records is for nobody."""
    full: bool
    """Whether it could not have been longer."""


def lane_of(partition_key: str, lanes: int) -> int:
    """Which of the lanes of a shard takes the records of a partition key: always the same, to keep their order."""
    if lanes == 1:
        return 0
    return int.from_bytes(hashlib.sha256(partition_key.encode()).digest()[:8], "big") % lanes


def event_bytes(record: Record) -> int:
    """About what a record takes in an event."""
    return len(record.data) * 4 // 3 + len(record.partition_key) * 6 + _RECORD_BYTES


def fits(size: int) -> bool:
    """Whether records that take so much go into one event."""
    return size <= _EVENT_BYTES


def is_wanted(record: Record, patterns: Iterable[Pattern]) -> bool:
    """Whether a record meets one of the filters; data that is no JSON meets none that asks for data."""
    data: Any = None
    with suppress(ValueError):
        data = json.loads(record.data)
    described = {
        "kinesisSchemaVersion": "1.0",
        "partitionKey": record.partition_key,
        "sequenceNumber": sequence_number(record.position),
        "approximateArrivalTimestamp": record.arrived_ms / 1000,
        **({"data": data} if data is not None else {}),
    }
    return any(pattern.matches(described) for pattern in patterns)


def payload(records: Sequence[Record], stream_arn: str, role_arn: str, region: str) -> bytes:
    """The event that a function gets."""
    events = [
        {
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": record.partition_key,
                "sequenceNumber": sequence_number(record.position),
                "data": base64.b64encode(record.data).decode(),
                "approximateArrivalTimestamp": record.arrived_ms / 1000,
            },
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": f"{shard_id(record.shard)}:{sequence_number(record.position)}",
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": role_arn,
            "awsRegion": region,
            "eventSourceARN": stream_arn,
        }
        for record in records
    ]
    return json.dumps({"Records": events}, ensure_ascii=False).encode()


def given_up(
    mapping: Document, records: Sequence[Record], condition: str, invocations: int, request_id: str, now: datetime,
    outcome: Outcome | None,
) -> dict[str, Any]:  # fmt: skip
    """What the destination on failure is told of records that the function will not get any more: where they are, and
    not what they hold. `outcome` is None where the function was not called."""
    first, last = records[0], records[-1]
    told: dict[str, Any] = {
        "requestContext": {
            "requestId": request_id,
            "functionArn": mapping["FunctionArn"],
            "condition": condition,
            "approximateInvokeCount": invocations,
        },
        "version": "1.0",
        "timestamp": _moment(now),
        "KinesisBatchInfo": {
            "shardId": shard_id(first.shard),
            "startSequenceNumber": sequence_number(first.position),
            "endSequenceNumber": sequence_number(last.position),
            "approximateArrivalOfFirstRecord": _moment(first.arrived_at),
            "approximateArrivalOfLastRecord": _moment(last.arrived_at),
            "batchSize": len(records),
            "streamArn": mapping["EventSourceArn"],
        },
    }
    if outcome is not None:
        response: dict[str, Any] = {"statusCode": 200, "executedVersion": "$LATEST"}
        if outcome.error is not None:
            response["functionError"] = outcome.error
        told["responseContext"] = response
    return told


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"
