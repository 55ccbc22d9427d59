"""DescribeStream's and ListShards' pages of shards."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from localcloud.context import Context, Request
from localcloud.kinesis.errors import invalid
from localcloud.kinesis.shards import Shard, Stream
from localcloud.kinesis.streams import Streams, milliseconds
from localcloud.kinesis.views import described, stream_of, summary

_DESCRIBED, _LISTED = 100, 1_000
_OF_SHARD = "AFTER_SHARD_ID"
_OF_MOMENT = ("AT_TIMESTAMP", "FROM_TIMESTAMP")


class Listing:
    """The operations that list shards. Safe to call from any thread."""

    def __init__(self, context: Context, streams: Streams) -> None:
        self._context, self._streams = context, streams

    def describe(self, request: Request) -> dict[str, Any]:
        """DescribeStream: at most 100 shards at a time."""
        params = request.params
        stream = stream_of(self._streams, params)
        shards = _after(self._kept(stream), params.get("ExclusiveStartShardId"))
        page = shards[: min(params.get("Limit", _DESCRIBED), _DESCRIBED)]
        return {
            "StreamDescription": {
                **summary(stream),
                "Shards": [described(shard) for shard in page],
                "HasMoreShards": len(shards) > len(page),
            }
        }

    def list_shards(self, request: Request) -> dict[str, Any]:
        """ListShards: all, or those of a filter."""
        params = request.params
        limit = params.get("MaxResults", _LISTED)
        if token := params.get("NextToken"):
            if params.get("StreamName") or params.get("StreamARN"):
                raise invalid("NextToken and StreamName cannot be provided together.")
            params = _decoded(token)
        stream = stream_of(self._streams, params)
        created = params.get("StreamCreationTimestamp")
        if created is not None and abs((created - stream.created_at).total_seconds()) >= 1:
            raise invalid(f"The stream {stream.name} was created at {stream.created_at}, and not at {created}.")
        chosen = self._chosen(stream, params.get("ShardFilter") or {"Type": "FROM_TRIM_HORIZON"})
        shards = _after(chosen, params.get("ExclusiveStartShardId"))
        page = shards[:limit]
        following = None
        if len(shards) > len(page):
            following = _encoded(
                {
                    "StreamARN": stream.arn,
                    "ShardFilter": params.get("ShardFilter"),
                    "ExclusiveStartShardId": page[-1].id,
                }
            )
        return {"Shards": [described(shard) for shard in page], "NextToken": following}

    def _kept(self, stream: Stream) -> Sequence[Shard]:
        """All but the closed ones whose records' time is over."""
        horizon = self._streams.horizon_ms(stream)
        return [shard for shard in stream.shards if shard.closed_ms is None or shard.closed_ms > horizon]

    def _chosen(self, stream: Stream, chosen: Mapping[str, Any]) -> Sequence[Shard]:
        kind, shards = chosen["Type"], self._kept(stream)
        if (kind == _OF_SHARD) != ("ShardId" in chosen) or (kind in _OF_MOMENT) != ("Timestamp" in chosen):
            raise invalid(f"A ShardFilter of the Type {kind} goes with no other member than its own; got {chosen}.")
        if kind == _OF_SHARD:
            return _after(shards, chosen["ShardId"])
        if kind == "AT_LATEST":
            return stream.open_shards
        if kind == "FROM_TRIM_HORIZON":
            return shards
        created, horizon = milliseconds(stream.created_at), self._streams.horizon_ms(stream)
        moment = max(milliseconds(chosen["Timestamp"]) if "Timestamp" in chosen else 0, created, horizon)
        found = [shard for shard in shards if shard.closed_ms is None or shard.closed_ms > moment]
        return found if kind == "FROM_TIMESTAMP" else [shard for shard in found if shard.opened_ms <= moment]


def _after(shards: Sequence[Shard], shard_id: str | None) -> Sequence[Shard]:
    return shards if shard_id is None else [shard for shard in shards if shard.id > shard_id]


def _encoded(params: dict[str, Any]) -> str:
    """What the next page is of. A filter's moment is the only member that JSON has no form for."""
    text = json.dumps(params, default=lambda moment: moment.isoformat())
    return base64.urlsafe_b64encode(text.encode()).decode()


def _decoded(token: str) -> dict[str, Any]:
    try:
        params: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.encode()))
        chosen = params["ShardFilter"]
        if chosen and "Timestamp" in chosen:
            chosen["Timestamp"] = datetime.fromisoformat(chosen["Timestamp"])
    except (ValueError, TypeError, KeyError):
        raise invalid("Invalid NextToken.") from None
    return params
