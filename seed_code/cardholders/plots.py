"""The evaluation in pictures, as PNG files."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from seed_code.cardholders.features import FIELDS
from seed_code.common.figures import BASE, MODEL, OTHER, finish, save

_SERIES = {"model": MODEL, "base_rate": BASE, "gap_model": OTHER}
_LABELS = {"model": "model", "base_rate": "base rate of k", "gap_model": "holder's own rate"}


def write(folder: Path, evaluation: dict[str, Any]) -> list[Path]:
    """Draw `calibration.png`, `by_k.png` and `clusters.png` of an evaluation into `folder`."""
    drawn = {
        "calibration": calibration(evaluation["calibration"]["bins"]),
        "by_k": by_k(evaluation["by_k"]),
        "clusters": clusters(evaluation["clusters"]["profiles"]),
    }
    return save(folder, drawn)


def calibration(bins: list[dict[str, Any]]) -> Figure:
    """Observed share of purchases against predicted probability, by bin."""
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=BASE, linewidth=1, linestyle="--", label="perfectly calibrated")
    predicted, observed = [entry["mean_predicted"] for entry in bins], [entry["observed"] for entry in bins]
    axes.plot(predicted, observed, color=MODEL, marker="o", label="model")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="predicted probability", ylabel="observed share of purchases")
    axes.set_title("Calibration on the holdout")
    finish(axes)
    return figure


def by_k(rows: list[dict[str, Any]]) -> Figure:
    """ROC-AUC and Brier score by k, of the model and of both baselines."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    days = [row["k"] for row in rows]
    for axes, metric, title in zip(
        figure.subplots(1, 2),
        ("roc_auc", "brier"),
        ("ROC-AUC (higher is better)", "Brier score (lower is better)"),
        strict=True,
    ):
        for series, colour in _SERIES.items():
            source = [row if series == "model" else row["baselines"][series] for row in rows]
            # None, where a metric is not defined, leaves a gap in the line.
            values = [float("nan") if entry[metric] is None else entry[metric] for entry in source]
            axes.plot(days, values, color=colour, marker=".", label=_LABELS[series])
        axes.set(xlabel="k, days", title=title)
        finish(axes)
    return figure


def clusters(profiles: list[dict[str, Any]]) -> Figure:
    """Each cluster's 10th percentile, median and 90th percentile of the three fields."""
    figure = Figure(figsize=(11, 1.6 + 0.45 * len(profiles)), layout="constrained")
    names = [f"{profile['cluster']}: {profile['name']} ({profile['share']:.0%})" for profile in profiles]
    for column, (axes, field) in enumerate(zip(figure.subplots(1, len(FIELDS), sharey=True), FIELDS, strict=True)):
        for row, profile in enumerate(profiles):
            quantiles = profile[field]
            if quantiles["median"] is None:
                continue
            axes.plot([quantiles["p10"], quantiles["p90"]], [row, row], color=MODEL, linewidth=3, alpha=0.4)
            axes.plot(quantiles["median"], row, color=MODEL, marker="o")
        axes.set_xscale("symlog", linthresh=1)
        axes.set_title(field)
        axes.grid(alpha=0.3)
        if column == 0:
            axes.set_yticks(range(len(profiles)), names)
    return figure
