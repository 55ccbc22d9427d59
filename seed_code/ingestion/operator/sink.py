"""Writing rows to a Kinesis stream, none of them lost: every record's result is looked at, and what failed tried again.

Sources: Amazon Kinesis Data Streams API Reference, "PutRecords"; Developer Guide, "Handling failures when using
PutRecords".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError
from botocore.exceptions import ClientError as AwsError

from seed_code.ingestion.operator.lines import MINUTES_KEY

__all__ = ["Sink"]

MOST_RECORDS = 500  # PutRecords' limit; rows are some 150 bytes, far below its limit of bytes
_FIRST_SECONDS, _LONGEST_SECONDS = 0.1, 10.0


class Sink:
    """One stream."""

    def __init__(
        self, client: Any, stream: str, wait: Callable[[float], bool], tell: Callable[[str, dict[str, Any]], None]
    ) -> None:
        """Args:
        client: botocore's for Kinesis.
        stream: its name.
        wait: waits so many seconds; True when there is to be an end.
        tell: logs a message with more about it.
        """
        self._client, self._stream, self._wait, self._tell = client, stream, wait, tell

    def put(self, lines: Sequence[bytes]) -> bool:
        """Write lines, each a record, in their order as far as none of them fails.

        It goes on until all are written. False when there was to be an end before.
        """
        left = list(lines)
        seconds = _FIRST_SECONDS
        while left:
            batch, rest = left[:MOST_RECORDS], left[MOST_RECORDS:]
            failed, why = self._try(batch)
            left = failed + rest
            if len(failed) < len(batch):
                seconds = _FIRST_SECONDS
            if failed:
                self._tell("rows could not be written yet", {"stream": self._stream, "rows": len(left), "reason": why})
                if self._wait(seconds):
                    return False
                seconds = min(2 * seconds, _LONGEST_SECONDS)
        return True

    def _try(self, batch: list[bytes]) -> tuple[list[bytes], str]:
        """What of a batch failed, and why."""
        records = [{"Data": line, "PartitionKey": MINUTES_KEY} for line in batch]
        try:
            results = self._client.put_records(StreamName=self._stream, Records=records)["Records"]
        except (BotoCoreError, AwsError) as error:
            return batch, str(error)
        failed = [(line, result) for line, result in zip(batch, results, strict=True) if result.get("ErrorCode")]
        why = f"{failed[0][1]['ErrorCode']}: {failed[0][1].get('ErrorMessage', '')}" if failed else ""
        return [line for line, _ in failed], why
