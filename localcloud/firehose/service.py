"""Amazon Data Firehose as a service: its parts put together, and its operations by name."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from localcloud.context import Context, Request
from localcloud.firehose.buffers import Buffers
from localcloud.firehose.errors import invalid
from localcloud.firehose.streams import Streams
from localcloud.kinesis.streams import Streams as KinesisStreams
from localcloud.service import Handler
from localcloud.signals import Measurement

# Source: "Amazon Data Firehose quota" in the Developer Guide.
_MOST_RECORD_BYTES = 1_000 * 1024
_MOST_BATCH_BYTES = 4 * 1024 * 1024
_ID_BYTES = 66


class Firehose:
    """The service. kinesis: the streams that its own may read."""

    name = "firehose"

    def __init__(self, context: Context, kinesis: KinesisStreams) -> None:
        self._context = context
        self._buffers = Buffers(context.state_dir / "firehose" / "buffers.sqlite")
        self._streams = streams = Streams(context, kinesis, self._buffers)
        self._operations: dict[str, Handler] = {
            "CreateDeliveryStream": streams.create,
            "DescribeDeliveryStream": streams.describe,
            "ListDeliveryStreams": streams.list,
            "DeleteDeliveryStream": streams.delete,
            "UpdateDestination": streams.update,
            "PutRecord": self.put_record,
            "PutRecordBatch": self.put_record_batch,
            "TagDeliveryStream": streams.tag,
            "UntagDeliveryStream": streams.untag,
            "ListTagsForDeliveryStream": streams.tags,
        }

    @property
    def operations(self) -> Mapping[str, Handler]:
        """What is implemented, by name."""
        return self._operations

    def start(self) -> None:
        """Go on with what an earlier localcloud had taken, or had not read."""
        self._streams.start()

    def stop(self) -> None:
        """Take and deliver no more; what is not delivered stays in the file."""
        self._streams.stop()
        self._buffers.close()

    def put_record(self, request: Request) -> dict[str, Any]:
        """PutRecord."""
        (identifier,) = self._put(request.params["DeliveryStreamName"], [request.params["Record"]["Data"]])
        return {"RecordId": identifier, "Encrypted": False}

    def put_record_batch(self, request: Request) -> dict[str, Any]:
        """PutRecordBatch: all records or, as an error, none."""
        records = [record["Data"] for record in request.params["Records"]]
        size = sum(map(len, records))
        if size > _MOST_BATCH_BYTES:
            raise invalid(f"Records size exceeds 4 MB limit: got {size} bytes")
        identifiers = self._put(request.params["DeliveryStreamName"], records)
        return {
            "FailedPutCount": 0,
            "Encrypted": False,
            "RequestResponses": [{"RecordId": identifier} for identifier in identifiers],
        }

    def _put(self, name: str, records: Sequence[bytes]) -> Sequence[str]:
        """Take records; gives their ids."""
        stream = self._streams.direct(name)
        for data in records:
            if len(data) > _MOST_RECORD_BYTES:
                raise invalid(f"Record size must be less than or equal to {_MOST_RECORD_BYTES} bytes; got {len(data)}")
        now = self._context.clock.now()
        self._streams.deliveries.take(stream, [(now.timestamp(), data) for data in records])
        dimensions = {"DeliveryStreamName": name}
        self._context.signals.measurements(
            [
                Measurement("AWS/Firehose", "IncomingRecords", len(records), "Count", now, dimensions),
                Measurement("AWS/Firehose", "IncomingBytes", sum(map(len, records)), "Bytes", now, dimensions),
            ]
        )
        return [secrets.token_urlsafe(_ID_BYTES) for _ in records]
