"""The third part of `mlops demo`: hours pass, a workload's data change, and what is wrong mends itself.

Time is let pass by localcloud; what happens in it happens as it does every day, by schedules, alarms and events. The
minutes and the callers are made up (`pipelines/cli/demo_world.py`), and a person's decisions are taken as in the second
part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console
from rich.text import Text

from pipelines import monitoring, retrainings
from pipelines.cli import demo_delivery
from pipelines.cli.context import Context
from pipelines.cli.demo_world import Files, World
from pipelines.monitoring import ALARM, MEASURES, Monitored
from pipelines.names import DRIFT, HOLDERS, MINUTES, QUALITY
from pipelines.report.format import rounded
from pipelines.retrainings import Attempt
from pipelines.session import client
from pipelines.stack import Stack

CARDHOLDERS, _ = HOLDERS
FORECASTER, _ = MINUTES
HOUR = timedelta(hours=1)
QUIET_HOURS = 3
CALM_HOURS = 4  # after the deployment of the better model
MOST_HOURS = 72  # as many retrainings as the back-off lets in; mostly the second is the last
# Schedules fire on the hour; what they lead to has ended when this much more has passed.
_PAST_THE_HOUR = timedelta(minutes=1)
_OUTCOMES = {
    "registered": "a better model is registered",
    "unchanged": "it is the model that there is already",
    "not-better": "the champion stays",
    "failed": "it failed",
    "stopped": "it was stopped",
}


@dataclass(frozen=True)
class Timetable:
    """The hours of the demo: the first one's end, and the moment from which the data are others (both aware)."""

    first: datetime
    drift_at: datetime

    @staticmethod
    def after(now: datetime) -> Timetable:
        """From the next full hour on."""
        first = now.replace(minute=0, second=0, microsecond=0) + HOUR
        return Timetable(first, first + QUIET_HOURS * HOUR)

    @property
    def last(self) -> datetime:
        return self.first + MOST_HOURS * HOUR


def show(out: Console, context: Context, servers: Stack, timetable: Timetable, files: Files) -> bool:
    """Let hours pass until the forecaster has been retrained and its alarm is over; whether it came to that."""
    out.print()
    out.print(Text(f"{FORECASTER}: hours pass, and the data change", "bold"))
    told = f"from {timetable.drift_at:%H:%M} on fees double, and swing up and down with every hour"
    out.print(Text(told, "bright_black"), soft_wrap=True)
    teller = _Teller(out, context)
    world = World(context, files)
    deployed_at: datetime | None = None
    for end in _hours(timetable):
        with out.status(f"{end:%a %H:%M}", spinner="dots"):
            world.hour(end)
            servers.advance(max(timedelta(), end + _PAST_THE_HOUR - context.now()))
        stage = teller.hour(end)
        if stage.newest is None or stage.newest.time < end:
            out.print(Text(f"no evaluation at {end:%H:%M}: `mlops logs evaluations` says why", "red"), soft_wrap=True)
            return False
        if deployed_at is None and teller.registered():
            if not demo_delivery.deliver(out, context, FORECASTER):
                return False
            deployed_at = context.now()
        firing = any(alarm.state == ALARM for kind, alarm in stage.alarms.items() if kind in (QUALITY, DRIFT))
        if deployed_at is not None and not firing and end - deployed_at >= CALM_HOURS * HOUR:
            out.print(Text("the better model serves, and no alarm is left", "bold green"))
            return True
    out.print(
        Text(f"after {MOST_HOURS} hours the loop is not closed: `mlops explain {QUALITY}` says where it is", "red")
    )
    return False


def _hours(timetable: Timetable) -> Iterator[datetime]:
    end = timetable.first
    while end <= timetable.last:
        yield end
        end += HOUR


class _Teller:
    """Tells hour by hour what production's monitoring found, and what came of it."""

    def __init__(self, out: Console, context: Context) -> None:
        self._out, self._context = out, context
        self._states: dict[str, str] = {}
        self._attempts: dict[int, Attempt] = {}

    def hour(self, end: datetime) -> Monitored:
        """Tell an hour, and what has changed since the last one."""
        stage = self._monitored(FORECASTER)
        for found in (stage, self._monitored(CARDHOLDERS)):
            self._tell_evaluation(found, end)
            self._tell_alarms(found)
        self._tell_attempts()
        return stage

    def registered(self) -> bool:
        """Whether a retraining has registered a model."""
        return any(attempt.outcome == "registered" for attempt in self._attempts.values())

    def _monitored(self, workload: str) -> Monitored:
        s3, cloudwatch = (client(self._context.session, service) for service in ("s3", "cloudwatch"))
        return monitoring.monitored(s3, cloudwatch, self._context.names, workload, "prod", hours=1)

    def _tell_evaluation(self, stage: Monitored, end: datetime) -> None:
        newest = stage.newest
        if newest is None or newest.time < end:
            return
        if newest.loss is None:
            # Cardholders have nothing to tell before the first feedback is due, and would do so every hour.
            if stage.workload == FORECASTER:
                self._say(f"{end:%a %H:%M}", f"v{newest.version}  {newest.verdict}: {newest.reason}")
            return
        threshold = "" if newest.threshold is None else f" (threshold {newest.threshold:.3f})"
        naive = newest.metrics.get(MEASURES[stage.workload].naive or "")
        beside = "" if naive is None else f", seasonal naive {naive:.3f}"
        words = (
            f"{stage.workload} v{newest.version}  {MEASURES[stage.workload].short} {newest.loss:.3f}{threshold}{beside}"
        )
        self._say(f"{end:%a %H:%M}", words, "yellow" if newest.breaches else "")

    def _tell_alarms(self, stage: Monitored) -> None:
        for alarm in stage.alarms.values():
            before = self._states.get(alarm.name, monitoring.OK)
            self._states[alarm.name] = alarm.state
            if alarm.state != before and ALARM in (alarm.state, before):
                self._say("alarm", f"{alarm.name}: {alarm.state}", "bold red" if alarm.state == ALARM else "bold green")

    def _tell_attempts(self) -> None:
        dynamodb: Any = client(self._context.session, "dynamodb")
        for attempt in retrainings.read(dynamodb, self._context.names, FORECASTER).attempts:
            known = self._attempts.get(attempt.number)
            self._attempts[attempt.number] = attempt
            if known is None:
                self._say("retrain", f"attempt {attempt.try_number}, {attempt.display_name}: {attempt.reason}", "cyan")
            if attempt.outcome and (known is None or not known.outcome):
                because = f": {rounded(attempt.outcome_reason)}" if attempt.outcome_reason else ""
                self._say("retrain", f"{_OUTCOMES[attempt.outcome]}{because}", "cyan")

    def _say(self, when: str, what: str, style: str = "") -> None:
        self._out.print(Text.assemble((f"{when:<11}", "bright_black"), (what, style)), soft_wrap=True)
