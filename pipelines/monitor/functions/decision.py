"""Whether a workload is retrained now: `decide`, a pure function of what is the case.

It looks at levels, not at edges: an alarm that stays on fires no second time, so that what is to be done must be found
from what there is, whenever somebody looks (an alarm's event, the end of a build, every hour).

A cause is an alarm of production, of its quality or of drift, that is on: since it fired, or since the model that is
now served came there, if that was later. For a cause:

    - one retraining; once it has registered a model there is no other, unless a person has rejected that model;
    - after one that failed, or whose model was refused, another, each after twice the time of the one before;
    - after `max_attempts` of them a person is told, once.

For all causes of a workload together: never while a build or a deployment runs, never while data are missing, never
while a newer model waits for a person's decision, never within the cooldown of a retraining for another cause, and
never more than `daily_limit` a day. An alarm that was on already when a model was deployed has as long to go out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from pipelines.carried.retraining import REGISTERED, Attempt, cause_of, text_of
from pipelines.errors import ServiceError

START, WAIT, NOTIFY, NOTHING = "start", "wait", "notify", "nothing"


@dataclass(frozen=True)
class Settings:
    """A workload's `monitoring.retraining`, as `pipelines/config.py` explains it."""

    enabled: bool
    cooldown_hours: int
    backoff_hours: int
    min_improvement: float
    max_attempts: int
    daily_limit: int
    approve_for_staging: bool

    @staticmethod
    def parse(text: str, workload: str) -> Settings:
        """From the function's environment, which has the stack's parameter `Retraining`: JSON, by workload.

        Raises ServiceError when that does not say it all.
        """
        try:
            return Settings(**json.loads(text)[workload])
        except (ValueError, KeyError, TypeError) as error:
            raise ServiceError(
                f"the stack's parameter Retraining is `{text[:200]}`, expected the JSON of `monitoring.retraining` of "
                f"each workload ({type(error).__name__}: {error}); the next deployment of the stack sets it from "
                "configs/workloads, on this machine `mlops up`"
            ) from error


@dataclass(frozen=True)
class Alarm:
    """An alarm that is on, and since when (aware)."""

    name: str
    since: datetime


@dataclass(frozen=True)
class Situation:
    """What is the case in a workload.

    Attributes:
        firing: the alarms of production's quality and drift that are on.
        data_missing: the alarm of production's data, when it is on; else empty.
        attempts: all retrainings that are known, oldest first; at most the last is under way.
        running: executions of the build and deploy pipelines that are under way, by their ARNs.
        undecided: the version of a model package, newer than what production serves, that waits for a decision.
        rejected: ARNs of the packages that the attempts registered and that were rejected.
        served_since: since when production serves what it serves.
        told: causes of which a person was told.
    """

    firing: Sequence[Alarm] = ()
    data_missing: str = ""
    attempts: Sequence[Attempt] = ()
    running: Sequence[str] = ()
    undecided: int | None = None
    rejected: frozenset[str] = frozenset()
    served_since: datetime | None = None
    told: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Decision:
    """What is to be done, and why. `until` (aware): when it is worth looking again, where that is known."""

    action: str
    reason: str
    cause: str = ""
    alarm: str = ""
    try_number: int = 0
    until: datetime | None = None


def decide(now: datetime, settings: Settings, situation: Situation) -> Decision:
    """What is to be done at a moment (aware)."""
    if not situation.firing:
        return Decision(NOTHING, "no alarm of production's quality or drift is on")
    if not settings.enabled:
        return Decision(NOTHING, "retraining is switched off: monitoring.retraining.enabled is false")
    firing = sorted(situation.firing, key=lambda alarm: (alarm.since, alarm.name))
    found: dict[str, list[Decision]] = {}
    for alarm in firing:
        decision = _of_cause(now, settings, situation, alarm)
        found.setdefault(decision.action, []).append(decision)
    # A person is told whatever else is the case.
    if NOTIFY in found:
        return found[NOTIFY][0]
    if START in found:
        first, stop = found[START][0], _held_back(now, settings, situation)
        return first if stop is None else replace(stop, cause=first.cause, alarm=first.alarm)
    if WAIT in found:
        return min(found[WAIT], key=lambda decision: decision.until or now)
    return found[NOTHING][0]


