"""Looks at alarms, and changes their state.

An alarm is looked at when it is made or changed, at the end of every period, when values come in for a period that is
over, and when values come in that breach for good in the period that runs: a sum of errors that is already too great
need not wait for the end of its minute. An alarm without any values in sight is not looked at again before there are
some, so that time passes quickly where nothing happens.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from localcloud.cloudwatch import alarm_rule, evaluation, messages, moments
from localcloud.cloudwatch.actions import Actions
from localcloud.cloudwatch.evaluation import ALARM, OK, Rule, Verdict
from localcloud.cloudwatch.history import CONFIGURATION, LONGEST_DATA, STATE, History
from localcloud.cloudwatch.metrics import Metric, Metrics, Sample, by_begin
from localcloud.cloudwatch.statistics import Aggregate
from localcloud.context import Context

ALARMS = "cloudwatch/alarm"
METRIC_ALARM, COMPOSITE_ALARM = "MetricAlarm", "CompositeAlarm"
_FUTURE_SECONDS = 2 * 3600 + 60
_MINUTE = 60

Document = dict[str, Any]


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
        self._watching: dict[Metric, dict[str, Rule]] = {}
        self._asking: dict[str, set[str]] = {}
        """The composite alarms that ask an alarm, by its name."""
        self._due: dict[float, set[str]] = {}

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
                self._watching.setdefault(metric_of(alarm), {})[name] = Rule.of(alarm)
            for asked in alarm.get("Asks", ()):
                self._asking.setdefault(asked, set()).add(name)

    def forget(self, alarm: Document) -> None:
        """Watch no more what a deleted alarm, or an alarm before its change, is on."""
        with self._lock:
            name = alarm["AlarmName"]
            if alarm["AlarmType"] == METRIC_ALARM:
                self._watching.get(metric_of(alarm), {}).pop(name, None)
            for asked in alarm.get("Asks", ()):
                self._asking.get(asked, set()).discard(name)

    def samples_came(self, samples: Iterable[Sample]) -> None:
        """Look at the alarms on what came in."""
        begins: dict[Metric, set[int]] = {}
        for sample in samples:
            if self._watching.get(sample.metric):
                begins.setdefault(sample.metric, set()).add(sample.begin)
        for metric, found in begins.items():
            with self._lock:
                watching = sorted(self._watching.get(metric, {}).items())
            for name, rule in watching:
                self._values_came(metric, name, rule, found)

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
            self._record_change(before, after, now)
            self._actions.perform(key)
            self._look_at_composites(name)
            return True

    def look_later(self, name: str) -> None:
        """Look at an alarm within the minute, though nothing comes in: its state was set by hand."""
        alarm = self._context.store.get(ALARMS, name)
        if alarm is not None and alarm["AlarmType"] == METRIC_ALARM:
            step = min(alarm["Period"], _MINUTE)
            self._schedule(name, (self._now() // step + 1) * step)

    def record_configuration(self, alarm: Document, operation: str, before: Document | None = None) -> None:
        """Tell that an alarm was made, changed or deleted (`create`, `update`, `delete`)."""
        done = {"create": "created", "update": "updated", "delete": "deleted"}[operation]
        name = alarm["AlarmName"]
        data = {"version": "1.0", "type": done[:1].upper() + done[1:]}
        now = self._context.clock.now()
        self._history.add(name, alarm["AlarmType"], CONFIGURATION, now, f'Alarm "{name}" {done}', json.dumps(data))
        self._context.signals.event(messages.configuration_change(alarm, operation, before))

    def _values_came(self, metric: Metric, name: str, rule: Rule, begins: Iterable[int]) -> None:
        running = rule.begin(self._now())
        if any(begin < running for begin in begins):
            self._look(name)
            return
        self._schedule(name, running + rule.period)
        if rule.may_breach_early:
            aggregate = self._read(metric, rule, running, running + rule.period).get(running)
            if aggregate is not None and rule.breaches_for_good(aggregate):
                self._look(name, only_running=True)

    def _read(self, metric: Metric, rule: Rule, start: float, end: float) -> dict[int, Aggregate]:
        single_values = rule.statistic.percent is not None
        slots = self._metrics.read(metric, start, end, rule.period, rule.unit, single_values=single_values)
        return dict(by_begin(slots))

    def _look(self, name: str, *, only_running: bool = False, due: bool = False) -> None:
        with self._lock:
            alarm = self._context.store.get(ALARMS, name)
            if alarm is None:
                return
            if alarm["AlarmType"] == COMPOSITE_ALARM:
                self._look_at_composite(alarm)
                return
            rule, now = Rule.of(alarm), self._context.clock.now()
            running = rule.begin(now.timestamp())
            start = running - rule.range * rule.period
            periods = self._read(metric_of(alarm), rule, start, running + _FUTURE_SECONDS)
            if periods:
                self._schedule(name, running + rule.period)
            verdict = self._running_verdict(rule, periods, running, alarm["StateValue"], now)
            if verdict is None and not only_running:
                newest = running - rule.period
                points = evaluation.window(rule, periods, newest)
                verdict = evaluation.evaluate(rule, points, newest, alarm["StateValue"], now)
            if verdict is None or self.change(name, verdict) or verdict.state != ALARM:
                return
            if due and now - alarm["StateTransitionedTimestamp"] >= timedelta(seconds=_MINUTE):
                self._actions.repeat_policies(alarm, verdict.newest)

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

    def _schedule(self, name: str, moment: float) -> None:
        """One entry of the timetable for all alarms that are due at a moment."""
        with self._lock:
            names = self._due.get(moment)
            if names is not None:
                names.add(name)
                return
            self._due[moment] = {name}
        self._context.timetable.at(moments.of_epoch(moment), lambda: self._look_at_due(moment), "alarms")

    def _look_at_due(self, moment: float) -> None:
        with self._context.timetable.working():
            self._drain()
            with self._lock:
                names = self._due.pop(moment, set())
            for name in sorted(names):
                self._look(name, due=True)


_UNKNOWN: Document = {"StateValue": evaluation.INSUFFICIENT_DATA}


def metric_of(alarm: Document) -> Metric:
    """The metric that an alarm is on."""
    dimensions = {dimension["Name"]: dimension["Value"] for dimension in alarm.get("Dimensions", ())}
    return Metric.of(alarm["Namespace"], alarm["MetricName"], dimensions)


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
