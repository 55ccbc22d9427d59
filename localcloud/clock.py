"""Where the time comes from. Nothing in localcloud asks the machine directly, so that tests can say what time it is."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """A source of the present moment."""

    def now(self) -> datetime:
        """The present, as an aware datetime in UTC."""
        ...


class SystemClock:
    """The machine's own clock, until it is set; from then on ahead of it. Held, it stands still."""

    def __init__(self, ahead: timedelta = timedelta()) -> None:
        self._lock = threading.Lock()
        self._ahead = ahead
        self._held: datetime | None = None

    def now(self) -> datetime:
        with self._lock:
            return self._held or datetime.now(UTC) + self._ahead

    @property
    def ahead(self) -> timedelta:
        """By how much it is ahead of the machine's."""
        return self.now() - datetime.now(UTC)

    def hold(self) -> datetime:
        """Stand still, and give the moment at which."""
        with self._lock:
            self._held = self._held or datetime.now(UTC) + self._ahead
            return self._held

    def set(self, moment: datetime) -> None:
        """Stand still at a later moment. Raises ValueError for one before the present: time does not go back."""
        present = self.hold()
        if moment < present:
            raise ValueError(f"the clock is at {present.isoformat()}, and cannot be set back to {moment.isoformat()}")
        with self._lock:
            self._held = moment

    def release(self) -> None:
        """Go on from where it stands."""
        with self._lock:
            if self._held is not None:
                self._ahead = self._held - datetime.now(UTC)
                self._held = None
