"""What time it is for the simulator: the machine's time, a faster one, or that of another server."""

import asyncio
import http.client
import time
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from typing import Protocol
from urllib.parse import urlsplit

_ASKED_EVERY_SECONDS = 1.0
_PATIENCE_SECONDS = 0.5


class ClockUnknown(Exception):
    """Nobody has said yet what time it is."""


class Clock(Protocol):
    """A source of the present moment, which never goes back."""

    speed: float
    """How many of its seconds pass in one of the machine's."""

    def now(self) -> float:
        """Seconds since 1970. Raises ClockUnknown."""
        ...

    async def refresh(self) -> None:
        """Look what time it is, if that takes looking."""
        ...


class RunningClock:
    """A clock that goes `speed` times as fast as the machine's from the moment `begin` on, when it agreed with it."""

    def __init__(self, speed: float, begin: float, machine: Callable[[], float] = time.time) -> None:
        self.speed = speed
        self._begin = begin
        self._machine = machine
        self._latest = 0.0

    def now(self) -> float:
        """Seconds since 1970."""
        self._latest = max(self._latest, self._begin + (self._machine() - self._begin) * self.speed)
        return self._latest

    async def refresh(self) -> None:
        """Nothing to look at."""


class ReferenceClock:
    """Another server's time, from the header `Date` of its answers (RFC 9110), which are whole seconds.

    Between two answers the machine's own seconds are counted, and while the server does not answer too. When it says
    that it is later, as a localcloud does that was told to let a day pass, it is later here at once. When it says that
    it is earlier, because its clock stands, this one waits for it.

    ask: gives the server's seconds since 1970; raises OSError.
    """

    speed = 1.0

    def __init__(self, ask: Callable[[], Awaitable[int]], machine: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._machine = machine
        self._said: tuple[float, float] | None = None  # a moment there, and here
        self._asked = float("-inf")
        self._latest = 0.0

    def now(self) -> float:
        """Seconds since 1970. Raises ClockUnknown as long as the server has never answered."""
        if self._said is None:
            raise ClockUnknown("the server of --clock has not answered yet; start it, or leave --clock away")
        there, here = self._said
        self._latest = max(self._latest, there + self._machine() - here)
        return self._latest

    async def refresh(self) -> None:
        """Ask, unless that was a second ago."""
        here = self._machine()
        if here - self._asked < _ASKED_EVERY_SECONDS:
            return
        self._asked = here
        try:
            date = await self._ask()
        except OSError:
            return
        here = self._machine()
        counted = date if self._said is None else self._said[0] + here - self._said[1]
        # It is somewhere in the second that begins with the date.
        self._said = (min(max(counted, date), date + 1.0), here)


def date_of(url: str) -> Callable[[], Awaitable[int]]:
    """Asks the server at an http address for its date: a function for `ReferenceClock`."""
    parts = urlsplit(url)

    def ask() -> int:
        # No proxy from the environment: it would be asked for this machine's own address.
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=_PATIENCE_SECONDS)
        try:
            connection.request("HEAD", parts.path or "/")
            return int(parsedate_to_datetime(connection.getresponse().headers["Date"]).timestamp())
        except (http.client.HTTPException, TypeError, ValueError) as error:
            raise OSError(f"{url} answered without a Date: {error}") from error
        finally:
            connection.close()

    return lambda: asyncio.to_thread(ask)
