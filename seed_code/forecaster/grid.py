"""From minutes to a series on a frequency's grid: every step there is, NaN where nothing was observed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seed_code.common.errors import ClientError
from seed_code.forecaster.frequency import Frequency

Minute = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class GridSeries:
    """A series without holes.

    Attributes:
        start: the first step's ordinal, see `frequency`.
        values: (steps,), NaN where not observed.
    """

    frequency: Frequency
    start: int
    values: Values

    def __len__(self) -> int:
        return len(self.values)

    def time(self, step: int) -> datetime:
        """The first moment of a step, which may lie after the end; in UTC."""
        return self.frequency.start_of(self.start + step * self.frequency.multiple).replace(tzinfo=UTC)

    def record(self, begin: int, end: int) -> dict[str, Any]:
        """The steps from `begin` to before `end` as DeepAR's `start` and `target`, for orjson: NaN becomes null."""
        return {"start": f"{self.time(begin):%Y-%m-%d %H:%M:%S}", "target": self.values[begin:end]}


# What a feature of the feature group is, over several minutes: the features that it needs, and how they combine.
_Combine = Callable[[Sequence[Values], Minute, int, Minute], Values]


def _ratio(parts: Sequence[Values], bins: Minute, count: int, _minutes: Minute) -> Values:
    """The mean over all transactions, not over minutes: a busy minute counts as much as it has transactions."""
    known = ~(np.isnan(parts[0]) | np.isnan(parts[1]))
    total, number = (np.bincount(bins[known], part[known], count) for part in parts)
    with np.errstate(over="ignore"):  # of a number near zero; Prepare leaves out what is beyond DeepAR's numbers
        return np.divide(total, number, out=np.full(count, np.nan), where=number > 0)


def _sum(parts: Sequence[Values], bins: Minute, count: int, minutes: Minute) -> Values:
    """The sum, where every minute is known: a sum over some of them is no smaller sum, it is not known."""
    known = ~np.isnan(parts[0])
    total = np.bincount(bins[known], parts[0][known], count)
    return np.where(np.bincount(bins[known], minlength=count) == minutes, total, np.nan)


_COARSER: Mapping[str, tuple[tuple[str, ...], _Combine]] = {
    "avg_fee_1min": (("total_fee_1min", "total_nb_trx_1min"), _ratio),
    "total_fee_1min": (("total_fee_1min",), _sum),
    "total_nb_trx_1min": (("total_nb_trx_1min",), _sum),
}


def features_for(target: str, frequency: Frequency) -> list[str]:
    """The features of each minute that the series of `target` is made of.

    Raises:
        ClientError: when it is not known how to make one value of a target's several minutes.
    """
    if frequency == Frequency("min", 1):
        return [target]
    if target not in _COARSER:
        raise ClientError(
            f"--frequency is `{frequency}` and --target `{target}`; expected 1min, or one of {', '.join(_COARSER)}: of "
            "no other is it known how to put minutes together"
        )
    return list(_COARSER[target][0])


def series_of(target: str, frequency: Frequency, minute: Minute, parts: Sequence[Values]) -> GridSeries:
    """The series of `target`, from the first minute to the last one; of coarser steps, only those that are whole.

    Args:
        minute: (minutes,), ascending, since 1970-01-01; at least one.
        parts: of each feature that `features_for` names, (minutes,).
    """
    if frequency == Frequency("min", 1):
        values = np.full(minute[-1] - minute[0] + 1, np.nan)
        values[minute - minute[0]] = parts[0]
        return GridSeries(frequency, int(minute[0]), values)
    bins = frequency.ordinals(minute) // frequency.multiple
    first, count = int(bins[0]), int(bins[-1] - bins[0]) + 1
    borders = frequency.starts_of((first + np.arange(count + 1)) * frequency.multiple).astype("datetime64[m]")
    borders = borders.astype(np.int64)
    values = _COARSER[target][1](parts, bins - first, count, np.diff(borders))
    whole = slice(0 if borders[0] >= minute[0] else 1, count if borders[-1] <= minute[-1] + 1 else count - 1)
    return GridSeries(frequency, (first + whole.start) * frequency.multiple, values[whole])


def nullable(values: Values) -> list[float | None]:
    """Numbers for JSON: NaN becomes null."""
    return [None if np.isnan(value) else float(value) for value in values]
