"""How streams and shards are named in requests, and how they are described."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localcloud.kinesis.errors import invalid, lacking
from localcloud.kinesis.shards import Shard, Stream, position_of, sequence_number, shard_id
from localcloud.kinesis.streams import Streams


def stream_of(streams: Streams, params: Mapping[str, Any]) -> Stream:
    """The stream that a request names, by its name, its ARN, or both. Raises ServiceError."""
    lacking(params, "StreamId")
    name, arn = params.get("StreamName"), params.get("StreamARN")
    if not name and not arn:
        raise invalid("Neither StreamARN nor StreamName is given; one of them must be.")
    stream = streams.named(arn or name or "")
    if name and name != stream.name:
        raise invalid(f"StreamName {name} and StreamARN {arn} are not of the same stream.")
    return stream


def position_in(number: str) -> int:
    """The position behind a sequence number that a request names. Raises ServiceError."""
    try:
        return position_of(number)
    except ValueError:
        raise invalid(f"Invalid sequence number {number}: no stream of this account has it.") from None


def encryption(stream: Stream) -> str:
    """`KMS` or `NONE`."""
    return "KMS" if stream.key_id else "NONE"


def described(shard: Shard) -> dict[str, Any]:
    """A shard as it is listed."""
    numbers = {"StartingSequenceNumber": sequence_number(shard.first_position)}
    if shard.last_position is not None:
        numbers["EndingSequenceNumber"] = sequence_number(shard.last_position)
    parents = dict(zip(("ParentShardId", "AdjacentParentShardId"), map(shard_id, shard.parents), strict=False))
    return {"ShardId": shard.id, **parents, "HashKeyRange": hash_range(shard), "SequenceNumberRange": numbers}


def hash_range(shard: Shard) -> dict[str, str]:
    """The hash keys of a shard."""
    return {"StartingHashKey": str(shard.first_hash), "EndingHashKey": str(shard.last_hash)}


def summary(stream: Stream) -> dict[str, Any]:
    """What both descriptions of a stream have."""
    return {
        "StreamName": stream.name,
        "StreamARN": stream.arn,
        "StreamStatus": "ACTIVE",
        "StreamModeDetails": {"StreamMode": stream.mode},
        "RetentionPeriodHours": stream.retention_hours,
        "StreamCreationTimestamp": stream.created_at,
        "EnhancedMonitoring": [{"ShardLevelMetrics": []}],
        "EncryptionType": encryption(stream),
        "KeyId": stream.key_id,
    }
