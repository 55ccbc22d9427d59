"""The streams of one localcloud, as its own services use them: by direct calls, and without limits on them.

Lambda's event source mappings, Firehose and the Flink applications read here; what clients ask over HTTP goes through
`localcloud.kinesis.service`, which has the limits that AWS has. A reader keeps one number, the position of the last
record that it is done with:

    streams.on_put(listener)                      who wants to know that there is something to read
    records = streams.read(arn, after=position)   all shards together, in the order in which the records were put
    records = streams.read(arn, after=position, shard=number)

Position 0 is before all records. Within a shard the order is AWS's; that over all shards, and the parents before their
children in it, is more than AWS promises.
"""

from __future__ import annotations

import itertools
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from localcloud.context import Context
from localcloud.errors import ServiceError
from localcloud.kinesis.records import Entry, Record, Records
from localcloud.kinesis.shards import Shard, Stream, from_document, hash_of, to_document
from localcloud.timetable import Entry as Due

__all__ = ["Placed", "Put", "Record", "Streams"]

STREAM = "kinesis/stream"
_TRIM_SECONDS = 3_600.0
MOST_READ_BYTES, MOST_READ_RECORDS = 10 * 1024 * 1024, 10_000

Listener = Callable[[Stream], None]


@dataclass(frozen=True, slots=True)
class Put:
    """A record as it is put."""

    data: bytes
    partition_key: str
    hash_key: int | None = None
    """What decides on the shard, where it is not the partition key."""

    @property
    def size(self) -> int:
        """What counts for the limits, in bytes: the data and the partition key."""
        return len(self.data) + len(self.partition_key.encode())


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a record was put, or would have been."""

    shard: Shard
    position: int | None
    """None for a record that was not let in."""


class Streams:
    """All streams with their records. Safe to call from any thread."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._records = Records(context.state_dir / "kinesis" / "records.sqlite")
        documents = [document for _, document in context.store.list(STREAM)]
        self._streams: dict[str, Stream] = {stream.name: stream for stream in map(from_document, documents)}
        self._listeners: list[Listener] = []
        # Taken by who adds records, and by who changes which shard takes them.
        self._lock = threading.RLock()
        self._trims: dict[int, Due] = {}
        self._tidy()

    def start(self) -> None:
        """Enter anew when records are due to be trimmed."""
        for stream in list(self._streams.values()):
            if self._records.oldest_arrival(stream.table) is not None:
                self._trim_later(stream)

    def close(self) -> None:
        """Close the file."""
        for entry in self._trims.values():
            entry.cancel()
        self._records.close()

    # for readers and writers within localcloud ---------------------------------------------------------------------

    def on_put(self, listener: Listener) -> None:
        """Tell `listener` whenever records were put to a stream, or its shards have changed, after that is committed.

        It is called on the thread that put them, before the put is answered, and returns at once. Where it begins work
        it enters `timetable.working` first, so that the clock is not advanced between a record and its handling.
        """
        self._listeners.append(listener)

    def named(self, name_or_arn: str) -> Stream:
        """The stream as it is now. Raises ServiceError (ResourceNotFoundException)."""
        name = name_or_arn.rpartition("/")[2] if name_or_arn.startswith("arn:") else name_or_arn
        stream = self._streams.get(name)
        if stream is None or (name_or_arn.startswith("arn:") and name_or_arn != stream.arn):
            raise ServiceError(
                "ResourceNotFoundException",
                f"Stream {name} under account {self._context.account_id} not found.",
            )
        return stream

    def all(self) -> Sequence[Stream]:
        """All streams, by name."""
        return [self._streams[name] for name in sorted(self._streams)]

    @property
    def latest(self) -> int:
        """The position after which every record is that comes from now on."""
        return self._records.last_position

    def since(self, name_or_arn: str, moment_ms: int) -> int:
        """The position after which the records are that arrived at a moment (milliseconds since 1970) or later."""
        return self._records.before(self.named(name_or_arn).table, moment_ms)

    def read(
        self,
        name_or_arn: str,
        after: int,
        *,
        shard: int | None = None,
        limit: int = MOST_READ_RECORDS,
        most_bytes: int = MOST_READ_BYTES,
    ) -> list[Record]:
        """Records beyond a position, of one shard or of all, in their order; those whose time is over are gone.

        They have `most_bytes` of data together at most, or there is one only. Raises ServiceError
        (ResourceNotFoundException) for a stream that is not there.
        """
        stream = self.named(name_or_arn)
        with self._dropped_meanwhile(stream):
            return self._records.read(stream.table, after, self.horizon_ms(stream), limit, most_bytes, shard)

    def put(
        self, name_or_arn: str, entries: Sequence[Put], admit: Callable[[Stream, Shard, int], bool] | None = None
    ) -> list[Placed]:
        """Add records, and say where each one is.

        admit: says whether one is let in; it is told the stream, the shard and how many bytes of data and partition
            key. Without it all come in.
        """
        shards: list[tuple[Shard, bool]] = []
        taken: list[Entry] = []
        with self._lock:
            stream = self.named(name_or_arn)
            for entry in entries:
                hash_key = hash_of(entry.partition_key) if entry.hash_key is None else entry.hash_key
                shard = stream.shard_for(hash_key)
                admitted = admit is None or admit(stream, shard, entry.size)
                shards.append((shard, admitted))
                if admitted:
                    taken.append(Entry(shard.number, entry.partition_key, entry.data))
            positions = itertools.count(self._records.add(stream.table, taken, self._now_ms()) if taken else 0)
        if taken:
            if stream.table not in self._trims:
                self._trim_later(stream)
            self._tell(stream)
        return [Placed(shard, next(positions) if admitted else None) for shard, admitted in shards]

    # for the service -----------------------------------------------------------------------------------------------

    def create(self, stream: Stream) -> None:
        """Add a stream. Raises ServiceError (ResourceInUseException)."""
        with self._lock:
            if stream.name in self._streams:
                raise ServiceError(
                    "ResourceInUseException",
                    f"Stream {stream.name} under account {self._context.account_id} already exists.",
                )
            self._records.create(stream.table)
            self._context.store.put(STREAM, stream.name, to_document(stream))
            self._streams[stream.name] = stream

    def new_position(self) -> int:
        """A position that no record has, and none will: where a shard begins or ends."""
        return self._records.next_position()

    def change(self, name_or_arn: str, function: Callable[[Stream], Stream]) -> Stream:
        """Replace a stream by what `function` makes of it, while no record is put; gives the new one."""
        with self._lock:
            before = self.named(name_or_arn)
            after = function(before)
            self._context.store.put(STREAM, after.name, to_document(after))
            self._streams[after.name] = after
        if after.shards != before.shards:
            self._tell(after)
        if after.retention_hours != before.retention_hours:
            self._trim_later(after)
        return after

    def delete(self, name_or_arn: str) -> None:
        """Remove a stream and its records."""
        with self._lock:
            stream = self.named(name_or_arn)
            self._context.store.delete(STREAM, stream.name)
            del self._streams[stream.name]
            self._records.drop(stream.table)
        # Its readers see that it is gone.
        self._tell(stream)

    def has_more(self, stream: Stream, after: int, shard: int) -> bool:
        """Whether a shard has records beyond a position."""
        with self._dropped_meanwhile(stream):
            return self._records.has_more(stream.table, after, self.horizon_ms(stream), shard)

    def horizon_ms(self, stream: Stream) -> int:
        """What arrived before this moment is gone."""
        return self._now_ms() - stream.retention_hours * 3_600_000

    # -----------------------------------------------------------------------------------------------------------------

    def _tell(self, stream: Stream) -> None:
        for listener in self._listeners:
            listener(stream)

    def _now_ms(self) -> int:
        return milliseconds(self._context.clock.now())

    @contextmanager
    def _dropped_meanwhile(self, stream: Stream) -> Iterator[None]:
        """A stream that is deleted while it is read is one that is not there."""
        try:
            yield
        except sqlite3.OperationalError:
            self.named(stream.arn)
            raise

    def _trim_later(self, stream: Stream) -> None:
        """Have the records removed whose time is over, an hour's at a time. They are not read before that, either."""
        oldest = self._records.oldest_arrival(stream.table)
        if oldest is None:
            return
        due = from_milliseconds(oldest) + timedelta(hours=stream.retention_hours, seconds=_TRIM_SECONDS)
        entry = self._context.timetable.at(due, partial(self._trim, stream.table), f"trim the stream {stream.name}")
        if before := self._trims.get(stream.table):
            before.cancel()
        self._trims[stream.table] = entry

    def _trim(self, table: int) -> None:
        self._trims.pop(table, None)
        for stream in list(self._streams.values()):
            if stream.table == table:
                with self._dropped_meanwhile(stream):
                    self._records.trim(table, self.horizon_ms(stream))
                self._trim_later(stream)

    def _tidy(self) -> None:
        """Remove records that belong to no stream: a killed process deleted it, or had not made it yet."""
        known = {stream.table for stream in self._streams.values()}
        for table in self._records.tables() - known:
            self._records.drop(table)


def milliseconds(moment: datetime) -> int:
    """A moment as milliseconds since 1970."""
    return round(moment.timestamp() * 1000)


def from_milliseconds(value: int) -> datetime:
    """The moment of so many milliseconds since 1970."""
    return datetime.fromtimestamp(value / 1000, UTC)
