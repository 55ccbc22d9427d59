"""Minutes of transactions, in event time: what the Flink job's SQL (`flink/minutes.sql`) does, in plain Python.

A minute begins with a multiple of 60 seconds. Events come in an order of their own; the watermark is the newest time
so far less the lateness. A minute is written when the watermark reaches its end, and an event is late when its minute's
end had been reached before it came. In its minute a transaction counts once, by its hash: of several the one with the
smallest time, the first of them when times are equal. An event without a hash, a heartbeat, counts nothing: it opens
its minute, which may stay quiet, and moves the watermark.

What is kept are the transactions of the minutes that are open, which are those from the watermark to the newest time:
memory does not grow with the stream. Nothing here reads a clock or a network.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

__all__ = ["Event", "Minutes", "minute_text"]

SECONDS = 60
_BEFORE_ALL = -(2**62)  # a minute before any: nothing is closed


Event = tuple[str | None, int, int | None]
"""What counts of a transaction: its hash, None for a heartbeat; its time, in whole seconds since 1970; and its fee, in
satoshi, None where it is not known."""


class Minutes:
    """The minutes of one stream."""

    def __init__(self, lateness_seconds: int) -> None:
        """lateness_seconds: how long a minute is waited for after its end, in event time; 0 or more."""
        if lateness_seconds < 0:
            raise ValueError(f"lateness_seconds is {lateness_seconds}; expected 0 or more")
        self._lateness = lateness_seconds
        self._newest: int | None = None
        self._closed = _BEFORE_ALL  # the first minute (of 60 s, since 1970) whose end the watermark has not reached
        self._open: dict[int, dict[str, Event]] = {}

    @property
    def newest(self) -> int | None:
        """The newest time so far, in seconds since 1970; None before the first event."""
        return self._newest

    def feed(self, events: Iterable[Event]) -> list[dict[str, Any]]:
        """What events bring about, in order: rows of minutes that they close, and records of those that are late.

        Rows have `tx_minute`, `total_nb_trx_1min`, `total_fee_1min` and `avg_fee_1min`; late records `late_hash`,
        `late_time` and `late_minute`.
        """
        written: list[dict[str, Any]] = []
        closed, opened, lateness = self._closed, self._open, self._lateness
        newest = _BEFORE_ALL if self._newest is None else self._newest
        for event in events:
            name, time, _ = event
            minute = time // SECONDS
            if minute < closed:
                if name is not None:
                    written.append({"late_hash": name, "late_time": time, "late_minute": minute_text(minute)})
                continue
            window = opened.get(minute)
            if window is None:
                window = opened[minute] = {}
            if name is not None:
                known = window.get(name)
                if known is None or time < known[1]:
                    window[name] = event
            if time > newest:
                newest = time
                reached = (time - lateness) // SECONDS
                if reached > closed:
                    closed = reached
                    written += self._close(closed)
        self._closed, self._newest = closed, None if newest == _BEFORE_ALL else newest
        return written

    def end(self) -> list[dict[str, Any]]:
        """The rows of all minutes that are open: of a stream that has an end, as an archive has."""
        if not self._open:
            return []
        self._closed = max(self._open) + 1
        return self._close(self._closed)

    def snapshot(self) -> dict[str, Any]:
        """All that is known, as JSON has it; `restored` goes on from it."""
        return {
            "newest": self._newest,
            "closed": None if self._closed == _BEFORE_ALL else self._closed,
            "open": {
                str(minute): [[name, time, fee] for name, time, fee in window.values()]
                for minute, window in self._open.items()
            },
        }

    @classmethod
    def restored(cls, snapshot: dict[str, Any], lateness_seconds: int) -> Minutes:
        """Minutes as they were. A minute that was written stays so, also when the lateness is longer now."""
        made = cls(lateness_seconds)
        made._newest = snapshot["newest"]
        made._closed = _BEFORE_ALL if snapshot["closed"] is None else snapshot["closed"]
        made._open = {
            int(minute): {name: (name, time, fee) for name, time, fee in window}
            for minute, window in snapshot["open"].items()
        }
        return made

    def _close(self, closed: int) -> list[dict[str, Any]]:
        return [_row(minute, self._open.pop(minute)) for minute in sorted(self._open) if minute < closed]


@lru_cache(maxsize=256)  # late records have few minutes
def minute_text(minute: int) -> str:
    """A minute since 1970 as rows name it, e.g. `2026-11-22T14:03:00Z`."""
    return datetime.fromtimestamp(minute * SECONDS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _row(minute: int, window: dict[str, Event]) -> dict[str, Any]:
    fees = [fee for _, _, fee in window.values() if fee is not None]
    total = sum(fees)
    return {
        "tx_minute": minute_text(minute),
        "total_nb_trx_1min": len(window),
        "total_fee_1min": total,
        # Of the total as a float, as SQL's cast to DOUBLE has it: beyond 2**53 Python's `/` of integers is more exact.
        "avg_fee_1min": float(total) / len(fees) if fees else None,
    }
