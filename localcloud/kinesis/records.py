"""The records of all streams in SQLite: a table for each stream, so that a deleted stream's records go at once.

Positions are given once in the whole file and grow with time, and so do arrivals: one number says how far a reader of a
stream has come, in all its shards, and the first record of a moment is found by halving, without an index.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from localcloud.store import opened, transaction

_LOG = logging.getLogger(__name__)
_FORMAT = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS counter (only INTEGER PRIMARY KEY CHECK (only = 0), last INTEGER NOT NULL);
INSERT OR IGNORE INTO counter VALUES (0, 0);
"""
_TABLE = """
CREATE TABLE stream_{0} (
    position INTEGER PRIMARY KEY,
    shard INTEGER NOT NULL,
    arrived_at INTEGER NOT NULL,    -- milliseconds since 1970, never less than that of the record before
    partition_key TEXT NOT NULL,
    data BLOB NOT NULL
);
CREATE INDEX stream_{0}_by_shard ON stream_{0} (shard);
"""
_LONG_LOG_BYTES = 8 * 1024 * 1024
# What a record takes in the log beside its data: its row, and its place in the index.
_ROW_BYTES = 200
_TRIMMED_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a stream."""

    position: int
    """Its place in the stream, over all its shards."""
    shard: int
    arrived_ms: int
    """Milliseconds since 1970."""
    partition_key: str
    data: bytes

    @property
    def arrived_at(self) -> datetime:
        return datetime.fromtimestamp(self.arrived_ms / 1000, UTC)


@dataclass(frozen=True, slots=True)
class Entry:
    """A record that is to be added."""

    shard: int
    partition_key: str
    data: bytes


class Records:
    """All streams' records. Safe to call from any thread; what was added outlives the process."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = opened(path, _FORMAT, _SCHEMA)
        # A checkpoint waits for the disk, which may take seconds: never within a write, but by a connection of its own.
        self._connection.execute("PRAGMA wal_autocheckpoint=0")
        self._checkpoints = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        # Reads go on while something is written.
        self._reads = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._lock, self._reading = threading.Lock(), threading.Lock()
        self._last: int = self._connection.execute("SELECT last FROM counter").fetchone()[0]
        self._last_arrival = self._latest_arrival()
        self._logged = 0
        self._long, self._closing = threading.Event(), False
        self._thread: threading.Thread | None = None

    def close(self) -> None:
        """Close the file."""
        self._closing = True
        self._long.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock, self._reading:
            self._reads.close()
            self._checkpoints.close()
            self._connection.close()

    @property
    def last_position(self) -> int:
        """The greatest position that was given. No record that comes has it, or one below."""
        return self._last

    def create(self, table: int) -> None:
        """Make room for a stream's records; none are there, whatever an earlier process left half-done."""
        with self._lock, transaction(self._connection):
            self._connection.execute(f"DROP TABLE IF EXISTS stream_{table}")
            for statement in _TABLE.format(table).split(";"):
                self._connection.execute(statement)

    def drop(self, table: int) -> None:
        """Remove a stream's records."""
        with self._lock, self._reading:
            self._connection.execute(f"DROP TABLE IF EXISTS stream_{table}")

    def tables(self) -> set[int]:
        """The streams whose records are kept."""
        with self._lock:
            rows = self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {int(name.removeprefix("stream_")) for (name,) in rows if name.startswith("stream_")}

    def next_position(self) -> int:
        """A position that no record has: where a shard begins or ends."""
        with self._lock:
            return self._take(1) + 1

    def add(self, table: int, entries: Sequence[Entry], now_ms: int) -> int:
        """Add records, all or none, and give the position of the first; the others follow without a gap."""
        with self._lock:
            arrived = max(now_ms, self._last_arrival)
            with transaction(self._connection):
                before = self._last
                self._connection.execute("UPDATE counter SET last = ?", (before + len(entries),))
                self._connection.executemany(
                    f"INSERT INTO stream_{table} VALUES (?, ?, ?, ?, ?)",
                    [
                        (position, entry.shard, arrived, entry.partition_key, entry.data)
                        for position, entry in enumerate(entries, before + 1)
                    ],
                )
            self._last, self._last_arrival = before + len(entries), arrived
            self._logged += sum(len(entry.data) + _ROW_BYTES for entry in entries)
            if self._logged >= _LONG_LOG_BYTES:
                self._shorten_log()
        return before + 1

    def read(
        self, table: int, after: int, since_ms: int, limit: int, most_bytes: int, shard: int | None = None
    ) -> list[Record]:
        """Records beyond a position that arrived at `since_ms` or later, in their order.

        shard: only those of this one. They have `most_bytes` of data together at most, or there is one only.
        """
        of_shard = "" if shard is None else "AND shard = :shard"
        # By the primary key where all shards are read, else by the index, whose entries end with the position.
        statement = (
            f"SELECT position, shard, arrived_at, partition_key, data FROM stream_{table}"
            f" WHERE position > :after {of_shard} AND arrived_at >= :since ORDER BY position LIMIT :limit"
        )
        found: list[Record] = []
        size = 0
        with self._reading:
            cursor = self._reads.execute(statement, {"after": after, "shard": shard, "since": since_ms, "limit": limit})
            try:
                for row in cursor:
                    size += len(row[4])
                    if size > most_bytes and found:
                        break
                    found.append(Record(*row))
            finally:
                cursor.close()
        return found

    def has_more(self, table: int, after: int, since_ms: int, shard: int) -> bool:
        """Whether a shard has records beyond a position."""
        with self._reading:
            row = self._reads.execute(
                f"SELECT 1 FROM stream_{table} WHERE position > ? AND shard = ? AND arrived_at >= ? LIMIT 1",
                (after, shard, since_ms),
            ).fetchone()
        return row is not None

    def before(self, table: int, moment_ms: int) -> int:
        """The position after which the records are that arrived at a moment or later."""
        with self._reading:
            low, high = 0, self._last
            while low < high:
                # What arrived is asked of the first record beyond the middle: positions have gaps.
                middle = (low + high) // 2
                row = self._reads.execute(
                    f"SELECT position, arrived_at FROM stream_{table} WHERE position > ? ORDER BY position LIMIT 1",
                    (middle,),
                ).fetchone()
                if row is None or row[1] >= moment_ms:
                    high = middle
                else:
                    low = row[0]
        return low

    def oldest_arrival(self, table: int) -> int | None:
        """When the oldest record that is left arrived."""
        with self._reading:
            row = self._reads.execute(f"SELECT arrived_at FROM stream_{table} ORDER BY position LIMIT 1").fetchone()
        return None if row is None else int(row[0])

    def trim(self, table: int, before_ms: int) -> None:
        """Remove the records that arrived before a moment, some at a time: others write meanwhile."""
        last = self.before(table, before_ms)
        while True:
            with self._lock:
                removed = self._connection.execute(
                    f"DELETE FROM stream_{table} WHERE position IN"
                    f" (SELECT position FROM stream_{table} WHERE position <= ? ORDER BY position LIMIT ?)",
                    (last, _TRIMMED_AT_ONCE),
                ).rowcount
            if removed < _TRIMMED_AT_ONCE:
                return

    def _take(self, count: int) -> int:
        """Use up positions; gives the last one before them. The lock is held."""
        before = self._last
        self._connection.execute("UPDATE counter SET last = ?", (before + count,))
        self._last = before + count
        return before

    def _latest_arrival(self) -> int:
        latest = 0
        for table in self.tables():
            row = self._connection.execute(
                f"SELECT arrived_at FROM stream_{table} ORDER BY position DESC LIMIT 1"
            ).fetchone()
            latest = max(latest, row[0] if row is not None else 0)
        return latest

    def _shorten_log(self) -> None:
        self._logged = 0
        self._long.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._checkpoint, name="kinesis-log", daemon=True)
            self._thread.start()

    def _checkpoint(self) -> None:
        """Move what is in the write-ahead log into the file, whenever that has become long."""
        while True:
            self._long.wait()
            if self._closing:
                return
            self._long.clear()
            try:
                self._checkpoints.execute("PRAGMA wal_checkpoint(PASSIVE)")
                # Only a log that is wholly in the file is begun anew: what came meanwhile is little.
                with self._lock:
                    self._checkpoints.execute("PRAGMA wal_checkpoint(PASSIVE)")
            except sqlite3.Error:
                _LOG.exception("the log of the streams' records cannot be shortened")
