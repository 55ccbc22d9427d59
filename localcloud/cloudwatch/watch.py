"""Looks at alarms, and changes their state.

An alarm is looked at when it is made or changed, at the end of every period, when values come in for a period that is
over, and when values come in that breach for good in the period that runs: a sum of errors that is already too great
need not wait for the end of its minute. An alarm without any values in sight is not looked at again before there are
some, so that time passes quickly where nothing happens.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from localcloud.cloudwatch import alarm_rule, evaluation, messages, moments, queries
from localcloud.cloudwatch.actions import Actions, kind_of
from localcloud.cloudwatch.evaluation import ALARM, OK, Datapoint, Rule, Verdict
from localcloud.cloudwatch.history import CONFIGURATION, LONGEST_DATA, STATE, History
from localcloud.cloudwatch.metric_math import MathError
from localcloud.cloudwatch.metrics import Metric, Metrics, Sample, Series, Stat, by_begin
from localcloud.cloudwatch.queries import Queries
from localcloud.cloudwatch.statistics import Aggregate
from localcloud.context import Context
from localcloud.timetable import Entry

ALARMS = "cloudwatch/alarm"
METRIC_ALARM, COMPOSITE_ALARM = "MetricAlarm", "CompositeAlarm"
_FUTURE_SECONDS = 2 * 3600 + 60
_MINUTE = 60

_LOG = logging.getLogger(__name__)

Document = dict[str, Any]


@dataclass(frozen=True)
class _Watched:
    """What a metric alarm asks, and of what. `queries` are those of an alarm on an expression."""

    rule: Rule
    metrics: tuple[Metric, ...]
    queries: Queries | None = None
    returned: str = ""
    """The id of the query whose values the alarm is on."""
    restless: bool = False
    """Whether it is to be looked at after every period: it has scaling policies, which are run while it is in ALARM, or
    its expression may give other datapoints only because time passes."""

    @staticmethod
    def of(alarm: Mapping[str, Any]) -> _Watched:
        """What a stored alarm asks."""
        scales = any(kind_of(arn) == "autoscaling" for arn in alarm["AlarmActions"])
        if "Metrics" not in alarm:
            return _Watched(Rule.of(alarm), (metric_of(alarm),), restless=scales)
        found = queries.checked(alarm["Metrics"], "Metrics")
        metrics = tuple(dict.fromkeys(stat.metric for stat in found.stats.values()))
        restless = scales or not all(expression.pointwise for expression in found.expressions.values())
        return _Watched(Rule.of(alarm), metrics, found, returned(alarm["Metrics"])[0], restless)

    def next_look(self, points: Iterable[Datapoint | None], running: int, *, pending: bool) -> int:
        """When it is to be looked at next if no values come: a verdict on all the datapoints that it needs holds until
        the oldest is out of sight. `pending`: whether there are values of periods that are not over."""
        rule = self.rule
        taken = [point for point in points if point is not None][-rule.periods :]
        if self.restless or pending or len(taken) < rule.periods:
            return running + rule.period
        return taken[0].begin + (rule.range + 1) * rule.period


class Watch:
    """The states of all alarms. `drain` makes sure that the metrics hold what was told before.

    All methods may be called from any thread. Alarms are looked at one after the other."""

    def __init__(
        self, context: Context, metrics: Metrics, history: History, actions: Actions, drain: Callable[[], None]
    ) -> None:
        self._context, self._metrics, self._history, self._actions = context, metrics, history, actions
        # Never called while the lock is held: what is drained is looked at, too.
        self._drain = drain
        self._lock = threading.RLock()
        self._watched: dict[str, _Watched] = {}
        # The states of metric alarms, as they are in the store: most looks find nothing new, and need not read it.
        self._states: dict[str, str] = {}
        self._watching: dict[Metric, set[str]] = {}
        self._asking: dict[str, set[str]] = {}
        """The composite alarms that ask an alarm, by its name."""
        self._due: dict[float, tuple[set[str], Entry]] = {}
        """The alarms that are to be looked at at a moment, and the timetable's entry for that."""
        self._next: dict[str, float] = {}
        """The one of these moments that an alarm is at."""

    def start(self) -> None:
        """Take up the alarms of the store."""
        alarms = self._context.store.list(ALARMS)
        for _, alarm in alarms:
            self.register(alarm)
        for name, _ in alarms:
            self.look(name)

    def register(self, alarm: Document, before: Document | None = None) -> None:
        """Watch what a new alarm is on, or one that has changed."""
        with self._lock:
            if before is not None:
                self.forget(before)
            name = alarm["AlarmName"]
            if alarm["AlarmType"] == METRIC_ALARM:
                watched = self._watched[name] = _Watched.of(alarm)
                self._states[name] = (self._context.store.get(ALARMS, name) or alarm)["StateValue"]
                for metric in watched.metrics:
                    self._watching.setdefault(metric, set()).add(name)
            for asked in alarm.get("Asks", ()):
                self._asking.setdefault(asked, set()).add(name)

    def forget(self, alarm: Document) -> None:
        """Watch no more what a deleted alarm, or an alarm before its change, is on."""
        with self._lock:
            name = alarm["AlarmName"]
            watched = self._watched.pop(name, None)
            self._unschedule(name)
            for metric in watched.metrics if watched is not None else ():
                self._watching.get(metric, set()).discard(name)
            for asked in alarm.get("Asks", ()):
                self._asking.get(asked, set()).discard(name)

    def samples_came(self, samples: Iterable[Sample]) -> None:
        """Look at the alarms on what came in."""
        begins: dict[str, set[int]] = {}
        with self._lock:
            for sample in samples:
                for name in self._watching.get(sample.metric, ()):
                    begins.setdefault(name, set()).add(sample.begin)
            watched = [(name, self._watched[name]) for name in sorted(begins)]
        for name, asked in watched:
            self._values_came(name, asked, begins[name])

    def look(self, name: str) -> None:
        """Evaluate an alarm, of either type."""
        self._drain()
        self._look(name)

    def change(self, name: str, verdict: Verdict) -> bool:
        """Put an alarm into a state; whether it was in another. What comes of it is done."""
        with self._lock:
            store, now = self._context.store, self._context.clock.now()
            with store.transaction():
                before = store.get(ALARMS, name)
                if before is None or before["StateValue"] == verdict.state:
                    return False
                after = _with_state(before, verdict, now)
                store.put(ALARMS, name, after)
                key = self._actions.store(before, after, verdict.newest)
            if name in self._watched:
                self._states[name] = verdict.state
            self._record_change(before, after, now)
            self._actions.perform(key)
            self._look_at_composites(name)
            return True

    def look_later(self, name: str) -> None:
        """Look at an alarm within the minute, though nothing comes in: its state was set by hand."""
        alarm = self._context.store.get(ALARMS, name)
        if alarm is not None and alarm["AlarmType"] == METRIC_ALARM:
            step = min(Rule.of(alarm).period, _MINUTE)
            self._schedule_at_latest(name, (self._now() // step + 1) * step)

    def record_configuration(self, alarm: Document, operation: str, before: Document | None = None) -> None:
        """Tell that an alarm was made, changed or deleted (`create`, `update`, `delete`)."""
        done = {"create": "created", "update": "updated", "delete": "deleted"}[operation]
        name = alarm["AlarmName"]
        data = {"version": "1.0", "type": done[:1].upper() + done[1:]}
        now = self._context.clock.now()
        self._history.add(name, alarm["AlarmType"], CONFIGURATION, now, f'Alarm "{name}" {done}', json.dumps(data))
        self._context.signals.event(messages.configuration_change(alarm, operation, before))

    def _values_came(self, name: str, watched: _Watched, begins: Iterable[int]) -> None:
        rule = watched.rule
        running = rule.begin(self._now())
        if any(begin < running for begin in begins):
            self._look(name)
            return
        self._schedule_at_latest(name, running + rule.period)
        if rule.may_breach_early:
            aggregate = self._read(watched, running, running + rule.period).get(running)
            if aggregate is not None and rule.breaches_for_good(aggregate):
                self._look(name, only_running=True)

    def _read(self, watched: _Watched, start: float, end: float) -> dict[int, Aggregate]:
        (metric,), rule = watched.metrics, watched.rule
        assert rule.statistic is not None
        single_values = rule.statistic.percent is not None
        slots = self._metrics.read(metric, start, end, rule.period, rule.unit, single_values=single_values)
        return dict(by_begin(slots))

    def _read_expression(self, watched: _Watched, start: int, running: int) -> tuple[list[Datapoint | None], set[int]]:
        """The datapoints of an expression in the periods that are over, and the begins of all periods in sight where
        there is any value of its metrics."""
        assert watched.queries is not None
        rule, found = watched.rule, set[int]()

        def read(stat: Stat) -> Series:
            series = self._metrics.series(stat, start, running + _FUTURE_SECONDS)
            found.update(series)
            return {begin: value for begin, value in series.items() if begin < running}

        try:
            values = watched.queries.values(watched.returned, read, range(start, running, rule.period))
        except MathError as error:
            # Its kinds were right when the alarm was made; what it gives may hang on what there is.
            _LOG.warning("an alarm's expression: %s", error)
            values = {}
        return evaluation.window_of_values(rule, values, running - rule.period), found

    def _look(self, name: str, *, only_running: bool = False, due: bool = False) -> None:
        with self._lock:
            watched, now = self._watched.get(name), self._context.clock.now()
            if watched is None:
                alarm = self._context.store.get(ALARMS, name)
                # A metric alarm that is not watched is being made, and looked at when it is.
                if alarm is not None and alarm["AlarmType"] == COMPOSITE_ALARM:
                    self._look_at_composite(alarm)
                return
            state = self._states[name]
            verdict = self._verdict(name, watched, state, now, only_running=only_running)
            if verdict is None:
                return
            if verdict.state != state:
                self.change(name, verdict)
            elif due and state == ALARM:
                self._still_in_alarm(name, verdict, now)

    def _still_in_alarm(self, name: str, verdict: Verdict, now: datetime) -> None:
        alarm = self._context.store.get(ALARMS, name)
        if alarm is not None and now - alarm["StateTransitionedTimestamp"] >= timedelta(seconds=_MINUTE):
            self._actions.repeat_policies(alarm, verdict.newest)

    def _verdict(
        self, name: str, watched: _Watched, state: str, now: datetime, *, only_running: bool
    ) -> Verdict | None:
        """What the alarm's values mean now. While it has any in sight, it is looked at again."""
        rule = watched.rule
        running = rule.begin(now.timestamp())
        start, newest = running - rule.range * rule.period, running - rule.period
        if watched.queries is not None:
            points, begins = self._read_expression(watched, start, running)
            periods: dict[int, Aggregate] = {}
        else:
            periods = self._read(watched, start, running + _FUTURE_SECONDS)
            points, begins = evaluation.window(rule, periods, newest), set(periods)
        if begins and not only_running:
            pending = max(begins) >= running
            self._schedule(name, watched.next_look(points, running, pending=pending))
        verdict = self._running_verdict(rule, periods, running, state, now)
        if verdict is None and not only_running:
            verdict = evaluation.evaluate(rule, points, newest, state, now)
        return verdict

    @staticmethod
    def _running_verdict(
        rule: Rule, periods: dict[int, Aggregate], running: int, state: str, now: datetime
    ) -> Verdict | None:
        """ALARM, if the period that runs breaches for good and that is enough; else None."""
        aggregate = periods.get(running)
        if aggregate is None or not rule.breaches_for_good(aggregate):
            return None
        verdict = evaluation.evaluate(rule, evaluation.window(rule, periods, running), running, state, now)
        return verdict if verdict is not None and verdict.state == ALARM else None

    def _look_at_composites(self, name: str) -> None:
        for asking in sorted(self._asking.get(name, ())):
            alarm = self._context.store.get(ALARMS, asking)
            if alarm is not None:
                self._look_at_composite(alarm, name)

    def _look_at_composite(self, alarm: Document, trigger: str | None = None) -> None:
        rule = alarm_rule.parse(alarm["AlarmRule"])
        states = {name: self._context.store.get(ALARMS, name) for name in rule.alarms}
        known = {name: found for name, found in states.items() if found is not None}
        # An alarm that is gone is one of which nothing is known.
        state = ALARM if rule.holds(lambda name: str(known.get(name, _UNKNOWN)["StateValue"])) else OK
        cause = known.get(trigger or "") or next(iter(known.values()), None)
        self.change(
            alarm["AlarmName"], Verdict(state, *_composite_reason(alarm, state, cause, self._context.clock.now()))
        )

    def _record_change(self, before: Document, after: Document, now: datetime) -> None:
        summary = f"Alarm updated from {before['StateValue']} to {after['StateValue']}"
        data = _change_data(before, after)
        if len(data) > LONGEST_DATA:
            data = _change_data({**before, "StateReasonData": None}, {**after, "StateReasonData": None})
        self._history.add(after["AlarmName"], after["AlarmType"], STATE, now, summary, data)

    def _now(self) -> float:
        return self._context.clock.now().timestamp()

    def _schedule_at_latest(self, name: str, moment: float) -> None:
        with self._lock:
            if self._next.get(name, moment + 1) > moment:
                self._schedule(name, moment)

    def _schedule(self, name: str, moment: float) -> None:
        """Look at an alarm at a moment, and not before. One entry of the timetable is for all that are due at one."""
        with self._lock:
            if self._next.get(name) == moment:
                return
            self._unschedule(name)
            self._next[name] = moment
            if moment in self._due:
                self._due[moment][0].add(name)
                return
            entry = self._context.timetable.at(moments.of_epoch(moment), lambda: self._look_at_due(moment), "alarms")
            self._due[moment] = {name}, entry

    def _unschedule(self, name: str) -> None:
        moment = self._next.pop(name, None)
        if moment is None:
            return
        names, entry = self._due[moment]
        names.discard(name)
        if not names:
            del self._due[moment]
            entry.cancel()

    def _look_at_due(self, moment: float) -> None:
        with self._context.timetable.working():
            self._drain()
            with self._lock:
                due = self._due.pop(moment, None)
                names = sorted(due[0]) if due is not None else []
                for name in names:
                    del self._next[name]
            for name in names:
                self._look(name, due=True)


_UNKNOWN: Document = {"StateValue": evaluation.INSUFFICIENT_DATA}


def metric_of(alarm: Mapping[str, Any]) -> Metric:
    """The metric that an alarm is on."""
    dimensions = {dimension["Name"]: dimension["Value"] for dimension in alarm.get("Dimensions", ())}
    return Metric.of(alarm["Namespace"], alarm["MetricName"], dimensions)


def returned(alarm_queries: Iterable[Mapping[str, Any]]) -> list[str]:
    """The ids of the queries that give data: of an alarm's there is one."""
    return [query["Id"] for query in alarm_queries if query.get("ReturnData", True)]


def _with_state(alarm: Document, verdict: Verdict, now: datetime) -> Document:
    changed = {
        **alarm,
        "StateValue": verdict.state,
        "StateReason": verdict.reason[:1023],
        "StateUpdatedTimestamp": now,
        "StateTransitionedTimestamp": now,
    }
    changed.pop("StateReasonData", None)
    if verdict.data:
        changed["StateReasonData"] = verdict.data
    return changed


def _change_data(before: Document, after: Document) -> str:
    return json.dumps({"version": "1.0", "oldState": _state_data(before), "newState": _state_data(after)})


def _state_data(alarm: Document) -> Document:
    data = {"stateValue": alarm["StateValue"], "stateReason": alarm["StateReason"]}
    if alarm.get("StateReasonData"):
        data["stateReasonData"] = json.loads(alarm["StateReasonData"])
    return data


def _composite_reason(alarm: Document, state: str, cause: Document | None, now: datetime) -> tuple[str, str]:
    if cause is None:
        return f"{alarm['AlarmArn']} evaluated to {state} at {moments.long(now)}", ""
    since = cause["StateUpdatedTimestamp"]
    triggering = {
        "arn": cause["AlarmArn"],
        "state": {"value": cause["StateValue"], "timestamp": moments.exact(since)},
    }
    reason = f"{cause['AlarmArn']} transitioned to {cause['StateValue']} at {moments.long(since)}"
    return reason, json.dumps({"triggeringAlarms": [triggering]}, separators=(",", ":"))
