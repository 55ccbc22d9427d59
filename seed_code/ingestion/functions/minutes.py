"""A minute as it travels: a row of JSON on the stream of minutes, and a record of the feature group.

    {"tx_minute": "2026-11-22T14:03:00Z", "total_nb_trx_1min": 280, "total_fee_1min": 2520000, "avg_fee_1min": 9000.0}

The total is that of the fees that are known; the average is theirs alone, and null where none is. A quiet minute has
no transactions. What came too late for its minute is on the same stream: `{"late_hash": …, "late_time": …, …}`.

The standard library only: replays write the same records.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

IDENTIFIER, EVENT_TIME = "tx_minute", "event_time"
COUNT, TOTAL, AVERAGE = "total_nb_trx_1min", "total_fee_1min", "avg_fee_1min"
LATE = "late_hash"

MINUTE = timedelta(minutes=1)
_TEXT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:00Z", re.ASCII)
_EPOCH, _LAST_YEAR = datetime(1970, 1, 1, tzinfo=UTC), 9999
_LARGEST_COUNT, _LARGEST_TOTAL = 2**63 - 1, 3.4e38  # of the feature type Integral; of a 32-bit float, which models read
_ROUNDING = 1e-9  # of an average, as a share of it


class Poison(ValueError):
    """A record of the stream is nothing that was to be on it; the message is a sentence that says why."""


@dataclass(frozen=True)
class Minute:
    """What a minute's transactions come to.

    Attributes:
        start: its first moment (aware, UTC).
        count: its transactions, each once, whether or not their fee is known.
        total: of the known fees, in satoshi.
        average: of the known fees, in satoshi; None where there is none.
    """

    start: datetime
    count: int
    total: int
    average: float | None

    @property
    def end(self) -> datetime:
        """The next minute's first moment."""
        return self.start + MINUTE

    @property
    def quiet(self) -> bool:
        """Whether it has no transactions."""
        return self.count == 0

    def row(self) -> dict[str, Any]:
        """As the stream has it."""
        return {IDENTIFIER: iso(self.start), COUNT: self.count, TOTAL: self.total, AVERAGE: self.average}

    def record(self, event_time: datetime | None = None) -> dict[str, str]:
        """As the feature group has it: texts by name, without an average where there is none.

        event_time: when this version was made; the minute's end for the first one.
        """
        texts = {
            IDENTIFIER: iso(self.start),
            COUNT: str(self.count),
            TOTAL: repr(float(self.total)),
            EVENT_TIME: iso(event_time or self.end),
        }
        return texts if self.average is None else {**texts, AVERAGE: repr(self.average)}


def read(data: bytes) -> Minute | None:
    """The minute in a record of the stream; None for what came too late for its minute.

    Raises:
        Poison: when it is neither.
    """
    row = _object(data)
    if LATE in row:
        if not isinstance(row[LATE], str):
            raise Poison(f"`{LATE}` is {_shown(row[LATE])}; expected a transaction's hash")
        return None
    start = _start(row.get(IDENTIFIER))
    count = _whole(row, COUNT, _LARGEST_COUNT)
    total = _whole(row, TOTAL, _LARGEST_TOTAL)
    if total and not count:
        raise Poison(f"`{TOTAL}` is {total} of 0 transactions; expected 0")
    return Minute(start, count, total, _average(row.get(AVERAGE), count, total))


def iso(moment: datetime) -> str:
    """A moment as the feature store takes it: in UTC, to the second, or to the millisecond."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds" if moment.microsecond else "seconds")
    return text.replace("+00:00", "Z")


def feature_values(record: Mapping[str, str]) -> list[dict[str, str]]:
    """A record as PutRecord takes it."""
    return [{"FeatureName": name, "ValueAsString": value} for name, value in record.items()]


def _object(data: bytes) -> dict[str, Any]:
    try:
        row = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Poison(f"the record is not JSON: {error}") from error
    if not isinstance(row, dict):
        raise Poison(f"the record is {_shown(row)}; expected an object")
    return row


def _start(value: Any) -> datetime:
    try:
        if not isinstance(value, str) or not _TEXT.fullmatch(value):
            raise ValueError
        start = datetime.fromisoformat(value)
        if start < _EPOCH or start.year == _LAST_YEAR:
            raise ValueError
    except ValueError:
        raise Poison(
            f"`{IDENTIFIER}` is {_shown(value)}; expected a minute such as 2026-11-22T14:03:00Z, not before 1970"
        ) from None
    return start


def _whole(row: Mapping[str, Any], name: str, most: float) -> int:
    value = row.get(name)
    if type(value) is not int or not 0 <= value <= most:
        raise Poison(f"`{name}` is {_shown(value)}; expected a whole number from 0 to {most:.3g}")
    return value


def _average(value: Any, count: int, total: int) -> float | None:
    """An average, which is that of at least one fee and at most `count`."""
    if value is None:
        if total:
            raise Poison(f"`{AVERAGE}` is null and `{TOTAL}` is {total}; expected the average of the known fees")
        return None
    if type(value) not in (int, float) or not math.isfinite(value) or not count:
        raise Poison(f"`{AVERAGE}` is {_shown(value)} of {count} transactions; expected a number, null where none is")
    if not total / count * (1 - _ROUNDING) <= value <= total * (1 + _ROUNDING):
        raise Poison(
            f"`{AVERAGE}` is {_shown(value)}; a `{TOTAL}` of {total} and a `{COUNT}` of {count} make "
            f"{total / count:.9g} to {total}"
        )
    return float(value)


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = json.dumps(value) if not isinstance(value, int) or value.bit_length() < 128 else "a very long number"
    return f"`{text[:80]}`"
