"""What Firehose streams read from Kinesis: at once when something is put, from where they are.

A stream begins with what is put after it was made (`LATEST`). How far it has come is kept together with what it has
taken, so that a kill in between neither loses nor repeats a record.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from localcloud.cloudwatch.worker import Worker
from localcloud.context import Context
from localcloud.errors import ServiceError
from localcloud.firehose.buffers import Buffers
from localcloud.firehose.delivery import Deliveries, Stream
from localcloud.kinesis.shards import Stream as KinesisStream
from localcloud.kinesis.streams import Streams

_AT_ONCE = 2_000


class Source:
    """Reads Kinesis streams. All methods may be called from any thread.

    readers: the Firehose streams that read a Kinesis stream, by its ARN.
    """

    def __init__(
        self,
        context: Context,
        kinesis: Streams,
        buffers: Buffers,
        deliveries: Deliveries,
        readers: Callable[[str], Iterable[Stream]],
    ) -> None:
        self._context, self._kinesis, self._buffers, self._deliveries = context, kinesis, buffers, deliveries
        self._readers = readers
        self._worker = Worker("firehose", context.timetable)
        # Streams that are going to be read anyway.
        self._waiting: set[str] = set()
        self._lock = threading.Lock()
        kinesis.on_put(self._was_put)

    def start(self, arns: Sequence[str]) -> None:
        """Begin to read, with what has come to these Kinesis streams meanwhile."""
        self._worker.start()
        for arn in arns:
            self.wake(arn)

    def stop(self) -> None:
        """End after what is being read."""
        self._worker.stop()

    def begin(self, stream: Stream, kinesis_arn: str) -> None:
        """Have a new stream read from here on. Raises ServiceError (ResourceNotFoundException) without the source."""
        self._kinesis.named(kinesis_arn)
        self._called(stream, kinesis_arn, "DescribeStream", "GetShardIterator")
        self._buffers.add(stream.arn, [], self._kinesis.latest)

    def wake(self, kinesis_arn: str) -> None:
        """There may be something to read."""
        for stream in self._readers(kinesis_arn):
            with self._lock:
                if stream.arn in self._waiting:
                    continue
                self._waiting.add(stream.arn)
            self._worker.submit(partial(self._read, stream.arn, kinesis_arn))

    def _was_put(self, stream: KinesisStream) -> None:
        self.wake(stream.arn)

    def _read(self, arn: str, kinesis_arn: str) -> None:
        """Take all that there is."""
        with self._lock:
            self._waiting.discard(arn)
        while True:
            # As it is now: it may have been changed, or deleted.
            stream = next((one for one in self._readers(kinesis_arn) if one.arn == arn), None)
            position = self._buffers.position(arn)
            if stream is None or position is None:
                return
            try:
                self._called(stream, kinesis_arn, "GetRecords")
                records = self._kinesis.read(kinesis_arn, position, limit=_AT_ONCE)
            except ServiceError as error:
                # The stream is gone; one of the same name may be made again.
                self._deliveries.log_error(stream, f"Kinesis.{error.code}", error.message)
                return
            if not records:
                return
            self._deliveries.take(
                stream, [(record.arrived_ms / 1000, record.data) for record in records], records[-1].position
            )

    def _called(self, stream: Stream, kinesis_arn: str, *operations: str) -> None:
        """What the role must be allowed: here the streams are read without calls. Raises ServiceError."""
        for operation in operations:
            self._context.authority.check(stream.destination.role_arn, f"kinesis:{operation}", kinesis_arn)
