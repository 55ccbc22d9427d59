"""What a request may say, and what is answered when it says something else.

A record is a JSON object:

    usage_freq, uniq_merchant   integers, 0 to 10**15 required
    amount_spend                number, 0 to 10**15   required
    k                           integer, 1 to the model's horizon in days   required
    name                        string    optional; accepted because callers have it, never used, echoed or logged
    features                    object: stored features by name, numbers or null (not known)   optional

A batch is a JSON array of records. Other names are refused, so that a misspelt one does not go unnoticed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seed_code.common.request_errors import RequestError, shown

MAX_RECORDS = 10_000
LARGEST = 10**15  # beyond it, neighbouring whole numbers are no longer told apart with certainty

_REQUIRED = ("usage_freq", "amount_spend", "uniq_merchant", "k")
_ALLOWED = frozenset({*_REQUIRED, "name", "features"})


@dataclass(frozen=True)
class Batch:
    """Records as arrays: `fields` (n, 3), `days` (n,), `features` (n, features) with NaN."""

    fields: NDArray[np.float64]
    days: NDArray[np.int64]
    features: NDArray[np.float64]


@dataclass(frozen=True)
class StoredFeature:
    """What a stored feature may be: a whole number, if `whole`, within inclusive bounds (None is unbounded)."""

    name: str
    whole: bool
    minimum: float | None
    maximum: float | None

    @property
    def bounds(self) -> tuple[float, float]:
        """The bounds, finite ones, so that comparing with them also refuses infinities."""
        return (
            -LARGEST if self.minimum is None else self.minimum,
            LARGEST if self.maximum is None else self.maximum,
        )

    def expected(self) -> str:
        """What is accepted, in words."""
        low, high = self.bounds
        return f"{'a whole number' if self.whole else 'a number'} from {low:g} to {high:g}, or null"


class Reader:
    """Reads records for a model that knows certain stored features and a horizon."""

    def __init__(self, features: Sequence[StoredFeature], max_days: int) -> None:
        self._features = tuple(features)
        self._columns = {
            feature.name: (column, *feature.bounds, feature.whole) for column, feature in enumerate(features)
        }
        self._max_days = max_days

    def read(self, records: Sequence[Any], batch: bool) -> Batch:
        """Check and convert records (with `batch`, paths in messages start with the record's number, from 0).

        Raises:
            RequestError: for the first mistake found.
        """
        if not records:
            raise RequestError("an empty list has nothing to answer; expected 1 or more records")
        if len(records) > MAX_RECORDS:
            raise RequestError(f"{len(records)} records; expected at most {MAX_RECORDS} in one request")
        count = len(records)
        fields = np.empty((count, 3))
        days = np.empty(count, dtype=np.int64)
        features = np.full((count, len(self._features)), np.nan)
        for row, record in enumerate(records):
            try:
                self._read(record, row, fields, days, features)
            except RequestError as error:
                if not batch:
                    raise
                where = f"[{row}]" if error.field is None else f"[{row}].{error.field}"
                raise RequestError(error.message, where) from None
        return Batch(fields, days, features)

    def _read(
        self,
        record: Any,
        row: int,
        fields: NDArray[np.float64],
        days: NDArray[np.int64],
        features: NDArray[np.float64],
    ) -> None:
        if type(record) is not dict:
            raise RequestError(f"found {shown(record)}; expected a JSON object with {', '.join(_REQUIRED)}")
        missing = [name for name in _REQUIRED if name not in record]
        if missing:
            raise RequestError(f"is missing; a record needs {', '.join(_REQUIRED)}", missing[0])
        if not _ALLOWED.issuperset(record):
            unknown = next(name for name in record if name not in _ALLOWED)
            raise RequestError(f"is unknown; expected only {', '.join(sorted(_ALLOWED))}", unknown[:100])
        fields[row, 0] = _count(record["usage_freq"], "usage_freq")
        fields[row, 1] = _amount(record["amount_spend"], "amount_spend")
        fields[row, 2] = _count(record["uniq_merchant"], "uniq_merchant")
        k = record["k"]
        if type(k) is not int or not 1 <= k <= self._max_days:
            raise RequestError(f"is {shown(k)}; expected an integer from 1 to {self._max_days}", "k")
        days[row] = k
        name = record.get("name")
        if name is not None and type(name) is not str:
            raise RequestError("is not a string; expected a string, or leave it out", "name")  # never shows the value
        stored = record.get("features")
        if stored is not None:
            self._read_features(stored, row, features)

    def _read_features(self, stored: Any, row: int, features: NDArray[np.float64]) -> None:
        if type(stored) is not dict:
            raise RequestError(f"is {shown(stored)}; expected an object of stored features by name", "features")
        # Written for speed (a list rather than array elements, no calls): a batch has dozens of features a record.
        values = [math.nan] * len(self._features)
        columns = self._columns
        for name, value in stored.items():
            if name not in columns:
                expected = ", ".join(columns)
                raise RequestError(f"is unknown; expected only {expected}", f"features.{name[:100]}")
            if value is None:
                continue
            column, low, high, whole = columns[name]
            # A whole number may be written 3.0: data frames turn counts into floats. NaN compares as false.
            if type(value) not in (int, float) or not low <= value <= high or (whole and value % 1):
                expected = self._features[column].expected()
                raise RequestError(f"is {shown(value)}; expected {expected}", f"features.{name}")
            values[column] = value
        features[row] = values


def _count(value: Any, field: str) -> int:
    # `type(...) is` throughout: bool is a subclass of int, and true is not a count.
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise RequestError(f"is {shown(value)}; expected an integer from 0 to {LARGEST}", field)
    return value


def _amount(value: Any, field: str) -> float:
    if type(value) not in (int, float) or not 0 <= value <= LARGEST:  # NaN compares as false
        raise RequestError(f"is {shown(value)}; expected a number from 0 to {LARGEST}", field)
    return float(value)
