"""From what a stream takes to objects in S3.

take ── which partition? ──> its buffer ── full, or its time is over ──> parcel ──> S3 ──> forgotten
             └── none ──> the buffer of errors                              └── failed ──> again, later and later

A buffer's time begins with its first record, by localcloud's clock; what is due stands in the timetable, so that
advancing the clock delivers it.
"""

from __future__ import annotations

import base64
import json
import logging
import threading
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from localcloud.context import Context
from localcloud.firehose import prefixes
from localcloud.firehose.buffers import Buffers, Parcel, Partition, Taken
from localcloud.firehose.destination import Destination
from localcloud.firehose.errors import METADATA_EXTRACTION_FAILED, PartitionError
from localcloud.leaf import LeafUnavailable
from localcloud.signals import Measurement
from localcloud.timetable import Entry

_LOG = logging.getLogger(__name__)
_GZIP_WINDOW = 31
_FIRST_AGAIN_SECONDS, _LAST_AGAIN_SECONDS = 5.0, 300.0
# Source: "Data delivery failure handling" and "Amazon Data Firehose quota" in the Developer Guide.
_GIVEN_UP_SECONDS = 86_400
_MOST_PARTITIONS = 500


@dataclass(frozen=True)
class Stream:
    """A stream as deliveries need it."""

    arn: str
    name: str
    version: str
    destination: Destination
    keeps: bool
    """Whether nothing of it is ever given up: its source has it only for so long, and so has Firehose."""


@dataclass
class _Open:
    """A buffer that holds something."""

    size: int
    arrived: float
    due: Entry


