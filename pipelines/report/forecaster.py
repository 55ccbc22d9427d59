"""What the page tells of a forecaster: its forecasts, the loss of each window, the training, and the data's gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from pipelines.report import format as formats
from pipelines.report import rolling
from pipelines.report.axes import moment_text
from pipelines.report.charts import Plot, Series, line_chart
from pipelines.report.documents import count, facts_of, instant, mapping, number_in, plain, records, sequence, values
from pipelines.report.forecast_charts import (
    Estimate,
    Lane,
    Span,
    estimates_chart,
    history_chart,
    windows_chart,
)
from pipelines.report.format import as_number, figure, moment
from pipelines.report.measures import FORECASTER, goal_of
from pipelines.report.rolling import Window
from pipelines.report.sections import Material, Part, Sections, Tile

__all__ = ["sections", "summary"]

MOST_GAPS = 8  # listed; all are drawn


def sections(material: Material) -> Sections:
    """The sections of an evaluation. Whatever is missing or of an unexpected shape in it is left out."""
    evaluation = material.evaluation
    windows = rolling.read(evaluation)
    limit, limit_name = _limit(material)
    data = mapping(evaluation.get("data"))
    gaps = _gaps(data)
    shown, shared = rolling.in_full(windows)
    view = {
        "shown": shown,
        "shared_scale": shared,
        "joined": rolling.joined(windows, rolling.step_seconds(evaluation.get("frequency"))),
        "all_windows": rolling.in_small(windows),
        "windows": windows,
        "forecast_legend": _forecast_legend(windows),
        "by_window": windows_chart("wQL by test window", _losses(windows), limit, f"{limit_name}, for the mean:"),
        "window_legend": [(one.style, one.name) for one in _losses(windows) if one.drawn],
        "estimates": estimates_chart("Mean wQL", _estimates(evaluation), limit, limit_name),
        "interval_level": _interval_level(evaluation),
        "by_quantile": _by_quantile(evaluation),
        "wins": rolling.wins(windows),
        "horizon": _horizon(evaluation),
        "training": _training(material),
        "history": _history(evaluation, windows),
        "target": _target(evaluation),
        "history_step": as_number(mapping(evaluation.get("recent")).get("step_minutes")),
        "champion_known": any(window.champion is not None for window in windows),
        "data_view": _data(data),
        "gaps": gaps[:MOST_GAPS],
        "gap_count": max(len(gaps), as_number(data.get("gap_count")) or 0),
    }
    named = (
        ("forecasts", "Forecasts", view["shown"] or view["all_windows"]),
        ("windows", "By window", view["by_window"]),
        ("training", "Training", view["training"]),
        ("data", "Data", view["history"] or view["data_view"]),
    )
    of_windows = f"the same {len(windows)} test windows" if windows else "the same test windows"
    return Sections(
        template="forecaster.html.j2",
        tiles=_tiles(evaluation, windows),
        links=[(name, text) for name, text, there in named if there],
        view=view,
        lead=f"All on {of_windows}, which lie after everything that the model learned from.",
    )


def summary(evaluation: Mapping[str, Any]) -> str:
    """One line about what the metrics do not tell: windows, the interval, and the training; empty without them."""
    said = []
    windows = rolling.read(evaluation)
    if won := rolling.wins(windows):
        said.append(f"better than seasonal naive in {won[0]} of {won[1]} windows")
    elif windows:
        said.append(f"{len(windows)} windows")
    lower, upper = _interval(evaluation)
    if lower is not None and upper is not None:
        said.append(f"{_interval_level(evaluation)} interval of wQL {figure(lower)} to {figure(upper)}")
    run, configured = _epochs(evaluation)
    if run is not None:
        said.append(f"trained {count(run)} of {count(configured)} epochs" if configured else f"{count(run)} epochs")
    return "; ".join(said)


# --- the head of the page ---------------------------------------------------------------------------------------------


def _tiles(evaluation: Mapping[str, Any], windows: Sequence[Window]) -> list[Tile]:
    metrics = mapping(evaluation.get("metrics"))
    naive = mapping(mapping(evaluation.get("baselines")).get("seasonal_naive"))
    champion = mapping(mapping(evaluation.get("champion")).get("metrics"))
    tiles = []
    for measure in FORECASTER.metrics:
        value = as_number(metrics.get(measure.key))
        if value is None:
            continue
        notes = []
        lower, upper = _interval(evaluation)
        if measure.key == "mean_wql" and lower is not None and upper is not None:
            notes.append(f"{_interval_level(evaluation)} interval {figure(lower)} to {figure(upper)}")
        goal = goal_of(evaluation)
        if measure.better == "nearer" and goal is not None:
            notes.append(f"the band is made for {formats.whole_percent(goal)}")
        for name, others in (("seasonal naive", naive), ("champion", champion)):
            if (other := as_number(others.get(measure.key))) is not None:
                notes.append(f"{name} {measure.shown(other)}")
        tiles.append(Tile(measure.name, measure.shown(value), notes or [measure.direction], measure.meaning))
    own, other = as_number(metrics.get("mean_wql")), as_number(naive.get("mean_wql"))
    if own is not None and other:
        notes = [f"wQL {figure(own)} against {figure(other)}"]
        if won := rolling.wins(windows):
            notes.append(f"better in {won[0]} of {won[1]} windows")
        sign = "\u2212" if own < other else "+"
        change = f"{sign}{formats.whole_percent(abs(own / other - 1))}"
        tiles.append(
            Tile("Against seasonal naive", change, notes, "how the model compares with repeating the season before")
        )
    return tiles


def _interval(evaluation: Mapping[str, Any]) -> tuple[float | None, float | None]:
    interval = mapping(evaluation.get("interval"))
    return as_number(interval.get("lower")), as_number(interval.get("upper"))


def _interval_level(evaluation: Mapping[str, Any]) -> str:
    """`90 %`; nothing where the evaluation does not say."""
    level = as_number(mapping(evaluation.get("interval")).get("level"))
    return "" if level is None else formats.whole_percent(level)


def _limit(material: Material) -> tuple[float | None, str]:
    """What the gate allows the mean wQL to be, and by which parameter."""
    for check in material.verdict:
        if check.subject == "metrics.mean_wql" and check.bound is not None:
            return check.bound, check.limit_name or "limit"
    return None, "limit"


# --- windows ----------------------------------------------------------------------------------------------------------


def _forecast_legend(windows: Sequence[Window]) -> list[tuple[str, str]]:
    """(style, name) of what the forecasts' drawings show."""
    forecast = next((window.forecast for window in windows if window.forecast is not None), None)
    if forecast is None:
        return []
    return [("actual", "observed"), ("model", "median forecast"), *(("band", band.name) for band in forecast.bands)]


