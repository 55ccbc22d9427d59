"""What the function `write_minutes` does, apart from where: see there."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from seed_code.ingestion.functions import minutes
from seed_code.ingestion.functions.account import log
from seed_code.ingestion.functions.dead_letters import DeadLetters
from seed_code.ingestion.functions.metrics import Metric
from seed_code.ingestion.functions.minutes import Minute, Poison

_NEEDED_SECONDS = 5.0  # for one more record
# What PutRecord says of a record that the group can never have.
_REFUSED = "ValidationError"


@dataclass(frozen=True)
class _Written:
    minute: Minute
    at: datetime | None
    """The account's clock at that moment, to the second."""


@dataclass
class Result:
    """What became of a batch."""

    written: list[_Written] = field(default_factory=list)
    late: list[datetime] = field(default_factory=list)
    """When they came onto the stream, and so for the poison."""
    poison: list[datetime] = field(default_factory=list)
    failed: str | None = None
    """The number of the first record that was not dealt with: it, and what comes after it, is to come again."""

    def answer(self) -> dict[str, Any]:
        """What the function tells Lambda."""
        return {"batchItemFailures": [{"itemIdentifier": self.failed}] if self.failed else []}

    def metrics(self) -> Iterator[Metric]:
        """Those of minutes at the minutes' ends, which is the source's time; the others when their records came."""
        for one in self.written:
            yield Metric("MinutesWritten", 1, one.minute.end)
            yield Metric("QuietMinutes", int(one.minute.quiet), one.minute.end)
            if one.at is not None:
                yield Metric("MinuteAgeSeconds", (one.at - one.minute.end).total_seconds(), one.minute.end, "Seconds")
        yield from _counted("LateTransactions", self.late)
        yield from _counted("PoisonRecords", self.poison)


class MinuteWriting:
    """Writes minutes to a feature group."""

    def __init__(self, feature_store: Any, group: str, dead_letters: DeadLetters) -> None:
        """feature_store: boto3's client for its runtime."""
        self._feature_store, self._group, self._dead_letters = feature_store, group, dead_letters

    def handle(self, records: Sequence[Mapping[str, Any]], seconds_left: Callable[[], float]) -> Result:
        """Deal with a batch, in its order, up to the first record that AWS keeps from being dealt with.

        Args:
            records: as Lambda gives them to the function.
            seconds_left: of the invocation.
        """
        result = Result()
        for record in records:
            try:
                if seconds_left() < _NEEDED_SECONDS:
                    raise TimeoutError(f"{seconds_left():.1f} s are left for the batch")
                self._deal(record, result)
            except (ClientError, BotoCoreError, TimeoutError) as error:
                result.failed = record["kinesis"]["sequenceNumber"]
                log.warning("the batch ends here, and comes again", extra={"at": result.failed, "because": str(error)})
                break
        return result

    def _deal(self, record: Mapping[str, Any], result: Result) -> None:
        data = b""
        try:
            data = _data(record)
            minute = minutes.read(data)
            if minute is None:
                result.late.append(_came(record))
            else:
                result.written.append(_Written(minute, self._put(minute)))
        except Poison as error:
            number = record["kinesis"]["sequenceNumber"]
            self._dead_letters.put(dict(record), data, str(error))
            log.error("a record is put aside", extra={"sequence_number": number, "because": str(error)})
            result.poison.append(_came(record))

    def _put(self, minute: Minute) -> datetime | None:
        """Write a minute; gives the account's clock."""
        try:
            answer = self._feature_store.put_record(
                FeatureGroupName=self._group, Record=minutes.feature_values(minute.record())
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == _REFUSED:
                raise Poison(f"the feature group {self._group} refuses {minute.row()}: {error}") from error
            raise
        said = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        return parsedate_to_datetime(said) if said else None


def _data(record: Mapping[str, Any]) -> bytes:
    try:
        return base64.b64decode(record["kinesis"]["data"], validate=True)
    except binascii.Error as error:
        raise Poison(f"the record's data are not base64: {error}") from error


def _came(record: Mapping[str, Any]) -> datetime:
    """The minute in which a record came onto the stream."""
    moment = datetime.fromtimestamp(record["kinesis"]["approximateArrivalTimestamp"], UTC)
    return moment.replace(second=0, microsecond=0)


def _counted(name: str, moments: Sequence[datetime]) -> Iterator[Metric]:
    for moment in sorted(set(moments)):
        yield Metric(name, moments.count(moment), moment)
