"""An alarm of the monitoring in sentences: what happened, since when, by how much, in which hours, what was done about
it, and what a person may do next.

`explain` is pure: what is known goes in, texts come out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipelines import names as n
from pipelines.carried import retraining
from pipelines.carried.retraining import Attempt
from pipelines.monitoring import (
    ALARM,
    HOUR,
    INSUFFICIENT,
    MEASURES,
    SCORED,
    Alarm,
    Evaluation,
    Measured,
    Monitored,
    Phase,
)
from pipelines.names import DATA, DRIFT, QUALITY
from pipelines.registry import WAITING, Package
from pipelines.report.format import duration, figure, moment, rounded
from pipelines.retrainings import Retrainings
from pipelines.stages import Serving

__all__ = ["Explanation", "explain"]

# Hours that are listed one by one; the others are summed up.
_LISTED = 8
# A deployment so shortly before an alarm may be what is wrong.
_FRESH = timedelta(hours=24)
_OUTCOMES = {
    retraining.REGISTERED: "it registered",
    retraining.UNCHANGED: "it gave the model that was there already",
    retraining.NOT_BETTER: "its model was not better",
    retraining.FAILED: "it failed",
    retraining.STOPPED: "it was stopped",
}


@dataclass(frozen=True)
class Explanation:
    """`headline`, `happened` and `done` are sentences, `hours` lines of a list, `next` is (command, what it is for).
    `reason` is CloudWatch's own.
    """

    alarm: str
    state: str
    headline: str
    happened: Sequence[str]
    hours: Sequence[str]
    reason: str
    done: Sequence[str]
    next: Sequence[tuple[str, str]]

    def text(self) -> str:
        """All of it, for people."""
        parts = [self.headline, "", *self.happened, *(f"  {line}" for line in self.hours)]
        if self.reason:
            parts.append(f"CloudWatch says: {self.reason}")
        parts += ["", "What was done", *(f"  {sentence}" for sentence in self.done)]
        if self.next:
            width = max(len(command) for command, _ in self.next)
            parts += ["", "What to do next", *(f"  {command:<{width}}  {why}" for command, why in self.next)]
        return "\n".join(parts) + "\n"


def explain(
    alarm: Alarm,
    monitored: Monitored,
    retrainings: Retrainings,
    serving: Serving | None,
    packages: Sequence[Package],
    now: datetime,
) -> Explanation:
    """The alarm in sentences: of the time that it is on, or was on last.

    serving: what its stage serves. packages: all of the workload, newest first. now: the account's time, aware.
    """
    phase = alarm.phases[-1] if alarm.phases else None
    happened, hours = _happened(alarm, monitored, phase, now)
    return Explanation(
        alarm=alarm.name,
        state=alarm.state,
        headline=_headline(alarm, phase, now),
        happened=happened,
        hours=hours,
        reason=_reason(alarm, phase),
        done=_done(alarm, phase, retrainings, serving),
        next=_next(alarm, phase, retrainings, serving, packages),
    )


def _headline(alarm: Alarm, phase: Phase | None, now: datetime) -> str:
    if alarm.state == ALARM and phase is not None:
        return f"{alarm.name} is in ALARM since {moment(phase.start)}, for {_long(now - phase.start)}."
    now_is = "has too few data" if alarm.state == INSUFFICIENT else "is OK"
    told = f"{alarm.name} {now_is} since {moment(alarm.since)}"
    if phase is None or phase.end is None:
        return f"{told}; it has not fired as far back as CloudWatch remembers."
    return (
        f"{told}. It was last in ALARM from {moment(phase.start)} to {moment(phase.end)}, "
        f"for {_long(phase.end - phase.start)}."
    )


def _reason(alarm: Alarm, phase: Phase | None) -> str:
    """Why it went to ALARM, in CloudWatch's words; without that, why it is what it is."""
    fired = [change.reason for change in alarm.transitions if change.state == ALARM]
    return fired[-1] if phase is not None and fired else alarm.reason


# --- what happened ----------------------------------------------------------------------------------------------------


