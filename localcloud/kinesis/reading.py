"""GetShardIterator and GetRecords."""

from __future__ import annotations

from typing import Any

from localcloud.context import Context, Request
from localcloud.errors import ServiceError
from localcloud.kinesis.errors import invalid, lacking, no_shard, rate_exceeded
from localcloud.kinesis.iterators import ShardIterator
from localcloud.kinesis.limits import Limits
from localcloud.kinesis.records import Record
from localcloud.kinesis.shards import Shard, Stream, sequence_number, shard_id
from localcloud.kinesis.streams import MOST_READ_RECORDS, Streams, from_milliseconds, milliseconds
from localcloud.kinesis.views import encryption, hash_range, position_in, stream_of
from localcloud.signals import Measurement

_EXPIRES_MS = 300_000


class Reading:
    """The operations that read records. Safe to call from any thread."""

    def __init__(self, context: Context, streams: Streams, limits: Limits) -> None:
        self._context, self._streams, self._limits = context, streams, limits

    def get_shard_iterator(self, request: Request) -> dict[str, Any]:
        """GetShardIterator."""
        params = request.params
        lacking(params, "DryRun")
        stream = stream_of(self._streams, params)
        shard = stream.shard(params["ShardId"])
        if shard is None:
            raise no_shard(params["ShardId"], stream.name, self._context.account_id)
        after = self._start(stream, shard, params)
        return {
            "ShardIterator": ShardIterator(stream.name, stream.table, shard.number, after, self._now_ms()).encoded()
        }

    def get_records(self, request: Request) -> dict[str, Any]:
        """GetRecords."""
        params = request.params
        lacking(params, "DryRun", "StreamId")
        limit = params.get("Limit", MOST_READ_RECORDS)
        if limit > MOST_READ_RECORDS:
            raise invalid(f"Limit must be at most {MOST_READ_RECORDS}; got {limit}.")
        at = ShardIterator.decoded(params["ShardIterator"])
        if at is None:
            raise invalid("Invalid ShardIterator.")
        self._check_age(at)
        stream = self._streams.named(params.get("StreamARN") or at.stream)
        if (stream.name, stream.table) != (at.stream, at.table) or not 0 <= at.shard < len(stream.shards):
            raise invalid(f"The ShardIterator is not one of the stream {stream.arn}, or of an earlier one of its name.")
        shard = stream.shards[at.shard]
        if not self._limits.read(stream, shard):
            self._measure(stream, ("ReadProvisionedThroughputExceeded", 1, "Count"))
            raise rate_exceeded(shard.id, stream.name, self._context.account_id)
        records = self._streams.read(stream.arn, at.after, shard=shard.number, limit=limit)
        self._limits.was_read(stream, shard, sum(len(record.data) for record in records))
        return self._answer(stream, shard, at, records)

    def _answer(self, stream: Stream, shard: Shard, at: ShardIterator, records: list[Record]) -> dict[str, Any]:
        now_ms = self._now_ms()
        after = records[-1].position if records else at.after
        more = self._streams.has_more(stream, after, shard.number)
        age = now_ms - records[-1].arrived_ms if records else 0
        self._measure(
            stream,
            ("GetRecords.Records", len(records), "Count"),
            ("GetRecords.IteratorAgeMilliseconds", age, "Milliseconds"),
            ("ReadProvisionedThroughputExceeded", 0, "Count"),
        )
        # Read first and looked at afterwards: a shard that was closed in between is read once more.
        ended = not shard.is_open and not more
        following = ShardIterator(stream.name, stream.table, shard.number, after, now_ms)
        kind = encryption(stream)
        return {
            "Records": [
                {
                    "SequenceNumber": sequence_number(record.position),
                    "ApproximateArrivalTimestamp": record.arrived_at,
                    "Data": record.data,
                    "PartitionKey": record.partition_key,
                    "EncryptionType": kind,
                }
                for record in records
            ],
            "NextShardIterator": None if ended else following.encoded(),
            "MillisBehindLatest": max(age, 1) if more else 0,
            "ChildShards": [
                {
                    "ShardId": child.id,
                    "ParentShards": [shard_id(number) for number in child.parents],
                    "HashKeyRange": hash_range(child),
                }
                for child in stream.children(shard)
            ]
            if ended
            else None,
        }

    def _start(self, stream: Stream, shard: Shard, params: dict[str, Any]) -> int:
        """The position after which an iterator begins."""
        kind = params["ShardIteratorType"]
        if kind == "TRIM_HORIZON":
            return 0
        if kind == "LATEST":
            return self._streams.latest
        if kind == "AT_TIMESTAMP":
            return self._since(stream, params)
        number = params.get("StartingSequenceNumber")
        if not number:
            raise invalid(f"Must specify StartingSequenceNumber for the ShardIteratorType {kind}.")
        position = position_in(number)
        last = self._streams.latest if shard.last_position is None else shard.last_position
        if not shard.first_position <= position <= last:
            raise invalid(
                f"StartingSequenceNumber {number} used in GetShardIterator on shard {shard.id} in stream {stream.name}"
                f" under account {self._context.account_id} is invalid because it did not come from this stream."
            )
        return position - 1 if kind == "AT_SEQUENCE_NUMBER" else position

    def _since(self, stream: Stream, params: dict[str, Any]) -> int:
        moment = params.get("Timestamp")
        if moment is None:
            raise invalid("Must specify Timestamp for the ShardIteratorType AT_TIMESTAMP.")
        if moment > self._context.clock.now():
            raise invalid(
                f"The timestampInMillis parameter cannot be greater than the currentTimestampInMillis: {moment}"
            )
        return self._streams.since(stream.arn, milliseconds(moment))

    def _check_age(self, at: ShardIterator) -> None:
        now_ms = self._now_ms()
        if now_ms - at.made_ms > _EXPIRES_MS:
            raise ServiceError(
                "ExpiredIteratorException",
                f"Iterator expired. The iterator was created at time {from_milliseconds(at.made_ms).ctime()} UTC while"
                f" right now it is {from_milliseconds(now_ms).ctime()} UTC which is further in the future than the"
                f" tolerated delay of {_EXPIRES_MS} milliseconds.",
            )

    def _now_ms(self) -> int:
        return milliseconds(self._context.clock.now())

    def _measure(self, stream: Stream, *values: tuple[str, float, str]) -> None:
        now, dimensions = self._context.clock.now(), {"StreamName": stream.name}
        self._context.signals.measurements(
            [Measurement("AWS/Kinesis", name, value, unit, now, dimensions) for name, value, unit in values]
        )
