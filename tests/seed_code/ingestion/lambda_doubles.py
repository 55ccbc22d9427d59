"""Stand-ins for boto3's clients that the stream's functions use, which can be told to fail, and for Lambda's part."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

DATE = "Sun, 22 Nov 2026 14:04:07 GMT"  # the account's clock


def refusal(code: str, operation: str = "Operation") -> ClientError:
    """An error as AWS answers."""
    return ClientError({"Error": {"Code": code, "Message": "refused by the test"}}, operation)


@dataclass
class Kinesis:
    """A stream. `plan`: what each request meets in turn: an error, or the places of the records that are refused."""

    plan: list[ClientError | Sequence[int]] = field(default_factory=list)
    taken: list[bytes] = field(default_factory=list)
    requests: int = 0

    def put_records(self, *, StreamName: str, Records: list[dict[str, Any]]) -> dict[str, Any]:
        assert StreamName == "transactions-stream"
        assert len(Records) <= 500
        assert {record["PartitionKey"] for record in Records} == {"transactions"}
        self.requests += 1
        met = self.plan.pop(0) if self.plan else ()
        if isinstance(met, ClientError):
            raise met
        results = []
        for place, record in enumerate(Records):
            if place in met:
                results.append({"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "too fast"})
            else:
                self.taken.append(record["Data"])
                results.append({"SequenceNumber": str(len(self.taken)), "ShardId": "shardId-000000000000"})
        return {"FailedRecordCount": len(met), "Records": results}

    @property
    def hashes(self) -> list[str | None]:
        """Of the records that it took, in their order; None for a heartbeat."""
        return [json.loads(data)["hash"] for data in self.taken]


@dataclass
class Table:
    """A table of DynamoDB. `reads` and `writes`: what the calls meet in turn; of writes an error, or the places of the
    statements that are refused."""

    items: dict[str, int] = field(default_factory=dict)
    reads: list[ClientError | int] = field(default_factory=list)
    writes: list[ClientError | Sequence[int]] = field(default_factory=list)

    def batch_get_item(self, *, RequestItems: dict[str, Any]) -> dict[str, Any]:
        (keys,) = [wanted["Keys"] for wanted in RequestItems.values()]
        names = [key["hash"]["S"] for key in keys]
        assert 0 < len(names) <= 100
        assert len(set(names)) == len(names)
        met = self.reads.pop(0) if self.reads else len(names)
        if isinstance(met, ClientError):
            raise met
        found = [{"hash": {"S": name}} for name in names[:met] if name in self.items]
        left = {"seen-table": {**RequestItems["seen-table"], "Keys": keys[met:]}} if keys[met:] else {}
        return {"Responses": {"seen-table": found}, "UnprocessedKeys": left}

    def batch_execute_statement(self, *, Statements: list[dict[str, Any]]) -> dict[str, Any]:
        assert 0 < len(Statements) <= 25
        assert {one["Statement"] for one in Statements} == {
            "INSERT INTO \"seen-table\" VALUE {'hash': ?, 'expires': ?}"
        }
        met = self.writes.pop(0) if self.writes else ()
        if isinstance(met, ClientError):
            raise met
        return {"Responses": [self._insert(one["Parameters"], place in met) for place, one in enumerate(Statements)]}

    def _insert(self, values: list[dict[str, str]], throttled: bool) -> dict[str, Any]:
        name, expires = values[0]["S"], int(values[1]["N"])
        if throttled:
            return {"Error": {"Code": "ThrottlingError", "Message": "too fast"}}
        if name in self.items:
            return {"TableName": "seen-table", "Error": {"Code": "DuplicateItem", "Message": "it is there"}}
        self.items[name] = expires
        return {"TableName": "seen-table"}


@dataclass
class FeatureStore:
    """The runtime of a feature group's stores. `plan`: what each PutRecord meets in turn; None for nothing."""

    plan: list[ClientError | None] = field(default_factory=list)
    records: list[dict[str, str]] = field(default_factory=list)

    def put_record(self, *, FeatureGroupName: str, Record: list[dict[str, str]]) -> dict[str, Any]:
        assert FeatureGroupName == "minutes-group"
        met = self.plan.pop(0) if self.plan else None
        if met:
            raise met
        self.records.append({one["FeatureName"]: one["ValueAsString"] for one in Record})
        return {"ResponseMetadata": {"HTTPHeaders": {"date": DATE}}}


@dataclass
class Queue:
    """A queue of SQS."""

    plan: list[ClientError] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)

    def send_message(self, *, QueueUrl: str, MessageBody: str) -> dict[str, Any]:
        if self.plan:
            raise self.plan.pop(0)
        assert len(MessageBody) < 256 * 1024
        self.messages.append(json.loads(MessageBody))
        return {}


def kinesis_event(data: Iterable[bytes], came: datetime) -> dict[str, Any]:
    """A batch of a stream's records as Lambda gives it to a function; numbers from 1 on."""
    return {
        "Records": [
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": "minutes",
                    "sequenceNumber": str(number),
                    "data": base64.b64encode(one).decode(),
                    "approximateArrivalTimestamp": came.timestamp(),
                },
                "eventSource": "aws:kinesis",
                "eventID": f"shardId-000000000006:{number}",
                "eventSourceARN": "arn:aws:kinesis:eu-west-1:123456789012:stream/minutes-stream",
            }
            for number, one in enumerate(data, start=1)
        ]
    }


@dataclass
class Timer:
    """The seconds that an invocation has left, which only its pauses use up."""

    left: float = 30.0

    def __call__(self) -> float:
        return self.left

    def sleep(self, seconds: float) -> None:
        self.left -= seconds
