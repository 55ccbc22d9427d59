"""The source's pages of unconfirmed transactions: GET /unconfirmed-transactions?format=json.

A page is `{"txs": [...]}`, the newest first. The answer's Date header is what time it is: the poller's own clock
decides nothing, except that a Date which leaps must be said twice (dates.py). A page that shares no transaction with
those before is a gap; the first of all cannot be one.

Source: "Blockchain Data API" of blockchain.com (unconfirmed transactions); RFC 9110 for Date and Retry-After.
"""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from seed_code.ingestion.poller.dates import Dates, Leap
from seed_code.ingestion.poller.observation import ITEM_BYTES, Observation, Source, SourceFailure, observe
from seed_code.ingestion.poller.pace import Pace

__all__ = ["Pages", "connected", "seconds_of"]

PATH = "/unconfirmed-transactions"
_TOTAL_SECONDS = 20.0  # a whole answer: one that drips would hold up the next
_TIMEOUT = httpx.Timeout(10.0, connect=5.0)
_MOST_BYTES = 32 * 1024 * 1024  # fifty times a usual page; more is none, and would not fit the container
_MOST_WAIT_SECONDS = 900.0  # that a Retry-After is obeyed for


def connected(url: str) -> httpx.AsyncClient:
    """A client for the API at `url`."""
    return httpx.AsyncClient(base_url=url, timeout=_TIMEOUT, headers={"Accept": "application/json"})


class Pages(Source):
    """Asks for a page as often as `Pace` says."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        pace: Pace,
        *,
        sleep: Callable[[float], Awaitable[None]],
        monotonic: Callable[[], float],
    ) -> None:
        super().__init__(sleep, pace.least_seconds)
        self._client = client
        self._pace = pace
        self._monotonic = monotonic
        self._dates = Dates(monotonic)
        self._doubted: list[Any] = []  # the items of a page whose date was not believed
        self._asked_at: float | None = None
        self._due_at = -math.inf
        self._begun = False

    async def ask(self) -> Observation:
        """A page, when it is due. Raises SourceFailure for any other answer, and for none."""
        if (wait := self._due_at - self._monotonic()) > 0:
            await self._sleep(wait)
        now = self._monotonic()
        observed_at, items = await self._page()
        seen = observe(items, observed_at, self.known)
        size = len(seen.transactions) + seen.duplicates
        since = None if self._asked_at is None else now - self._asked_at
        self._due_at = now + self._pace.interval(len(seen.transactions), size, since)
        self._asked_at = now
        gap = self._begun and bool(seen.transactions) and not seen.duplicates
        self._begun = self._begun or size > 0
        return replace(seen, gap=gap)

    def resume(self, hashes: Collection[str]) -> None:
        """Begin where another process was cut off: a first page that shares nothing with its transactions is a gap."""
        super().resume(hashes)
        self._begun = bool(hashes)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _page(self) -> tuple[int, list[Any]]:
        """The source's clock and the items of a page."""
        try:
            async with (
                asyncio.timeout(_TOTAL_SECONDS),
                self._client.stream("GET", PATH, params={"format": "json"}) as response,
            ):
                observed_at = seconds_of(response.headers.get("date"))
                if response.status_code != 200:
                    raise _refused(response, observed_at)
                body = await _body(response, observed_at)
        except TimeoutError as error:
            raise SourceFailure(f"GET {PATH} was not answered within {_TOTAL_SECONDS:.0f} seconds") from error
        except httpx.HTTPError as error:
            raise SourceFailure(f"GET {PATH} failed: {type(error).__name__}: {error}") from error
        if observed_at is None:
            raise SourceFailure(f"GET {PATH}: the answer has no Date header, by which to tell what time it is")
        items = _items(body, observed_at)
        try:
            self._dates.check(observed_at)
        except Leap as error:
            # What is on this page is judged by the next one's date.
            self._doubted = items
            raise SourceFailure(f"GET {PATH}: {error}", retry_after=None) from error
        items, self._doubted = items + self._doubted, []
        return observed_at, items


async def _body(response: httpx.Response, observed_at: int | None) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise SourceFailure(f"the page has more than {_MOST_BYTES} bytes", observed_at=observed_at)
    return bytes(body)


def _items(body: bytes, observed_at: int) -> list[Any]:
    try:
        page = json.loads(body, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise _garbage(f"the page is no JSON ({error})", body, observed_at) from error
    if not isinstance(page, dict) or not isinstance(page.get("txs"), list):
        raise _garbage("the page has no list `txs`", body, observed_at)
    return list(page["txs"])


def _garbage(reason: str, body: bytes, observed_at: int) -> SourceFailure:
    return SourceFailure(reason, observed_at=observed_at, item=body[:ITEM_BYTES].decode("utf-8", "replace"))


def _refused(response: httpx.Response, observed_at: int | None) -> SourceFailure:
    wait = _retry_after(response.headers.get("retry-after"), observed_at)
    asked = f"; it asks for {wait:.0f} seconds without requests" if wait else ""
    return SourceFailure(
        f"GET {PATH} was answered with status {response.status_code}, expected 200{asked}",
        observed_at=observed_at,
        retry_after=wait,
    )


def _retry_after(value: str | None, observed_at: int | None) -> float:
    """Seconds to wait: the header gives them, or a date by the source's clock. 0 for what is neither."""
    if value is None:
        return 0.0
    if value.strip().isdecimal():
        return min(float(value), _MOST_WAIT_SECONDS)
    until = seconds_of(value)
    return 0.0 if until is None or observed_at is None else min(max(until - observed_at, 0.0), _MOST_WAIT_SECONDS)


def seconds_of(date: str | None) -> int | None:
    """An HTTP date in whole seconds since 1970; None when there is none, or it is no date."""
    if not date:
        return None
    try:
        return int(parsedate_to_datetime(date).timestamp())
    except (ValueError, OverflowError):
        return None


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is too large for a number")
    return number
