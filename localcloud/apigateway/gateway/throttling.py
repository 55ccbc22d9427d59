"""Token buckets: how many requests may come at once, and how many a second after that."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from datetime import datetime

# One that was not asked for while so many others were would be full again.
_MOST_BUCKETS = 20_000


class Buckets:
    """Buckets by key. All methods may be called from any thread. Rate and burst may differ from call to call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buckets: OrderedDict[Hashable, tuple[float, datetime]] = OrderedDict()

    def take(self, key: Hashable, rate: float, burst: float, now: datetime) -> bool:
        """Take one token; False where there is none. A bucket that is new is full."""
        with self._lock:
            left, filled = self._buckets.pop(key, (burst, now))
            seconds = max(0.0, (now - filled).total_seconds())
            left = min(burst, left + seconds * rate)
            allowed = left >= 1.0
            self._buckets[key] = (left - 1.0 if allowed else left, max(now, filled))
            if len(self._buckets) > _MOST_BUCKETS:
                self._buckets.popitem(last=False)
            return allowed
