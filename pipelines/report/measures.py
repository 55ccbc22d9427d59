"""The metrics of an evaluation: what people call them, and which direction is better."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["METRICS", "Measure"]


@dataclass(frozen=True)
class Measure:
    """A metric of the evaluation: its key there, its name (and a short one for columns), which direction is better."""

    key: str
    name: str
    short: str
    higher_is_better: bool
    meaning: str

    @property
    def arrow(self) -> str:
        return "↑" if self.higher_is_better else "↓"


METRICS = (
    Measure("roc_auc", "ROC AUC", "ROC AUC", True, "chance that a buyer is ranked before a non-buyer"),
    Measure("pr_auc", "PR AUC", "PR AUC", True, "precision over recall, averaged"),
    Measure("log_loss", "Log loss", "log loss", False, "mean surprise at what happened, in nats"),
    Measure("brier", "Brier score", "Brier", False, "mean squared error of the probability"),
    Measure(
        "calibration_error", "Calibration error", "cal. error", False, "mean gap between predicted and observed share"
    ),
    Measure("silhouette", "Silhouette", "silhouette", True, "how far clusters stand apart, from \u22121 to 1"),
    Measure(
        "davies_bouldin", "Davies\u2013Bouldin", "D.-B.", False, "spread within clusters against distance between them"
    ),
    Measure(
        "calinski_harabasz",
        "Calinski\u2013Harabasz",
        "C.-H.",
        True,
        "variance between clusters against that within them",
    ),
)
