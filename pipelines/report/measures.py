"""How each workload's models are measured: its metrics, what people call them, and which value of two is the better.

The page, `mlops models` and what `mlops demo` prints all take names, order and direction from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pipelines.report.format import as_number, difference, figure, percent

__all__ = ["CARDHOLDERS", "FORECASTER", "Measure", "Measures", "goal_of", "of"]

Better = Literal["higher", "lower", "nearer", "none"]


@dataclass(frozen=True)
class Measure:
    """A metric of the evaluation: its key there, its name (and a short one for columns), and what is better.

    `better` is `nearer` for a measure that should come near a goal (a band's coverage), and `none` for a figure that
    says nothing of the model (what a baseline reaches). `share` is for values in [0, 1] that are told in per cent.
    """

    key: str
    name: str
    short: str
    better: Better
    meaning: str
    share: bool = False

    @property
    def arrow(self) -> str:
        return {"higher": "↑", "lower": "↓", "nearer": "→", "none": ""}[self.better]

    @property
    def direction(self) -> str:
        """Which values are better, in words; nothing where none is."""
        words = {"higher": "higher is better", "lower": "lower is better", "nearer": "nearer to its goal is better"}
        return words.get(self.better, "")

    def shown(self, value: Any) -> str:
        return percent(value) if self.share else figure(value)

    def difference(self, value: float) -> str:
        """A difference of two values with its sign; that of shares in percentage points."""
        return f"{value * 100:+.1f} pp".replace("-", "\u2212") if self.share else difference(value)

    def badness(self, value: float, goal: float | None = None) -> float | None:
        """A number that is lower for the better of two values; None when they cannot be ranked.

        `goal` is what a `nearer` measure should come near.
        """
        if self.better == "nearer":
            return None if goal is None else abs(value - goal)
        return {"higher": -value, "lower": value}.get(self.better)


@dataclass(frozen=True)
class Measures:
    """A workload's metrics in the order in which they are told, and how its baselines are called.

    `judged_on` ends the phrase "all on …". `package` are the keys that `mlops models` shows, `package_narrow` those it
    keeps on a narrow terminal. `interval` names the two figures of a package that hold the first metric's interval.
    """

    judged_on: str = ""
    metrics: tuple[Measure, ...] = ()
    only_of_package: tuple[Measure, ...] = ()
    package: tuple[str, ...] = ()
    package_narrow: tuple[str, ...] = ()
    interval: tuple[str, str] | None = None
    baselines: Mapping[str, str] = field(default_factory=dict)

    def named(self, *keys: str) -> list[Measure]:
        """The measures of these keys that there are, in the order given."""
        known = {measure.key: measure for measure in (*self.metrics, *self.only_of_package)}
        return [known[key] for key in keys if key in known]

    def baseline(self, key: str) -> str:
        """What a baseline is called; one that is not known goes by its key."""
        return self.baselines.get(key, key.replace("_", " ").capitalize())


CARDHOLDERS = Measures(
    judged_on="the same holdout",
    metrics=(
        Measure("roc_auc", "ROC AUC", "ROC AUC", "higher", "chance that a buyer is ranked before a non-buyer"),
        Measure("pr_auc", "PR AUC", "PR AUC", "higher", "precision over recall, averaged"),
        Measure("log_loss", "Log loss", "log loss", "lower", "mean surprise at what happened, in nats"),
        Measure("brier", "Brier score", "Brier", "lower", "mean squared error of the probability"),
        Measure(
            "calibration_error",
            "Calibration error",
            "cal. error",
            "lower",
            "mean gap between predicted and observed share",
        ),
        Measure("silhouette", "Silhouette", "silhouette", "higher", "how far clusters stand apart, from \u22121 to 1"),
        Measure(
            "davies_bouldin",
            "Davies\u2013Bouldin",
            "D.-B.",
            "lower",
            "spread within clusters against distance between them",
        ),
        Measure(
            "calinski_harabasz",
            "Calinski\u2013Harabasz",
            "C.-H.",
            "higher",
            "variance between clusters against that within them",
        ),
    ),
    package=("roc_auc", "log_loss", "brier", "calibration_error", "silhouette"),
    package_narrow=("roc_auc", "brier", "silhouette"),
    baselines={"base_rate": "Base rate", "gap_model": "Gap model"},
)

FORECASTER = Measures(
    judged_on="the same test windows",
    metrics=(
        Measure("mean_wql", "Mean wQL", "wQL", "lower", "weighted quantile loss, averaged over the quantiles"),
        Measure("coverage", "Coverage", "coverage", "nearer", "share of what happened inside the band", share=True),
        Measure("rmse", "RMSE", "RMSE", "lower", "root mean squared error of the mean forecast"),
    ),
    only_of_package=(
        Measure(
            "seasonal_naive_wql", "Seasonal naive\u2019s wQL", "naive wQL", "none", "what the season before would do"
        ),
    ),
    package=("mean_wql", "coverage", "rmse", "seasonal_naive_wql"),
    package_narrow=("mean_wql", "coverage", "seasonal_naive_wql"),
    interval=("wql_lower", "wql_upper"),
    baselines={"seasonal_naive": "Seasonal naive"},
)

_WORKLOADS: Mapping[str, Measures] = {"cardholders": CARDHOLDERS, "forecaster": FORECASTER}
_NONE = Measures()


def of(workload: Any) -> Measures:
    """A workload's measures; none for a workload that is not known."""
    return _WORKLOADS.get(workload, _NONE) if isinstance(workload, str) else _NONE


def goal_of(evaluation: Mapping[str, Any]) -> float | None:
    """What `nearer` measures should come near: the confidence that the evaluation was made for, as a share."""
    confidence = as_number(evaluation.get("confidence"))
    return None if confidence is None else confidence / 100
