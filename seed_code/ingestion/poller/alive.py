"""A file that is touched each time round the loop, by which `bin/healthy` knows that the poller is not stuck."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

_FILE = "alive"
_MOST_SECONDS = 15.0  # between two signs of life; `healthy` waits for 60


class Alive:
    """Signs of life, and a sleep that gives them however long it is: a source may ask for many minutes of peace."""

    def __init__(self, folder: Path, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._file = folder / _FILE
        self._sleep = sleep

    def beat(self) -> None:
        """Give a sign of life."""
        self._file.touch()

    async def sleep(self, seconds: float) -> None:
        """Sleep, with signs of life."""
        while seconds > 0:
            self.beat()
            await self._sleep(min(seconds, _MOST_SECONDS))
            seconds -= _MOST_SECONDS
        self.beat()
