"""What the poller's tests share: a clock that only sleeps move, transactions, and a source that follows a script."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from email.utils import formatdate
from typing import Any

from seed_code.ingestion.poller.observation import Observation, Source

NOW = 1_795_000_000


class Time:
    """A clock; who sleeps moves it, and lets others work."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


def tx(number: int, time: int = NOW, fee: int | None = 1000, **more: Any) -> dict[str, Any]:
    """A transaction of the API's shape, as far as it matters."""
    return {"hash": f"{number:064x}", "ver": 2, "time": time, "fee": fee, "inputs": [], "out": [], **more}


def date(seconds: int = NOW) -> dict[str, str]:
    """The Date header of an answer."""
    return {"Date": formatdate(seconds, usegmt=True)}


async def first(source: Source, until: int | Callable[[list[Any]], bool]) -> list[Any]:
    """What a source gives, so many times or until that is enough."""
    enough = until if callable(until) else lambda seen: len(seen) == until
    seen: list[Any] = []
    async for one in source:
        seen.append(one)
        if enough(seen):
            break
    await source.close()
    return seen


class Script(Source):
    """Gives what it was told to, then nothing more."""

    def __init__(self, observations: Iterable[Observation | Exception]) -> None:
        super().__init__(Time().sleep, 0.0)
        self._left = list(observations)
        self.closed = False

    async def ask(self) -> Observation:
        if not self._left:
            await asyncio.Event().wait()
        found = self._left.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    async def close(self) -> None:
        self.closed = True


class Bus:
    """PutEvents: takes entries, or fails as it was told to, one plan a request."""

    def __init__(self, *plans: Any) -> None:
        self.plans = list(plans)
        self.requests: list[list[dict[str, str]]] = []
        self.taken: list[dict[str, str]] = []

    def __call__(self, batch: list[dict[str, str]]) -> list[dict[str, Any]]:
        self.requests.append(batch)
        plan = self.plans.pop(0) if self.plans else {}
        if isinstance(plan, Exception):
            raise plan
        if callable(plan):
            plan = plan(batch)
        results: list[dict[str, Any]] = []
        for at, entry in enumerate(batch):
            if code := plan.get(at):
                results.append({"ErrorCode": code, "ErrorMessage": "as told"})
            else:
                self.taken.append(entry)
                results.append({"EventId": f"{len(self.taken)}"})
        return results
