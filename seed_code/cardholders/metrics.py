"""How good probabilities of a purchase are.

`calibration_error` is the expected calibration error: examples are sorted into (up to) ten bins of equal counts by
predicted probability; it is the mean, weighted by the bins' counts, of |mean predicted - observed share|.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

CALIBRATION_BINS = 10


def probability_metrics(labels: NDArray[np.bool_], probability: NDArray[np.float64]) -> dict[str, float | None]:
    """ROC-AUC, PR-AUC, log loss, Brier score and calibration error of probabilities (n,) of labels (n,).

    Ranking metrics are None where they are not defined: ROC-AUC with one class only, PR-AUC without a positive.
    """
    both = bool(labels.any() and not labels.all())
    return {
        "roc_auc": float(roc_auc_score(labels, probability)) if both else None,
        "pr_auc": float(average_precision_score(labels, probability)) if labels.any() else None,
        "log_loss": float(log_loss(labels, np.column_stack([1 - probability, probability]), labels=[False, True])),
        "brier": float(brier_score_loss(labels, probability)),
        "calibration_error": calibration_error(calibration_bins(labels, probability)),
    }


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
