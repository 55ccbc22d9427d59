"""The drawing of a stage's monitoring: its loss, its alarms, what was done about them, and everything else that was
measured, on one time axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from markupsafe import Markup

from pipelines.carried import retraining
from pipelines.carried.retraining import Attempt
from pipelines.monitoring import HOUR, SCORED, Evaluation, Measured, Monitored
from pipelines.names import DATA, DRIFT, QUALITY
from pipelines.report.axes import Point
from pipelines.report.course import Bar, Mark, Plot, Row, Series, Size, course
from pipelines.report.format import figure, moment
from pipelines.report.serving_chart import Period

__all__ = ["OUTCOMES", "Course", "became", "drawings", "keys", "legend"]

# Whose alarms lead to retrainings.
_RETRAINED = "prod"
_STYLES = {QUALITY: "bad", DATA: "idle", DRIFT: "wait"}
# What became of a retraining, in words and as a bar; empty while it is under way.
OUTCOMES = {
    "": ("is under way", "busy"),
    retraining.REGISTERED: ("has registered a model", "good"),
    retraining.UNCHANGED: ("gave the model that there is", "wait"),
    retraining.NOT_BETTER: ("gave no better model", "wait"),
    retraining.FAILED: ("has failed", "bad"),
    retraining.STOPPED: ("was stopped", "idle"),
}


@dataclass(frozen=True)
class Course:
    """What is known of a stage over time: what the monitoring found, which version served when, and how long its model
    took: (seconds since 1970, median, 99th percentile in ms).
    """

    monitored: Monitored
    periods: Sequence[Period] = ()
    latency: Sequence[tuple[float, float | None, float | None]] = ()
    links: Mapping[datetime, str] = field(default_factory=dict)
    """Where a browser finds Evidently's report of a moment; of some only."""
    run_link: str | None = None
    """The page of the newest evaluation's MLflow run."""


def drawings(each: Course, retrained: Sequence[Attempt], measured: Measured, now: datetime) -> list[Markup]:
    """For wide and for narrow pages; none without an evaluation."""
    evaluations, stage = each.monitored.evaluations, each.monitored.stage
    if not evaluations:
        return []
    first = (evaluations[0].time - HOUR).timestamp()
    last = max(evaluations[-1].time.timestamp(), min(now.timestamp(), evaluations[-1].time.timestamp() + 3600))
    plots = [_loss(each.monitored, measured, last), *_other_plots(each, measured)]
    retrained = retrained if stage == _RETRAINED else ()
    rows = [*_alarm_rows(each.monitored, now), *_not_scored(evaluations), *_retrained_row(retrained, now)]
    rows += _versions(each.periods)
    title = f"{measured.words} of {stage} over time"
    told = _told(each, retrained, measured)
    sizes: tuple[Size, ...] = ("wide", "narrow")
    marks = _marks(each.periods, retrained)
    return [course(title, told, plots, rows, marks, first, last, size=size) for size in sizes]


def _loss(monitored: Monitored, measured: Measured, last: float) -> Plot:
    evaluations = monitored.evaluations
    series = [
        Series("threshold", "limit", _steps(evaluations)),
        Series(measured.short, "model", _points(evaluations, measured.loss)),
    ]
    if measured.naive:
        series.insert(0, Series("seasonal naive", "base", _points(evaluations, measured.naive)))
    alarm = monitored.alarms.get(QUALITY)
    return Plot(
        title=f"{measured.words}, of every hour",
        series=series,
        height=190.0,
        band=[(_middle(one), *one.spread) for one in evaluations if one.spread],
        shades=[
            (phase.start.timestamp(), phase.end.timestamp() if phase.end else last)
            for phase in (alarm.phases if alarm else ())
        ],
        hovers=[((one.time - HOUR).timestamp(), one.time.timestamp(), _hover(one, measured)) for one in evaluations],
    )


