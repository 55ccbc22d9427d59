"""What is due at a moment of the clock: the end of a bake, the next look at an alarm, another try of an event.

Entries run when the clock reaches them, each on a thread of its own. `advance` makes the clock jump from one moment to
the next instead of waiting: all that is due at a moment is begun, in order, and then the clock stands still until that
and all work that came of it (`working`) has ended, so that what a day brings happens in seconds, in the same order
every time.

Each moment that is reached is kept before anything happens at it: after a kill, services can tell what was due already
from what fell due while nothing ran. A clock that was being advanced goes on from where it stood.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

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


@dataclass(frozen=True)
class Reached:
    """How far a clock has come."""

    moment: datetime
    ahead: timedelta
    """By how much it is ahead of the machine's, from that moment on."""
    standing: bool
    """Whether it is being advanced, and stands still meanwhile."""


class Timetable:
    """The entries of one localcloud. They are not kept: a service that starts enters anew what its state says is due.
    All methods may be called from any thread."""

    def __init__(
        self,
        clock: SystemClock,
        keep: Callable[[Reached], None] = lambda _: None,
        reached_before: datetime | None = None,
    ) -> None:
        """`keep` is told how far the clock is going to be, before it is. `reached_before` is the last moment that it
        was told of by an earlier process."""
        self.reached_before = reached_before
        self._clock, self._keep = clock, keep
        self._reached = reached_before or datetime.min.replace(tzinfo=UTC)
        self._entries: list[Entry] = []
        self._numbers = itertools.count()
        # Two conditions, since who waits for idleness is not to be woken by every entry, nor the other way round.
        lock = threading.RLock()
        self._changed, self._ended = threading.Condition(lock), threading.Condition(lock)
        self._working = 0
        self._running: set[threading.Thread] = set()
        self._turns = threading.Lock()
        self._advancing = False
        self._thread: threading.Thread | None = None
        self._stopped = False

    @property
    def advancing(self) -> bool:
        """Whether the clock is being advanced, so that somebody waits for the work that is under way."""
        return self._advancing

    def at(self, moment: datetime, action: Action, name: str) -> Entry:
        """Run `action` when the clock is at `moment`; at once if it is past. `name` is for the log."""
        with self._changed:
            entry = Entry(moment, next(self._numbers), name, action)
            heapq.heappush(self._entries, entry)
            if self._entries[0] is entry:
                self._changed.notify()
        return entry

    def after(self, seconds: float, action: Action, name: str) -> Entry:
        """Run `action` in so many seconds."""
        return self.at(self._clock.now() + timedelta(seconds=seconds), action, name)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Something is under way that the clock waits for when it is advanced: a job, an invocation, a delivery."""
        with self._ended:
            self._working += 1
        try:
            yield
        finally:
            with self._ended:
                self._working -= 1
                if not self._working:
                    self._ended.notify_all()

    def start(self) -> None:
        """Begin to run what comes due."""
        self._thread = threading.Thread(target=self._run, name="timetable", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Run nothing more, and wait for what runs."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            self._ended.notify_all()
        # First the one that begins others.
        if self._thread is not None:
            self._thread.join()
        with self._changed:
            running = [thread for thread in self._running if thread is not threading.current_thread()]
        for thread in running:
            thread.join()

    def advance(self, seconds: float) -> datetime:
        """Let so much time pass at once, with all that falls due in it in its order; gives the moment reached.

        Raises ValueError for a negative time. Two callers take turns.
        """
        if seconds < 0:
            raise ValueError(f"time does not go back: {seconds:g} s")
        with self._turns:
            with self._changed:
                self._advancing = True
            start = self._clock.hold()
            target = start + timedelta(seconds=seconds)
            # Where nothing is due, there is nothing that a clock that stands need be kept for.
            stands = False
            try:
                if self._busy():
                    self._reach(start, standing=True)
                    stands = True
                    self._wait_until_idle()
                while entries := self._next(target):
                    moment = max(entries[0].moment, self._clock.now())
                    if moment > self._clock.now() or not stands:
                        self._reach(moment, standing=True)
                        self._clock.set(moment)
                        stands = True
                    for entry in entries:
                        self._perform(entry)
                    self._wait_until_idle()
                if not self._stopped:
                    self._reach(target, standing=False)
                    self._clock.set(target)
            finally:
                self._clock.release()
                with self._changed:
                    self._advancing = False
                    self._changed.notify_all()
            return target

    def _reach(self, moment: datetime, *, standing: bool) -> None:
        """Keep that the clock is going to be at a moment."""
        self._reached = max(self._reached, moment)
        self._keep(Reached(self._reached, self._clock.ahead + (moment - self._clock.now()), standing))

    def _next(self, target: datetime) -> list[Entry]:
        """All entries of the next moment at which there are any, unless it is beyond the target."""
        with self._changed:
            found: list[Entry] = []
            limit = target
            while self._entries and not self._stopped:
                first = self._entries[0]
                if first.cancelled:
                    heapq.heappop(self._entries)
                elif first.moment <= limit:
                    found.append(heapq.heappop(self._entries))
                    limit = max(first.moment, self._clock.now())
                else:
                    break
        return found

    def _busy(self) -> bool:
        with self._ended:
            return bool(self._working or self._running)

    def _wait_until_idle(self) -> None:
        with self._ended:
            self._ended.wait_for(lambda: self._stopped or not self._busy())

    def _run(self) -> None:
        while (entry := self._next_by_itself()) is not None:
            if entry.moment > self._reached:
                self._reach_by_itself(entry.moment)
            thread = threading.Thread(target=self._perform_alone, args=(entry,), name=entry.name, daemon=True)
            with self._ended:
                self._running.discard(threading.current_thread())
                self._running.add(thread)
            thread.start()

    def _reach_by_itself(self, moment: datetime) -> None:
        """Keep that the clock has come to a moment; on the thread that begins what is due then."""
        self._reached = moment
        try:
            self._keep(Reached(moment, self._clock.ahead, standing=False))
        except Exception:
            # On a full disk, say. What is due is more than the note that it was.
            _LOG.exception("the clock is at %s, which could not be kept", moment.isoformat())

    def _next_by_itself(self) -> Entry | None:
        """The next entry when its moment has come; None at the end. This thread counts as running until it has begun,
        so that nobody takes the time in between for idle."""
        with self._changed:
            while not self._stopped:
                while self._entries and self._entries[0].cancelled:
                    heapq.heappop(self._entries)
                if self._advancing or not self._entries:
                    self._changed.wait()
                    continue
                left = (self._entries[0].moment - self._clock.now()).total_seconds()
                if left > 0:
                    # The machine's clock may be set, or the machine sleep: look again before long.
                    self._changed.wait(min(left, 60.0))
                    continue
                self._running.add(threading.current_thread())
                return heapq.heappop(self._entries)
        return None

    def _perform_alone(self, entry: Entry) -> None:
        try:
            self._perform(entry)
        finally:
            with self._ended:
                self._running.discard(threading.current_thread())
                self._ended.notify_all()

    def _perform(self, entry: Entry) -> None:
        if entry.cancelled:
            return
        try:
            entry.action()
        except Exception:
            _LOG.exception("due at %s: %s", entry.moment.isoformat(), entry.name)
