"""A record of every call: who made it, the action and the resource in IAM's terms, and how it ended.

It is the ground on which a role's policy is checked: what was called must be allowed, and nothing else need be. Calls
that differ in nothing but their time are counted, not listed.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localcloud.store import opened, transaction

_FORMAT = 1
_SCHEMA = """
DROP TABLE IF EXISTS calls;     -- of a localcloud that did not keep which statements it was
CREATE TABLE IF NOT EXISTS made (
    principal TEXT NOT NULL,    -- the ARN of the role, or of the account's root
    action TEXT NOT NULL,       -- as in a policy: s3:GetObject
    resource TEXT NOT NULL,     -- an ARN, or * where the action has none
    error TEXT NOT NULL,        -- the code of the error that it was answered with; empty for none
    statements TEXT NOT NULL,   -- of policies: those that allow it, or that deny it, as a JSON list
    count INTEGER NOT NULL,
    PRIMARY KEY (principal, action, resource, error, statements)
) WITHOUT ROWID
"""
_WRITE_SECONDS = 1.0


@dataclass(frozen=True)
class Call:
    """Calls of one kind. Frozen, so that it can be counted."""

    principal: str
    action: str
    resource: str
    error: str = ""
    statements: tuple[str, ...] = ()
    """The statements of policies that allow it, each for itself, or that deny it: as `policy/Sid`."""


class Calls:
    """The record of one localcloud. All methods may be called from any thread; `add` takes microseconds, and is written
    within the second."""

    def __init__(self, path: Path) -> None:
        self._connection = opened(path, _FORMAT, _SCHEMA)
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._added: Counter[Call] = Counter()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write_now_and_then, name="calls", daemon=True)
        self._thread.start()

    def add(self, call: Call) -> None:
        """Count a call."""
        with self._lock:
            self._added[call] += 1

    def list(self, principal: str | None = None) -> Sequence[tuple[Call, int]]:
        """Every kind of call, of one principal or of all, and how often it was made; sorted."""
        self._write()
        with self._writing:
            rows = self._connection.execute(
                "SELECT principal, action, resource, error, statements, count FROM made"
                " WHERE ?1 IS NULL OR principal = ?1 ORDER BY principal, action, resource, error, statements",
                (principal,),
            ).fetchall()
        return [(Call(row[0], row[1], row[2], row[3], tuple(json.loads(row[4]))), row[5]) for row in rows]

    def close(self) -> None:
        """Write what was counted, and close the file."""
        self._ended.set()
        self._thread.join()
        self._write()
        with self._writing:
            self._connection.close()

    def _write_now_and_then(self) -> None:
        while not self._ended.wait(_WRITE_SECONDS):
            self._write()

    def _write(self) -> None:
        with self._lock:
            added, self._added = self._added, Counter()
        if not added:
            return
        rows = [
            (call.principal, call.action, call.resource, call.error, json.dumps(call.statements), count)
            for call, count in added.items()
        ]
        with self._writing, transaction(self._connection):
            self._connection.executemany(
                "INSERT INTO made VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count",
                rows,
            )
