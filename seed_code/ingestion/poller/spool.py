"""What waits to be published, on disk: the oldest first, and no more of it than was allowed.

Each entry is here before the source is asked again, and leaves when the bus has taken it. The latest transactions that
entries held are remembered, so that a process that begins where another was cut off sees whether it missed any. The
file outlives the process, not the machine: writes are not forced to the disk, whose folder is the container's own
anyway.
"""

import logging
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from seed_code.common.errors import ClientError
from seed_code.ingestion.poller.entries import Entry

__all__ = ["Spool"]

_FILE = "spool.sqlite"
_KNOWN = 2000  # hashes: a few pages of the busiest hours
_TABLES = (
    """
    CREATE TABLE IF NOT EXISTS entries (
        id INTEGER PRIMARY KEY AUTOINCREMENT, detail_type TEXT NOT NULL, detail TEXT NOT NULL, size INTEGER NOT NULL
    )
    """,
    "CREATE TABLE IF NOT EXISTS known (id INTEGER PRIMARY KEY, hash TEXT NOT NULL)",
)

log = logging.getLogger(__name__)


class Spool:
    """Entries in a file of a folder. One thread uses it."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        """Open the folder's file, which need not be there.

        Raises:
            ClientError: when the folder cannot be written.
        """
        self._most_bytes = most_bytes
        file = folder / _FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                self._connection = _opened(file)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                # A file that is none would end every start anew. It stays, for people to look at.
                file.replace(file.with_suffix(".damaged"))
                log.error("the spool %s was damaged (%s) and is begun anew; what it held is not published", file, error)
                self._connection = _opened(file)
        except (OSError, sqlite3.OperationalError) as error:
            raise ClientError(
                f"the spool {file} cannot be written ({error}); expected SPOOL_FOLDER to be a folder that the "
                "container's user may write"
            ) from error
        count, size = self._connection.execute("SELECT count(*), coalesce(sum(size), 0) FROM entries").fetchone()
        self._count, self._bytes = int(count), int(size)

    def __len__(self) -> int:
        """How many entries wait."""
        return self._count

    def append(self, entries: Sequence[Entry], hashes: Iterable[str] = ()) -> int:
        """Put entries last, all of them or none; gives how many of the oldest were given up to make room.

        hashes: of the transactions that they hold.
        """
        with self._connection:
            self._connection.executemany(
                "INSERT INTO entries (detail_type, detail, size) VALUES (?, ?, ?)",
                [(entry.detail_type, entry.detail, entry.size) for entry in entries],
            )
            self._connection.executemany("INSERT INTO known (hash) VALUES (?)", [(name,) for name in hashes])
            self._connection.execute(f"DELETE FROM known WHERE id <= (SELECT max(id) FROM known) - {_KNOWN}")
            beyond = self._bytes + sum(entry.size for entry in entries) - self._most_bytes
            given_up = self._oldest_of(beyond)
            self._connection.executemany("DELETE FROM entries WHERE id = ?", [(row,) for row, _ in given_up])
        self._count += len(entries) - len(given_up)
        self._bytes += sum(entry.size for entry in entries) - sum(size for _, size in given_up)
        return len(given_up)

    def known(self) -> list[str]:
        """Hashes of the latest transactions that were put here, the oldest first, also of those that have left."""
        return [name for (name,) in self._connection.execute("SELECT hash FROM known ORDER BY id")]

    def oldest(self, most: int, most_bytes: int) -> list[tuple[int, Entry]]:
        """The entries to publish next, with their ids: at most so many, and so many bytes, but for one alone."""
        found: list[tuple[int, Entry]] = []
        taken = 0
        rows = self._connection.execute("SELECT id, detail_type, detail FROM entries ORDER BY id LIMIT ?", (most,))
        for row, detail_type, detail in rows:
            entry = Entry(detail_type, detail)
            taken += entry.size
            if found and taken > most_bytes:
                break
            found.append((row, entry))
        rows.close()
        return found

    def remove(self, ids: Iterable[int]) -> None:
        """Forget entries; those that are not there any more are passed over."""
        with self._connection:
            for row in ids:
                for (size,) in self._connection.execute("DELETE FROM entries WHERE id = ? RETURNING size", (row,)):
                    self._count -= 1
                    self._bytes -= size

    def replace(self, row: int, entry: Entry) -> None:
        """Another entry in an entry's place, if that is still there."""
        with self._connection:
            found = self._connection.execute("SELECT size FROM entries WHERE id = ?", (row,)).fetchone()
            if found is not None:
                self._connection.execute(
                    "UPDATE entries SET detail_type = ?, detail = ?, size = ? WHERE id = ?",
                    (entry.detail_type, entry.detail, entry.size, row),
                )
                self._bytes += entry.size - found[0]

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _oldest_of(self, size: int) -> list[tuple[int, int]]:
        """Ids and sizes of the oldest entries that are so many bytes together, but never the newest."""
        found: list[tuple[int, int]] = []
        rows = self._connection.execute(
            "SELECT id, size FROM entries WHERE id < (SELECT max(id) FROM entries) ORDER BY id"
        )
        while size > 0 and (row := rows.fetchone()):
            found.append(row)
            size -= row[1]
        rows.close()
        return found


def _opened(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file)
    try:
        connection.execute("PRAGMA auto_vacuum = FULL")  # what was published gives its room back
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        for table in _TABLES:
            connection.execute(table)
    except BaseException:
        connection.close()
        raise
    return connection
