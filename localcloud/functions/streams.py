"""From Kinesis streams to functions: a record that is put is in its function's hands within milliseconds, at no cost
while nothing is put.

Who puts records tells so (`Streams.on_put`), and the lanes of the shards that have some begin on threads of their own.
A shard begins when all is handled of the shards that were split or merged into it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

from localcloud.context import Context
from localcloud.errors import ServiceError
from localcloud.events.patterns import Pattern
from localcloud.functions import positions
from localcloud.functions.destinations import Destinations
from localcloud.functions.functions import Document, Functions
from localcloud.functions.invocation import Invoker
from localcloud.functions.lanes import Lane, Source, Surroundings
from localcloud.functions.poller import with_result
from localcloud.functions.positions import Positions
from localcloud.kinesis.shards import Shard, Stream
from localcloud.kinesis.streams import Streams

_LOG = logging.getLogger(__name__)
START_AFTER = "StartAfter"
"""The member of a mapping that says where in the stream it begins. No description shows it."""
# What Lambda asks of a stream before it reads it.
_ASKED = ("DescribeStream", "DescribeStreamSummary", "ListShards", "GetShardIterator")


class StreamPoller:
    """Feeds functions from streams. All methods may be called from any thread."""

    def __init__(self, context: Context, functions: Functions, invoker: Invoker, streams: Streams) -> None:
        self._context, self._functions, self._streams = context, functions, streams
        self._closing = threading.Event()
        self._with = Surroundings(context, streams, functions, invoker, Destinations(context), self._closing)
        self._sources: dict[str, Source] = {}
        self._ending: set[Source] = set()
        self._lock = threading.Lock()
        streams.on_put(self._told)

    def set(self, document: Document) -> None:
        """A mapping is new, or has changed: a batch under way is handled as it was begun, and then it goes on."""
        source = self._source(document)
        with self._lock:
            before = self._sources.get(document["UUID"])
            self._sources[document["UUID"]] = source
        if before is not None and self._drop(before, source):
            return
        self._begin(source)

    def drop(self, identifier: str) -> None:
        """A mapping is gone."""
        with self._lock:
            source = self._sources.pop(identifier, None)
        if source is not None:
            source.deleted = True
            self._drop(source, None)
        positions.forget(self._context.store, identifier)

    def close(self) -> None:
        """Begin nothing more."""
        self._closing.set()
        for source in self._all():
            self._cancel(source)

    def join(self) -> None:
        """Wait for the batches under way."""
        for source in self._all():
            for lane in list(source.lanes.values()):
                if lane.thread is not None:
                    lane.thread.join()

    def _all(self) -> list[Source]:
        with self._lock:
            return [*self._sources.values(), *self._ending]

    def _drop(self, source: Source, following: Source | None) -> bool:
        """Let a source begin no more batches; whether one is under way, at the end of which `following` begins."""
        with source.lock:
            source.dropped = True
            source.following = following
            under_way = source.running > 0 or not source.begun
            if under_way:
                self._ending.add(source)
        self._cancel(source)
        return under_way

    def _cancel(self, source: Source) -> None:
        with source.lock:
            for lane in source.lanes.values():
                lane.cancel()

    def _source(self, document: Document) -> Source:
        filters = document.get("FilterCriteria", {}).get("Filters", [])
        return Source(
            document=document,
            report=self._report,
            ended=self._ended,
            patterns=[Pattern.parse(entry["Pattern"]) for entry in filters],
            dropped=document["State"] != "Enabled",
        )

    def _begin(self, source: Source) -> None:
        """Look at a stream for the first time."""
        document = source.document
        with source.lock:
            source.begun = True
            if source.dropped:
                # Disabled, or changed once more while the last batch of the one before was under way.
                self._end(source)
                return
            start, lanes = document[START_AFTER], document["ParallelizationFactor"]
            source.positions = Positions(self._context.store, document["UUID"], start, lanes)
        try:
            role = self._functions.named(document["FunctionArn"])["Role"]
            for operation in _ASKED:
                self._context.authority.check(role, f"kinesis:{operation}", source.stream_arn)
        except ServiceError as error:
            self._report(source, f"PROBLEM: {error.message}")
        self._look(source)

    def _told(self, stream: Stream) -> None:
        """Records were put, or shards have changed."""
        for source in self._all():
            if source.stream_arn == stream.arn:
                self._look(source)

    def _look(self, source: Source) -> None:
        """Wake the lanes that have something to read."""
        if source.dropped or self._closing.is_set():
            return
        with source.lock:
            if source.positions is None:
                return
            try:
                stream = self._streams.named(source.stream_arn)
                if source.table != stream.table:
                    # Another stream of the name, whose shards are other ones.
                    source.table, source.done = stream.table, set()
                self._find_done(source, stream)
                for shard in stream.shards:
                    if shard.number not in source.done and source.done.issuperset(shard.parents):
                        for lane in self._lanes(source, shard):
                            if self._streams.has_more(stream, lane.position, shard.number):
                                lane.wake()
            except ServiceError as error:
                self._report(source, f"PROBLEM: {error.message}")

    def _ended(self, source: Source) -> None:
        """A lane has stopped."""
        with source.lock:
            if source.dropped:
                if not source.running:
                    self._end(source)
                return
        if not self._closing.is_set() and self._has_new_shards(source):
            self._look(source)

    def _end(self, source: Source) -> None:
        """Nothing of a dropped source is under way any more."""
        with self._lock:
            self._ending.discard(source)
        following, source.following = source.following, None
        if following is not None:
            self._begin(following)

    def _has_new_shards(self, source: Source) -> bool:
        with source.lock:
            try:
                stream = self._streams.named(source.stream_arn)
                return self._find_done(source, stream)
            except ServiceError:
                return False

    def _find_done(self, source: Source, stream: Stream) -> bool:
        """Note which closed shards are handled to their end; whether there are some that were not before."""
        new = False
        for shard in stream.shards:
            ready = shard.number not in source.done and source.done.issuperset(shard.parents)
            if ready and not shard.is_open and all(lane.is_done(shard) for lane in self._lanes(source, shard)):
                source.done.add(shard.number)
                new = True
        return new

    def _lanes(self, source: Source, shard: Shard) -> Iterator[Lane]:
        for number in range(source.document["ParallelizationFactor"]):
            key = shard.number, number
            if key not in source.lanes:
                source.lanes[key] = Lane(self._with, source, *key)
            yield source.lanes[key]

    def _report(self, source: Source, result: str) -> None:
        try:
            source.document = with_result(self._context.store, source.document, result)
        except KeyError:
            source.dropped = source.deleted = True
