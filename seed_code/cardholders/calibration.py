"""Calibration of a score to a probability by one smooth, increasing map.

Beta calibration (Kull, Silva Filho, Flach: "Beta calibration: a well-founded and easily implemented improvement on
logistic calibration for binary classifiers", AISTATS 2017): logit(q) = a ln p - b ln(1 - p) + c, with a and b kept
positive. It is strictly increasing, so an order of scores (monotone in k, for one) is an order of probabilities, and
it has no plateaus at 0 and 1, as isotonic regression has at its ends.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from seed_code.common.errors import ClientError

_SMALLEST_SLOPE = 0.01
# A probability is never nearer to 0 or 1 than one in a million: beyond that, floating point would round it to certain.
_LARGEST_LOGIT = float(np.log(1e6 - 1))


@dataclass(frozen=True)
class BetaCalibration:
    """The map's three numbers."""

    a: float
    b: float
    c: float

    def probability(self, log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrated probabilities, strictly between 0 and 1, of a classifier's log-odds."""
        logit = self.a * _log_p(log_odds) - self.b * _log_p(-log_odds) + self.c
        calibrated: NDArray[np.float64] = expit(np.clip(logit, -_LARGEST_LOGIT, _LARGEST_LOGIT))
        return calibrated


def fit(log_odds: NDArray[np.float64], labels: NDArray[np.bool_]) -> BetaCalibration:
    """The map that minimises the log loss of `labels` given a classifier's log-odds.

    Raises:
        ClientError: when there is only one class to calibrate on.
    """
    if labels.all() or not labels.any():
        raise ClientError("calibration needs examples with and without a purchase; all labels are the same")
    terms = np.column_stack([_log_p(log_odds), -_log_p(-log_odds), np.ones_like(log_odds)])
    sign = np.where(labels, 1.0, -1.0)

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margins = sign * (terms @ weights)
        gradient = -(sign * expit(-margins)) @ terms / len(terms)
        return float(np.logaddexp(0.0, -margins).mean()), gradient

    found = minimize(
        loss,
        x0=np.array([1.0, 1.0, 0.0]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(_SMALLEST_SLOPE, None), (_SMALLEST_SLOPE, None), (None, None)],
    )
    return BetaCalibration(*(float(weight) for weight in found.x))


def _log_p(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """ln p of log-odds ln(p / (1 - p)), without ever forming a p that rounds to 0 or 1."""
    logarithm: NDArray[np.float64] = -np.logaddexp(0.0, -log_odds)
    return logarithm
