"""What a purchase model must beat: two predictions that need no machine learning.

`base_rate` answers with the share of training examples that had a purchase within k days, the same for every holder.

`gap_model` lets each holder purchase at a constant rate, days with a purchase being a Poisson process, whose gaps are
exponential. The rate comes from the holder's n days with a purchase in the T days of the behaviour window that the
holder has been known for, shrunk to the others' by a gamma prior over holders, fitted to the training examples by
moments (empirical Bayes). With the gamma's shape a and rate b, P(purchase within k days) is
1 - ((b + T) / (b + T + k)) ** (a + n): the exponential's, averaged over what the rate may be.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# What the gap model knows of a holder: purchase days per day of the window, and days since the first purchase.
GAP_FEATURES = ("active_day_share", "days_since_first")


@dataclass(frozen=True)
class Baselines:
    """Both baselines, as fitted to training examples.

    `base_rate[k - 1]` is the answer for k days; `alpha` and `beta_days` are the gamma prior of the daily rate;
    `window_days` is the behaviour window that purchase days are counted over.
    """

    base_rate: tuple[float, ...]
    alpha: float
    beta_days: float
    window_days: int

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "Baselines":
        """What `document` made."""
        return cls(tuple(document["base_rate"]), document["alpha"], document["beta_days"], document["window_days"])

    def document(self) -> dict[str, Any]:
        """JSON for the manifest."""
        return {**asdict(self), "base_rate": list(self.base_rate)}

    def base_rate_probability(self, days: NDArray[np.int64]) -> NDArray[np.float64]:
        """The base rate within each of `days`."""
        return np.asarray(self.base_rate)[days - 1]

    def gap_model_probability(self, known: NDArray[np.float64], days: NDArray[np.int64]) -> NDArray[np.float64]:
        """The gap model's answer within each of `days`, from GAP_FEATURES (n, 2) of each holder."""
        seen, exposure = _seen(known, self.window_days)
        exposure += self.beta_days
        probability: NDArray[np.float64] = -np.expm1((self.alpha + seen) * np.log(exposure / (exposure + days)))
        return probability


def fit(
    days_to_next: NDArray[np.float64], known: NDArray[np.float64], horizon_days: int, window_days: int
) -> Baselines:
    """Fit both to training examples.

    Args:
        days_to_next: days to the next purchase; NaN when there is none within the horizon.
        known: GAP_FEATURES (n, 2).
        horizon_days: the largest k.
        window_days: the behaviour window.
    """
    # Laplace's rule keeps the rates off 0 and 1, where one surprise would make the log loss infinite.
    within = np.array([(days_to_next <= days).sum() for days in range(1, horizon_days + 1)])
    base_rate = (within + 1) / (len(days_to_next) + 2)

    seen, exposure = _seen(known, window_days)
    rate = max(float(seen.sum()), 1.0) / float(exposure.sum())
    # Counts are negative binomial: the variance of n is rate·T + (rate·T)² / alpha. Without more variance than
    # Poisson's, holders do not differ, and a large alpha says so.
    expected = rate * exposure
    excess = float(((seen - expected) ** 2 - expected).sum())
    alpha = min(float((expected**2).sum()) / excess, 1e4) if excess > 0 else 1e4
    return Baselines(tuple(float(share) for share in base_rate), alpha, alpha / rate, window_days)


def _seen(known: NDArray[np.float64], window_days: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Purchase days n and days T that they were counted over, of each holder."""
    share, since_first = known[:, 0], known[:, 1]
    exposure = np.minimum(np.nan_to_num(since_first, nan=window_days) + 1, window_days)
    return np.nan_to_num(share, nan=0.0) * exposure, exposure
