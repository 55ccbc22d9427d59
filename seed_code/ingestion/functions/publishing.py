"""Records onto a Kinesis stream, each one's result looked at.

PutRecords answers 200 for a request of which any part was refused (throttled shards do that); only those are sent
again, with a pause that doubles, as long as there is time.

Source: "PutRecords" in the Kinesis Data Streams API reference. A request takes 500 records; 5 MiB of them here, which
it has always taken.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

Failures = dict[int, str]
"""Why records were not taken, by their place among those given."""

LARGEST_RECORD = 1 << 20
"""Bytes of a record with its partition key: what a stream takes unless it is set to take more."""

_MOST_RECORDS, _MOST_BYTES = 500, 5 << 20
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 3.0
# What no repetition mends.
_HOPELESS = frozenset(
    {
        "AccessDeniedException",
        "InvalidArgumentException",
        "KMSAccessDeniedException",
        "KMSDisabledException",
        "KMSNotFoundException",
        "ResourceNotFoundException",
        "ValidationException",
    }
)
_Record = tuple[int, bytes]


class Publisher:
    """Writes to one stream, all records under the same partition key: they have one order."""

    def __init__(
        self,
        kinesis: Any,
        stream: str,
        partition_key: str,
        *,
        sleep: Callable[[float], object] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """jitter: a number from 0 to 1, so that those who were refused together do not come back together."""
        self._kinesis, self._stream, self._key = kinesis, stream, partition_key
        self._sleep, self._jitter = sleep, jitter

    def publish(self, records: Sequence[bytes], seconds_left: Callable[[], float]) -> Failures:
        """Put records; what the stream has not taken in the time there is.

        seconds_left: for this; less than nothing when there is no time for another try.
        """
        left: list[_Record] = list(enumerate(records))
        pause = _FIRST_PAUSE
        while True:
            failures: Failures = {}
            hopeless = False
            for part in _parts(left, len(self._key)):
                refused, never = self._put(part)
                failures |= refused
                hopeless |= never
            if not failures or hopeless or seconds_left() < pause:
                return failures
            self._sleep(pause * (1 + self._jitter()) / 2)
            pause = min(2 * pause, _LONGEST_PAUSE)
            left = [(place, records[place]) for place in sorted(failures)]

    def _put(self, records: Sequence[_Record]) -> tuple[Failures, bool]:
        """(what was refused, whether it will always be) of one request."""
        entries = [{"Data": data, "PartitionKey": self._key} for _, data in records]
        try:
            answer = self._kinesis.put_records(StreamName=self._stream, Records=entries)
        except ClientError as error:
            return dict.fromkeys(_places(records), str(error)), error.response["Error"]["Code"] in _HOPELESS
        except BotoCoreError as error:
            return dict.fromkeys(_places(records), str(error)), False
        results = zip(_places(records), answer["Records"], strict=True)
        return {
            place: f"{result['ErrorCode']}: {result.get('ErrorMessage', '')}"
            for place, result in results
            if result.get("ErrorCode")
        }, False


def _places(records: Sequence[_Record]) -> list[int]:
    return [place for place, _ in records]


def _parts(records: Sequence[_Record], key_bytes: int) -> Iterator[list[_Record]]:
    """Records as requests take them."""
    part: list[_Record] = []
    size = 0
    for record in records:
        length = len(record[1]) + key_bytes
        if part and (len(part) == _MOST_RECORDS or size + length > _MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(record)
        size += length
    if part:
        yield part