class Deliveries:
    """Takes records and delivers them. All methods may be called from any thread."""

    def __init__(self, context: Context, buffers: Buffers, named: Callable[[str], Stream | None]) -> None:
        """named: the stream of an ARN as it is now; None for one that is gone."""
        self._context, self._buffers, self._named = context, buffers, named
        self._open: dict[tuple[str, Partition], _Open] = {}
        self._again: dict[int, float] = {}
        self._lock = threading.RLock()
        self._closing = False

    def start(self) -> None:
        """Take up what an earlier process left."""
        for parcel in self._buffers.parcels():
            self._submit(parcel)
        with self._lock:
            for buffer in self._buffers.buffers():
                stream = self._named(buffer.stream)
                if stream is not None:
                    self._note(stream, buffer.partition, buffer.size, buffer.arrived)

    def close(self) -> None:
        """Deliver no more; what is not delivered stays in the file."""
        self._closing = True

    def take(self, stream: Stream, records: Sequence[tuple[float, bytes]], position: int | None = None) -> None:
        """Take records, each with its time of arrival (epoch seconds). They are kept when this returns.

        position: how far the source of the stream is read with them.
        """
        errors: dict[str, PartitionError] = {}
        with self._lock:
            active = {partition for arn, partition in self._open if arn == stream.arn}
            taken = [self._taken(stream, arrived, data, active, errors) for arrived, data in records]
            self._buffers.add(stream.arn, taken, position)
            for one in taken:
                self._note(stream, one.partition, len(one.data), one.arrived)
        for error in errors.values():
            self._context.timetable.at(
                self._context.clock.now(),
                partial(self.log_error, stream, error.code, str(error)),
                f"log an error of the Firehose stream {stream.name}",
            )

    def seal_all(self, stream: Stream) -> None:
        """Deliver what the stream holds, as it is configured until now."""
        with self._lock:
            for arn, partition in list(self._open):
                if arn == stream.arn:
                    self._seal(stream, partition)

    def forget(self, stream: Stream) -> None:
        """The stream is gone, and what it holds."""
        with self._lock:
            for arn, partition in list(self._open):
                if arn == stream.arn:
                    self._open.pop((arn, partition)).due.cancel()
            self._buffers.forget(stream.arn)

    def log_error(self, stream: Stream, code: str, message: str) -> None:
        """Write to the stream's log, if it has one."""
        log = stream.destination.log
        if log is None:
            return
        event = {
            "deliveryStreamARN": stream.arn,
            "destination": f"arn:aws:s3:::{stream.destination.bucket}",
            "deliveryStreamVersionId": int(stream.version),
            "message": message,
            "errorCode": code,
        }
        try:
            self._context.clients.of("logs", stream.destination.role_arn).put_log_events(
                logGroupName=log[0],
                logStreamName=log[1],
                logEvents=[
                    {"timestamp": int(self._context.clock.now().timestamp() * 1000), "message": json.dumps(event)}
                ],
            )
        except (ClientError, BotoCoreError) as error:
            _LOG.warning("the log stream %s of %s, for the Firehose stream %s: %s", log[1], log[0], stream.name, error)

    def _taken(
        self,
        stream: Stream,
        arrived: float,
        data: bytes,
        active: set[Partition],
        errors: dict[str, PartitionError],
    ) -> Taken:
        """A record with its place. active: the stream's partitions, which a new one joins. errors: takes the first one
        of each code, which is logged."""
        destination = stream.destination
        try:
            keys = destination.extraction.partition(data) if destination.extraction is not None else {}
            partition = Partition.of(keys)
            destination.prefix.evaluate(datetime.fromtimestamp(arrived, UTC), keys)
            if partition not in active and len(active) >= _MOST_PARTITIONS:
                raise PartitionError(
                    f"There are {_MOST_PARTITIONS} active partitions already.",
                    "DynamicPartitioning.ActivePartitionsLimitExceeded",
                )
        except PartitionError as error:
            errors.setdefault(error.code, error)
            told = self._told(arrived, data, error)
            return Taken(Partition(error_type=METADATA_EXTRACTION_FAILED), arrived, told)
        active.add(partition)
        return Taken(partition, arrived, data + destination.delimiter)

    def _told(self, arrived: float, data: bytes, error: PartitionError) -> bytes:
        """A record that cannot be delivered, with the reason, as a line."""
        failed = {
            "attemptsMade": 1,
            "arrivalTimestamp": int(arrived * 1000),
            "errorCode": error.code,
            "errorMessage": str(error),
            "attemptEndingTimestamp": int(self._context.clock.now().timestamp() * 1000),
            "rawData": base64.b64encode(data).decode(),
        }
        return json.dumps(failed).encode() + b"\n"

    def _note(self, stream: Stream, partition: Partition, size: int, arrived: float) -> None:
        """Count what has come into a buffer, and see to its end. The lock is held."""
        found = self._open.get((stream.arn, partition))
        if found is None:
            # What a source has had for long counts from now on.
            begun = self._context.clock.now()
            due = begun + timedelta(seconds=stream.destination.interval_seconds)
            entry = self._context.timetable.at(
                due, partial(self._due, stream.arn, partition), f"deliver a buffer of the Firehose stream {stream.name}"
            )
            found = self._open[stream.arn, partition] = _Open(0, arrived, entry)
        found.size += size
        found.arrived = min(found.arrived, arrived)
        if found.size >= stream.destination.most_bytes:
            self._seal(stream, partition)

    def _due(self, arn: str, partition: Partition) -> None:
        with self._lock:
            stream = self._named(arn)
            if self._closing or stream is None or (arn, partition) not in self._open:
                return
            parcel = self._sealed(stream, partition)
        self._deliver(parcel)

    def _seal(self, stream: Stream, partition: Partition) -> None:
        """Have a buffer delivered by a thread of the timetable's. The lock is held."""
        self._submit(self._sealed(stream, partition))

    def _sealed(self, stream: Stream, partition: Partition) -> Parcel:
        found = self._open.pop((stream.arn, partition))
        found.due.cancel()
        destination = stream.destination
        moment = datetime.fromtimestamp(found.arrived, UTC)
        prefix = destination.error_prefix if partition.error_type else destination.prefix
        key = prefix.evaluate(moment, dict(partition.keys), partition.error_type)
        key += prefixes.suffix(stream.name, stream.version, moment, destination.extension)
        return self._buffers.seal(stream.arn, partition, key, found.arrived)

    def _submit(self, parcel: Parcel) -> None:
        now = self._context.clock.now()
        self._context.timetable.at(now, partial(self._deliver, parcel), f"deliver {parcel.key}")

    def _deliver(self, parcel: Parcel) -> None:
        """Write a parcel's object, or have it written later."""
        stream = self._named(parcel.stream)
        if self._closing or stream is None:
            return
        body, records, size = self._body(stream, parcel)
        destination = stream.destination
        encryption: dict[str, str] = {}
        if destination.key_arn is not None:
            encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": destination.key_arn}
        try:
            self._context.clients.of("s3", destination.role_arn).put_object(
                Bucket=destination.bucket,
                Key=parcel.key,
                Body=body,
                ContentType="application/octet-stream",
                **encryption,
            )
        except ClientError as error:
            self._measure(stream, Success=0)
            self._failed(stream, parcel, error.response["Error"])
            return
        except (BotoCoreError, LeafUnavailable):
            return  # localcloud is stopping: the next start goes on.
        self._buffers.delivered(parcel)
        self._again.pop(parcel.id, None)
        age = self._context.clock.now().timestamp() - parcel.arrived
        self._measure(stream, Success=1, Records=records, Bytes=size, DataFreshness=max(age, 0.0))

    def _body(self, stream: Stream, parcel: Parcel) -> tuple[bytes, int, int]:
        """The content of a parcel's object, and how many records and bytes it was."""
        records = size = 0
        compress = zlib.compressobj(wbits=_GZIP_WINDOW) if stream.destination.compressed else None
        parts = []
        for data in self._buffers.content(parcel):
            records, size = records + 1, size + len(data)
            parts.append(compress.compress(data) if compress is not None else data)
        if compress is not None:
            parts.append(compress.flush())
        return b"".join(parts), records, size

    def _failed(self, stream: Stream, parcel: Parcel, error: Any) -> None:
        code, message = error["Code"], error.get("Message", "")
        self.log_error(stream, f"S3.{code}", f"The delivery of {parcel.key} failed: {message}")
        now = self._context.clock.now()
        if not stream.keeps and now.timestamp() - parcel.arrived > _GIVEN_UP_SECONDS:
            self.log_error(stream, f"S3.{code}", f"The data of {parcel.key} is given up after 24 hours of tries.")
            self._buffers.delivered(parcel)
            return
        seconds = self._again.get(parcel.id, _FIRST_AGAIN_SECONDS)
        self._again[parcel.id] = min(seconds * 2, _LAST_AGAIN_SECONDS)
        self._context.timetable.after(seconds, partial(self._deliver, parcel), f"deliver {parcel.key} again")

    def _measure(self, stream: Stream, **values: float) -> None:
        units = {"Bytes": "Bytes", "DataFreshness": "Seconds"}
        self._context.signals.measurements(
            [
                Measurement(
                    "AWS/Firehose",
                    f"DeliveryToS3.{name}",
                    value,
                    units.get(name, "Count"),
                    self._context.clock.now(),
                    {"DeliveryStreamName": stream.name},
                )
                for name, value in values.items()
            ]
        )
