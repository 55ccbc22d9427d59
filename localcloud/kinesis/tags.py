"""The tags of streams, by both of the ways in which AWS names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from localcloud.context import Request
from localcloud.kinesis.errors import invalid
from localcloud.kinesis.shards import Stream
from localcloud.kinesis.streams import Streams
from localcloud.kinesis.views import stream_of

_MOST = 50


class Tags:
    """The operations on tags. Safe to call from any thread."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    def add(self, request: Request) -> dict[str, Any]:
        """AddTagsToStream, and TagResource."""
        added: Mapping[str, str] = request.params["Tags"]

        def tagged(stream: Stream) -> Stream:
            tags = {**stream.tags, **added}
            if len(tags) > _MOST:
                raise invalid(f"A stream has at most {_MOST} tags; {stream.name} would have {len(tags)}.")
            return replace(stream, tags=tags)

        self._streams.change(self._of(request).arn, tagged)
        return {}

    def remove(self, request: Request) -> dict[str, Any]:
        """RemoveTagsFromStream, and UntagResource: keys that are not there are no error."""
        keys: Sequence[str] = request.params["TagKeys"]
        self._streams.change(
            self._of(request).arn,
            lambda stream: replace(stream, tags={key: value for key, value in stream.tags.items() if key not in keys}),
        )
        return {}

    def of_stream(self, request: Request) -> dict[str, Any]:
        """ListTagsForStream."""
        params = request.params
        start = params.get("ExclusiveStartTagKey", "")
        found = [tag for tag in _listed(self._of(request)) if tag["Key"] > start]
        page = found[: params.get("Limit", _MOST)]
        return {"Tags": page, "HasMoreTags": len(found) > len(page)}

    def of_resource(self, request: Request) -> dict[str, Any]:
        """ListTagsForResource."""
        return {"Tags": _listed(self._of(request))}

    def _of(self, request: Request) -> Stream:
        arn = request.params.get("ResourceARN")
        return stream_of(self._streams, {**request.params, "StreamARN": arn} if arn else request.params)


def _listed(stream: Stream) -> list[dict[str, str]]:
    return [{"Key": key, "Value": stream.tags[key]} for key in sorted(stream.tags)]
