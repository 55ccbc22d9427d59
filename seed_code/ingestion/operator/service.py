"""The operator's turns: read what arrived, write the minutes that it closes, and keep where to go on.

A row is on its stream before a checkpoint forgets its minute. What ends it, whenever, repeats at most what came after
the last checkpoint: the same records give the same rows, and who reads them takes a row twice for one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError
from botocore.exceptions import ClientError as AwsError

from seed_code.common.errors import ClientError
from seed_code.ingestion.operator import lines
from seed_code.ingestion.operator.checkpoints import Checkpoint, Checkpoints
from seed_code.ingestion.operator.shards import Shards
from seed_code.ingestion.operator.sink import Sink

__all__ = ["CHECKPOINT_SECONDS", "POLL_SECONDS", "Operator"]

# A shard takes five reads a second from all who read it: Firehose has one of them, and `mlops stream` another.
POLL_SECONDS = 0.35
CHECKPOINT_SECONDS = 10.0
_LONGEST_SECONDS = 5.0


class _Tell(Protocol):
    def __call__(self, message: str, more: dict[str, Any], /) -> None: ...


class Operator:
    """Makes minutes of a stream, until it is told to end."""

    def __init__(
        self,
        shards: Shards,
        sink: Sink,
        checkpoints: Checkpoints,
        checkpoint: Checkpoint,
        *,
        seconds: Callable[[], float],
        wait: Callable[[float], bool],
        tell: _Tell,
    ) -> None:
        """Args:
        checkpoint: whose position the shards begin with.
        seconds: a clock that only goes forward: the pace of checkpoints.
        wait: waits so many seconds; True when there is to be an end.
        tell: logs a message with more about it.
        """
        self._shards, self._sink, self._checkpoints = shards, sink, checkpoints
        self._minutes = checkpoint.minutes
        self._seconds, self._wait, self._tell = seconds, wait, tell
        self._saved = seconds()
        self._unsaved = False

    def run(self) -> None:
        """Take turns until the end; what was written is in a checkpoint then, if S3 answers."""
        pause = POLL_SECONDS
        while True:
            try:
                if not self.turn():
                    return  # rows could not be written: the checkpoint keeps their minutes
                pause = POLL_SECONDS
            except (BotoCoreError, AwsError, ClientError) as error:
                pause = min(2 * pause, _LONGEST_SECONDS)
                self._tell("a turn failed and is tried again", {"reason": str(error), "seconds": pause})
            if self._wait(pause):
                break
        try:
            self._save()
        except ClientError as error:
            self._tell("the last checkpoint failed; the one before it counts", {"reason": str(error)})

    def turn(self) -> bool:
        """Read, write, and keep, each once. False when rows were not written before the end.

        Raises botocore's errors when the stream cannot be read, ClientError when the checkpoint cannot be written;
        nothing is lost then, and the next turn goes on.
        """
        records = self._shards.read()
        self._unsaved = self._unsaved or bool(records)
        events, broken = lines.events(records)
        if broken:
            self._tell("lines that are no transactions were left out", {"lines": broken})
        rows = self._minutes.feed(events)
        if rows and not self._sink.put([lines.encode(row) for row in rows]):
            return False
        if self._seconds() - self._saved >= CHECKPOINT_SECONDS:
            self._save()
        return True

    def _save(self) -> None:
        if self._unsaved:
            self._checkpoints.save(Checkpoint(self._shards.position, self._minutes))
            self._unsaved = False
        self._saved = self._seconds()
