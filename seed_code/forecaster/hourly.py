"""The forecasts of an hour: which windows it holds, and how good the live endpoint's forecasts of them were.

Windows lie as close to the hour's end as they fit, one after the other: of a prediction length of 30 minutes two, that
begin at T - 60 and T - 30 minutes. Of a prediction length above an hour there is one, which ends with the hour. A
window's beginning is its origin: the endpoint is asked with what was known then.

The figures are those that the build pipeline judges a model by (`judgement`), over the hour's windows: sums are taken
before dividing, a point that was not observed counts nowhere.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from seed_code.common.errors import ClientError
from seed_code.common.monitoring import Evaluation, iso, stamp
from seed_code.forecaster import metrics
from seed_code.forecaster.answers import Forecasts, Values
from seed_code.forecaster.frequency import Frequency
from seed_code.forecaster.grid import GridSeries, nullable

CONTEXT_STEPS = 240  # before an origin: all lags of minutes, and the context before them
SEASONS = 7  # days, whose same hour is read for the season's repetition and the usual fee
DAY_MINUTES = 1440
_HOUR_MINUTES = 60
_FEE_QUANTILE = 0.25
_STEP_MINUTES = {"min": 1, "H": 60}


@dataclass(frozen=True)
class Plan:
    """Which minutes an evaluation is about; minutes count from 1970-01-01.

    Attributes:
        step: minutes of the frequency.
        length: steps in a window.
        end: the hour's end, to the step; `first`: its beginning.
        origins: the first minute of each window, ascending.
    """

    step: int
    length: int
    first: int
    end: int
    origins: tuple[int, ...]

    @classmethod
    def of(cls, evaluation: Evaluation, frequency: Frequency, length: int) -> "Plan":
        """The windows of the hour.

        Raises:
            ClientError: when an hour holds no whole number of the frequency's steps.
        """
        step = _STEP_MINUTES.get(frequency.base, 0) * frequency.multiple
        if not step or _HOUR_MINUTES % step:
            raise ClientError(
                f"--frequency is {frequency}; expected one that divides an hour, such as 1min, 15min or 1H: the "
                "monitoring judges hours"
            )
        end = math.floor(evaluation.time.timestamp() / 60) // step * step
        count = max(1, _HOUR_MINUTES // (length * step))
        origins = tuple(end - (count - number) * length * step for number in range(count))
        return cls(step, length, end - _HOUR_MINUTES, end, origins)

    @property
    def begin(self) -> int:
        """The first minute that is sent to the endpoint."""
        return min(self.first, self.origins[0]) - CONTEXT_STEPS * self.step

    @property
    def season(self) -> int:
        """Steps in a day, the season that is repeated."""
        return DAY_MINUTES // self.step

    def minutes(self) -> set[int]:
        """All that has to be read: the context and the hour, and the same time of the days before."""
        wanted = set(range(self.begin, self.end))
        span = range(min(self.first, self.origins[0]), self.end)
        for day in range(1, SEASONS + 1):
            wanted |= {minute - day * DAY_MINUTES for minute in span}
        return wanted


@dataclass(frozen=True)
class Asked:
    """A window, and what the endpoint answered.

    Attributes:
        origin: its first minute, since 1970-01-01.
        actual: (steps,), NaN where not observed.
        answer: the mean and then the quantiles, each (steps,); None when there was no answer.
        naive: the quantiles of the season's repetition, (quantiles, steps); None when no season was observed.
        error: why there was no answer.
    """

    origin: int
    inference_id: str
    actual: Values
    answer: list[Values] | None
    naive: Values | None
    error: str = ""

    @property
    def observed(self) -> int:
        """How many of its steps were observed."""
        return int((~np.isnan(self.actual)).sum())


def inference_id(evaluation: Evaluation, origin: int) -> str:
    """The name of the monitor's request for a window: the same when an evaluation is repeated."""
    return f"{stamp(moment_of(origin))}-monitor-{evaluation.stage}"


def moment_of(minute: int) -> datetime:
    """The first moment of a minute that is counted from 1970-01-01, in UTC."""
    return datetime.fromtimestamp(60 * minute, UTC)


def naive(history: GridSeries, season: int, length: int, levels: Sequence[float]) -> Values | None:
    """The quantiles of the season's repetition after a series, as the build pipeline has them (`rivals`).

    Where the season's step was never observed, the series' own quantiles stand for it. None when nothing was observed.
    """
    if np.isnan(history.values).all():
        return None
    quantiles = metrics.seasonal_naive(history.values.astype(np.float32), season, length, levels)
    unknown = np.isnan(quantiles).any(axis=0)
    quantiles[:, unknown] = np.nanquantile(history.values, levels)[:, None]
    return quantiles


@dataclass(frozen=True)
class Scores:
    """The figures of the hour.

    Attributes:
        loss: the mean weighted quantile loss; infinite of an hour of zeros.
        naive: that of the season's repetition on the same windows; None when one of them has none.
    """

    loss: float
    coverage: float
    rmse: float
    naive: float | None


def score(windows: Sequence[Asked], levels: Sequence[float]) -> Scores:
    """The figures over windows that were all answered; at least one of them, with a point that was observed."""
    actual = np.stack([window.actual for window in windows])
    forecasts = Forecasts.of([window.answer for window in windows if window.answer is not None])
    found = metrics.score(actual, forecasts.quantiles, levels, forecasts.mean)
    repeated = [window.naive for window in windows if window.naive is not None]
    naive_loss = None
    if len(repeated) == len(windows):
        quantiles = np.stack(repeated, axis=1)
        median = quantiles[list(levels).index(0.5)]
        naive_loss = metrics.score(actual, quantiles, levels, median).mean_quantile_loss
    inside = metrics.interval_coverage(actual, forecasts.quantiles[0], forecasts.quantiles[-1])
    return Scores(found.mean_quantile_loss, inside, found.rmse, naive_loss)


def document(window: Asked, levels: Sequence[float]) -> dict[str, Any]:
    """A window as the hour's report has it; null where there is no figure."""
    found: dict[str, Any] = {
        "origin": iso(moment_of(window.origin)),
        "inference_id": window.inference_id,
        "observed": window.observed,
        "mean_wql": None,
        "seasonal_naive": None,
        "coverage": None,
        "actual": nullable(window.actual),
        "mean": None,
        "quantiles": None,
    }
    if window.error:
        found["error"] = window.error
    if window.answer is None:
        return found
    found["mean"] = window.answer[0].tolist()
    found["quantiles"] = {f"{level:g}": row.tolist() for level, row in zip(levels, window.answer[1:], strict=True)}
    if window.observed:
        scores = score([window], levels)
        found |= {
            "mean_wql": _finite(scores.loss),
            "seasonal_naive": _finite(scores.naive),
            "coverage": scores.coverage,
        }
    return found


def fee_change(now: Values, before: Sequence[Values]) -> float | None:
    """The logarithm of the hour's fee over that of the same hour on the days before: 0.69 when it has doubled.

    An hour's fee is the lower quartile of its minutes, which a burst of half an hour does not move.

    Args:
        now: the hour's values, NaN where not observed.
        before: those of each day.

    Returns:
        None when the hour, or all the days, were not observed, or are not above zero: there is no logarithm.
    """
    days = [fee for fee in map(_fee, before) if fee is not None]
    fee = _fee(now)
    if fee is None or not days or fee <= 0 or sum(days) <= 0:
        return None
    return math.log(fee) - math.log(sum(days) / len(days))


def _fee(values: Values) -> float | None:
    observed = values[~np.isnan(values)]
    return float(np.quantile(observed, _FEE_QUANTILE)) if len(observed) else None


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