def _happened(alarm: Alarm, monitored: Monitored, phase: Phase | None, now: datetime) -> tuple[list[str], list[str]]:
    """(sentences, lines about hours)"""
    if phase is None:
        newest = monitored.newest
        return [_newest(newest) if newest else "Nothing has been evaluated yet."], []
    end = phase.end or now
    # What made it fire, and what followed, up to its end.
    during = [one for one in monitored.evaluations if phase.start - alarm.hours * HOUR < one.time <= end]
    before = [
        one
        for one in monitored.evaluations
        if phase.start - (24 + alarm.hours) * HOUR < one.time <= phase.start - alarm.hours * HOUR
    ]
    if not during:
        return ["No evaluation of that time is among those that were read."], []
    tell: dict[str, Callable[[Alarm, Sequence[Evaluation], Sequence[Evaluation]], tuple[list[str], list[str]]]]
    tell = {QUALITY: _quality, DATA: _data, DRIFT: _drift}
    return tell[alarm.kind](alarm, during, before)


def _newest(one: Evaluation) -> str:
    measured = MEASURES[one.workload]
    if one.loss is None:
        return f"The newest evaluation, of the hour to {moment(one.time)}, has no verdict: {one.reason}."
    against = f", its threshold {figure(one.threshold)}" if one.threshold is not None else ""
    return f"In the newest hour, to {moment(one.time)}, the {measured.words} was {figure(one.loss)}{against}."


def _quality(alarm: Alarm, during: Sequence[Evaluation], before: Sequence[Evaluation]) -> tuple[list[str], list[str]]:
    measured = MEASURES[alarm.workload]
    scored = [one for one in during if one.loss is not None]
    above = [one for one in scored if one.breaches]
    told = [
        f"It fires when {alarm.breaches} of the last {alarm.hours} hours lose more than the threshold. From "
        f"{moment(during[0].time - HOUR)} on, {len(above)} of {len(scored)} scored hours did"
        + (f"; {len(during) - len(scored)} had no verdict." if len(during) > len(scored) else ".")
    ]
    if above:
        worst = max(above, key=lambda one: one.loss or 0.0)
        told.append(
            f"The {measured.words} of these hours was {figure(_mean(above))} in the mean, {_more(above)} the "
            f"threshold; the worst, the hour to {moment(worst.time)}, had {figure(worst.loss)}."
        )
    calm = [one for one in before if one.loss is not None]
    if calm:
        told.append(f"In the {len(calm)} scored hours before it was {figure(_mean(calm))}.")
    told += _beside(measured, above, calm)
    return told, _lines([_hour(one, measured) for one in during])


def _beside(measured: Measured, above: Sequence[Evaluation], calm: Sequence[Evaluation]) -> list[str]:
    """What else says how bad it was: the rule of thumb, and how often the interval held."""
    told = []
    naive = _mean_of(above, measured.naive)
    if naive is not None and above:
        word = "less than" if naive < _mean(above) else "more than"
        told.append(f"The seasonal naive forecast lost {figure(naive)} in the same hours, {word} the model.")
    held, held_before = _mean_of(above, measured.coverage), _mean_of(calm, measured.coverage)
    if held is not None:
        was = f", {_whole(held_before)} before" if held_before is not None else ""
        told.append(f"The forecast's interval held {_whole(held)} of the values{was}.")
    return told


def _hour(one: Evaluation, measured: Measured) -> str:
    told = f"{moment(one.time - HOUR)}  "
    if one.loss is None:
        return f"{told}no verdict: {one.reason or one.verdict}"
    told += f"{measured.short} {figure(one.loss)}"
    if one.threshold is None:
        return told
    share = one.loss / one.threshold - 1 if one.threshold else 0.0
    return (
        f"{told}, {_whole(abs(share))} {'above' if one.breaches else 'below'} the threshold of {figure(one.threshold)}"
    )


def _data(alarm: Alarm, during: Sequence[Evaluation], before: Sequence[Evaluation]) -> tuple[list[str], list[str]]:
    level = f" of {alarm.level:,.0f} minutes" if alarm.level is not None else ""
    ages = [(one, age) for one in during if (age := one.metrics.get("DataFreshnessMinutes")) is not None]
    told = [f"It fires when the newest data are older at an evaluation than the limit{level}."]
    if ages:
        worst, most = max(ages, key=lambda pair: pair[1])
        told.append(f"They were {most:,.0f} minutes old at the worst, at {moment(worst.time)}.")
    missing = [one for one in during if one.verdict != SCORED]
    if missing:
        told.append(f"{len(missing)} of {len(during)} hours have no verdict for it: no score is made up.")
    lines = [
        f"{moment(one.time)}  newest data {age:,.0f} minutes old" + ("" if one.verdict == SCORED else f"; {one.reason}")
        for one, age in ages
    ]
    return told, _lines(lines)


