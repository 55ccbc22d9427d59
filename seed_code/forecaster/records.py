"""One time series as DeepAR's contract writes it: a JSON object of `start`, `target`, `cat` and `dynamic_feat`.

Training files, inference requests and batch transform share it. Other fields are ignored, as the built-in does, so a
file may carry an identifier of its own.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from seed_code.forecaster.frequency import Frequency, parse_start

Values = NDArray[np.float32]

_MISSING = "NaN"
LARGEST = float(np.finfo(np.float32).max)  # DeepAR's numbers are 32-bit floats
_LARGEST_CATEGORY = 2**31 - 1


@dataclass(frozen=True)
class Series:
    """One series.

    Attributes:
        start: the first step's ordinal, see `frequency`.
        target: (steps,), NaN where missing.
        cat: its categories, none when the record has no `cat`.
        dynamic_feat: (features, steps), or (features, steps + prediction_length) at inference; (0, 0) without any.
    """

    start: int
    target: Values
    cat: tuple[int, ...]
    dynamic_feat: Values

    def __len__(self) -> int:
        return len(self.target)


class FieldError(ValueError):
    """A mistake in a record.

    Attributes:
        field: which, such as `target[3]`; None when it is the record itself.
        message: what was found and what was expected.
    """

    def __init__(self, field: str | None, message: str) -> None:
        super().__init__(message if field is None else f"`{field}` {message}")
        self.field = field
        self.message = message


def loads(text: bytes) -> Any:
    """A JSON document; NaN, which Python writes though JSON does not know it, is a number.

    Raises:
        ValueError: with what is wrong, in words fit for the document's sender.
    """
    try:
        return orjson.loads(text)
    except ValueError:
        pass  # malformed, or holding NaN: the slower parser knows
    try:
        return json.loads(text)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise ValueError("not JSON: nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None


def parse(record: object, frequency: Frequency) -> Series:
    """The series that a record describes.

    Raises:
        FieldError: naming the field that is wrong, what was found and what was expected.
    """
    if not isinstance(record, Mapping):
        raise FieldError(None, f"the record is {_kind(record)}; expected an object with `start` and `target`")
    for name in ("start", "target"):
        if name not in record:
            found = ", ".join(f"`{key}`" for key in list(record)[:10]) or "no field"
            raise FieldError(name, f"is missing; found {found}")
    try:
        start = frequency.ordinal(parse_start(record["start"]))
    except ValueError as error:
        raise FieldError("start", f"{error}") from None
    target = _numbers(record["target"], "target", missing=True)
    if not frequency.reaches(start, len(target)):
        raise FieldError("target", f"has {len(target)} values, which at {frequency} end after the year 9999")
    return Series(start, target, _cat(record.get("cat")), _dynamic_feat(record.get("dynamic_feat")))


def _numbers(values: object, name: str, *, missing: bool) -> Values:
    if isinstance(values, np.ndarray):  # a column of Parquet
        kinds = {float} if values.dtype.kind in "fiu" else set(map(type, values))
    elif isinstance(values, list):
        kinds = set(map(type, values))
    else:
        raise FieldError(name, f"is {_kind(values)}; expected a list of numbers")
    accepted = {int, float, str, type(None)} if missing else {int, float}
    wrong = kinds - accepted
    if wrong or (str in kinds and any(value != _MISSING for value in values if type(value) is str)):
        at, value = next(
            (at, value)
            for at, value in enumerate(values)
            if type(value) in wrong or (type(value) is str and value != _MISSING)
        )
        expected = 'a number, null or "NaN"' if missing else "a number"
        raise FieldError(f"{name}[{at}]", f"is {_kind(value)}; expected {expected}")
    try:
        numbers = np.array(values, dtype=np.float64)  # None and "NaN" become NaN
    except OverflowError:  # a whole number of hundreds of digits
        raise FieldError(name, f"holds a number beyond {LARGEST:.3g}; expected numbers of 32-bit floats") from None
    beyond = np.abs(numbers) > LARGEST if missing else ~(np.abs(numbers) <= LARGEST)
    if beyond.any():
        at = int(np.argmax(beyond))
        raise FieldError(f"{name}[{at}]", f"is {numbers[at]}; expected a finite number up to {LARGEST:.3g}")
    return numbers.astype(np.float32)


def _cat(cat: object) -> tuple[int, ...]:
    if cat is None:
        return ()
    values = cat.tolist() if isinstance(cat, np.ndarray) else cat
    if not isinstance(values, list):
        raise FieldError("cat", f"is {_kind(cat)}; expected a list of whole numbers from 0 up, such as [0, 1]")
    for at, value in enumerate(values):
        if type(value) is not int or not 0 <= value <= _LARGEST_CATEGORY:
            raise FieldError(
                f"cat[{at}]", f"is {_kind(value)}; expected a whole number from 0 to {_LARGEST_CATEGORY}, a category"
            )
    return tuple(values)


def _dynamic_feat(features: object) -> Values:
    if features is None or (isinstance(features, list) and not features):
        return np.zeros((0, 0), np.float32)
    if not isinstance(features, list | np.ndarray):
        raise FieldError("dynamic_feat", f"is {_kind(features)}; expected a list of lists of numbers")
    rows = [_numbers(row, f"dynamic_feat[{at}]", missing=False) for at, row in enumerate(features)]
    if len({len(row) for row in rows}) > 1:
        lengths = ", ".join(str(len(row)) for row in rows[:10])
        raise FieldError("dynamic_feat", f"has lists of {lengths} values; expected the same number in each")
    return np.stack(rows) if rows else np.zeros((0, 0), np.float32)


def _kind(value: Any) -> str:
    """What a value is, short enough for a message."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | str):
        text = f"{value}"
        return f"`{text if len(text) <= 40 else text[:37] + '...'}`"
    names = {dict: "an object", list: "a list", np.ndarray: "a list"}
    return names.get(type(value), f"a {type(value).__name__}")
