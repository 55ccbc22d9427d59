"""What a shard takes and gives in a second, as in "Quotas and limits" of the Kinesis Data Streams Developer Guide.

The seconds are those of localcloud's clock; while that stands still, because somebody advances it and waits for what
is under way, the machine's count, so that who was refused is let in by trying again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from localcloud.clock import Clock
from localcloud.kinesis.shards import Shard, Stream

MIB = 1024 * 1024
WRITTEN_BYTES, WRITTEN_RECORDS = 1 * MIB, 1_000
READ_BYTES, READS = 2 * MIB, 5


class Limits:
    """The limits of all shards. All methods may be called from any thread."""

    def __init__(self, clock: Clock, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._monotonic = clock, monotonic
        self._lock = threading.Lock()
        self._at = clock.now().timestamp(), monotonic()
        self._seconds = 0.0
        self._buckets: dict[tuple[int, int], tuple[_Bucket, _Bucket, _Bucket, _Bucket]] = {}

    def write(self, stream: Stream, shard: Shard, size: int) -> bool:
        """Whether a shard takes one more record of so many bytes."""
        with self._lock:
            now = self._now()
            records, written, _, _ = self._of(stream, shard, now)
            if not (records.has(1, now) and written.has(min(size, WRITTEN_BYTES), now)):
                return False
            records.take(1)
            written.take(size)
            return True

    def read(self, stream: Stream, shard: Shard) -> bool:
        """Whether a shard may be read once more. What is read is told to `was_read`."""
        with self._lock:
            now = self._now()
            _, _, reads, read = self._of(stream, shard, now)
            if not (reads.has(1, now) and read.has(1, now)):
                return False
            reads.take(1)
            return True

    def was_read(self, stream: Stream, shard: Shard, size: int) -> None:
        """A read has given so many bytes: more than a second's share keeps the next ones waiting."""
        with self._lock:
            self._of(stream, shard, self._now())[3].take(size)

    def forget(self, stream: Stream) -> None:
        """A stream is gone."""
        with self._lock:
            for key in [key for key in self._buckets if key[0] == stream.table]:
                del self._buckets[key]

    def _of(self, stream: Stream, shard: Shard, now: float) -> tuple[_Bucket, _Bucket, _Bucket, _Bucket]:
        key = stream.table, shard.number
        found = self._buckets.get(key)
        if found is None:
            records, written = _Bucket(WRITTEN_RECORDS, now), _Bucket(WRITTEN_BYTES, now)
            found = self._buckets[key] = records, written, _Bucket(READS, now), _Bucket(READ_BYTES, now)
        return found

    def _now(self) -> float:
        """Seconds that have passed since the start, by whichever of the two clocks has gone further."""
        at = self._clock.now().timestamp(), self._monotonic()
        self._seconds += max(at[0] - self._at[0], at[1] - self._at[1], 0.0)
        self._at = at
        return self._seconds


class _Bucket:
    """A second's share, which fills up again within a second."""

    def __init__(self, share: float, now: float) -> None:
        self._share, self._level, self._at = share, share, now

    def has(self, amount: float, now: float) -> bool:
        self._level = min(self._share, self._level + (now - self._at) * self._share)
        self._at = now
        return self._level >= amount

    def take(self, amount: float) -> None:
        """Below nothing, if need be: what is more than a second's share is paid back before there is any again."""
        self._level -= amount
