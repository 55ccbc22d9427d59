"""How good answers were, once it is known what became of them: what the monitor measures every hour.

`calibration_error` is the expected calibration error: examples are sorted into (up to) ten bins of equal counts by
predicted probability; it is the mean, weighted by the bins' counts, of |mean predicted - observed share|.

Imports NumPy alone, so that the monitor starts quickly; metrics.py has what needs scikit-learn.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

CALIBRATION_BINS = 10


def brier(labels: NDArray[np.bool_], probability: NDArray[np.float64]) -> float:
    """The mean squared error of probabilities (n,) of labels (n,)."""
    return float(np.mean((probability - labels) ** 2))


def accuracy(labels: NDArray[np.bool_], decisions: NDArray[np.bool_]) -> float:
    """Share of the decisions (`will_spend`) that turned out right."""
    return float(np.mean(labels == decisions))


def calibration_bins(labels: NDArray[np.bool_], probability: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Up to ten bins of equal counts by probability, fewer when probabilities repeat, as JSON-ready rows."""
    edges = np.unique(np.quantile(probability, np.linspace(0, 1, CALIBRATION_BINS + 1)))
    index = np.clip(np.searchsorted(edges, probability, side="right") - 1, 0, max(len(edges) - 2, 0))
    bins = []
    for number in np.unique(index):
        inside = index == number
        bins.append(
            {
                "lower": float(edges[number]),
                "upper": float(edges[min(number + 1, len(edges) - 1)]),
                "mean_predicted": float(probability[inside].mean()),
                "observed": float(labels[inside].mean()),
                "count": int(inside.sum()),
            }
        )
    return bins


def calibration_error(bins: list[dict[str, Any]]) -> float:
    """The expected calibration error of `calibration_bins`."""
    total = sum(entry["count"] for entry in bins)
    return float(sum(entry["count"] * abs(entry["mean_predicted"] - entry["observed"]) for entry in bins) / total)
