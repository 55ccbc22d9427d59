"""How good probabilities of a purchase are, with the measures that need scikit-learn; quality.py has the others."""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from seed_code.cardholders.quality import calibration_bins, calibration_error

__all__ = ["calibration_bins", "calibration_error", "probability_metrics"]


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
