"""The newest minutes in the feature store: the series that a forecast goes on from.

A record's identifier is the minute's first moment, such as 2026-11-21T14:03:00Z. A minute without a record, or without
transactions, is a missing value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from seed_code.api.clients import client
from seed_code.api.refusals import Refused, unavailable

OLDEST_HOURS = 6
CONTEXT_MINUTES = 200

_FEATURE = "avg_fee_1min"
_PRESENT = "event_time"  # which every record has: a minute without transactions has no average
_MOST = 100  # of BatchGetRecord
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Series:
    """Values minute by minute.

    Attributes:
        start: the first minute.
        values: None where missing; the first and the last are of minutes that the store has.
    """

    start: datetime
    values: Sequence[float | None]

    @property
    def last(self) -> datetime:
        """The newest minute."""
        return self.start + (len(self.values) - 1) * _MINUTE


class Minutes:
    """The feature group of minutes."""

    def __init__(self, group: str, log: Logger) -> None:
        self._group, self._log = group, log
        self._client = client("sagemaker-featurestore-runtime", connect_seconds=0.5, read_seconds=1, attempts=2)

    def newest(self, now: datetime) -> Series:
        """The newest minute that has ended, and up to `CONTEXT_MINUTES` with those before it.

        Raises:
            Refused: 503 when the newest is older than `OLDEST_HOURS`, or the store does not answer.
        """
        there: dict[datetime, float | None] = {}
        # The minute that is under way is not complete.
        latest = now.astimezone(UTC).replace(second=0, microsecond=0) - _MINUTE
        end = latest - timedelta(hours=OLDEST_HOURS) + _MINUTE
        at = latest
        while at >= end:
            page = [minute for number in range(_MOST) if (minute := at - number * _MINUTE) >= end]
            there |= self._read(page)
            at = page[-1] - _MINUTE
            if there:
                # The search is over: from now on it is the minutes before the newest that count.
                end = max(there) - (CONTEXT_MINUTES - 1) * _MINUTE
        if not any(value is not None for value in there.values()):
            raise unavailable(f"There are no data of the last {OLDEST_HOURS} hours, so that nothing can be forecast")
        first, last = max(min(there), end), max(there)
        count = (last - first) // _MINUTE + 1
        return Series(first, [there.get(first + number * _MINUTE) for number in range(count)])

    def _read(self, minutes: Sequence[datetime]) -> dict[datetime, float | None]:
        """What the store has of these minutes."""
        by_name = {f"{minute:%Y-%m-%dT%H:%M:%SZ}": minute for minute in minutes}
        wanted = {
            "FeatureGroupName": self._group,
            "RecordIdentifiersValueAsString": list(by_name),
            "FeatureNames": [_PRESENT, _FEATURE],
        }
        try:
            answer = self._client.batch_get_record(Identifiers=[wanted])
        except (ClientError, BotoCoreError) as error:
            raise self._no_data(error) from error
        if answer["Errors"] or answer["UnprocessedIdentifiers"]:
            raise self._no_data((answer["Errors"] or answer["UnprocessedIdentifiers"])[0])
        found: dict[datetime, float | None] = {}
        for record in answer["Records"]:
            values = {one["FeatureName"]: one["ValueAsString"] for one in record["Record"]}
            found[by_name[record["RecordIdentifierValueAsString"]]] = _number(values.get(_FEATURE))
        return found

    def _no_data(self, error: object) -> Refused:
        self._log.error("the feature store did not answer", extra={"group": self._group, "error": str(error)})
        return unavailable("The data are not there now; try again later")


def _number(text: str | None) -> float | None:
    if text is None:
        return None
    value = float(text)  # of the type Fractional, which the store has checked
    return value if math.isfinite(value) else None
