"""The state of the owned services: JSON documents by kind and key, in one SQLite file."""

from __future__ import annotations

import base64
import builtins
import json
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Document = dict[str, Any]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    document TEXT NOT NULL,
    UNIQUE (kind, key)
)
"""

_FORMAT = 1
_DATETIME, _BYTES, _ESCAPED = "$datetime", "$bytes", "$object"
_TAGS = frozenset({_DATETIME, _BYTES, _ESCAPED})


class Store:
    """Documents by kind and key. All methods may be called from any thread, and from within a transaction.

    A change is committed before its method returns, or, within `transaction`, before the outermost `with` is left.
    Committed means that it outlives the process: the write-ahead log is in the file system's hands. It is not flushed
    to the disk with every change, so a power cut may cost the last changes (never the file's consistency).

    Raises sqlite3.DatabaseError for a file that is none, or one of another format.

    Values may hold None, bool, int, float, str, bytes, aware datetimes (read back as UTC), lists, tuples (read back as
    lists) and dicts with text keys. Anything else raises TypeError, a naive datetime ValueError.
    """

    def __init__(self, path: Path) -> None:
        # One connection under one lock: SQLite has one writer anyway, and a read takes microseconds.
        self._connection = opened(path, _FORMAT, _SCHEMA)
        self._connection.execute("SELECT sequence, kind, key, document FROM documents LIMIT 0")
        self._lock = threading.RLock()
        self._depth = 0

    def close(self) -> None:
        """Close the file. Further calls raise sqlite3.ProgrammingError."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes within, or none if an exception leaves the block. Other threads wait; nested ones join."""
        with self._lock:
            if self._depth:
                yield
                return
            self._depth = 1
            try:
                with transaction(self._connection):
                    yield
            finally:
                self._depth = 0

    def put(self, kind: str, key: str, document: Document, *, if_absent: bool = False) -> bool:
        """Write a document; True if it was written, False if `if_absent` and there was one already.

        A replaced document keeps its place in the order of `list`.
        """
        text = dumps(document)
        conflict = "NOTHING" if if_absent else "UPDATE SET document = excluded.document"
        with self.transaction():
            cursor = self._connection.execute(
                f"INSERT INTO documents (kind, key, document) VALUES (?, ?, ?) ON CONFLICT (kind, key) DO {conflict}",
                (kind, key, text),
            )
            return cursor.rowcount == 1

    def get(self, kind: str, key: str) -> Document | None:
        """The document, or None. It is a copy: changing it changes nothing here."""
        with self._lock:
            row = self._connection.execute(
                "SELECT document FROM documents WHERE kind = ? AND key = ?", (kind, key)
            ).fetchone()
        return None if row is None else _loads(row[0])

    def delete(self, kind: str, key: str) -> bool:
        """Remove a document; whether there was one."""
        with self.transaction():
            cursor = self._connection.execute("DELETE FROM documents WHERE kind = ? AND key = ?", (kind, key))
            return cursor.rowcount == 1

    def list(
        self, kind: str, prefix: str = "", members: Collection[str] | None = None
    ) -> builtins.list[tuple[str, Document]]:
        """Keys and documents of a kind whose key starts with `prefix`, in the order of their first `put`.

        With `members`, only these of each document, where it has them: a list of long documents is then a short one.
        """
        paths = [f'$."{member}"' for member in members or ()]
        # With a single path, json_extract would give the value and not a list.
        document = f"json_extract(document, '$.\"\"', {', '.join('?' * len(paths))})" if paths else "document"
        with self._lock:
            rows = self._connection.execute(
                f"SELECT key, {document} FROM documents WHERE kind = ? AND key >= ? AND substr(key, 1, ?) = ?"
                " ORDER BY sequence",
                (*paths, kind, prefix, len(prefix), prefix),
            ).fetchall()
        if members is None:
            return [(key, _loads(text)) for key, text in rows]
        found = []
        for key, text in rows:
            values = zip(members, _loads(text)[1:], strict=True)  # type: ignore[index]
            found.append((key, {member: value for member, value in values if value is not None}))
        return found

    def update(self, kind: str, key: str, function: Callable[[Document], Document]) -> Document:
        """Replace a document by what `function` makes of it, with no other change in between; gives the new one.

        Raises KeyError when there is none. An exception from `function` leaves the document as it was.
        """
        with self.transaction():
            document = self.get(kind, key)
            if document is None:
                raise KeyError(f"{kind} {key!r} is not in the store")
            changed = function(document)
            self.put(kind, key, changed)
            return changed


def opened(path: Path, version: int, schema: str) -> sqlite3.Connection:
    """A database file, made where it is missing, that several threads take turns with.

    What is committed outlives the process; a power cut may cost the last changes, never the file's consistency.
    Raises sqlite3.DatabaseError for a file that is none, or one of another format than `version`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    claim_format(connection, version)
    connection.executescript(schema)
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction of a connection: committed at the end, and undone if anything fails, be it the commit itself.

    On a full disk it often is: a transaction that were left open would make every later one fail, too.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite may have undone it by itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def claim_format(connection: sqlite3.Connection, version: int) -> None:
    """Mark a database as one of this format. Raises sqlite3.DatabaseError if it is marked as one of another."""
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found not in (0, version):
        raise sqlite3.DatabaseError(f"its format is number {found}, this localcloud's is number {version}")
    connection.execute(f"PRAGMA user_version = {version}")


def dumps(document: Document) -> str:
    """The document as JSON text, with datetimes and bytes in a tagged form that `loads` reads back."""
    return json.dumps(_encode(document), ensure_ascii=False, separators=(",", ":"))


def loads(text: str) -> Document:
    """What `dumps` was given."""
    return _loads(text)


def _loads(text: str) -> Document:
    document: Document = _DECODER.decode(text)
    return document


def _encode(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"the datetime {value.isoformat()} has no time zone; the store keeps aware datetimes only")
        return {_DATETIME: value.astimezone(UTC).isoformat()}
    if isinstance(value, bytes):
        return {_BYTES: base64.b64encode(value).decode()}
    if isinstance(value, list | tuple):
        return [_encode(item) for item in value]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"the key {key!r} is a {type(key).__name__}; a document's keys are text")
        encoded = {key: _encode(item) for key, item in value.items()}
        # A user's own {"$bytes": ...} must come back as it was: such an object is wrapped, as a list of pairs.
        if len(encoded) == 1 and _TAGS & encoded.keys():
            return {_ESCAPED: [[key, item] for key, item in encoded.items()]}
        return encoded
    raise TypeError(f"{value!r} is a {type(value).__name__}, which the store cannot keep")


def _decode(encoded: dict[str, Any]) -> Any:
    if len(encoded) == 1:
        if _DATETIME in encoded:
            return datetime.fromisoformat(encoded[_DATETIME])
        if _BYTES in encoded:
            return base64.b64decode(encoded[_BYTES])
        if _ESCAPED in encoded:
            return dict(encoded[_ESCAPED])
    return encoded


# Made once: json.loads makes one for every call that has a hook, which takes longer than reading a short document.
_DECODER = json.JSONDecoder(object_hook=_decode)
