"""What streams hold that is not delivered yet, in a file: a record that was taken is there after a kill.

A buffer is a stream's records of one partition. It is sealed when it is to be delivered, and so becomes a parcel: its
records, and the name of the object that they will be. After a kill in between, the same object is written again.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from localcloud.store import opened, transaction

_FORMAT = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream TEXT NOT NULL,       -- its ARN
    partition TEXT NOT NULL,
    arrived REAL NOT NULL,      -- epoch seconds
    data BLOB NOT NULL,
    parcel INTEGER              -- none while it is in the buffer
);
CREATE INDEX IF NOT EXISTS in_buffers ON records (stream, partition) WHERE parcel IS NULL;
CREATE INDEX IF NOT EXISTS in_parcels ON records (parcel) WHERE parcel IS NOT NULL;
CREATE TABLE IF NOT EXISTS parcels (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream TEXT NOT NULL,
    key TEXT NOT NULL,
    arrived REAL NOT NULL       -- when its oldest record came
);
CREATE TABLE IF NOT EXISTS positions (
    stream TEXT PRIMARY KEY,
    position INTEGER NOT NULL   -- in the Kinesis stream that it reads: all up to here is in records, or delivered
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Partition:
    """Where a record belongs: the values of the keys, or what kept them from being found."""

    keys: tuple[tuple[str, str], ...] = ()
    error_type: str = ""

    @classmethod
    def of(cls, keys: Mapping[str, str]) -> Partition:
        """The partition of these values."""
        return cls(tuple(sorted(keys.items())))

    def encoded(self) -> str:
        """As the file has it."""
        return json.dumps([self.error_type, self.keys], separators=(",", ":"))

    @classmethod
    def decoded(cls, text: str) -> Partition:
        """What was `encoded`."""
        error_type, keys = json.loads(text)
        return cls(tuple((key, value) for key, value in keys), error_type)


@dataclass(frozen=True)
class Taken:
    """A record on its way into a buffer."""

    partition: Partition
    arrived: float
    """Epoch seconds."""
    data: bytes


@dataclass(frozen=True)
class Buffer:
    """What a buffer holds."""

    stream: str
    partition: Partition
    size: int
    """Bytes."""
    arrived: float
    """When its oldest record came, in epoch seconds."""


@dataclass(frozen=True)
class Parcel:
    """Records that are one object."""

    id: int
    stream: str
    key: str
    arrived: float


class Buffers:
    """The file. All methods may be called from any thread; what is changed is committed when they return."""

    def __init__(self, path: Path) -> None:
        self._connection: sqlite3.Connection = opened(path, _FORMAT, _SCHEMA)
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def add(self, stream: str, records: Sequence[Taken], position: int | None = None) -> None:
        """Take records, and note how far the stream's source is read with them."""
        rows = [(stream, one.partition.encoded(), one.arrived, one.data) for one in records]
        with self._lock, transaction(self._connection):
            self._connection.executemany(
                "INSERT INTO records (stream, partition, arrived, data) VALUES (?, ?, ?, ?)", rows
            )
            if position is not None:
                self._connection.execute("INSERT OR REPLACE INTO positions VALUES (?, ?)", (stream, position))

    def position(self, stream: str) -> int | None:
        """How far the stream's source is read."""
        with self._lock:
            row = self._connection.execute("SELECT position FROM positions WHERE stream = ?", (stream,)).fetchone()
        return None if row is None else int(row[0])

    def buffers(self) -> Sequence[Buffer]:
        """All buffers that hold something."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT stream, partition, sum(length(data)), min(arrived) FROM records WHERE parcel IS NULL"
                " GROUP BY stream, partition"
            ).fetchall()
        return [Buffer(stream, Partition.decoded(text), size, arrived) for stream, text, size, arrived in rows]

    def seal(self, stream: str, partition: Partition, key: str, arrived: float) -> Parcel:
        """Make what is in a buffer a parcel."""
        with self._lock, transaction(self._connection):
            number = self._connection.execute(
                "INSERT INTO parcels (stream, key, arrived) VALUES (?, ?, ?)", (stream, key, arrived)
            ).lastrowid
            assert number is not None
            self._connection.execute(
                "UPDATE records SET parcel = ? WHERE stream = ? AND partition = ? AND parcel IS NULL",
                (number, stream, partition.encoded()),
            )
        return Parcel(number, stream, key, arrived)

    def parcels(self) -> Sequence[Parcel]:
        """All that are not delivered."""
        with self._lock:
            rows = self._connection.execute("SELECT id, stream, key, arrived FROM parcels ORDER BY id").fetchall()
        return [Parcel(*row) for row in rows]

    def content(self, parcel: Parcel) -> Iterator[bytes]:
        """The records of a parcel, in the order in which they came."""
        last = 0
        while True:
            with self._lock:
                rows = self._connection.execute(
                    "SELECT id, data FROM records WHERE parcel = ? AND id > ? ORDER BY id LIMIT 1000", (parcel.id, last)
                ).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            yield from (data for _, data in rows)

    def delivered(self, parcel: Parcel) -> None:
        """Forget a parcel and its records."""
        with self._lock, transaction(self._connection):
            self._connection.execute("DELETE FROM records WHERE parcel = ?", (parcel.id,))
            self._connection.execute("DELETE FROM parcels WHERE id = ?", (parcel.id,))

    def forget(self, stream: str) -> None:
        """Drop everything of a stream."""
        with self._lock, transaction(self._connection):
            for table in ("records", "parcels", "positions"):
                self._connection.execute(f"DELETE FROM {table} WHERE stream = ?", (stream,))

    def streams(self) -> set[str]:
        """The streams of which there is anything."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT stream FROM positions UNION SELECT stream FROM parcels UNION SELECT stream FROM records"
            ).fetchall()
        return {row[0] for row in rows}
