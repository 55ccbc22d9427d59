"""A Kinesis in memory, as the operator knows one: shards that split and merge, and calls that fail."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

START = datetime(2026, 11, 22, 14, tzinfo=UTC)


@dataclass
class Shard:
    """One shard: what it holds, and whether it still takes more."""

    parents: tuple[str, ...] = ()
    records: list[dict[str, Any]] = field(default_factory=list)
    closed: bool = False


@dataclass
class FakeKinesis:
    """One stream that is read, `transactions`, and one that is written, `minutes`.

    Attributes:
        page: records that a GetRecords gives at most.
        faults: errors of the calls to come, by operation: codes, or None for a call that goes well.
    """

    page: int = 10_000
    shards: dict[str, Shard] = field(default_factory=lambda: {"shardId-0": Shard()})
    written: list[bytes] = field(default_factory=list)
    faults: dict[str, list[str | None]] = field(default_factory=dict)
    partial: list[int] = field(default_factory=list)
    calls: int = 0

    def put(self, data: bytes, shard: str = "shardId-0", seconds: float | None = None) -> None:
        """A record arrives; seconds: after the start, else after the record before."""
        number = sum(len(one.records) for one in self.shards.values())
        assert not self.shards[shard].closed
        self.shards[shard].records.append(
            {
                "SequenceNumber": f"{number:010d}",
                "ApproximateArrivalTimestamp": START + timedelta(seconds=number if seconds is None else seconds),
                "Data": data,
                "PartitionKey": "transactions",
            }
        )

    def reshard(self, parents: tuple[str, ...], children: tuple[str, ...]) -> None:
        for parent in parents:
            self.shards[parent].closed = True
        for child in children:
            self.shards[child] = Shard(parents)

    # --- as botocore's client ---------------------------------------------------------------------------------------

    def list_shards(self, **wanted: Any) -> dict[str, Any]:
        names = sorted(self.shards)
        begin = int(wanted["NextToken"]) if "NextToken" in wanted else 0
        found = []
        for name in names[begin : begin + 2]:
            keys = ("ParentShardId", "AdjacentParentShardId")
            found.append({"ShardId": name, **dict(zip(keys, self.shards[name].parents, strict=False))})
        return {"Shards": found, **({"NextToken": str(begin + 2)} if begin + 2 < len(names) else {})}

    def get_shard_iterator(self, **wanted: Any) -> dict[str, Any]:
        assert wanted["StreamName"] == "transactions"
        after = wanted.get("StartingSequenceNumber", "")
        held = self.shards[wanted["ShardId"]].records
        begin = sum(record["SequenceNumber"] <= after for record in held)
        return {"ShardIterator": f"{wanted['ShardId']}/{begin}"}

    def get_records(self, **wanted: Any) -> dict[str, Any]:
        self._fail("GetRecords")
        self.calls += 1
        name, _, begin = wanted["ShardIterator"].partition("/")
        shard = self.shards[name]
        end = min(int(begin) + self.page, len(shard.records))
        read_out = end == len(shard.records)
        return {
            "Records": shard.records[int(begin) : end],
            "NextShardIterator": None if shard.closed and read_out else f"{name}/{end}",
            "MillisBehindLatest": 0 if read_out else 1000,
        }

    def put_records(self, **wanted: Any) -> dict[str, Any]:
        self._fail("PutRecords")
        assert wanted["StreamName"] == "minutes"
        refused = self.partial.pop(0) if self.partial else 0
        results: list[dict[str, Any]] = []
        for index, record in enumerate(wanted["Records"]):
            assert record["PartitionKey"] == "minutes"
            if index < refused:
                results.append({"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slow down"})
            else:
                self.written.append(record["Data"])
                results.append({"SequenceNumber": "1", "ShardId": "shardId-0"})
        return {"FailedRecordCount": refused, "Records": results}

    def _fail(self, operation: str) -> None:
        code = faults.pop(0) if (faults := self.faults.get(operation)) else None
        if code:
            raise ClientError({"Error": {"Code": code, "Message": "as told"}}, operation)


class FakeS3:
    """Objects in memory; the calls whose numbers are in `failing` fail."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}
        self.failing: set[int] = set()
        self.puts = 0

    def put_object(self, **wanted: Any) -> None:
        self.puts += 1
        if self.puts in self.failing:
            raise ClientError({"Error": {"Code": "SlowDown", "Message": "as told"}}, "PutObject")
        self.objects[wanted["Bucket"], wanted["Key"]] = wanted["Body"]

    def get_object(self, **wanted: Any) -> dict[str, Any]:
        try:
            return {"Body": io.BytesIO(self.objects[wanted["Bucket"], wanted["Key"]])}
        except KeyError:
            raise ClientError({"Error": {"Code": "NoSuchKey", "Message": "none"}}, "GetObject") from None
