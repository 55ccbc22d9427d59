"""How many invocations run at once, and who waits for room: first come, first served.

A request holds one of the server's threads until its invocation has ended, and what the function calls meanwhile needs
another one. So requests may only hold so many threads, running and waiting together: a further one is refused at once.
What calls functions from threads of its own (events, queues) holds none of the server's, and waits as long as it takes.

Functions that others call have room of their own: were they to wait in the same line, all that run could wait for each
other.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field


class Full(Exception):
    """There is no room."""


class Closed(Exception):
    """localcloud stops."""


@dataclass(frozen=True)
class Limits:
    """What there is room for. Of the server's 256 threads, 32 answer nothing but what functions call."""

    running: int = 16
    """Invocations that run at once; and as many that running functions ask for."""
    requests: int = 224
    """Requests that run or wait at once."""
    inner_requests: int = 240
    """The same for a request of a running function. The threads beyond are for all other calls."""
    patience_seconds: float = 20.0
    """For how long a request waits. API Gateway gives up after 29 seconds."""


@dataclass(eq=False)
class _Turn:
    """A place in the line."""

    come: threading.Event = field(default_factory=threading.Event)
    given: bool = False


class Room:
    """All methods may be called from any thread."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        # By whether a running function asks.
        self._running = {False: 0, True: 0}
        self._lines: dict[bool, deque[_Turn]] = {False: deque(), True: deque()}
        self._requests = 0
        self._closed = False

    def enter(self, *, inner: bool, request: bool) -> None:
        """Wait until there is room; `leave`, given the same, makes it free again.

        inner: a running function asks. request: whoever asks holds one of the server's threads.
        Raises Full where a request cannot wait or has waited too long, and Closed.
        """
        limits = self._limits
        with self._lock:
            if self._closed:
                raise Closed
            if request:
                if self._requests >= (limits.inner_requests if inner else limits.requests):
                    raise Full
                self._requests += 1
            if self._running[inner] < limits.running:
                self._running[inner] += 1
                return
            turn = _Turn()
            self._lines[inner].append(turn)
        turn.come.wait(limits.patience_seconds if request else None)
        with self._lock:
            if turn.given:
                return
            self._lines[inner].remove(turn)
            self._requests -= request
            raise Closed if self._closed else Full

    def leave(self, *, inner: bool, request: bool) -> None:
        """Let the next one in."""
        with self._lock:
            self._requests -= request
            if self._lines[inner] and not self._closed:
                turn = self._lines[inner].popleft()
                turn.given = True
                turn.come.set()
            else:
                self._running[inner] -= 1

    @property
    def waiting(self) -> int:
        """How many are in the lines."""
        with self._lock:
            return sum(len(line) for line in self._lines.values())

    def close(self) -> None:
        """Let nobody in any more, and end the waiting of those in the line."""
        with self._lock:
            self._closed = True
            for line in self._lines.values():
                for turn in line:
                    turn.come.set()
