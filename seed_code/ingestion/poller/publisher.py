"""Publishes what is in the spool, the oldest first, and takes out of it what the bus has taken.

PutEvents takes each entry for itself: what it took is not sent again, what it did not take is, with what came after.
When it takes nothing it is left alone for ever longer, at random. An entry that it will never take is sent without what
the stream does not rely on, and given up if that is refused too: what comes after must not wait for it for ever.

Source: "PutEvents" and "PutEventsResultEntry" in the Amazon EventBridge API Reference.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from botocore.exceptions import BotoCoreError
from botocore.exceptions import ClientError as AwsError
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from seed_code.ingestion.poller import entries
from seed_code.ingestion.poller.entries import Entry
from seed_code.ingestion.poller.spool import Spool
from seed_code.ingestion.poller.tally import Tally

__all__ = ["REQUEST_BYTES", "Publisher"]

REQUEST_BYTES = 1_000_000
"""Most of a request's entries together, as EventBridge counts them."""
_REQUEST_ENTRIES = 10
# Short at its longest: what is late for its minute is left out of it, and a request every few seconds burdens nobody.
_WAIT = wait_random_exponential(multiplier=0.2, max=5)
_PARTIAL_SECONDS = 0.2  # after a request of which something was taken
# Between requests while more than one waits. What is on the bus at the same time comes in any order, and an event that
# others overtake is late for its minutes: ten are some twenty seconds of the source, less than a minute is waited for.
_BACKLOG_SECONDS = 1.0
_TOLD_AFTER = 3  # failures in a row: one is everyday
_REFUSED_ENTRY = ("MalformedDetail", "InvalidArgument")
_REFUSED_REQUEST = ("ValidationException", "ValidationError", "RequestEntityTooLarge", "RequestEntityTooLargeException")

log = logging.getLogger(__name__)

Put = Callable[[list[dict[str, str]]], list[dict[str, Any]]]
"""PutEvents: a request's entries to their results. Raises botocore's errors. It is called in a thread."""


class _NothingTaken(Exception):
    """A request of which the bus took nothing; the message is why."""


class Publisher:
    """Empties the spool for as long as it runs."""

    def __init__(
        self,
        put: Put,
        bus: str,
        spool: Spool,
        tally: Tally,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._put = put
        self._bus = bus
        self._spool = spool
        self._tally = tally
        self._sleep = sleep
        self._monotonic = monotonic
        self._more = asyncio.Event()
        self._alone = False  # one entry a request, to find the one that a request is refused for
        self._failing_since: float | None = None
        self._failures = 0  # in a row
        self._under_way: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Say that there is something in the spool."""
        self._more.set()

    async def run(self) -> None:
        """Publish what is in the spool, and what comes into it, until cancelled."""
        while True:
            self._more.clear()
            await self.drain(_BACKLOG_SECONDS)
            await self._more.wait()

    async def drain(self, pause: float = 0.0) -> None:
        """Publish until the spool is empty, with a pause of so many seconds between requests as long as there is more
        than one.

        A request that is under way when this is cancelled is finished all the same, and the next call waits for it:
        its entries would be sent twice.
        """
        if self._under_way is not None:
            await asyncio.wait([self._under_way])
        while len(self._spool):
            retrying = AsyncRetrying(
                retry=retry_if_exception_type(_NothingTaken), wait=_WAIT, sleep=self._sleep, reraise=True
            )
            async for attempt in retrying:
                with attempt:
                    self._under_way = asyncio.create_task(self._publish())
                    self._under_way.add_done_callback(_looked_at)
                    await asyncio.shield(self._under_way)
            if pause and len(self._spool) > _REQUEST_ENTRIES and not self._alone:
                await self._sleep(pause)

    async def _publish(self) -> None:
        """One request, of the oldest entries. Raises _NothingTaken."""
        batch = self._spool.oldest(1 if self._alone else _REQUEST_ENTRIES, REQUEST_BYTES)
        try:
            results = await asyncio.to_thread(self._put, [entry.request(self._bus) for _, entry in batch])
        except AwsError as error:
            if _refused(error):
                self._search(batch, str(error))
                return
            raise self._failed(str(error)) from error
        except BotoCoreError as error:
            raise self._failed(str(error)) from error
        if len(results) != len(batch):
            raise self._failed(f"PutEvents gave {len(results)} results for {len(batch)} entries")
        self._alone = False
        await self._settle(batch, results)

    async def _settle(self, batch: list[tuple[int, Entry]], results: list[dict[str, Any]]) -> None:
        pairs = list(zip(batch, results, strict=True))
        self._spool.remove(row for (row, _), result in pairs if not result.get("ErrorCode"))
        refused = [pair for pair in pairs if pair[1].get("ErrorCode") in _REFUSED_ENTRY]
        for (row, entry), result in refused:
            self._refused(row, entry, f"{result['ErrorCode']}: {result.get('ErrorMessage')}")
        failed = [result for _, result in pairs if result.get("ErrorCode")]
        if failed and len(failed) == len(pairs) and not refused:
            raise self._failed(f"{failed[0]['ErrorCode']}: {failed[0].get('ErrorMessage')}")
        self._worked()
        if failed:
            await self._sleep(_PARTIAL_SECONDS)

    def _search(self, batch: list[tuple[int, Entry]], reason: str) -> None:
        """A request was refused for what is in it: one after the other, until the entry is found."""
        if len(batch) == 1:
            self._refused(*batch[0], reason)
            self._alone = False
        else:
            self._alone = True

    def _refused(self, row: int, entry: Entry, reason: str) -> None:
        smaller = entries.bare(entry)
        if smaller is not None:
            log.error("the bus refuses an entry (%s); it is sent without what the stream does not need", reason)
            self._spool.replace(row, smaller)
            return
        log.error("the bus refuses an entry (%s), which is given up: %s", reason, entry.detail[:1000])
        self._spool.remove([row])
        self._tally.count("Dropped")

    def _failed(self, reason: str) -> _NothingTaken:
        if self._failing_since is None:
            self._failing_since = self._monotonic()
        self._failures += 1
        if self._failures == _TOLD_AFTER:
            log.warning("the bus %s takes nothing (%s); events wait in the spool", self._bus, reason)
        return _NothingTaken(reason)

    def _worked(self) -> None:
        if self._failing_since is not None and self._failures >= _TOLD_AFTER:
            seconds = self._monotonic() - self._failing_since
            log.warning("the bus %s takes events again, after %.0f seconds", self._bus, seconds)
        self._failing_since, self._failures = None, 0


def _looked_at(task: asyncio.Task[None]) -> None:
    """Take notice of how a request ended, also when nobody waits for it any more."""
    if not task.cancelled():
        task.exception()


def _refused(error: AwsError) -> bool:
    """Whether a request was refused for what is in it."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status == 413 or error.response.get("Error", {}).get("Code") in _REFUSED_REQUEST
