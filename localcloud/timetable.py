"""What is due at a moment of the clock: the end of a bake, the next look at an alarm, another try of an event.

Entries run when the clock reaches them, each on a thread of its own. `advance` makes the clock jump from one entry to
the next instead of waiting: it stands still while an entry runs, and until all work that came of it (`working`) has
ended, so that what a day brings happens in seconds, in the same order every time.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from localcloud.clock import SystemClock

_LOG = logging.getLogger(__name__)

Action = Callable[[], None]


@dataclass(order=True)
class Entry:
    """One thing that is due. Ordered by its moment, then in the order in which they were made."""

    moment: datetime
    number: int
    name: str = field(compare=False)
    action: Action = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        """Let it not happen. Nothing is undone if it has."""
        self.cancelled = True


class Timetable:
    """The entries of one localcloud. They are not kept: a service that starts enters anew what its state says is due.
    All methods may be called from any thread."""

    def __init__(self, clock: SystemClock, keep: Callable[[timedelta], None] = lambda _: None) -> None:
        """`keep` is told by how much the clock is going to be ahead of the machine's, before it is."""
        self._clock, self._keep = clock, keep
        self._entries: list[Entry] = []
        self._numbers = itertools.count()
        self._condition = threading.Condition()
        self._working = 0
        self._running: set[threading.Thread] = set()
        self._advancing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def at(self, moment: datetime, action: Action, name: str) -> Entry:
        """Run `action` when the clock is at `moment`; at once if it is past. `name` is for the log."""
        with self._condition:
            entry = Entry(moment, next(self._numbers), name, action)
            heapq.heappush(self._entries, entry)
            self._condition.notify_all()
        return entry

    def after(self, seconds: float, action: Action, name: str) -> Entry:
        """Run `action` in so many seconds."""
        return self.at(self._clock.now() + timedelta(seconds=seconds), action, name)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Something is under way that the clock waits for when it is advanced: a job, an invocation, a delivery."""
        with self._condition:
            self._working += 1
        try:
            yield
        finally:
            with self._condition:
                self._working -= 1
                self._condition.notify_all()

    def start(self) -> None:
        """Begin to run what comes due."""
        self._thread = threading.Thread(target=self._run, name="timetable", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Run nothing more, and wait for what runs."""
        with self._condition:
            self._stopped = True
            self._condition.notify_all()
            running = [thread for thread in self._running if thread is not threading.current_thread()]
        if self._thread is not None:
            self._thread.join()
        for thread in running:
            thread.join()

    def advance(self, seconds: float) -> datetime:
        """Let so much time pass at once, with all that falls due in it in its order; gives the moment reached.

        Raises ValueError for a negative time. Two callers take turns.
        """
        if seconds < 0:
            raise ValueError(f"time does not go back: {seconds:g} s")
        with self._advancing:
            target = self._clock.hold() + timedelta(seconds=seconds)
            try:
                self._keep(self._clock.ahead + timedelta(seconds=seconds))
                self._wait_until_idle()
                while (entry := self._next(target)) is not None:
                    self._clock.set(max(entry.moment, self._clock.now()))
                    self._perform(entry)
                    self._wait_until_idle()
                self._clock.set(target)
            finally:
                self._clock.release()
                with self._condition:
                    self._condition.notify_all()
            return target

    def _next(self, target: datetime) -> Entry | None:
        with self._condition:
            while self._entries and not self._stopped:
                if self._entries[0].cancelled:
                    heapq.heappop(self._entries)
                elif self._entries[0].moment <= target:
                    return heapq.heappop(self._entries)
                else:
                    break
        return None

    def _wait_until_idle(self) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._stopped or not (self._working or self._running))

    def _run(self) -> None:
        while True:
            with self._condition:
                if self._stopped:
                    return
                if self._advancing.locked():
                    self._condition.wait(0.05)
                    continue
                while self._entries and self._entries[0].cancelled:
                    heapq.heappop(self._entries)
                if not self._entries:
                    self._condition.wait()
                    continue
                left = (self._entries[0].moment - self._clock.now()).total_seconds()
                if left > 0:
                    # The machine's clock may be set, or the machine sleep: look again before long.
                    self._condition.wait(min(left, 60.0))
                    continue
                entry = heapq.heappop(self._entries)
                thread = threading.Thread(target=self._perform_alone, args=(entry,), name=entry.name, daemon=True)
                self._running.add(thread)
            thread.start()

    def _perform_alone(self, entry: Entry) -> None:
        try:
            self._perform(entry)
        finally:
            with self._condition:
                self._running.discard(threading.current_thread())
                self._condition.notify_all()

    def _perform(self, entry: Entry) -> None:
        if entry.cancelled:
            return
        try:
            entry.action()
        except Exception:
            _LOG.exception("due at %s: %s", entry.moment.isoformat(), entry.name)
