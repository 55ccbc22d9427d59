"""One lane of a shard: batch after batch of its records, in their order, each handled before the next is begun.

    read ──> (a whole batch, or the window over?) ──> invoke ──> keep the position ──> again, until none is left

A batch that fails is tried again as it was, or in halves, and holds up all that follows; when it is given up the
destination on failure is told, and the lane goes on. There is a thread while there is something to do, and none else.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import takewhile

from localcloud.context import Context
from localcloud.errors import ServiceError
from localcloud.events.patterns import Pattern
from localcloud.functions import batches
from localcloud.functions.batches import Batch
from localcloud.functions.destinations import Destinations
from localcloud.functions.functions import Document, Functions
from localcloud.functions.invocation import Invoker, Outcome
from localcloud.functions.poller import failures
from localcloud.functions.positions import Positions
from localcloud.kinesis.records import Record
from localcloud.kinesis.shards import Shard, position_of, sequence_number
from localcloud.kinesis.streams import Streams, milliseconds
from localcloud.timetable import Entry

_LOG = logging.getLogger(__name__)
# The first try after a failure comes soon, the following ones later and later.
_FIRST_AGAIN_SECONDS, _LAST_AGAIN_SECONDS = 0.25, 60.0
_READ_RECORDS, _READ_BYTES = 1_000, 6 * 1024 * 1024


@dataclass(frozen=True)
class Surroundings:
    """What all lanes use."""

    context: Context
    streams: Streams
    functions: Functions
    invoker: Invoker
    destinations: Destinations
    closing: threading.Event


@dataclass(eq=False)
class Source:
    """An enabled mapping at work."""

    document: Document
    report: Callable[[Source, str], None]
    """Takes how the last batch went, as `OK`."""
    ended: Callable[[Source], None]
    """Called when a lane stops, whether there is more to come or not."""
    patterns: Sequence[Pattern] = ()
    positions: Positions | None = None
    """Not before the mapping begins: where it begins depends on how far it was before it was changed."""
    lanes: dict[tuple[int, int], Lane] = field(default_factory=dict)
    table: int = 0
    """Which stream of that name it was that was read."""
    done: set[int] = field(default_factory=set)
    """Closed shards of which all is handled."""
    begun: bool = False
    running: int = 0
    dropped: bool = False
    deleted: bool = False
    following: Source | None = None
    """The mapping as it was changed, which begins when the last batch of this one has ended."""
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def stream_arn(self) -> str:
        return str(self.document["EventSourceArn"])


class Lane:
    """Records of one shard, handled in their order. `wake` may be called from any thread."""

    def __init__(self, surroundings: Surroundings, source: Source, shard: int, number: int) -> None:
        assert source.positions is not None, "the mapping has not begun"
        self._with, self._source, self._shard, self._number = surroundings, source, shard, number
        self._positions = source.positions
        self.position = source.positions.get(shard, number)
        # Where batches end that are tried again: the innermost half last.
        self._ends: list[int] = []
        self._failed, self._refused = 0, 0
        self._window: Entry | None = None
        self._window_is_over = False
        self._retry: Entry | None = None
        self._runs = self._again = False
        self.thread: threading.Thread | None = None

    def wake(self) -> None:
        """There may be something to do. The clock waits for it from here on."""
        with self._source.lock:
            self._again = True
            if self._runs or self._retry is not None or not self._may_go_on():
                return
            self._runs = True
            self._source.running += 1
            with ExitStack() as stack:
                stack.enter_context(self._with.context.timetable.working())
                work = stack.pop_all()
            self.thread = threading.Thread(target=self._run, args=(work,), name="stream-batches", daemon=True)
            self.thread.start()

    def is_done(self, shard: Shard) -> bool:
        """Whether the shard is closed, and all of it is handled."""
        if shard.is_open:
            return False
        stream = self._with.streams.named(self._source.stream_arn)
        return not self._with.streams.has_more(stream, self.position, shard.number)

    def cancel(self) -> None:
        """Let nothing begin by itself any more."""
        for entry in (self._window, self._retry):
            if entry is not None:
                entry.cancel()

    def _run(self, work: ExitStack) -> None:
        with work:
            try:
                self._handle_all()
            except Exception:  # a bug: the other lanes go on all the same
                _LOG.exception("the stream %s", self._source.stream_arn)
            finally:
                with self._source.lock:
                    self._runs = False
                    self._source.running -= 1
                # While the clock still waits for it: the shard's children may begin now.
                self._source.ended(self._source)

    def _handle_all(self) -> None:
        while True:
            while self._may_go_on() and self._handle_next():
                pass
            with self._source.lock:
                if not self._again or self._retry is not None or not self._may_go_on():
                    # Under the lock: who wakes it from now on begins another thread.
                    self._runs = False
                    return
                self._again = False

    def _may_go_on(self) -> bool:
        return not (self._with.closing.is_set() or self._source.dropped)

    # one batch -----------------------------------------------------------------------------------------------------

    def _handle_next(self) -> bool:
        """Handle the next batch; whether there may be another one now."""
        self._again = False
        try:
            role = self._with.functions.named(self._source.document["FunctionArn"])["Role"]
            # Lambda reads a stream with the rights of the function's role.
            self._with.context.authority.check(role, "kinesis:GetRecords", self._source.stream_arn)
            batch = self._next()
        except ServiceError as error:
            self._source.report(self._source, f"PROBLEM: {error.message}")
            return self._again_later()
        if not batch.records:
            return self._passed(batch.end)
        if old := self._too_old(batch.records):
            self._give_up(old, batches.TOO_OLD, role, None)
            return self._passed(old[-1].position)
        if not batch.full and not self._ends and self._is_to_wait():
            return False
        self._stop_waiting()
        return self._invoke(batch, role)

    def _next(self) -> Batch:
        """The records of this lane that are next."""
        document, end = self._source.document, self._ends[-1] if self._ends else None
        lanes, most = document["ParallelizationFactor"], document["BatchSize"]
        found: list[Record] = []
        after, size = self.position, 0
        while True:
            page = self._with.streams.read(
                self._source.stream_arn,
                after,
                shard=self._shard,
                limit=min(most, _READ_RECORDS),
                most_bytes=_READ_BYTES,
            )
            for record in page:
                if end is not None and record.position > end:
                    return Batch(found, end, True)
                if batches.lane_of(record.partition_key, lanes) == self._number and self._is_wanted(record):
                    size += batches.event_bytes(record)
                    if found and not batches.fits(size):
                        return Batch(found, after, True)
                    found.append(record)
                after = record.position
                if len(found) == most:
                    return Batch(found, after, True)
            if not page:
                return Batch(found, after if end is None else max(after, end), False)

    def _is_wanted(self, record: Record) -> bool:
        return not self._source.patterns or batches.is_wanted(record, self._source.patterns)

    def _too_old(self, records: Sequence[Record]) -> list[Record]:
        most = self._source.document["MaximumRecordAgeInSeconds"]
        if most < 0:
            return []
        oldest = milliseconds(self._with.context.clock.now()) - most * 1000
        return list(takewhile(lambda record: record.arrived_ms < oldest, records))

    def _is_to_wait(self) -> bool:
        """Whether the batch may become longer: the window begins with the first record that is seen."""
        seconds = self._source.document["MaximumBatchingWindowInSeconds"]
        with self._source.lock:
            if not seconds or self._window_is_over:
                return False
            if self._window is None:
                timetable = self._with.context.timetable
                self._window = timetable.after(seconds, self._end_window, "the end of a batching window")
            return True

    def _end_window(self) -> None:
        with self._source.lock:
            self._window, self._window_is_over = None, True
        self.wake()

    def _stop_waiting(self) -> None:
        with self._source.lock:
            if self._window is not None:
                self._window.cancel()
            self._window, self._window_is_over = None, False

    def _invoke(self, batch: Batch, role: str) -> bool:
        """Give a batch to the function; whether there may be another one now."""
        document, context = self._source.document, self._with.context
        age = milliseconds(context.clock.now()) - batch.records[-1].arrived_ms
        self._with.invoker.measure(document["FunctionName"], ("IteratorAge", age, "Milliseconds"))
        event = batches.payload(batch.records, self._source.stream_arn, role, context.region)
        try:
            outcome = self._with.invoker.invoke(document["FunctionName"], event)
        except ServiceError as error:
            # It was not called at all: that uses up no retry, unless it never can be.
            if self._with.closing.is_set():
                return False
            self._source.report(self._source, f"PROBLEM: {error.message}")
            if error.code != "RequestTooLargeException":
                return self._again_later(batch.end)
            return self._failed_at(batch, 0, role, None)
        self._refused = 0
        first = self._first_failure(batch, outcome)
        if first is None:
            self._source.report(self._source, "OK")
            return self._passed(batch.end)
        if self._with.closing.is_set():
            # Its process was killed, most probably: the next localcloud begins with this batch.
            return False
        return self._failed_at(batch, first, role, outcome)

    def _first_failure(self, batch: Batch, outcome: Outcome) -> int | None:
        """Which of the records is the first that is not handled; None if all are."""
        if outcome.error is not None:
            self._source.report(self._source, "PROBLEM: Function call failed")
            return 0
        if "ReportBatchItemFailures" not in self._source.document.get("FunctionResponseTypes", []):
            return None
        numbers = {sequence_number(record.position) for record in batch.records}
        reported = failures(outcome.payload, numbers)
        if reported is None:
            self._source.report(self._source, "PROBLEM: Function response is not a valid list of batchItemFailures")
            return 0
        if not reported:
            return None
        lowest = min(map(position_of, reported))
        return next(number for number, record in enumerate(batch.records) if record.position == lowest)

    def _failed_at(self, batch: Batch, first: int, role: str, outcome: Outcome | None) -> bool:
        """From the record `first` on the batch is not handled; whether to try again now."""
        document, left = self._source.document, batch.records[first:]
        if not self._ends or self._ends[-1] != batch.end:
            self._ends.append(batch.end)
        bisects = document["BisectBatchOnFunctionError"]
        if first:
            self._keep(left[0].position - 1)
            self._failed = 0
            if bisects:
                # The batch is cut where it failed: that uses up no retry.
                return True
        elif bisects and len(left) > 1:
            # Nor does this.
            self._ends.append(left[len(left) // 2 - 1].position)
            return True
        self._failed += 1
        if 0 <= document["MaximumRetryAttempts"] < self._failed:
            self._give_up(left, batches.RETRIES_EXHAUSTED, role, outcome)
            return self._passed(batch.end)
        return self._again_later()

    def _give_up(self, records: Sequence[Record], condition: str, role: str, outcome: Outcome | None) -> None:
        target = self._source.document.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
        _LOG.warning(
            "%s gives up %d records of the shard %d of %s: %s",
            self._source.document["FunctionName"], len(records), self._shard, self._source.stream_arn, condition,
        )  # fmt: skip
        if target:
            request_id = outcome.request_id if outcome is not None else str(uuid.uuid4())
            now = self._with.context.clock.now()
            told = batches.given_up(self._source.document, records, condition, self._failed, request_id, now, outcome)
            self._with.destinations.send(target, role, told)

    def _passed(self, end: int) -> bool:
        """All up to a position is done with; whether there was anything."""
        before = self.position
        while self._ends and self._ends[-1] <= end:
            self._ends.pop()
        self._failed = 0
        if end > before:
            self._keep(end)
        return end > before

    def _keep(self, position: int) -> None:
        if not self._source.deleted:
            self._positions.put(self._shard, self._number, position)
        self.position = position

    def _again_later(self, end: int | None = None) -> bool:
        """Try the same batch once more after a while."""
        if end is not None and (not self._ends or self._ends[-1] != end):
            self._ends.append(end)
        self._refused += 1
        tries = max(self._failed, self._refused)
        seconds = min(_FIRST_AGAIN_SECONDS * 2 ** min(tries - 1, 16), _LAST_AGAIN_SECONDS)
        with self._source.lock:
            if self._may_go_on():
                timetable = self._with.context.timetable
                self._retry = timetable.after(seconds, self._try_again, "another try of a batch")
        return False

    def _try_again(self) -> None:
        with self._source.lock:
            self._retry = None
        self.wake()
