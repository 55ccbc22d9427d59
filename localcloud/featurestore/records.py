"""The records in SQLite: the online store, and what waits for its Parquet file.

    online    the latest version of each record, or the mark that it was deleted
    pending   every version that is not in the offline store's bucket yet
              (a number is free again once its version is gone; the greatest of a batch is there until the batch ends)
    batches   which pending versions go into which object; written before the object and removed after it, so that an
              upload that was cut off is repeated under the same key and with the same content

A write to both stores is one transaction, committed before the call is answered.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from localcloud.featurestore.values import Record
from localcloud.store import opened, transaction

HOUR = 3_600_000_000
"""In microseconds: the offline store's partitions are an hour of event time each."""

_FORMAT = 1
_LONG_LOG = 2_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS online (
    feature_group TEXT NOT NULL,
    identifier TEXT NOT NULL,
    event_time INTEGER NOT NULL,
    expires_at INTEGER,
    deleted INTEGER NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (feature_group, identifier)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pending (
    sequence INTEGER PRIMARY KEY,
    feature_group TEXT NOT NULL,
    hour INTEGER NOT NULL,
    invoked_at INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    record TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS pending_by_hour ON pending (feature_group, hour);
CREATE TABLE IF NOT EXISTS batches (
    object TEXT PRIMARY KEY,
    feature_group TEXT NOT NULL,
    hour INTEGER NOT NULL,
    last_sequence INTEGER NOT NULL,
    written_at INTEGER NOT NULL
);
"""

# A version that is older than the stored one, or as old, is history. One whose time has run out counts as gone.
_UPSERT = """
INSERT INTO online VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (feature_group, identifier) DO UPDATE SET
    event_time = excluded.event_time, expires_at = excluded.expires_at, deleted = excluded.deleted,
    record = excluded.record
WHERE excluded.event_time > event_time OR (expires_at IS NOT NULL AND expires_at <= ?)
"""

_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True)
class Version:
    """One version of a record. Times are microseconds since 1970."""

    identifier: str
    event_time: int
    invoked_at: int
    deleted: bool
    record: Record
    expires_at: int | None = None


@dataclass(frozen=True)
class Batch:
    """The pending versions of one hour of a group that become one object of the offline store."""

    object: str
    group: str
    hour: int
    last_sequence: int
    written_at: int


@dataclass(frozen=True)
class Pending:
    """A version as it waits for the offline store."""

    invoked_at: int
    deleted: bool
    values: Mapping[str, str]


class Records:
    """All groups' records. Safe to call from any thread, but `checkpoint`, and the methods about batches, from one at a
    time; each change is one transaction."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = opened(path, _FORMAT, _SCHEMA)
        # A checkpoint waits for the disk, which may take seconds: never within a write, but by a connection of its own.
        self._connection.execute("PRAGMA wal_autocheckpoint=0")
        self._checkpoints = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        # And the offline store's long reads: writes go on meanwhile.
        self._reads = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._logged = 0
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._reads.close()
            self._checkpoints.close()
            self._connection.close()

    @property
    def log_is_long(self) -> bool:
        """Whether it is time for a checkpoint. A record takes up to 20 kB in the log."""
        return self._logged >= _LONG_LOG

    def checkpoint(self) -> None:
        """Move what is in the write-ahead log into the file. Writes go on meanwhile, but for the last bit of it."""
        self._logged = 0
        self._checkpoints.execute("PRAGMA wal_checkpoint(PASSIVE)")
        # What came meanwhile: only a log that is wholly in the file is begun anew, instead of growing on.
        with self._lock:
            self._checkpoints.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def write(self, group: str, version: Version, *, online: bool, offline: bool) -> None:
        """Add a version to the stores. The online store takes it only if it is newer than what it has."""
        text = _ENCODE(version.record)
        with self._lock:
            self._logged += 1
            if not online:
                self._add_pending(group, version, text)
                return
            parameters = (
                group,
                version.identifier,
                version.event_time,
                version.expires_at,
                version.deleted,
                text,
                version.invoked_at,
            )
            if not offline:
                self._connection.execute(_UPSERT, parameters)
                return
            with transaction(self._connection):
                self._connection.execute(_UPSERT, parameters)
                self._add_pending(group, version, text)

    def erase(self, group: str, version: Version, *, offline: bool) -> bool:
        """Remove a record from the online store for good, if `version` is newer; whether it was (or there was none)."""
        text = _ENCODE(version.record)
        with self._lock, transaction(self._connection):
            row = self._connection.execute(
                "SELECT event_time, expires_at FROM online WHERE feature_group = ? AND identifier = ?",
                (group, version.identifier),
            ).fetchone()
            gone = row is None or (row[1] is not None and row[1] <= version.invoked_at)
            may = gone or version.event_time > row[0]
            if may:
                self._connection.execute(
                    "DELETE FROM online WHERE feature_group = ? AND identifier = ?", (group, version.identifier)
                )
                if offline:
                    self._add_pending(group, version, text)
        return may

    def latest(self, group: str, identifier: str, now: int) -> tuple[Record, int | None] | None:
        """The record and when it expires; None if there is none, it was deleted, or its time has run out."""
        with self._lock:
            row = self._connection.execute(
                "SELECT record, expires_at FROM online WHERE feature_group = ? AND identifier = ? AND NOT deleted",
                (group, identifier),
            ).fetchone()
        if row is None or (row[1] is not None and row[1] <= now):
            return None
        return [(name, value) for name, value in json.loads(row[0])], row[1]

    def waiting(self) -> int:
        """How many versions are not in the offline store yet."""
        with self._lock:
            found: int = self._connection.execute("SELECT count(*) FROM pending").fetchone()[0]
        return found

    def groups_waiting(self) -> list[str]:
        """The groups of which something is not in the offline store yet."""
        with self._lock:
            rows = self._connection.execute("SELECT DISTINCT feature_group FROM pending").fetchall()
        return [row[0] for row in rows]

    def batches(self, group: str, written_at: int, name: Callable[[int], str]) -> Sequence[Batch]:
        """What is to be uploaded for a group, one batch per hour of event time, in the order of the hours.

        Batches that an earlier upload left unfinished come back as they were, and alone: what came later goes into the
        next ones. `name` gives the object's key for an hour.
        """
        left = self._batches_of(group)
        if left:
            return left
        # Read without the lock: what comes meanwhile goes into the next batches.
        rows = self._reads.execute(
            "SELECT hour, max(sequence) FROM pending WHERE feature_group = ? GROUP BY hour ORDER BY hour", (group,)
        ).fetchall()
        if rows:
            with self._lock, transaction(self._connection):
                self._connection.executemany(
                    "INSERT INTO batches VALUES (?, ?, ?, ?, ?)",
                    [(name(hour), group, hour, last, written_at) for hour, last in rows],
                )
        return self._batches_of(group)

    def contents(self, batches: Sequence[Batch]) -> list[list[Pending]]:
        """The versions of each batch of one group, in the order in which they came."""
        found: dict[int, list[Pending]] = {batch.hour: [] for batch in batches}
        last = {batch.hour: batch.last_sequence for batch in batches}
        rows = self._reads.execute(
            "SELECT sequence, hour, invoked_at, deleted, record FROM pending"
            " WHERE feature_group = ? AND hour BETWEEN ? AND ? ORDER BY hour, sequence",
            (batches[0].group, min(found), max(found)),
        )
        for sequence, hour, invoked_at, deleted, record in rows:
            if sequence <= last.get(hour, -1):
                found[hour].append(Pending(invoked_at, bool(deleted), dict(json.loads(record))))
        return [found[batch.hour] for batch in batches]

    def finish(self, batches: Sequence[Batch]) -> None:
        """The batches' objects are in the bucket: their versions wait no more."""
        with self._lock, transaction(self._connection):
            self._connection.executemany(
                "DELETE FROM pending WHERE feature_group = ? AND hour = ? AND sequence <= ?",
                [(batch.group, batch.hour, batch.last_sequence) for batch in batches],
            )
            self._connection.executemany("DELETE FROM batches WHERE object = ?", [(batch.object,) for batch in batches])

    def forget(self, group: str) -> None:
        """Remove everything of a group."""
        with self._lock, transaction(self._connection):
            for table in ("online", "pending", "batches"):
                self._connection.execute(f"DELETE FROM {table} WHERE feature_group = ?", (group,))

    def _add_pending(self, group: str, version: Version, text: str) -> None:
        self._connection.execute(
            "INSERT INTO pending (feature_group, hour, invoked_at, deleted, record) VALUES (?, ?, ?, ?, ?)",
            (group, version.event_time // HOUR, version.invoked_at, version.deleted, text),
        )

    def _batches_of(self, group: str) -> list[Batch]:
        rows = self._reads.execute(
            "SELECT object, feature_group, hour, last_sequence, written_at FROM batches WHERE feature_group = ?"
            " ORDER BY hour",
            (group,),
        ).fetchall()
        return [Batch(*row) for row in rows]
