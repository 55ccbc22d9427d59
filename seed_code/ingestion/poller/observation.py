"""What a source of transactions gives, whichever protocol it speaks.

A source is an asynchronous iterator. It gives an `Observation` each time that it has looked, also when there was
nothing new, and a `Failure` each time that it could not. When it is asked for the next one, it takes the last to be
safe: only from then on are its transactions known, and not given again.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from seed_code.ingestion.transactions import Unusable, check

__all__ = ["ITEM_BYTES", "Failure", "Known", "Observation", "SetAside", "Source", "SourceFailure", "cut", "observe"]

ITEM_BYTES = 4096
"""Most of an item that is set aside, as UTF-8: enough to see what it was."""

_KNOWN = 50_000  # hashes: hours of pages, and 8 MB
_JITTER = wait_random_exponential(multiplier=0.5, max=30)


@dataclass(frozen=True)
class SetAside:
    """Something that the source gave and that is no transaction; `reason` is a sentence, `item` its text, cut."""

    reason: str
    item: str


@dataclass(frozen=True)
class Observation:
    """What the source said when it was asked.

    Attributes:
        observed_at: the source's clock, in seconds since 1970.
        transactions: that were not known yet, as `transactions.check` gives them.
        gap: whether transactions may have been missed since the observation before.
        duplicates: how many were known already.
        newest: the latest time of any transaction in the answer, known or not; None when it held none.
    """

    observed_at: int
    transactions: list[dict[str, Any]]
    gap: bool = False
    duplicates: int = 0
    newest: int | None = None
    set_aside: tuple[SetAside, ...] = ()


@dataclass(frozen=True)
class Failure:
    """That the source could not be asked; `observed_at` is its clock when it said so itself."""

    reason: str
    observed_at: int | None = None
    set_aside: tuple[SetAside, ...] = ()


class SourceFailure(Exception):
    """An answer that is none. The message is the reason.

    Attributes:
        observed_at: the source's clock, in seconds since 1970; None when it said nothing.
        retry_after: seconds that the source wants to be left alone for; None: it is to be asked again at once.
        item: what came instead of an answer, for people to look at.
    """

    def __init__(
        self, reason: str, *, observed_at: int | None = None, retry_after: float | None = 0.0, item: str | None = None
    ) -> None:
        super().__init__(reason)
        self.observed_at = observed_at
        self.retry_after = retry_after
        self.item = item


class Known:
    """The transactions that were handed on, by hash: the latest of them, so that it does not grow."""

    def __init__(self, most: int = _KNOWN) -> None:
        self._most = most
        self._hashes: dict[str, None] = {}  # in the order in which they came

    def __contains__(self, name: str) -> bool:
        return name in self._hashes

    def add(self, names: Iterable[str]) -> None:
        """Know these, and forget the oldest when there are too many."""
        self._hashes.update(dict.fromkeys(names))
        for name in list(islice(self._hashes, max(len(self._hashes) - self._most, 0))):
            del self._hashes[name]


class Source(ABC):
    """Asks again and again, and waits ever longer, at random, while that fails."""

    def __init__(self, sleep: Callable[[float], Awaitable[None]], least_seconds: float) -> None:
        """least_seconds: between two tries, whatever chance says."""
        self._sleep = sleep
        self._least_seconds = least_seconds
        self.known = Known()

    @abstractmethod
    async def ask(self) -> Observation:
        """The next observation, when it is time for one. Raises SourceFailure."""

    def resume(self, hashes: Collection[str]) -> None:
        """Begin where another process was cut off, which handed on these transactions; none: there was no other."""
        self.known.add(hashes)

    async def close(self) -> None:  # noqa: B027 (a source need not hold anything open)
        """Let go of what it holds open."""

    async def __aiter__(self) -> AsyncIterator[Observation | Failure]:
        retrying = retry_if_exception_type(SourceFailure)
        while True:
            async for attempt in AsyncRetrying(retry=retrying, wait=self._wait, sleep=self._sleep):
                with attempt:
                    observation = await self.ask()
                if isinstance(failure := _exception(attempt.retry_state), SourceFailure):
                    failed = self._failed(failure)
                    yield failed
                    self.known.add(map(_key, failed.set_aside))
            yield observation
            self.known.add(transaction["hash"] for transaction in observation.transactions)
            self.known.add(map(_key, observation.set_aside))

    def _wait(self, state: RetryCallState) -> float:
        failure = _exception(state)
        asked = failure.retry_after if isinstance(failure, SourceFailure) else 0.0
        return self._least_seconds if asked is None else max(self._least_seconds, asked, _JITTER(state))

    def _failed(self, failure: SourceFailure) -> Failure:
        found = None if failure.item is None else SetAside(str(failure), cut(failure.item))
        # The page that says sorry is the same for hours: one of them is enough to look at.
        aside = () if found is None or _key(found) in self.known else (found,)
        return Failure(str(failure), failure.observed_at, aside)


def observe(items: Iterable[object], observed_at: int, known: Known) -> Observation:
    """Sort what an answer holds: new transactions, known ones, and what is no transaction, which is set aside once.

    `gap` is left false: what a gap is, the protocol says.
    """
    fresh: dict[str, dict[str, Any]] = {}
    aside: list[SetAside] = []
    duplicates, newest = 0, None
    for item in items:
        try:
            transaction = check(item, observed_at)
        except Unusable as error:
            found = SetAside(str(error), cut(_text(item)))
            if _key(found) not in known:  # it stays on the source's page for a while
                aside.append(found)
            continue
        newest = transaction["time"] if newest is None else max(newest, transaction["time"])
        if transaction["hash"] in known:
            duplicates += 1
        else:
            fresh.setdefault(transaction["hash"], transaction)
    return Observation(observed_at, list(fresh.values()), False, duplicates, newest, tuple(aside))


def cut(text: str) -> str:
    """A text's beginning, at most `ITEM_BYTES` as UTF-8, which can be written as UTF-8 whatever it was."""
    return text.encode("utf-8", "replace")[:ITEM_BYTES].decode("utf-8", "ignore")


def _exception(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _text(item: object) -> str:
    try:
        return json.dumps(item, separators=(",", ":"), ensure_ascii=False)
    except (ValueError, RecursionError):
        return f"{type(item).__name__}, which JSON cannot hold"


def _key(found: SetAside) -> str:
    """What something set aside is known by; no hash of a transaction has a colon."""
    return f"aside:{hashlib.sha256(found.item.encode()).hexdigest()[:32]}"
