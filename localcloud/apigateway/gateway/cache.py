"""Answers that are kept for a while: the cache of a stage."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta

from localcloud.apigateway.gateway.exchange import Answer

_MOST_ANSWER_BYTES = 1_048_576
# The smallest cache on AWS has half a gigabyte, on a machine of its own; this one shares a laptop.
_MOST_BYTES = 64 << 20
_ENTRY_BYTES = 500


@dataclass(frozen=True)
class _Entry:
    answer: Answer
    until: datetime
    size: int


class _Stage:
    def __init__(self) -> None:
        self.entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self.bytes = 0

    def drop(self, key: Hashable) -> None:
        entry = self.entries.pop(key, None)
        if entry is not None:
            self.bytes -= entry.size


class Cache:
    """The caches of all stages, by API and stage. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stages: dict[tuple[str, str], _Stage] = {}

    def get(self, stage: tuple[str, str], key: Hashable, now: datetime) -> Answer | None:
        """The answer that is kept, unless its time is over."""
        with self._lock:
            found = self._stages.get(stage)
            entry = found.entries.get(key) if found is not None else None
            if found is None or entry is None:
                return None
            if entry.until <= now:
                found.drop(key)
                return None
            found.entries.move_to_end(key)
            return entry.answer

    def put(
        self, stage: tuple[str, str], key: Hashable, answer: Answer, now: datetime, ttl_seconds: int, most_bytes: int
    ) -> None:
        """Keep an answer: a good one (2xx), of at most 1 MB. What was not asked for longest makes place."""
        size = len(answer.body) + sum(len(name) + len(value) for name, value in answer.headers) + _ENTRY_BYTES
        if not 200 <= answer.status < 300 or len(answer.body) > _MOST_ANSWER_BYTES:
            return
        with self._lock:
            kept = self._stages.setdefault(stage, _Stage())
            kept.drop(key)
            kept.entries[key] = _Entry(answer, now + timedelta(seconds=ttl_seconds), size)
            kept.bytes += size
            while kept.bytes > min(most_bytes, _MOST_BYTES):
                kept.drop(next(iter(kept.entries)))

    def flush(self, stage: tuple[str, str]) -> None:
        """Forget a stage's answers."""
        with self._lock:
            self._stages.pop(stage, None)