def _drift(alarm: Alarm, during: Sequence[Evaluation], before: Sequence[Evaluation]) -> tuple[list[str], list[str]]:
    found = [(one, seen) for one in during for seen in one.drift if seen.detected]
    told = ["It fires when a detector finds that a stream of values is not what it was since the deployment."]
    for stream, detector in dict.fromkeys((seen.stream, seen.detector) for _, seen in found):
        first = next((one, seen) for one, seen in found if (seen.stream, seen.detector) == (stream, detector))
        against = f", its threshold {figure(first[1].threshold)}" if first[1].threshold is not None else ""
        told.append(
            f"{_DETECTORS.get(detector, detector)} found it in the {_STREAMS.get(stream, stream)}, first in the hour "
            f"to {moment(first[0].time)}: statistic {figure(first[1].statistic)}{against}."
        )
    fields = sorted(
        (field for field in during[-1].fields if isinstance(field.get("psi"), int | float)),
        key=lambda field: -float(field["psi"]),
    )
    if fields:
        shown = ", ".join(f"{field.get('name')} {figure(field['psi'])}" for field in fields[:3])
        told.append(f"Of the requests' fields these differ most from training (population stability index): {shown}.")
    lines = [
        f"{moment(one.time - HOUR)}  {seen.stream}: {seen.detector} {figure(seen.statistic)}" for one, seen in found
    ]
    return told, _lines(lines)


_DETECTORS = {"page-hinkley": "The test of Page and Hinkley", "adwin": "ADWIN", "psi": "The population stability index"}
_STREAMS = {"loss": "hours' losses", "fee": "hours' fees", "error": "answers' errors", "input": "requests' fields"}


def _lines(lines: Sequence[str]) -> list[str]:
    """The first of them and the last, where there are many."""
    if len(lines) <= _LISTED:
        return list(lines)
    half = _LISTED // 2
    return [*lines[:half], f"… {len(lines) - 2 * half} hours more …", *lines[-half:]]


def _mean(hours: Sequence[Evaluation]) -> float:
    return sum(one.loss or 0.0 for one in hours) / len(hours)


def _mean_of(hours: Sequence[Evaluation], metric: str | None) -> float | None:
    values = [one.metrics[metric] for one in hours if metric in one.metrics] if metric else []
    return sum(values) / len(values) if values else None


def _more(above: Sequence[Evaluation]) -> str:
    """By how much their mean is above that of their thresholds."""
    threshold = sum(one.threshold or 0.0 for one in above) / len(above)
    return f"{_mean(above) / threshold:.1f} times" if threshold else "above"


# --- what was done ----------------------------------------------------------------------------------------------------


def _done(alarm: Alarm, phase: Phase | None, known: Retrainings, serving: Serving | None) -> list[str]:
    if phase is None:
        return ["Nothing: it has not fired."]
    told = []
    if alarm.kind == DATA:
        told.append(
            "It leads to no retraining: a model that learns from missing data is no better. While it is on in "
            "production, no other alarm leads to one either."
        )
    elif alarm.stage != "prod":
        told.append("It leads to no retraining: only production's alarms do.")
    else:
        attempts = _attempts(alarm, phase, known)
        told += [_attempt(one) for one in attempts] or ["No retraining has been begun for it."]
        state = known.state
        under_way = bool(attempts) and not attempts[-1].outcome
        if alarm.state == ALARM and state is not None and not under_way:
            told.append(f"Looked at last {moment(state.at)}: {state.reason}{_until(state.until)}.")
        told += [
            f"A person was told {moment(one.at)}: {one.text}."
            for one in known.notices
            if one.cause.startswith(f"{alarm.name}@") and phase.start <= one.at <= (phase.end or one.at)
        ]
    if serving is not None:
        late = serving.since - phase.start
        when = f"{_long(abs(late))} {'after' if late > timedelta(0) else 'before'} it fired"
        told.append(f"{alarm.stage} serves version {serving.version} since {moment(serving.since)}, {when}.")
    return told


