"""PutRecord and PutRecords: each record is taken or refused by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from localcloud.context import Context, Request
from localcloud.errors import ServiceError
from localcloud.kinesis.errors import invalid, lacking, rate_exceeded
from localcloud.kinesis.limits import MIB, Limits
from localcloud.kinesis.shards import MOST_HASH, Stream, sequence_number
from localcloud.kinesis.streams import Placed, Put, Streams
from localcloud.kinesis.views import encryption, position_in, stream_of
from localcloud.signals import Measurement

_MOST_REQUEST_BYTES = 10 * MIB


class Writing:
    """The operations that put records. Safe to call from any thread."""

    def __init__(self, context: Context, streams: Streams, limits: Limits) -> None:
        self._context, self._streams, self._limits = context, streams, limits

    def put_record(self, request: Request) -> dict[str, Any]:
        """PutRecord. Sequence numbers grow anyway, whatever SequenceNumberForOrdering says."""
        params = request.params
        stream = stream_of(self._streams, params)
        lacking(params, "DryRun")
        if "SequenceNumberForOrdering" in params:
            position_in(params["SequenceNumberForOrdering"])
        (placed,) = self._put(stream, [params])
        if placed.position is None:
            raise rate_exceeded(placed.shard.id, stream.name, self._context.account_id)
        return {**_result(placed, placed.position), "EncryptionType": encryption(stream)}

    def put_records(self, request: Request) -> dict[str, Any]:
        """PutRecords: of a shard that has had its share of the second, records are refused one by one."""
        params = request.params
        stream = stream_of(self._streams, params)
        lacking(params, "DryRun")
        results = []
        failed = 0
        for placed in self._put(stream, params["Records"]):
            if placed.position is None:
                failed += 1
                error = rate_exceeded(placed.shard.id, stream.name, self._context.account_id)
                results.append({"ErrorCode": error.code, "ErrorMessage": error.message})
            else:
                results.append(_result(placed, placed.position))
        return {"FailedRecordCount": failed, "Records": results, "EncryptionType": encryption(stream)}

    def _put(self, stream: Stream, given: Sequence[Mapping[str, Any]]) -> list[Placed]:
        entries = [Put(one["Data"], one["PartitionKey"], _hash_key(one)) for one in given]
        _check_sizes(stream, entries)
        placed = self._streams.put(stream.arn, entries, self._limits.write)
        self._measure(stream, entries, placed)
        return placed

    def _measure(self, stream: Stream, entries: Sequence[Put], placed: Sequence[Placed]) -> None:
        sizes = [entry.size for entry, one in zip(entries, placed, strict=True) if one.position is not None]
        values = (
            ("IncomingRecords", len(sizes), "Count"),
            ("IncomingBytes", sum(sizes), "Bytes"),
            ("WriteProvisionedThroughputExceeded", len(entries) - len(sizes), "Count"),
        )
        now, dimensions = self._context.clock.now(), {"StreamName": stream.name}
        self._context.signals.measurements(
            [Measurement("AWS/Kinesis", name, value, unit, now, dimensions) for name, value, unit in values]
        )


def _hash_key(entry: Mapping[str, Any]) -> int | None:
    if "ExplicitHashKey" not in entry:
        return None
    value = int(entry["ExplicitHashKey"])
    if value > MOST_HASH:
        raise invalid(
            f"Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was {value}"
        )
    return value


def _check_sizes(stream: Stream, entries: Sequence[Put]) -> None:
    most = stream.most_record_kib * 1024
    for number, entry in enumerate(entries, 1):
        if entry.size > most:
            raise ServiceError(
                "ValidationException",
                f"1 validation error detected: Value at 'records.{number}.member.data' failed to satisfy constraint:"
                f" Member must have length less than or equal to {most}; with its partition key it has {entry.size}",
            )
    total = sum(entry.size for entry in entries)
    if total > _MOST_REQUEST_BYTES:
        raise invalid(f"Records size exceeds 10 MB limit: they have {total} bytes together")


def _result(placed: Placed, position: int) -> dict[str, Any]:
    return {"SequenceNumber": sequence_number(position), "ShardId": placed.shard.id}
