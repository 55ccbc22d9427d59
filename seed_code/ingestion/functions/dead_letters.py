"""Records that are nothing that was to be on a stream, in a queue for a person to look at."""

from __future__ import annotations

import base64
import json
from typing import Any

_SHOWN_BYTES = 96 * 1024  # more than anybody reads; the whole record is on the stream, under its number


class DeadLetters:
    """The queue."""

    def __init__(self, sqs: Any, queue_url: str) -> None:
        """sqs: boto3's client."""
        self._sqs, self._url = sqs, queue_url

    def put(self, record: dict[str, Any], data: bytes, reason: str) -> None:
        """Put a record aside: the stream, its shard and number, when it came, why it is here, and what it holds.

        Args:
            record: as Lambda gives it to the function.
            data: what it holds.

        Raises:
            botocore's errors, when the queue does not take it.
        """
        kinesis = record["kinesis"]
        message = {
            "reason": reason,
            "stream_arn": record.get("eventSourceARN"),
            "shard_id": str(record.get("eventID", "")).partition(":")[0] or None,
            "sequence_number": kinesis["sequenceNumber"],
            "arrived_at": kinesis.get("approximateArrivalTimestamp"),
            "data_bytes": len(data),
            "data_base64": base64.b64encode(data[:_SHOWN_BYTES]).decode("ascii"),
        }
        try:
            message["data"] = data[:_SHOWN_BYTES].decode("utf-8")[:1000]
        except UnicodeDecodeError:
            message["data"] = None
        self._sqs.send_message(QueueUrl=self._url, MessageBody=json.dumps(message))
