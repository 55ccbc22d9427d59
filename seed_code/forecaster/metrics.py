"""How good a forecast is: weighted quantile loss, coverage, RMSE, their uncertainty, and the naive baseline.

Sums are taken over all windows before dividing (a mean of ratios would let one quiet window decide). Points that were
not observed count nowhere.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """The measures of one forecaster on one set of windows.

    Attributes:
        quantile_losses: by quantile, `2 Σ max(τ(y - q), (1 - τ)(q - y)) / Σ|y|`.
        mean_quantile_loss: their mean.
        mean_absolute_quantile_loss: the mean over quantiles of the numerators, in the target's unit.
        coverage: by quantile, the share of points at or below the forecast of it.
        rmse: root of the mean squared error of the point forecast.
        points: how many points were observed.
    """

    quantile_losses: dict[float, float]
    mean_quantile_loss: float
    mean_absolute_quantile_loss: float
    coverage: dict[float, float]
    rmse: float
    points: int


def quantiles_of(samples: NDArray[np.float32], quantiles: Sequence[float]) -> Values:
    """Quantiles over sample paths, interpolated between neighbours.

    Args:
        samples: (windows, paths, steps).

    Returns:
        (quantiles, windows, steps).
    """
    ordered = np.sort(samples, axis=1)
    last = ordered.shape[1] - 1
    result = np.empty((len(quantiles), samples.shape[0], samples.shape[2]))
    for row, quantile in zip(result, quantiles, strict=True):
        position = quantile * last
        below = math.floor(position)
        lower, upper = ordered[:, below].astype(np.float64), ordered[:, min(below + 1, last)]
        row[...] = lower + (upper - lower) * (position - below)
    return result


def score(actual: Values, forecast: Values, quantiles: Sequence[float], mean: Values) -> Score:
    """Measure forecasts.

    Args:
        actual: (windows, steps), NaN where not observed.
        forecast: (quantiles, windows, steps).
        quantiles: in the order of `forecast`.
        mean: (windows, steps), the point forecast.

    Raises:
        ValueError: when no point was observed: there is nothing to measure.
    """
    observed = ~np.isnan(actual)
    if not observed.any():
        raise ValueError("no point of the test windows was observed")
    losses = _losses(actual, forecast, quantiles).sum(axis=(1, 2))
    total = float(np.abs(actual[observed]).sum())
    weighted = {q: _ratio(float(loss), total) for q, loss in zip(quantiles, losses, strict=True)}
    coverage = {
        q: float((actual[observed] <= row[observed]).mean()) for q, row in zip(quantiles, forecast, strict=True)
    }
    rmse = float(np.sqrt(np.mean((actual[observed] - mean[observed]) ** 2)))
    return Score(
        weighted, float(np.mean(list(weighted.values()))), float(losses.mean()), coverage, rmse, int(observed.sum())
    )


def _losses(actual: Values, forecast: Values, quantiles: Sequence[float]) -> Values:
    """(quantiles, windows, steps): the quantile loss of each point, doubled; 0 where not observed."""
    levels = np.asarray(quantiles, np.float64)[:, None, None]
    difference = actual - forecast
    return np.nan_to_num(2 * np.maximum(levels * difference, (levels - 1) * difference), nan=0.0)


def _ratio(loss: float, total: float) -> float:
    """A weighted loss; of a series of zeros it is 0 for a perfect forecast and without bound for any other."""
    if total:
        return loss / total
    return 0.0 if loss == 0 else math.inf


def bootstrap_interval(
    actual: Values, forecast: Values, quantiles: Sequence[float], *, share: float = 0.9, resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:  # fmt: skip
    """The interval that holds `share` of the mean weighted quantile losses of resampled sets of windows.

    Windows are drawn with replacement, whole: the steps of one window are not independent of each other. A resample
    without any value but zero, whose loss is no number, is left out.

    Args:
        actual, forecast, quantiles: as for `score`.

    Raises:
        ValueError: when every resample is left out.
    """
    of_window = _losses(actual, forecast, quantiles).sum(axis=2).mean(axis=0)
    sizes = np.nansum(np.abs(actual), axis=1)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(sizes), size=(resamples, len(sizes)))
    totals = sizes[drawn].sum(axis=1)
    ratios = of_window[drawn].sum(axis=1)[totals > 0] / totals[totals > 0]
    if not len(ratios):
        raise ValueError("the test windows hold nothing but zeros: their weighted quantile loss is no number")
    low, high = np.quantile(ratios, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)


def share_below(
    actual: Values, forecast: Values, quantiles: Sequence[float], bound: float, *, together: int,
    resamples: int = 20_000, seed: int = 0,
) -> float:  # fmt: skip
    """The share of small sets of windows whose mean weighted quantile loss is at most a bound.

    Sets are of `together` windows, drawn with replacement, whole. One whose loss is no number counts as below.

    Args:
        actual, forecast, quantiles: as for `score`.
    """
    of_window = _losses(actual, forecast, quantiles).sum(axis=2).mean(axis=0)
    sizes = np.nansum(np.abs(actual), axis=1)
    drawn = np.random.default_rng(seed).integers(len(sizes), size=(resamples, together))
    return float((of_window[drawn].sum(axis=1) <= bound * sizes[drawn].sum(axis=1)).mean())


def interval_coverage(actual: Values, low: Values, high: Values) -> float:
    """The share of observed points from `low` to `high`, all (windows, steps)."""
    observed = ~np.isnan(actual)
    inside = (low <= actual) & (actual <= high)
    return float(inside[observed].mean())


def seasonal_naive(history: NDArray[np.float32], season: int, horizon: int, quantiles: Sequence[float]) -> Values:
    """The forecast that repeats the last season, with the quantiles of what that would have missed by.

    The median is the repeated value. The spread around it is that of the differences between values as far apart in
    the history as the forecast and what it repeats; none where the history is too short to show any.

    Args:
        history: one series, NaN where not observed; the last observation of a step of the season stands for it.
        season: steps in it.

    Returns:
        (quantiles, horizon); NaN for a step of the season that was never observed.
    """
    steps = np.arange(horizon)
    source = np.full(horizon, -1)
    for step in steps:
        at = len(history) - season + step % season
        while at >= 0 and np.isnan(history[at]):
            at -= season
        source[step] = at
    result = np.full((len(quantiles), horizon), np.nan)
    spread: dict[int, Values] = {}
    for step in steps[source >= 0]:
        back = len(history) + step - source[step]
        if back not in spread:
            differences = history[back:].astype(np.float64) - history[:-back]
            differences = differences[~np.isnan(differences)]
            spread[back] = np.zeros(len(quantiles))
            if len(differences):
                spread[back] = np.quantile(differences, quantiles) - np.median(differences)
        result[:, step] = float(history[source[step]]) + spread[back]
    return result
