"""Minutes from the online store, as they were known at some moment.

The online store has what is there now; the offline store, which training reads, may lag behind by a quarter of an hour.
A record's identifier is the minute's first moment, such as 2026-11-21T14:03:00Z, and its event time is when this
version of the minute was made: of a moment before that, it was not known.
"""

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from botocore.exceptions import BotoCoreError
from botocore.exceptions import ClientError as AwsError
from numpy.typing import NDArray

from seed_code.common.errors import ClientError
from seed_code.forecaster import grid
from seed_code.forecaster.frequency import Frequency
from seed_code.forecaster.grid import GridSeries
from seed_code.forecaster.records import LARGEST

Minute = NDArray[np.int64]  # since 1970-01-01, UTC
Values = NDArray[np.float64]

_EVENT_TIME = "event_time"
_MOST = 100  # records of BatchGetRecord
_TRIES = 3  # for what a call left unprocessed


class OnlineMinutes:
    """A feature group of minutes; what was read is kept, so that no minute is asked for twice."""

    def __init__(self, client: Any, group: str, target: str, frequency: Frequency) -> None:
        """client: boto3's for sagemaker-featurestore-runtime. target, frequency: of the series that minutes make.

        Raises:
            ClientError: when it is not known how to make such a series of minutes.
        """
        self._client, self._group = client, group
        self._target, self._frequency = target, frequency
        self._features = grid.features_for(target, frequency)
        self._read: dict[int, tuple[float, list[float]] | None] = {}

    def read(self, minutes: Iterable[int]) -> None:
        """Read those of the minutes that were not read yet.

        Raises:
            ClientError: when the store does not answer, or there is no such feature group.
        """
        missing = sorted(set(minutes) - self._read.keys())
        for start in range(0, len(missing), _MOST):
            self._page(missing[start : start + _MOST])

    def newest(self, before: datetime, oldest: timedelta) -> int | None:
        """The newest minute that has a record known at a moment, and begins less than `oldest` before it.

        Raises:
            ClientError: when the store does not answer.
        """
        at = _minute(before) - 1  # a minute that has not ended has no record
        end = _minute(before - oldest)
        while at >= end:
            page = range(at, max(at - _MOST, end - 1), -1)
            self.read(page)
            for minute in page:
                if self._known(minute, before) is not None:
                    return minute
            at -= _MOST
        return None

    def missing(self, begin: int, end: int, known: datetime) -> int:
        """How many of the minutes from `begin` to before `end`, which were read, had no record at a moment."""
        return sum(self._known(minute, known) is None for minute in range(begin, end))

    def series(self, begin: int, end: int, known: datetime) -> GridSeries:
        """The series from minute `begin` to before `end`, as it was known at a moment.

        NaN where the store had nothing then, or nothing was read. Both ends are ends of steps.
        """
        parts = np.full((len(self._features), end - begin), np.nan)
        for minute in range(begin, end):
            if (values := self._known(minute, known)) is not None:
                parts[:, minute - begin] = values
        return grid.series_of(self._target, self._frequency, np.arange(begin, end), list(parts))

    def _known(self, minute: int, at: datetime) -> list[float] | None:
        record = self._read.get(minute)
        return None if record is None or record[0] > at.timestamp() else record[1]

    def _page(self, minutes: Sequence[int]) -> None:
        named = {f"{datetime.fromtimestamp(60 * minute, UTC):%Y-%m-%dT%H:%M:%SZ}": minute for minute in minutes}
        wanted = {
            "FeatureGroupName": self._group,
            "RecordIdentifiersValueAsString": list(named),
            "FeatureNames": [_EVENT_TIME, *self._features],
        }
        self._read |= dict.fromkeys(minutes)
        left: list[dict[str, Any]] = [wanted]
        for _ in range(_TRIES):
            left = self._batch(left, named)
            if not left:
                return
        raise ClientError(f"the feature group {self._group} did not return all minutes, after {_TRIES} tries: {left}")

    def _batch(self, wanted: list[dict[str, Any]], named: dict[str, int]) -> list[dict[str, Any]]:
        """Keep what one call returns, and give what it left unprocessed."""
        try:
            answer = self._client.batch_get_record(Identifiers=wanted)
        except (AwsError, BotoCoreError) as error:
            raise ClientError(f"the feature group {self._group} could not be read: {error}") from error
        if answer["Errors"]:
            raise ClientError(f"the feature group {self._group} could not be read: {answer['Errors'][0]}")
        for record in answer["Records"]:
            values = {one["FeatureName"]: one["ValueAsString"] for one in record["Record"]}
            if (made := _made(values.get(_EVENT_TIME, ""))) is not None:
                numbers = [_number(values.get(name, "")) for name in self._features]
                self._read[named[record["RecordIdentifierValueAsString"]]] = (made, numbers)
        left: list[dict[str, Any]] = answer["UnprocessedIdentifiers"]
        return left


def _minute(moment: datetime) -> int:
    return math.floor(moment.timestamp() / 60)


def _made(text: str) -> float | None:
    """Seconds since 1970-01-01 of an event time, which is ISO 8601 or such a number; None when it is neither."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).timestamp()


def _number(text: str) -> float:
    """A value as training takes it, see `minutes.clean`: NaN where it is none that DeepAR takes."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if abs(value) <= LARGEST else math.nan