def _other_plots(each: Course, measured: Measured) -> list[Plot]:
    evaluations = each.monitored.evaluations
    data = each.monitored.alarms.get(DATA)
    freshness = [Series("age of the newest data", "model", _points(evaluations, "DataFreshnessMinutes"))]
    if data is not None and data.level is not None:
        ends = [evaluations[0].time - HOUR, evaluations[-1].time]
        freshness.insert(0, Series("most", "limit", [(at.timestamp(), data.level) for at in ends]))
    plots = [
        _drift(evaluations),
        Plot(
            "PSI (line), KS (brown), cluster shift (dotted)",
            [
                Series("PSI", "model", _points(evaluations, "PopulationStabilityIndex")),
                Series("KS", "champion", _points(evaluations, "KolmogorovSmirnov")),
                Series("clusters", "base", _points(evaluations, "ClusterShift")),
            ],
        ),
        Plot("Age of the newest data, in minutes", freshness, height=70.0),
        Plot(
            "Model latency: median, 99th percentile, in ms",
            [
                Series("99th percentile", "base", [(at, p99) for at, _, p99 in each.latency]),
                Series("median", "model", [(at, median) for at, median, _ in each.latency]),
            ],
            height=70.0,
        ),
    ]
    if measured.coverage:
        inside = Series("inside", "model", _points(evaluations, measured.coverage))
        plots.insert(0, Plot("Share of values inside the forecast's interval", [inside], height=70.0))
    return plots


def _drift(evaluations: Sequence[Evaluation]) -> Plot:
    """A line for each detector that has a threshold, in multiples of it, and a dot wherever one of them, or ADWIN, has
    found drift.
    """
    kinds = {(one.stream, one.detector): None for each in evaluations for one in each.drift if one.threshold}
    styles = {"model": "line", "champion": "brown", "gap": "dashed"}
    lines, told = [], []
    for place, (stream, detector) in enumerate(kinds):
        points: list[Point] = []
        for each in evaluations:
            found = [one for one in each.drift if (one.stream, one.detector) == (stream, detector) and one.threshold]
            points.append((_middle(each), found[0].statistic / (found[0].threshold or 1.0) if found else None))
        style = list(styles)[place % len(styles)]
        lines.append(Series(f"{stream}: {detector}", style, _broken(points)))
        told.append(f"{stream} ({styles[style]})")
    if not lines:
        return Plot("", [])
    ends = [(evaluations[0].time - HOUR).timestamp(), evaluations[-1].time.timestamp()]
    dots: list[Point] = [(_middle(each), 1.0) for each in evaluations if any(one.detected for one in each.drift)]
    limit = Series("threshold", "limit", [(at, 1.0) for at in ends])
    return Plot(f"Drift / threshold: {', '.join(told)}", [limit, *lines, Series("drift", "bad", dots, dots=True)])


def _alarm_rows(monitored: Monitored, now: datetime) -> list[Row]:
    rows = []
    for kind, alarm in monitored.alarms.items():
        bars = [
            Bar(
                phase.start,
                phase.end or max(now, phase.start),
                _STYLES[kind],
                f"{alarm.name} in ALARM from {moment(phase.start)}"
                + (f" to {moment(phase.end)}" if phase.end else " until now"),
            )
            for phase in alarm.phases
        ]
        rows.append(Row(kind, bars))
    return rows


def _not_scored(evaluations: Sequence[Evaluation]) -> list[Row]:
    """The hours without a verdict; no row if there are none."""
    bars = [
        Bar(one.time - HOUR, one.time, "none", f"{moment(one.time)}: {one.reason or one.verdict}")
        for one in evaluations
        if one.verdict != SCORED
    ]
    return [Row("no verdict", bars)] if bars else []


def _retrained_row(retrained: Sequence[Attempt], now: datetime) -> list[Row]:
    bars = [
        Bar(
            one.started,
            one.ended or max(now, one.started),
            OUTCOMES.get(one.outcome, (one.outcome, "bad"))[1],
            f"{one.display_name} {became(one)}, begun {moment(one.started)}",
        )
        for one in retrained
    ]
    return [Row("retraining", bars)] if bars else []


def became(attempt: Attempt) -> str:
    return OUTCOMES.get(attempt.outcome, (attempt.outcome, ""))[0]


def _versions(periods: Sequence[Period]) -> list[Row]:
    bars = [
        Bar(
            period.start,
            period.end,
            "now" if period.serves else "served",
            f"version {period.version} from {moment(period.start)}"
            + (" until now" if period.serves else f" to {moment(period.end)}"),
            f"v{period.version}",
        )
        for period in periods
    ]
    return [Row("serves", bars)] if bars else []


