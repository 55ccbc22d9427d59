"""Minutes in the feature store, for programs that look at many of them."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.exceptions import BotoCoreError
from botocore.exceptions import ClientError as AwsError

from seed_code.common.errors import ClientError
from seed_code.ingestion.functions import minutes
from seed_code.ingestion.functions.minutes import Minute

_AT_ONCE = 100  # BatchGetRecord's most
_ROUNDS = 5  # of asking for what the store left out
_WRITERS = 8
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True)
class Stored:
    """The newest version of a minute, as the store has it: texts by feature name."""

    values: Mapping[str, str]

    @property
    def event_time(self) -> datetime:
        """When this version was made (aware)."""
        moment = datetime.fromisoformat(self.values[minutes.EVENT_TIME])
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment

    def says(self, minute: Minute) -> bool:
        """Whether it says the same as a minute, in whatever spelling of its numbers."""
        return list(self.row().values()) == [float(minute.count), float(minute.total), minute.average]

    def row(self) -> dict[str, float | None]:
        """Its numbers by name, None where it has none."""
        return {name: _number(self.values.get(name)) for name in (minutes.COUNT, minutes.TOTAL, minutes.AVERAGE)}


def _number(text: str | None) -> float | None:
    number = math.nan if text is None else float(text)
    return number if math.isfinite(number) else None


class StoredMinutes:
    """A feature group of minutes."""

    def __init__(self, client: Any, group: str) -> None:
        """client: botocore's for the feature store's runtime."""
        self._client, self._group = client, group
        self._now: datetime | None = None

    @property
    def now(self) -> datetime | None:
        """The account's clock when it answered last, to the second (aware); None before that."""
        return self._now

    def read(self, starts: Sequence[datetime]) -> dict[datetime, Stored]:
        """What the online store has of some minutes.

        Raises:
            ClientError: when there is no such group, or the store does not answer for all of them.
        """
        found: dict[datetime, Stored] = {}
        for first in range(0, len(starts), _AT_ONCE):
            found |= self._read({minutes.iso(start): start for start in starts[first : first + _AT_ONCE]})
        return found

    def write(self, changes: Iterable[tuple[Minute, Stored | None]], moment: datetime) -> int:
        """Write versions of minutes that are newer than those there; gives how many.

        Args:
            changes: minutes, each with what `read` gave for it.
            moment: the event time of the new versions; one that is not later than what is there is a millisecond after.

        Raises:
            ClientError: when the store does not take one; others may be written.
        """
        written = 0
        with ThreadPoolExecutor(_WRITERS) as threads:
            try:
                for _ in threads.map(lambda change: self._put(change[0], change[1], moment), changes):
                    written += 1
            except (AwsError, BotoCoreError) as error:
                threads.shutdown(wait=False, cancel_futures=True)
                raise ClientError(
                    f"the feature group `{self._group}` did not take a minute, after {written:,} others: {error}. Run "
                    "it again when that is mended: what is written stays"
                ) from error
        return written

    def _read(self, names: Mapping[str, datetime]) -> dict[datetime, Stored]:
        wanted = [{"FeatureGroupName": self._group, "RecordIdentifiersValueAsString": list(names)}]
        found: dict[datetime, Stored] = {}
        for _ in range(_ROUNDS):
            try:
                answer = self._client.batch_get_record(Identifiers=wanted)
            except (AwsError, BotoCoreError) as error:
                raise self._unreadable(error) from error
            said = answer["ResponseMetadata"].get("HTTPHeaders", {}).get("date")
            self._now = parsedate_to_datetime(said) if said else self._now
            for one in answer["Errors"]:
                raise self._unreadable(f"{one['ErrorCode']}: {one['ErrorMessage']}")
            for one in answer["Records"]:
                values = {value["FeatureName"]: value["ValueAsString"] for value in one["Record"]}
                found[names[one["RecordIdentifierValueAsString"]]] = Stored(values)
            wanted = answer["UnprocessedIdentifiers"]
            if not wanted:
                return found
        raise self._unreadable("it left out minutes that it was asked for, again and again")

    def _put(self, minute: Minute, before: Stored | None, moment: datetime) -> None:
        earliest = (before.event_time if before else minute.end) + _MILLISECOND
        record = minutes.feature_values(minute.record(max(moment, earliest)))
        self._client.put_record(FeatureGroupName=self._group, Record=record)

    def _unreadable(self, reason: object) -> ClientError:
        return ClientError(
            f"the minutes of the feature group `{self._group}` could not be read: {reason}. The stream's stack makes "
            "the group, on this machine `mlops up` does; run it again when that is mended"
        )


def between(begin: datetime, end: datetime) -> Iterator[datetime]:
    """The minutes from `begin` to before `end`."""
    while begin < end:
        yield begin
        begin += minutes.MINUTE
