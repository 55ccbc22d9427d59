"""Shard iterators. One holds all that a reader is to be given next, and when it was made, so that nothing is
remembered of readers."""

from __future__ import annotations

import base64
from dataclasses import dataclass

_KIND = "1"


@dataclass(frozen=True)
class ShardIterator:
    """Where a reader is."""

    stream: str
    table: int
    shard: int
    after: int
    made_ms: int

    def encoded(self) -> str:
        """As clients get it."""
        text = " ".join((_KIND, self.stream, *map(str, (self.table, self.shard, self.after, self.made_ms))))
        return base64.urlsafe_b64encode(text.encode()).decode()

    @classmethod
    def decoded(cls, text: str) -> ShardIterator | None:
        """The iterator; None for a text that is none."""
        try:
            kind, stream, *numbers = base64.urlsafe_b64decode(text.encode()).decode().split(" ")
            if kind == _KIND:
                return cls(stream, *map(int, numbers))
        except (ValueError, TypeError):
            pass
        return None