def _held_back(now: datetime, settings: Settings, situation: Situation) -> Decision | None:
    """What keeps every retraining of the workload from starting; None when nothing does."""
    last = situation.attempts[-1] if situation.attempts else None
    if last is not None and not last.outcome:
        return Decision(WAIT, f"the retraining {last.display_name} is under way")
    if situation.running:
        return Decision(WAIT, f"{situation.running[0]} is under way")
    if situation.undecided is not None:
        return Decision(
            WAIT, f"version {situation.undecided} is newer than what production serves and waits for a decision"
        )
    if situation.data_missing:
        return Decision(WAIT, f"data are missing: the alarm {situation.data_missing} is on")
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    today = [attempt for attempt in situation.attempts if attempt.started >= day]
    if len(today) >= settings.daily_limit:
        return Decision(
            WAIT, f"there were {len(today)} retrainings today, the daily limit", until=day + timedelta(days=1)
        )
    return None


def _of_cause(now: datetime, settings: Settings, situation: Situation, alarm: Alarm) -> Decision:
    """What an alarm that is on asks for."""
    since = max(alarm.since, situation.served_since or alarm.since)
    inherited = since > alarm.since
    cause = cause_of(alarm.name, since)
    tried = [attempt for attempt in situation.attempts if attempt.cause == cause]
    done = [
        attempt for attempt in tried if attempt.outcome == REGISTERED and attempt.package_arn not in situation.rejected
    ]
    if done:
        version = done[-1].package_arn.rpartition("/")[2]
        return Decision(NOTHING, f"version {version} was registered for it", cause, alarm.name)
    if len(tried) >= settings.max_attempts and tried[-1].outcome:
        if cause in situation.told:
            return Decision(NOTHING, f"given up after {len(tried)} retrainings; a person was told", cause, alarm.name)
        return Decision(NOTIFY, _given_up(alarm, since, tried, situation.rejected), cause, alarm.name)
    cooldown = timedelta(hours=settings.cooldown_hours)
    others = [attempt.started + cooldown for attempt in situation.attempts if attempt.cause != cause]
    earliest = [(moment, "the cooldown after the last retraining for another cause") for moment in others]
    if inherited:
        earliest.append((since + cooldown, "the alarm was on before this model came, and has time to go out"))
    if tried:
        last = tried[-1]
        backoff = timedelta(hours=settings.backoff_hours * 2 ** (len(tried) - 1))
        earliest.append(((last.ended or last.started) + backoff, f"the retraining before is {_told(last, situation)}"))
    until, why = max(earliest, default=(now, ""))
    if until > now:
        return Decision(WAIT, f"not before {text_of(until)}: {why}", cause, alarm.name, until=until)
    reason = f"the alarm {alarm.name} is on since {text_of(alarm.since)}"
    if tried:
        reason += f"; try {len(tried) + 1} of {settings.max_attempts}, the one before is {_told(tried[-1], situation)}"
    return Decision(START, reason, cause, alarm.name, try_number=len(tried) + 1)


def _given_up(alarm: Alarm, since: datetime, tried: Sequence[Attempt], rejected: frozenset[str]) -> str:
    last = tried[-1]
    outcome = "rejected" if last.package_arn in rejected else last.outcome
    return (
        f"the alarm {alarm.name} is on since {text_of(since)}, and {len(tried)} retrainings have not mended it. "
        f"The last, {last.display_name}, is {outcome}: {last.outcome_reason or 'no reason is known'}. "
        f"No other is started for it; `mlops explain {alarm.name}` tells the whole"
    )


def _told(attempt: Attempt, situation: Situation) -> str:
    return "rejected" if attempt.package_arn in situation.rejected else attempt.outcome or "under way"
