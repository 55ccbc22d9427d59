"""What the monitoring has found of the stages, as the page shows it: for each a sentence, its figures, its alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from pipelines.carried.retraining import Attempt
from pipelines.monitoring import (
    ALARM,
    HOUR,
    MEASURES,
    OK,
    SCORED,
    Alarm,
    Evaluation,
    Measured,
    Monitored,
)
from pipelines.report.dashboard import Dashboard
from pipelines.report.documents import mapping, number_in
from pipelines.report.format import compact, figure, moment, percent, rounded
from pipelines.report.lineage import Link
from pipelines.report.monitoring_chart import OUTCOMES, Course, became, drawings, keys, legend

__all__ = ["Course", "Material", "StageView", "View", "headline", "retrainings", "view"]

_TONES = {ALARM: "bad", OK: "good"}
_WORDS = {ALARM: "in ALARM", OK: "OK", "INSUFFICIENT_DATA": "too few data"}
_VERDICTS = {
    "no-data": "no data",
    "too-little-data": "too little data",
    "endpoint-failed": "the endpoint failed",
    "no-requests": "no requests",
    "too-little-feedback": "too little feedback",
}


@dataclass(frozen=True)
class Material:
    """What the section is made of. `retrained` is what alarms of production have led to, oldest first."""

    workload: str
    courses: Sequence[Course]
    retrained: Sequence[Attempt] = ()
    dashboard: Dashboard | None = None


@dataclass(frozen=True)
class _AlarmLine:
    name: str
    kind: str
    tone: str
    word: str
    since: str
    reason: str


@dataclass(frozen=True)
class _Field:
    name: str
    psi: str
    ks: str
    count: str


@dataclass(frozen=True)
class StageView:
    """A stage as it is shown; `drawings` are for wide and for narrow pages."""

    stage: str
    tone: str
    status: str
    headline: str
    under: str
    drawings: Sequence[Markup]
    legend: Sequence[tuple[str, str]]
    keys: Sequence[tuple[str, str]]
    alarms: Sequence[_AlarmLine]
    figures: Sequence[tuple[str, str, str]]
    """(name, value, note) of the newest evaluation."""
    fields: Sequence[_Field]
    clusters: Sequence[tuple[str, str, str]]
    """(name, share in training, share found)."""
    reports: Sequence[Link]
    run: Link | None


@dataclass(frozen=True)
class View:
    """The section; `dashboard` where it is drawn."""

    stages: Sequence[StageView]
    dashboard: Dashboard | None
    lead: str


def view(material: Material | None, now: datetime) -> View | None:
    """The section; None when nothing was ever evaluated and there are no alarms."""
    if material is None:
        return None
    shown = [
        _stage(each, material, now) for each in material.courses if each.monitored.evaluations or each.monitored.alarms
    ]
    if not shown:
        return None
    times = [one.time for each in material.courses for one in each.monitored.evaluations]
    lead = "Nothing has been evaluated yet: every stage is, at the end of each hour, from its first deployment on."
    if times:
        lead = f"Every hour is evaluated at its end. Shown from {moment(min(times) - HOUR)} to {moment(max(times))}."
    return View(shown, material.dashboard, lead)


@dataclass(frozen=True)
class RetrainingRow:
    """A retraining in the table."""

    started: str
    name: str
    why: str
    tone: str
    word: str
    told: str


def retrainings(attempts: Sequence[Attempt]) -> list[RetrainingRow]:
    """The rows of the table, the newest first."""
    return [
        RetrainingRow(
            started=moment(one.started),
            name=one.display_name,
            why=one.reason,
            tone=OUTCOMES.get(one.outcome, ("", "bad"))[1],
            word=became(one),
            told=rounded(one.outcome_reason),
        )
        for one in reversed(attempts)
    ]


def headline(material: Material) -> tuple[str, str]:
    """The sentence that a reader came for, and its tone: of production, else of the first stage with a verdict."""
    known = [each.monitored for each in material.courses if each.monitored.newest]
    if not known:
        return "Nothing has been evaluated yet", "idle"
    main = next((each for each in known if each.stage == "prod"), known[0])
    firing = main.firing
    if firing:
        kinds = " and ".join(alarm.kind for alarm in firing)
        since = min(alarm.since for alarm in firing)
        return f"{main.stage}: {kinds} in ALARM since {moment(since)}", "bad"
    tone, status = _status(main)
    if tone != "good":
        return f"{main.stage}, the newest hour: {status}", tone
    return f"{main.stage} is as good as it should be", "good"


# --- a stage ----------------------------------------------------------------------------------------------------------


def _stage(each: Course, material: Material, now: datetime) -> StageView:
    monitored, measured = each.monitored, MEASURES[material.workload]
    newest = monitored.newest
    tone, status = _status(monitored)
    return StageView(
        stage=monitored.stage,
        tone=tone,
        status=status,
        headline=_headline(newest, measured),
        under=_under(newest),
        drawings=drawings(each, material.retrained, measured, now),
        legend=legend(monitored.evaluations, measured),
        keys=keys(each, material.retrained),
        alarms=[_alarm_line(alarm) for alarm in monitored.alarms.values()],
        figures=_figures(monitored.evaluations, measured),
        fields=_fields(newest),
        clusters=_clusters(newest),
        reports=[(f"as of {moment(report.time)}", each.links.get(report.time)) for report in monitored.reports[:-6:-1]],
        run=(newest.run_id, each.run_link) if newest and newest.run_id else None,
    )


def _status(monitored: Monitored) -> tuple[str, str]:
    if monitored.firing:
        return "bad", " and ".join(alarm.kind for alarm in monitored.firing) + " in ALARM"
    newest = monitored.newest
    if newest is None:
        return "idle", "not evaluated yet"
    if newest.verdict != SCORED:
        return "wait", _VERDICTS.get(newest.verdict, newest.verdict)
    return ("wait", "above its threshold") if newest.breaches else ("good", "below its threshold")


def _headline(newest: Evaluation | None, measured: Measured) -> str:
    if newest is None:
        return "Not evaluated yet"
    if newest.loss is None:
        return _VERDICTS.get(newest.verdict, newest.verdict).capitalize()
    return f"{measured.short} {figure(newest.loss)}"


def _under(newest: Evaluation | None) -> str:
    if newest is None:
        return ""
    told = f"the hour to {moment(newest.time)}"
    if newest.version is not None:
        told = f"version {newest.version}, {told}"
    if newest.loss is None:
        return f"{told}: {newest.reason}"
    return f"{told}; threshold {figure(newest.threshold)}" if newest.threshold is not None else told


def _alarm_line(alarm: Alarm) -> _AlarmLine:
    return _AlarmLine(
        name=alarm.name,
        kind=alarm.kind,
        tone=_TONES.get(alarm.state, "idle"),
        word=_WORDS.get(alarm.state, alarm.state),
        since=moment(alarm.since),
        reason=alarm.reason,
    )


def _figures(evaluations: Sequence[Evaluation], measured: Measured) -> list[tuple[str, str, str]]:
    """The newest evaluation's, and of the day before it the mean loss and how many hours were above the threshold."""
    if not evaluations:
        return []
    newest = evaluations[-1]
    found = []
    day = [one for one in evaluations if one.time > newest.time - 24 * HOUR]
    scored = [one for one in day if one.loss is not None]
    if scored:
        mean = sum(one.loss or 0.0 for one in scored) / len(scored)
        above = sum(1 for one in scored if one.breaches)
        found.append(("Mean of a day", figure(mean), f"{above} of {len(scored)} hours above"))
    for name, metric, text in (
        ("Seasonal naive", measured.naive, figure),
        ("Inside the interval", measured.coverage, percent),
        ("Accuracy", "Accuracy", percent),
        ("Calibration error", "CalibrationError", figure),
        ("Feedback", "Feedback", compact),
        ("Requests", "Requests", compact),
    ):
        value = newest.metrics.get(metric) if metric else None
        if value is not None:
            found.append((name, text(value), ""))
    freshness = newest.metrics.get("DataFreshnessMinutes")
    if freshness is not None:
        found.append(("Data", f"{freshness:,.0f} min", "old at the evaluation"))
    return found


def _fields(newest: Evaluation | None) -> list[_Field]:
    return [
        _Field(
            str(one.get("name", "")),
            figure(number_in(one.get("psi"))),
            figure(number_in(one.get("ks"))),
            compact(number_in(one.get("count"))),
        )
        for one in map(mapping, newest.fields if newest else ())
    ]


def _clusters(newest: Evaluation | None) -> list[tuple[str, str, str]]:
    rows = []
    for place, one in enumerate(map(mapping, newest.clusters if newest else ())):
        name = str(one.get("name", one.get("cluster", place)))
        rows.append((name, percent(number_in(one.get("expected"))), percent(number_in(one.get("found")))))
    return rows