def _attempts(alarm: Alarm, phase: Phase, known: Retrainings) -> list[Attempt]:
    """Those for the time that it was on: a retraining may be begun a little after it went out."""
    end = phase.end + HOUR if phase.end else None
    # Causes are kept in whole seconds.
    return [
        one
        for one in known.of_alarm(alarm.name)
        if one.started >= phase.start - timedelta(seconds=1) and (end is None or one.started <= end)
    ]


def _attempt(one: Attempt) -> str:
    execution = f" (execution {one.execution_arn.rpartition('/')[2]})" if one.execution_arn else ""
    told = f"Retraining {one.try_number} was begun {moment(one.started)}{execution}"
    if not one.outcome:
        return f"{told}; it is under way."
    # A clock that stands still while work is done, as a laptop's does when time is let pass, tells no length.
    seconds = one.ended - one.started if one.ended else timedelta()
    took = f" after {_long(seconds)}" if seconds >= timedelta(seconds=1) else ""
    outcome = _OUTCOMES.get(one.outcome, one.outcome)
    if one.outcome == retraining.REGISTERED:
        outcome += f" version {_version(one.package_arn)}"
    because = f": {rounded(one.outcome_reason).rstrip('.')}" if one.outcome_reason else ""
    return f"{told}; {outcome}{took}{because}."


def _until(until: datetime | None) -> str:
    return f", until {moment(until)}" if until is not None else ""


# --- what to do next --------------------------------------------------------------------------------------------------


def _next(
    alarm: Alarm, phase: Phase | None, known: Retrainings, serving: Serving | None, packages: Sequence[Package]
) -> list[tuple[str, str]]:
    workload, stage = alarm.workload, alarm.stage
    told: list[tuple[str, str]] = []
    firing = alarm.state == ALARM and phase is not None
    if alarm.kind == DATA:
        if firing:
            told.append(_more_data(workload))
        return [*told, _report(workload)]
    attempts = _attempts(alarm, phase, known) if phase is not None and stage == "prod" else []
    newer = [one for one in packages if serving is None or one.version > serving.version]
    waiting = next((one for one in newer if one.approval == WAITING), None)
    tested = next((one for one in newer if one.staging_report and not one.approved_for_prod), None)
    if waiting is not None:
        told.append((f'mlops approve {waiting.version} --workload {workload} --why "…"', "let it go to staging"))
    elif tested is not None and firing:
        approve = f'mlops approve {tested.version} --workload {workload} --stage prod --why "…"'
        told.append((approve, "let it go to production: its tests in staging passed"))
    if firing and phase is not None:
        if attempts and not attempts[-1].outcome:
            told.append((f"mlops watch {workload}", "see the retraining go on"))
        elif attempts and attempts[-1].outcome in (retraining.FAILED, retraining.NOT_BETTER):
            execution = attempts[-1].execution_arn.rpartition("/")[2]
            told.append((f"mlops report {workload} build --execution {execution}", "see why it came to nothing"))
        if serving is not None and timedelta(0) <= phase.start - serving.since <= _FRESH:
            back = f'mlops rollback --workload {workload} --stage {stage} --why "…"'
            told.append((back, f"bring the version before back: {serving.version} had come shortly before"))
        if waiting is None and tested is None and not (attempts and not attempts[-1].outcome):
            told.append((f"mlops run {workload}", "retrain by hand"))
    return [*told, _report(workload)]


def _more_data(workload: str) -> tuple[str, str]:
    if workload == n.MINUTES[0]:
        return "mlops ingest FILE", "bring the minutes that are missing, once you have them"
    return f"mlops endpoints {workload}", "see whether its callers still ask"


def _report(workload: str) -> tuple[str, str]:
    return f"mlops report {workload} monitor --open", "see all of it on one time axis"


def _whole(share: float) -> str:
    return f"{share * 100:.0f} %"


def _version(arn: str) -> str:
    return arn.rpartition("/")[2]


def _long(time: timedelta) -> str:
    """`20 s`, `20 min`, `13 h`, `2 days 4 h`."""
    seconds = max(0.0, time.total_seconds())
    if seconds < 60:
        return duration(seconds)
    if seconds < 3600:
        return f"{round(seconds / 60)} min"
    hours = round(seconds / 3600)
    days, rest = divmod(hours, 24)
    if not days:
        return f"{hours} h"
    return f"{days} day{'s' if days > 1 else ''}" + (f" {rest} h" if rest else "")
