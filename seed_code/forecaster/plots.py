"""The evaluation in pictures, as PNG files."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from seed_code.common.figures import BASE, MODEL, OTHER, finish, save

_MOST_WINDOWS = 6
_COLUMNS = 3


def write(folder: Path, evaluation: dict[str, Any]) -> list[Path]:
    """Draw `forecasts.png`, `windows.png` and `gaps.png` of an evaluation into `folder`."""
    drawn = {
        "forecasts": forecasts(evaluation),
        "windows": windows(evaluation["windows"], evaluation["metrics"]["mean_wql"]),
        "gaps": gaps(evaluation["recent"], evaluation["data"].get("gaps", []), evaluation["target"]),
    }
    return save(folder, drawn)


def forecasts(evaluation: dict[str, Any]) -> Figure:
    """Forecasts with their bands beside what came, of some windows from the first to the last one."""
    every = evaluation["forecasts"]
    chosen = np.unique(np.linspace(0, len(every) - 1, min(len(every), _MOST_WINDOWS)).round().astype(int))
    rows = -(-len(chosen) // _COLUMNS)
    columns = min(len(chosen), _COLUMNS)
    figure = Figure(figsize=(4.4 * columns, 3.0 * rows), layout="constrained")
    for place, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        if place >= len(chosen):
            axes.set_axis_off()
            continue
        _forecast(axes, every[chosen[place]], evaluation["confidence"])
        axes.set_title(every[chosen[place]]["origin"], fontsize="medium")
        axes.grid(alpha=0.3)
    figure.axes[0].legend(frameon=False, fontsize="small", loc="upper left")
    figure.supylabel(evaluation["target"])
    return figure


def _forecast(axes: Axes, one: dict[str, Any], confidence: int) -> None:
    steps = np.arange(1, len(one["actual"]) + 1)
    history = _numbers(one["history"]["values"])
    low, *_, high = one["quantiles"].values()
    axes.fill_between(steps, low, high, color=MODEL, alpha=0.2, linewidth=0, label=f"{confidence} % band")
    axes.plot(steps, one["quantiles"]["0.5"], color=MODEL, label="median")
    axes.plot(np.arange(1 - len(history), 1), history, color=BASE, linewidth=1)
    axes.plot(steps, _numbers(one["actual"]), color="black", linewidth=1, label="actual")


def windows(rows: list[dict[str, Any]], mean: float) -> Figure:
    """The weighted quantile loss of each window, of the model, the seasonal naive forecast and the champion."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots()
    number = np.arange(1, len(rows) + 1)
    # The model last: it should not lie below a champion that forecasts the same.
    drawn = {"seasonal_naive": (BASE, "seasonal naive"), "champion": (OTHER, "champion"), "mean_wql": (MODEL, "model")}
    for column, (colour, label) in drawn.items():
        values = _numbers([row[column] for row in rows])
        if not np.isnan(values).all():
            axes.plot(number, values, color=colour, marker="o", markersize=4, linewidth=1, label=label)
    axes.axhline(mean, color=MODEL, linestyle="--", linewidth=1, label="model, all windows")
    axes.set(xlabel="test window", title="Weighted quantile loss (lower is better)")
    axes.set_ylim(bottom=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    finish(axes)
    return figure


def gaps(recent: dict[str, Any], missing: list[dict[str, Any]], target: str) -> Figure:
    """The series that was prepared, with the stretches in which nothing was observed.

    Args:
        recent: the thinned series.
        missing: the report's gaps, each with `start` and `end`.
    """
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    axes = figure.subplots()
    begin = _time(recent["start"])
    step = timedelta(minutes=recent["step_minutes"])
    values = _numbers(recent["values"])
    times = [begin + step * at for at in range(len(values))]
    axes.plot(times, values, color=MODEL, linewidth=0.8, label=target)
    label: str | None = "nothing observed"
    for gap in missing:
        # As wide as a point of the line at least: a missing minute among a week's should be seen.
        end = max(_time(gap["end"]), _time(gap["start"]) + step)
        axes.axvspan(_time(gap["start"]), end, color=OTHER, alpha=0.6, linewidth=0, label=label)
        label = None
    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    finish(axes)
    return figure


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=None)


def _numbers(values: list[float | None]) -> Any:
    """For matplotlib, which leaves a gap where there is no number."""
    return np.array([np.nan if value is None else value for value in values], np.float64)
