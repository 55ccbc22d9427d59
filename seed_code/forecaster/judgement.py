"""What is judged of a model: its forecasts of all test windows, beside the season's repetition and the champion's.

Every figure is over all windows, with sums taken before dividing. A point that was not observed counts nowhere; a
window without any observation is listed, with null for figures.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seed_code.common import archives, documents
from seed_code.common.errors import ClientError
from seed_code.forecaster import artifact, metrics
from seed_code.forecaster.answers import Forecasts
from seed_code.forecaster.grid import GridSeries, nullable
from seed_code.forecaster.rolling import Windows, iso

Values = NDArray[np.float64]

SCHEMA_VERSION = 1
INTERVAL = 0.9  # what the bootstrap interval holds
# How many times the mean loss an hour's may be. One hour's windows scatter far more than the mean over all of them, and
# a day of them says too little of the tail to take a quantile from: above a quiet day's 95 % quantile, three hours in a
# row lie many times a year; above three times the mean hardly ever (benchmarks/drift_detection.py).
HOUR_FACTOR = 3.0
MOST_RECENT_POINTS = 700
_STEP_MINUTES = {"min": 1, "H": 60, "D": 1440, "W": 10080, "M": 43_830}  # of a month on average


def judge(
    series: GridSeries,
    windows: Windows,
    confidence: int,
    levels: Sequence[float],
    forecasts: dict[str, Forecasts],
    seed: int,
) -> dict[str, Any]:
    """What evaluation.json holds about the forecasts.

    Args:
        levels: the judged quantiles, ascending.
        forecasts: of `model`, `seasonal_naive` and, if there is a comparable one, `champion`.
        seed: of the bootstrap.

    Raises:
        ClientError: when the test windows hold nothing but zeros, by whose size the loss is divided.
    """
    actual = windows.actual(series.values)
    observed = ~np.isnan(actual).all(axis=1)
    model = forecasts["model"]
    found = {name: figures(actual, one, levels) for name, one in forecasts.items()}
    try:
        low, high = metrics.bootstrap_interval(
            actual[observed], model.quantiles[:, observed], levels, share=INTERVAL, seed=seed
        )
    except ValueError as error:
        raise ClientError(f"the model cannot be judged: {error}") from error
    own, naive, champion = (found.get(name) for name in ("model", "seasonal_naive", "champion"))
    assert own is not None
    return {
        "schema_version": SCHEMA_VERSION,
        "workload": "forecaster",
        "frequency": str(series.frequency),
        "target": windows.target,
        "prediction_length": windows.prediction_length,
        "quantiles": list(levels),
        "confidence": confidence,
        "metrics": own,
        "wql_by_quantile": _by_quantile(actual, model, levels),
        "interval": {"level": INTERVAL, "lower": low, "upper": high},
        "hour": _hour(series, windows, actual[observed], model.quantiles[:, observed], levels, own["mean_wql"], seed),
        "baselines": {"seasonal_naive": naive},
        "champion_comparison": {
            "mean_wql_difference": 0.0 if champion is None else own["mean_wql"] - champion["mean_wql"],
        },
        "windows": _windows(series, windows, actual, levels, forecasts),
        "forecasts": _forecasts(series, windows, actual, levels, model),
        "recent": recent(series),
    }


def figures(actual: Values, forecasts: Forecasts, levels: Sequence[float]) -> dict[str, float]:
    """The figures of one forecaster over all windows."""
    score = metrics.score(actual, forecasts.quantiles, levels, forecasts.mean)
    return {
        "mean_wql": score.mean_quantile_loss,
        "coverage": metrics.interval_coverage(actual, forecasts.quantiles[0], forecasts.quantiles[-1]),
        "rmse": score.rmse,
    }


def _hour(
    series: GridSeries,
    windows: Windows,
    actual: Values,
    quantiles: Values,
    levels: Sequence[float],
    loss: float,
    seed: int,
) -> dict[str, Any]:
    """The bound below which the losses of single hours lie: the threshold of the monitoring is never below it.

    Returns:
        windows: how many an hour holds, at least one. share: of hours drawn from the test windows, that are below.
        upper: the bound, `HOUR_FACTOR` times the mean loss.
    """
    minutes = _STEP_MINUTES[series.frequency.base] * series.frequency.multiple * windows.prediction_length
    together, upper = max(1, int(60 // minutes)), HOUR_FACTOR * loss
    share = metrics.share_below(actual, quantiles, levels, upper, together=together, seed=seed)
    return {"windows": together, "share": share, "upper": upper}


def _by_quantile(actual: Values, forecasts: Forecasts, levels: Sequence[float]) -> dict[str, float]:
    losses = metrics.score(actual, forecasts.quantiles, levels, forecasts.mean).quantile_losses
    return {f"{level:g}": loss for level, loss in losses.items()}


def _windows(
    series: GridSeries, windows: Windows, actual: Values, levels: Sequence[float], forecasts: dict[str, Forecasts]
) -> list[dict[str, Any]]:
    rows = []
    for at, origin in enumerate(windows.origins):
        row: dict[str, Any] = {
            "origin": iso(series.time(origin)),
            "observed": int((~np.isnan(actual[at])).sum()),
        }
        for column, name in (("mean_wql", "model"), ("seasonal_naive", "seasonal_naive"), ("champion", "champion")):
            row[column] = _loss(actual[at : at + 1], forecasts[name], at, levels) if name in forecasts else None
        rows.append(row)
    return rows


def _loss(actual: Values, forecasts: Forecasts, at: int, levels: Sequence[float]) -> float | None:
    """The mean weighted quantile loss of one window; null where there is nothing to divide, or to divide by."""
    if np.isnan(actual).all():
        return None
    one = slice(at, at + 1)
    loss = metrics.score(actual, forecasts.quantiles[:, one], levels, forecasts.mean[one]).mean_quantile_loss
    return loss if math.isfinite(loss) else None


def _forecasts(
    series: GridSeries, windows: Windows, actual: Values, levels: Sequence[float], forecasts: Forecasts
) -> list[dict[str, Any]]:
    shown = 2 * windows.prediction_length
    return [
        {
            "origin": iso(series.time(origin)),
            "history": {
                "start": iso(series.time(max(0, origin - shown))),
                "values": nullable(series.values[max(0, origin - shown) : origin]),
            },
            "actual": nullable(actual[at]),
            "mean": forecasts.mean[at].tolist(),
            "quantiles": {f"{level:g}": forecasts.quantiles[row, at].tolist() for row, level in enumerate(levels)},
        }
        for at, origin in enumerate(windows.origins)
    ]


def recent(series: GridSeries) -> dict[str, Any]:
    """The whole series, thinned by the mean of what was observed; null where nothing was."""
    together = -(-len(series) // MOST_RECENT_POINTS)
    padded = np.full(-(-len(series) // together) * together, np.nan)
    padded[: len(series)] = series.values
    rows = padded.reshape(-1, together)
    known = ~np.isnan(rows)
    means = np.divide(
        np.where(known, rows, 0).sum(axis=1), known.sum(axis=1), out=np.full(len(rows), np.nan), where=known.any(axis=1)
    )
    return {
        "start": iso(series.time(0)),
        "step_minutes": together * series.frequency.multiple * _STEP_MINUTES[series.frequency.base],
        "values": nullable(means),
    }


def training_of(archive: Path, folder: Path) -> dict[str, Any] | None:
    """How the model in `archive`, which is unpacked to `folder`, came about; None when it is none of ours.

    Raises:
        ClientError: when the archive cannot be unpacked.
    """
    archives.extract(archive, folder)
    if not (folder / artifact.DESCRIPTION_FILE).is_file():
        return None
    training = documents.read(folder / artifact.DESCRIPTION_FILE).get("training") or {}
    losses = training.get("losses", [])
    best = training.get("best_epoch")
    return {
        "hyperparameters": training.get("hyperparameters", {}),
        "epochs_run": len(losses),
        "best_epoch": best,
        "final_loss": None if best is None else losses[best],
        "losses": losses,
    }
