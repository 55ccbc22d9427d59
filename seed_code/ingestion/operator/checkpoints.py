"""Where the operator goes on: the positions in the stream and the minutes that were open there, as one object in S3.

S3 replaces an object whole or not at all, so that positions and minutes always belong together.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from seed_code.common.errors import ClientError
from seed_code.common.objects import Objects
from seed_code.ingestion.operator.shards import Position
from seed_code.ingestion.operator.windows import Minutes

__all__ = ["Checkpoint", "Checkpoints"]

_VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """What the operator knew at one moment.

    Attributes:
        position: behind the last record that is in the minutes.
        minutes: that were not written yet.
    """

    position: Position
    minutes: Minutes


class Checkpoints:
    """The checkpoint of one stream."""

    def __init__(self, objects: Objects, folder_uri: str, stream: str, created: str) -> None:
        """Args:
        folder_uri: `s3://bucket/folder`, below which it lies.
        stream: the name of the stream that is read.
        created: when that stream was made: one of the same name that is made anew has other positions.
        """
        self._objects, self._stream, self._created = objects, stream, created
        self.uri = f"{folder_uri.rstrip('/')}/checkpoint.json"

    def load(self, lateness_seconds: int) -> tuple[Checkpoint, bool]:
        """The checkpoint, and whether there was one; else one before all records.

        The checkpoint of a stream that was since made anew keeps its minutes, and its positions count no more.

        Raises:
            ClientError: when S3 does not answer, or the object is no checkpoint.
        """
        content = self._objects.get(self.uri)
        if content is None:
            return Checkpoint({}, Minutes(lateness_seconds)), False
        try:
            document: dict[str, Any] = json.loads(content)
            if document["version"] != _VERSION:
                raise ValueError(f"its version is {document['version']}; expected {_VERSION}")
            same = (document["stream"], document["created"]) == (self._stream, self._created)
            return (
                Checkpoint(
                    document["position"] if same else {}, Minutes.restored(document["minutes"], lateness_seconds)
                ),
                True,
            )
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ClientError(
                f"{self.uri} is no checkpoint of the operator: {error}; delete it (`aws s3 rm {self.uri}`) to begin "
                "with the oldest record of the stream"
            ) from error

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint.

        Raises:
            ClientError: when S3 refuses or does not answer.
        """
        document = {
            "version": _VERSION,
            "stream": self._stream,
            "created": self._created,
            "position": checkpoint.position,
            "minutes": checkpoint.minutes.snapshot(),
        }
        self._objects.put(self.uri, json.dumps(document, separators=(",", ":")).encode("ascii"))
