"""How fast the seconds of ECS go by. Programs run in real time, whatever localcloud's clock shows, and so do the times
after which they are asked how they are, stopped or started again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """`second` is what a second of a task definition, or of the service scheduler, takes."""

    second: float = 1.0
    monotonic: Callable[[], float] = time.monotonic

    def seconds(self, count: float) -> float:
        """How long so many of them take."""
        return count * self.second

    def since(self, moment: float) -> float:
        """How many have passed since a moment that `monotonic` gave."""
        return (self.monotonic() - moment) / self.second