def _losses(windows: Sequence[Window]) -> list[Series]:
    named = (
        ("This model", "model", [(window.origin, window.wql) for window in windows]),
        ("Champion", "champion", [(window.origin, window.champion) for window in windows]),
        ("Seasonal naive", "gap", [(window.origin, window.naive) for window in windows]),
    )
    return [Series(name, style, points) for name, style, points in named]


def _estimates(evaluation: Mapping[str, Any]) -> list[Estimate]:
    lower, upper = _interval(evaluation)
    named = [
        ("This model", "model", mapping(evaluation.get("metrics")), lower, upper),
        ("Champion", "champion", mapping(mapping(evaluation.get("champion")).get("metrics")), None, None),
    ]
    for key, baseline in mapping(evaluation.get("baselines")).items():
        named.append((FORECASTER.baseline(str(key)), "gap", mapping(baseline), None, None))
    return [
        Estimate(name, style, value, low, high)
        for name, style, metrics, low, high in named
        if (value := as_number(metrics.get("mean_wql"))) is not None
    ]


def _by_quantile(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    table = mapping(evaluation.get("wql_by_quantile"))
    levels = sorted((level, value) for key, value in table.items() if (level := number_in(key)) is not None)
    return [(f"wQL at quantile {level:g}", figure(value)) for level, value in levels]


def _target(evaluation: Mapping[str, Any]) -> str:
    target = evaluation.get("target")
    return target if isinstance(target, str) and target else "the target"


def _horizon(evaluation: Mapping[str, Any]) -> str:
    """`30 minutes` or `8 steps of 15min`: how far a forecast reaches."""
    length, frequency = as_number(evaluation.get("prediction_length")), evaluation.get("frequency")
    if length is None or not isinstance(frequency, str):
        return ""
    words = {"1min": "minute", "min": "minute", "1h": "hour", "h": "hour", "1d": "day", "d": "day"}
    word = words.get(frequency.lower())
    several = "" if length == 1 else "s"
    return f"{count(length)} {word}{several}" if word else f"{count(length)} step{several} of {frequency}"


# --- training ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Training:
    """How training went: the plot of its losses, what is to be said of its length, its facts and hyperparameters."""

    plot: Plot | None
    sentences: Sequence[str]
    facts: Sequence[tuple[str, str]]
    hyperparameters: Sequence[tuple[str, str]]


def _training(material: Material) -> _Training | None:
    training = mapping(material.evaluation.get("training"))
    if not training:
        return None
    losses = values(training.get("losses"))
    given = mapping(training.get("hyperparameters"))
    run, configured = _epochs(material.evaluation)
    # The program counts epochs from 0, people from 1.
    best = as_number(training.get("best_epoch"))
    best = None if best is None else best + 1
    plot = line_chart(
        "Training loss by epoch",
        [Series("Training loss", "model", [(float(index + 1), loss) for index, loss in enumerate(losses)])],
        "epoch",
        marked_x=best,
        marked_name="best",
        width=500.0,
    )
    facts = [
        ("Epochs run", f"{count(run)} of {count(configured)} configured" if configured else count(run)),
        ("Best epoch", count(best)),
        ("Its loss", figure(as_number(training.get("final_loss")))),
        *facts_of(training, {"epochs_run", "best_epoch", "final_loss"}),
    ]
    return _Training(
        plot=plot,
        sentences=_lengths(material, run, configured),
        facts=[(name, text) for name, text in facts if text != formats.NOTHING],
        hyperparameters=[(str(name), text) for name, value in given.items() if (text := plain(value)) is not None],
    )


def _epochs(evaluation: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """How many epochs were run, and how many were configured."""
    training = mapping(evaluation.get("training"))
    run = as_number(training.get("epochs_run"))
    if run is None and (losses := values(training.get("losses"))):
        run = float(len(losses))
    return run, number_in(mapping(training.get("hyperparameters")).get("epochs"))


def _lengths(material: Material, run: float | None, configured: float | None) -> list[str]:
    """What is to be known of the number of epochs: that training ended early, or was given fewer than usual."""
    said = []
    given = mapping(mapping(material.evaluation.get("training")).get("hyperparameters"))
    patience = number_in(given.get("early_stopping_patience"))
    if run is not None and configured is not None and run < configured:
        why = f" after {count(patience)} epochs without a lower loss" if patience is not None else ""
        said.append(f"Training ended early{why}: {count(run)} of {count(configured)} epochs were run.")
    usual = number_in(material.file_values.get("Epochs"))
    if configured is not None and usual is not None and configured != usual:
        less = "fewer" if configured < usual else "more"
        said.append(
            f"It was given {count(configured)} epochs, {less} than the {count(usual)} of "
            "configs/workloads/forecaster.yml: by an override (on a laptop configs/local.yml), or by Parameter Store."
        )
    return said


# --- data -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Data:
    """What the model was made from: how much of it was observed, facts, what was left out (reason, times, examples),
    and the target's distribution.
    """

    parts: Sequence[Part]
    facts: Sequence[tuple[str, str]]
    left_out: Sequence[tuple[str, float, Sequence[str]]]
    summary: Sequence[tuple[str, str]]


def _data(data: Mapping[str, Any]) -> _Data | None:
    """The section about the data, from the report that preparing it left; unknown single values become facts."""
    if not data:
        return None
    steps, missing = as_number(data.get("steps")), as_number(data.get("missing"))
    parts = []
    if steps and missing is not None and 0 <= missing <= steps:
        observed = steps - missing
        parts = [
            Part("observed", observed, observed / steps, "model"),
            Part("missing", missing, missing / steps, "bad"),
        ]
    trained, query = mapping(data.get("training")), mapping(data.get("query"))
    scanned = as_number(query.get("scanned_bytes"))
    facts = [
        ("Feature group", plain(data.get("feature_group")) or formats.NOTHING),
        ("First", moment(data.get("first"))),
        ("Last", moment(data.get("last"))),
        ("Observations", count(data.get("observations"))),
        ("Of them to train on", count(trained.get("observations"))),
        ("Minutes stored", count(data.get("minutes"))),
        ("Versions read", count(data.get("versions"))),
        ("Superseded versions", count(data.get("superseded"))),
        ("Deleted minutes", count(data.get("deleted"))),
        ("Written until", moment(data.get("snapshot_time"))),
        ("Athena query", plain(query.get("id")) or formats.NOTHING),
        ("Scanned", formats.NOTHING if scanned is None else formats.bytes_text(scanned)),
    ]
    told = {"schema_version", "steps", "missing", "first", "last", "observations", "minutes", "superseded", "deleted"}
    told |= {"snapshot_time", "gap_count", "feature_group", "versions", "target", "frequency", "evaluation_time"}
    examples = mapping(data.get("left_out_examples"))
    left_out = [
        (str(reason), number, [str(text) for text in sequence(examples.get(reason))[:3]])
        for reason, value in mapping(data.get("left_out")).items()
        if (number := as_number(value))
    ]
    summary = mapping(data.get("summary"))
    levels = mapping(summary.get("quantiles"))
    return _Data(
        parts,
        [fact for fact in facts if fact[1] != formats.NOTHING] + facts_of(data, told),
        sorted(left_out, key=lambda row: -row[1]),
        facts_of(summary, ()) + [(f"Quantile {level}", figure(value)) for level, value in levels.items()],
    )


@dataclass(frozen=True)
class _Gap:
    start: float
    end: float
    minutes: float

    @property
    def first(self) -> str:
        return moment_text(self.start)

    @property
    def length(self) -> str:
        return formats.duration(self.minutes * 60) if self.minutes >= 60 else f"{count(self.minutes)} min"


def _gaps(data: Mapping[str, Any]) -> list[_Gap]:
    """Where minutes are missing, the longest first."""
    found = []
    for row in records(data.get("gaps")):
        start, end, minutes = instant(row.get("start")), instant(row.get("end")), as_number(row.get("minutes"))
        if start is None:
            continue
        if minutes is None and end is not None:
            minutes = (end - start).total_seconds() / 60
        if minutes is not None and 0 < minutes < 1e9:
            found.append(_Gap(start.timestamp(), start.timestamp() + minutes * 60, minutes))
    return sorted(found, key=lambda gap: (-gap.minutes, gap.start))


def _history(evaluation: Mapping[str, Any], windows: Sequence[Window]) -> list[Markup]:
    """The target over all of the history, with its gaps and the test windows below it."""
    recent = mapping(evaluation.get("recent"))
    start, step = instant(recent.get("start")), as_number(recent.get("step_minutes"))
    if start is None or step is None or not 0 < step < 1e6:
        return []
    series = values(recent.get("values"))
    points = [(start.timestamp() + 60 * step * index, value) for index, value in enumerate(series)]
    if not points:
        return []
    gaps = _gaps(mapping(evaluation.get("data")))
    length = (as_number(evaluation.get("prediction_length")) or 1) * rolling.step_seconds(evaluation.get("frequency"))
    spans: list[Span] = [(window.origin, window.origin + max(0.0, min(length, 1e9))) for window in windows]
    name = _target(evaluation)
    longest = f"; the longest gap is {gaps[0].length} from {gaps[0].first}" if gaps else ""
    told = (
        f"{name} from {moment_text(points[0][0])} to {moment_text(points[-1][0])} UTC, means of {figure(step)} minutes"
    )
    return history_chart(
        f"{name} over the history",
        f"{told}, with {len(gaps)} gaps{longest}.",
        points,
        [
            Lane("missing", "hole", [(gap.start, gap.end) for gap in gaps], shaded=True),
            Lane(f"test windows ({len(windows)})", "tested", spans),
        ],
    )