def _marks(periods: Sequence[Period], retrained: Sequence[Attempt]) -> list[Mark]:
    deployed = [
        Mark(one.start, f"v{one.version}", f"version {one.version} was deployed: {moment(one.start)}")
        for one in periods
    ]
    begun = [Mark(one.started, "retraining", f"{one.display_name}, begun {moment(one.started)}") for one in retrained]
    return [*deployed, *begun]


def _told(each: Course, retrained: Sequence[Attempt], measured: Measured) -> str:
    """The drawing in words, for those who cannot see it."""
    evaluations = each.monitored.evaluations
    losses = [one.loss for one in evaluations if one.loss is not None]
    told = [f"{len(evaluations)} evaluations, {len(losses)} of them scored"]
    if losses:
        told.append(f"{measured.short} from {figure(min(losses))} to {figure(max(losses))}")
    for alarm in each.monitored.alarms.values():
        told += [
            f"{alarm.kind} in ALARM from {moment(phase.start)} to {moment(phase.end) if phase.end else 'now'}"
            for phase in alarm.phases
        ]
    told += [f"retraining begun {moment(one.started)} {became(one)}" for one in retrained]
    told += [f"version {period.version} from {moment(period.start)}" for period in each.periods]
    return "; ".join(told) + "."


def legend(evaluations: Sequence[Evaluation], measured: Measured) -> list[tuple[str, str]]:
    """(style, name) of the first plot's lines."""
    if not evaluations:
        return []
    lines = [("model", measured.short), ("limit", "threshold")]
    if measured.naive:
        lines.append(("base", "seasonal naive on the same windows"))
    if any(one.spread for one in evaluations):
        lines.append(("reach", "from the hour's best window to its worst"))
    return lines


def keys(each: Course, retrained: Sequence[Attempt]) -> list[tuple[str, str]]:
    """(style, name) of the bars."""
    if not each.monitored.evaluations:
        return []
    known = each.monitored.alarms
    found = [(_STYLES[kind], f"{kind} in ALARM") for kind in known if known[kind].phases]
    if each.monitored.stage == _RETRAINED:
        outcomes = {one.outcome: None for one in retrained if one.outcome in OUTCOMES}
        found += [(OUTCOMES[outcome][1], f"retraining that {OUTCOMES[outcome][0]}") for outcome in outcomes]
    return found


def _hover(one: Evaluation, measured: Measured) -> str:
    told = [f"{moment(one.time - HOUR)} to {one.time:%H:%M}"]
    if one.loss is None:
        told.append(one.reason or one.verdict)
    else:
        told.append(f"{measured.short} {figure(one.loss)}")
        if one.threshold is not None:
            told.append(f"threshold {figure(one.threshold)}")
        if measured.naive and measured.naive in one.metrics:
            told.append(f"seasonal naive {figure(one.metrics[measured.naive])}")
    if one.version is not None:
        told.append(f"version {one.version}")
    return ", ".join(told)


# --- points -----------------------------------------------------------------------------------------------------------


def _middle(one: Evaluation) -> float:
    """The middle of an evaluation's hour, in seconds since 1970: where its figures stand."""
    return (one.time - HOUR / 2).timestamp()


def _points(evaluations: Sequence[Evaluation], metric: str) -> list[Point]:
    return _broken([(_middle(one), one.metrics.get(metric)) for one in evaluations])


def _broken(points: Sequence[Point]) -> list[Point]:
    """With a gap wherever an hour is missing."""
    found: list[Point] = []
    for at, value in points:
        if found and at - found[-1][0] > timedelta(minutes=90).total_seconds():
            found.append((at - 1, None))
        found.append((at, value))
    return found


def _steps(evaluations: Sequence[Evaluation]) -> list[Point]:
    """The threshold of each hour from its beginning to its end: it moves at once."""
    found: list[Point] = []
    for one in evaluations:
        found += [((one.time - HOUR).timestamp(), one.threshold), (one.time.timestamp(), one.threshold)]
    return found
