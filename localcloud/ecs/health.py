"""Container health checks: a command that is run in the container's surroundings again and again.

Source: "Determine Amazon ECS task health using container health checks" (Amazon ECS Developer Guide). AWS asks first
when one interval has passed; here a container is asked sooner at first, so that what is well is known to be.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from localcloud.ecs.pace import Pace

HEALTHY, UNHEALTHY, UNKNOWN = "HEALTHY", "UNHEALTHY", "UNKNOWN"
_FIRST_SECONDS = 0.25


@dataclass(frozen=True)
class Check:
    """A health check as it is defined; times in seconds."""

    command: tuple[str, ...]
    """What is run: a program and its arguments."""
    interval: float = 30.0
    timeout: float = 5.0
    retries: int = 3
    start_period: float = 0.0

    @classmethod
    def of(cls, definition: Mapping[str, Any] | None) -> Check | None:
        """That of a container definition; None where there is none to be run."""
        if definition is None or definition["command"][0] == "NONE":
            return None
        kind, *words = definition["command"]
        return cls(
            command=tuple(words) if kind == "CMD" else ("/bin/sh", "-c", " ".join(words)),
            interval=definition.get("interval") or cls.interval,
            timeout=definition.get("timeout") or cls.timeout,
            retries=definition.get("retries") or cls.retries,
            start_period=definition.get("startPeriod") or cls.start_period,
        )


class Health:
    """What the answers so far say. Used by one thread."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._failures = 0
        self._next = _FIRST_SECONDS
        self.status = UNKNOWN

    def take(self, well: bool, age_seconds: float) -> str:
        """Take an answer of a container that has run for so long; gives its status from now on."""
        early = self._next < self._check.interval
        self._next = min(self._next * 2, self._check.interval)
        if well:
            self._failures, self.status, self._next = 0, HEALTHY, self._check.interval
        elif self.status == HEALTHY or not (early or age_seconds < self._check.start_period):
            # Before that it may still be starting.
            self._failures += 1
            if self._failures >= self._check.retries:
                self.status = UNHEALTHY
        return self.status

    @property
    def pause_seconds(self) -> float:
        """How long to wait before the next question."""
        return self._next


def watch(
    check: Check, pace: Pace, ended: threading.Event, ask: Callable[[float], bool], tell: Callable[[str], None]
) -> None:
    """Ask until the container has ended; blocks.

    ask: runs the command, which may take so many real seconds. tell: is told each status that is not the one before.
    """
    health, begun = Health(check), pace.monotonic()
    while not ended.wait(pace.seconds(health.pause_seconds)):
        before = health.status
        well = ask(pace.seconds(check.timeout))
        if ended.is_set():
            return
        if health.take(well, pace.since(begun)) != before:
            tell(health.status)
