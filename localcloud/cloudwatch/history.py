"""What happened to alarms: their history, kept for 30 days of the clock, also after an alarm is deleted."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from localcloud.store import opened, transaction

CONFIGURATION, STATE, ACTION = "ConfigurationUpdate", "StateUpdate", "Action"
LONGEST_SUMMARY, LONGEST_DATA = 255, 4095
"""AWS's limits, in characters."""
_RETENTION_SECONDS = 30 * 86_400
_FORMAT = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS history (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    alarm TEXT NOT NULL, alarm_type TEXT NOT NULL, item_type TEXT NOT NULL,
    moment REAL NOT NULL, summary TEXT NOT NULL, data TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_moment ON history (moment);
"""


@dataclass(frozen=True)
class Item:
    """One thing that happened. `number` grows with every one."""

    number: int
    alarm: str
    alarm_type: str
    item_type: str
    moment: float
    summary: str
    data: str


class History:
    """The history of one localcloud. All methods may be called from any thread."""

    def __init__(self, path: Path) -> None:
        self._connection = opened(path, _FORMAT, _SCHEMA)
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def add(self, alarm: str, alarm_type: str, item_type: str, moment: datetime, summary: str, data: str) -> None:
        """Write down what happened. AWS's limits on the two texts are kept by cutting them."""
        at = moment.timestamp()
        with self._lock, transaction(self._connection):
            self._connection.execute(
                "INSERT INTO history (alarm, alarm_type, item_type, moment, summary, data) VALUES (?, ?, ?, ?, ?, ?)",
                (alarm, alarm_type, item_type, at, summary[:LONGEST_SUMMARY], data[:LONGEST_DATA]),
            )
            self._connection.execute("DELETE FROM history WHERE moment < ?", (at - _RETENTION_SECONDS,))

    def find(self, alarm: str | None, item_type: str | None, start: float | None, end: float | None) -> Sequence[Item]:
        """What happened between two moments, to one alarm or to all, the oldest first."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT id, alarm, alarm_type, item_type, moment, summary, data FROM history"
                " WHERE (?1 IS NULL OR alarm = ?1) AND (?2 IS NULL OR item_type = ?2)"
                " AND (?3 IS NULL OR moment >= ?3) AND (?4 IS NULL OR moment <= ?4) ORDER BY moment, id",
                (alarm, item_type, start, end),
            ).fetchall()
        return [Item(*row) for row in rows]
