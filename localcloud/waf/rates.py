"""How many requests came from where within a rule's evaluation window.

AWS estimates a rate every few seconds, from a sample of its machines. Here every request is counted when it comes, and
the one that exceeds the limit is the first that the rule matches: a test sees the same each time.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque

SLICES = 60
"""A window is counted in so many slices: a request counts for one sixtieth of the window longer than the window, at
most, and a caller costs so many numbers, however many requests come."""
MOST_KEYS = 10_000
"""So many callers are told apart, as on AWS; the one that has not asked for longest is forgotten first."""


class Rate:
    """The counts of one rule of one web ACL. All methods may be called from any thread."""

    def __init__(self, limit: int, window_seconds: int) -> None:
        self._limit = limit
        self._width = window_seconds / SLICES
        self._counts: OrderedDict[str, _Count] = OrderedDict()
        self._lock = threading.Lock()

    def exceeded(self, key: str, now: float) -> bool:
        """Count a request of the caller `key` at `now` (seconds), and say whether it is over the limit.

        What is over it counts, too: who goes on asking stays blocked, as on AWS.
        """
        current = int(now // self._width)
        with self._lock:
            count = self._counts.get(key)
            if count is None:
                count = self._counts[key] = _Count()
                if len(self._counts) > MOST_KEYS:
                    self._counts.popitem(last=False)
            else:
                self._counts.move_to_end(key)
            return count.add(current) > self._limit


class _Count:
    """The requests of one caller, by slice."""

    __slots__ = ("_slices", "_total")

    def __init__(self) -> None:
        self._slices: deque[tuple[int, int]] = deque()
        self._total = 0

    def add(self, current: int) -> int:
        """One more in the slice `current`; gives the sum of those within the window."""
        slices = self._slices
        while slices and slices[0][0] < current - SLICES:
            self._total -= slices.popleft()[1]
        before = 0
        if slices and slices[-1][0] == current:
            before = slices.pop()[1]
        slices.append((current, before + 1))
        self._total += 1
        return self._total
