"""The poller's loop: three tasks beside each other, until one ends or someone says stop.

    polling      asks the source, and puts what it says into the spool
    publishing   empties the spool
    telling      counts, once a minute

At the end the source is asked no more and the spool is emptied, as far as there is time: what is left stays on disk.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from botocore.exceptions import BotoCoreError
from botocore.exceptions import ClientError as AwsError

from seed_code.ingestion.poller import entries
from seed_code.ingestion.poller.alive import Alive
from seed_code.ingestion.poller.observation import Failure, Observation, Source
from seed_code.ingestion.poller.publisher import Publisher
from seed_code.ingestion.poller.spool import Spool
from seed_code.ingestion.poller.tally import Tally

__all__ = ["Poller"]

_TELL_SECONDS = 60.0
_TOLD_AFTER = 3  # failures of the source in a row: one is everyday
# Together less than 10 seconds: a container has 30 from SIGTERM to SIGKILL, unless its definition says less.
_DRAIN_SECONDS = 6.0
_LAST_WORDS_SECONDS = 2.0

log = logging.getLogger(__name__)


class Poller:
    """All of it, around a source and a publisher that share a spool and a tally."""

    def __init__(
        self,
        source: Source,
        publisher: Publisher,
        spool: Spool,
        tally: Tally,
        alive: Alive,
        tell: Callable[[list[dict[str, Any]]], None],
        project: str,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        drain_seconds: float = _DRAIN_SECONDS,
    ) -> None:
        """tell: PutMetricData, from its MetricData. Raises botocore's errors. It is called in a thread."""
        self._source = source
        self._publisher = publisher
        self._spool = spool
        self._tally = tally
        self._alive = alive
        self._tell = tell
        self._project = project
        self._sleep = sleep
        self._monotonic = monotonic
        self._drain_seconds = drain_seconds
        self._said: tuple[int, float] | None = None  # the source's clock, and this one's when it said so
        self._failing_since: float | None = None
        self._failures = 0  # of the source, in a row

    async def run(self, stop: asyncio.Event) -> None:
        """Poll and publish until `stop` is set. Raises what ended a task before."""
        self._alive.beat()
        self._source.resume(self._spool.known())
        self._publisher.wake()  # for what an earlier process left
        tasks = [asyncio.create_task(work()) for work in (self._poll, self._publisher.run, self._tell_each_minute)]
        ended = [*tasks, asyncio.create_task(stop.wait())]
        try:
            await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
            failed = [task for task in tasks if task.done()]
        finally:
            for task in ended:
                task.cancel()
            await asyncio.gather(*ended, return_exceptions=True)
        await self._end()
        for task in failed:
            task.result()

    async def _poll(self) -> None:
        async with contextlib.aclosing(aiter(self._source)) as seen_one_by_one:  # type: ignore[type-var]
            async for seen in seen_one_by_one:
                self._take(seen)
                self._alive.beat()

    def _take(self, seen: Observation | Failure) -> None:
        """Put what the source said on disk; only then it counts as known."""
        if seen.observed_at is not None:
            self._said = (seen.observed_at, self._monotonic())
        fresh = seen.transactions if isinstance(seen, Observation) else []
        made = entries.of_observation(seen) if isinstance(seen, Observation) else []
        made += entries.of_set_aside(seen.set_aside, self._now())
        if dropped := self._spool.append(made, (transaction["hash"] for transaction in fresh)):
            self._tally.count("Dropped", dropped)
            if self._tally.counts["Dropped"] == dropped:  # the first of this minute
                log.error("the spool is full; of its oldest events %d are given up, and more may be", dropped)
        self._tally.observed(seen)
        self._note(seen)
        self._publisher.wake()

    def _note(self, seen: Observation | Failure) -> None:
        """Log what changed, not what goes on."""
        if isinstance(seen, Failure):
            if self._failing_since is None:
                self._failing_since = self._monotonic()
            self._failures += 1
            if self._failures == _TOLD_AFTER:
                log.warning("the source fails: %s", seen.reason)
            return
        if self._failing_since is not None and self._failures >= _TOLD_AFTER:
            seconds = self._monotonic() - self._failing_since
            log.warning("the source answers again, after %.0f seconds", seconds)
        self._failing_since, self._failures = None, 0
        if seen.gap:
            log.warning("a gap: nothing in the answer of %d was known; transactions may be missed", seen.observed_at)
        if seen.set_aside and self._tally.counts["SetAside"] == len(seen.set_aside):  # the first of this minute
            log.warning("set aside %d of an answer; the first: %s", len(seen.set_aside), seen.set_aside[0].reason)

    def _now(self) -> int | None:
        """The source's clock, by when it last said what it is; None before."""
        return None if self._said is None else int(self._said[0] + self._monotonic() - self._said[1])

    async def _tell_each_minute(self) -> None:
        while True:
            await self._sleep(_TELL_SECONDS)
            await self._tell_now()

    async def _tell_now(self) -> None:
        taken = self._tally.empty()
        waiting = len(self._spool)
        log.info("counted", extra={"fields": {**taken.counts, "SpooledEntries": waiting}})
        try:
            await asyncio.to_thread(self._tell, taken.metrics(self._project, waiting, self._now()))
        except (AwsError, BotoCoreError) as error:
            self._tally.add(taken)
            log.warning("the counts could not be told, and are kept: %s", error)
        except asyncio.CancelledError:
            self._tally.add(taken)  # they may have been told: twice is better than never
            raise

    async def _end(self) -> None:
        try:
            async with asyncio.timeout(self._drain_seconds):
                await self._publisher.drain()
        except TimeoutError:
            log.error("%d events stay in the spool; they were not taken in time", len(self._spool))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                await self._tell_now()
        await self._source.close()
