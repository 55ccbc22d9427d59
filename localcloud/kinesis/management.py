"""The operations on streams as a whole, and on their shards. They are done when they are answered: a stream is ACTIVE
at once, where AWS takes some seconds for a new stream, and longer for one that is divided anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from botocore.exceptions import ClientError

from localcloud.context import Context, Request
from localcloud.errors import ServiceError, validation
from localcloud.kinesis.errors import invalid, lacking, no_shard
from localcloud.kinesis.limits import Limits
from localcloud.kinesis.shards import (
    DEFAULT_MOST_RECORD_KIB,
    DEFAULT_RETENTION_HOURS,
    ON_DEMAND,
    ON_DEMAND_SHARDS,
    PROVISIONED,
    Shard,
    Stream,
    even_shards,
)
from localcloud.kinesis.streams import Streams, milliseconds
from localcloud.kinesis.views import stream_of, summary

_MOST_SHARDS = 1_000
_MOST_RETENTION_HOURS = 8_760
_MOST_LISTED = 100
_AWS_KEY = "alias/aws/kinesis"


class Management:
    """Creates, describes, changes and deletes streams. Safe to call from any thread."""

    def __init__(self, context: Context, streams: Streams, limits: Limits) -> None:
        self._context, self._streams, self._limits = context, streams, limits

    def create(self, request: Request) -> dict[str, Any]:
        """CreateStream."""
        params = request.params
        lacking(params, "WarmThroughputMiBps", "RecordDistributionStrategy")
        name, mode = params["StreamName"], params.get("StreamModeDetails", {}).get("StreamMode", PROVISIONED)
        count = params.get("ShardCount")
        if mode == ON_DEMAND and count is not None:
            raise validation(f"ShardCount is not for a stream in {ON_DEMAND} mode; got {count}.")
        if mode == PROVISIONED and count is None:
            raise validation(f"ShardCount is required for a stream in {PROVISIONED} mode.")
        if count is not None and count > _MOST_SHARDS:
            raise ServiceError(
                "LimitExceededException",
                f"This request would exceed the shard limit for the account {self._context.account_id} in"
                f" {self._context.region}. Limit: {_MOST_SHARDS}. Requested shards: {count}.",
            )
        now, position = self._context.clock.now(), self._streams.new_position()
        stream = Stream(
            name=name,
            arn=f"arn:aws:kinesis:{self._context.region}:{self._context.account_id}:stream/{name}",
            table=position,
            created_at=now,
            shards=even_shards(count or ON_DEMAND_SHARDS, position, milliseconds(now)),
            mode=mode,
            retention_hours=DEFAULT_RETENTION_HOURS,
            most_record_kib=params.get("MaxRecordSizeInKiB", DEFAULT_MOST_RECORD_KIB),
            tags=params.get("Tags", {}),
        )
        self._streams.create(stream)
        return {}

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteStream. There are no registered consumers that could be in its way."""
        stream = stream_of(self._streams, request.params)
        self._streams.delete(stream.arn)
        self._limits.forget(stream)
        return {}

    def summary(self, request: Request) -> dict[str, Any]:
        """DescribeStreamSummary."""
        stream = stream_of(self._streams, request.params)
        return {
            "StreamDescriptionSummary": {
                **summary(stream),
                "OpenShardCount": len(stream.open_shards),
                "ConsumerCount": 0,
                "MaxRecordSizeInKiB": stream.most_record_kib,
            }
        }

    def list(self, request: Request) -> dict[str, Any]:
        """ListStreams."""
        params = request.params
        start, limit = params.get("NextToken") or params.get("ExclusiveStartStreamName") or "", params.get("Limit")
        found = [stream for stream in self._streams.all() if stream.name > start]
        page = found[: limit or _MOST_LISTED]
        more = len(found) > len(page)
        members = ("StreamName", "StreamARN", "StreamStatus", "StreamModeDetails", "StreamCreationTimestamp")
        return {
            "StreamNames": [stream.name for stream in page],
            "StreamSummaries": [{member: summary(stream)[member] for member in members} for stream in page],
            "HasMoreStreams": more,
            "NextToken": page[-1].name if more else None,
        }

    # shards --------------------------------------------------------------------------------------------------------

    def split(self, request: Request) -> dict[str, Any]:
        """SplitShard."""
        params = request.params
        start = int(params["NewStartingHashKey"])

        def halved(stream: Stream) -> Stream:
            shard = self._open_shard(stream, params["ShardToSplit"])
            if not shard.first_hash < start <= shard.last_hash:
                raise invalid(
                    f"NewStartingHashKey {start} used in SplitShard() on shard {shard.id} in stream {stream.name} under"
                    f" account {self._context.account_id} is not both greater than one plus the shard's StartingHashKey"
                    f" {shard.first_hash} and less than the shard's EndingHashKey {shard.last_hash}."
                )
            return stream.split(shard, start, self._streams.new_position(), self._now_ms())

        return self._change(request, halved)

    def merge(self, request: Request) -> dict[str, Any]:
        """MergeShards."""
        params = request.params

        def merged(stream: Stream) -> Stream:
            shard = self._open_shard(stream, params["ShardToMerge"])
            adjacent = self._open_shard(stream, params["AdjacentShardToMerge"])
            if shard.last_hash + 1 != adjacent.first_hash and adjacent.last_hash + 1 != shard.first_hash:
                raise invalid(
                    f"Shards {shard.id} and {adjacent.id} in stream {stream.name} under account"
                    f" {self._context.account_id} are not an adjacent pair of shards eligible for merging"
                )
            return stream.merge(shard, adjacent, self._streams.new_position(), self._now_ms())

        return self._change(request, merged)

    def _open_shard(self, stream: Stream, shard_id: str) -> Shard:
        if stream.mode == ON_DEMAND:
            raise validation(
                f"Request is invalid. Stream {stream.name} under account {self._context.account_id} is in On-Demand"
                " mode."
            )
        shard = stream.shard(shard_id)
        if shard is None:
            raise no_shard(shard_id, stream.name, self._context.account_id)
        if not shard.is_open:
            raise invalid(
                f"Shard {shard.id} in stream {stream.name} under account {self._context.account_id} has already been"
                " merged or split, and thus is not eligible for merging or splitting."
            )
        return shard

    # settings ------------------------------------------------------------------------------------------------------

    def increase_retention(self, request: Request) -> dict[str, Any]:
        """IncreaseStreamRetentionPeriod."""
        hours = request.params["RetentionPeriodHours"]
        if hours > _MOST_RETENTION_HOURS:
            raise invalid(
                f"Maximum allowed retention period is {_MOST_RETENTION_HOURS} hours. Requested retention period"
                f" ({hours} hours) is too long."
            )
        return self._retain(request, hours, lambda before: hours < before, "shorter", "Decrease")

    def decrease_retention(self, request: Request) -> dict[str, Any]:
        """DecreaseStreamRetentionPeriod: what is older cannot be read from now on."""
        hours = request.params["RetentionPeriodHours"]
        if hours < DEFAULT_RETENTION_HOURS:
            raise invalid(
                f"Minimum allowed retention period is {DEFAULT_RETENTION_HOURS} hours. Requested retention period"
                f" ({hours} hours) is too short."
            )
        return self._retain(request, hours, lambda before: hours > before, "longer", "Increase")

    def _retain(
        self, request: Request, hours: int, wrong: Callable[[int], bool], comparison: str, other: str
    ) -> dict[str, Any]:
        def retained(stream: Stream) -> Stream:
            if wrong(stream.retention_hours):
                raise invalid(
                    f"Requested retention period ({hours} hours) for stream {stream.name} can not be {comparison} than"
                    f" existing retention period ({stream.retention_hours} hours)."
                    f" Use {other}StreamRetentionPeriod API."
                )
            return replace(stream, retention_hours=hours)

        return self._change(request, retained)

    def start_encryption(self, request: Request) -> dict[str, Any]:
        """StartStreamEncryption. Records are kept as they are; what changes is how the stream is described."""
        params = request.params
        if params["EncryptionType"] != "KMS":
            raise invalid(f"EncryptionType must be KMS; got {params['EncryptionType']}. Use StopStreamEncryption.")
        self._check_key(params["KeyId"])
        return self._change(request, lambda stream: replace(stream, key_id=params["KeyId"]))

    def stop_encryption(self, request: Request) -> dict[str, Any]:
        """StopStreamEncryption."""

        def plain(stream: Stream) -> Stream:
            if stream.key_id is None:
                raise invalid(f"The stream {stream.name} is not encrypted.")
            return replace(stream, key_id=None)

        return self._change(request, plain)

    def _check_key(self, key_id: str) -> None:
        # AWS's own keys are there with the first use of them.
        if key_id.endswith(_AWS_KEY):
            return
        try:
            key = self._context.leaf.client("kms").describe_key(KeyId=key_id)["KeyMetadata"]
        except ClientError as error:
            raise ServiceError("KMSNotFoundException", error.response["Error"]["Message"]) from error
        if key["KeyState"] != "Enabled":
            raise ServiceError("KMSInvalidStateException", f"{key['Arn']} is {key['KeyState']}.")

    def update_mode(self, request: Request) -> dict[str, Any]:
        """UpdateStreamMode: the shards stay as they are."""
        lacking(request.params, "WarmThroughputMiBps")
        mode = request.params["StreamModeDetails"]["StreamMode"]
        return self._change(request, lambda stream: replace(stream, mode=mode))

    def update_record_size(self, request: Request) -> dict[str, Any]:
        """UpdateMaxRecordSize."""
        most = request.params["MaxRecordSizeInKiB"]
        return self._change(request, lambda stream: replace(stream, most_record_kib=most))

    def _change(self, request: Request, function: Callable[[Stream], Stream]) -> dict[str, Any]:
        self._streams.change(stream_of(self._streams, request.params).arn, function)
        return {}

    def _now_ms(self) -> int:
        return milliseconds(self._context.clock.now())
