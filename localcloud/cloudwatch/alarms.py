"""The operations on alarms: what is asked of them, and what they are asked for. `localcloud.cloudwatch.watch` looks
at them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from localcloud.cloudwatch import alarm_rule, evaluation, moments, pages, queries
from localcloud.cloudwatch.actions import Actions
from localcloud.cloudwatch.alarm_rule import AlarmRule, RuleError
from localcloud.cloudwatch.errors import combination, missing, refused, unsupported
from localcloud.cloudwatch.evaluation import INSUFFICIENT_DATA, OPERATORS, Verdict
from localcloud.cloudwatch.history import History, Item
from localcloud.cloudwatch.metric_math import MathError
from localcloud.cloudwatch.metrics import MINUTE
from localcloud.cloudwatch.statistics import find
from localcloud.cloudwatch.watch import ALARMS, COMPOSITE_ALARM, METRIC_ALARM, Watch, metric_of, returned
from localcloud.context import Context, Request
from localcloud.errors import ServiceError

_TAGS = "cloudwatch/tags"
_ACTIONS = ("OKActions", "AlarmActions", "InsufficientDataActions")
_REQUIRED = ("EvaluationPeriods", "Threshold", "ComparisonOperator")
_OF_METRIC = ("MetricName", "Namespace", "Period")
_NOT_OF_MATH = (*_OF_METRIC, "Dimensions", "Statistic", "ExtendedStatistic", "Unit")
_MOST_METRICS = 10
_REFUSED = {
    "ThresholdMetricId": "has alarms on a static threshold, and no anomaly detection",
    "EvaluationCriteria": "has alarms on one metric, and no PromQL",
    "EvaluationInterval": "looks at alarms at the end of each period",
    "EvaluationWindow": "looks at alarms at the end of each period",
    "WarmUpConfiguration": "has no warm-up of alarms",
    "ActionConfiguration": "hands on no tags of alarms",
    "ActionsSuppressor": "does not suppress actions of composite alarms",
    "ActionsSuppressorWaitPeriod": "does not suppress actions of composite alarms",
    "ActionsSuppressorExtensionPeriod": "does not suppress actions of composite alarms",
}
_MISSING_DATA = (evaluation.BREACHING, evaluation.NOT_BREACHING, evaluation.IGNORE, evaluation.MISSING)
_SHORT_PERIODS = (10, 20, 30)
_HOUR, _DAY, _WEEK = 3600, 86_400, 7 * 86_400
_MOST_TAGS = 50
_PAGE, _HISTORY_PAGE = 50, 100

Document = dict[str, Any]


class Alarms:
    """What the service answers. State changes are the watch's."""

    def __init__(self, context: Context, watch: Watch, history: History, actions: Actions) -> None:
        self._context, self._watch, self._history, self._actions = context, watch, history, actions

    def put_metric(self, request: Request) -> dict[str, Any]:
        """PutMetricAlarm. A new alarm begins with INSUFFICIENT_DATA and is looked at before this returns.

        Raises ValidationError, MissingParameter or InvalidParameterCombination."""
        params = request.params
        self._check_common(params)
        for member in (*_REQUIRED, *(() if "Metrics" in params else _OF_METRIC)):
            if member not in params:
                raise missing(f"The parameter {member} is required.")
        if "Metrics" in params:
            _check_metrics(params)
            _check_periods(params, evaluation.period_of(params["Metrics"]))
        else:
            _check_statistic(params)
            _check_periods(params, params["Period"])
        operator, treatment = params["ComparisonOperator"], params.get("TreatMissingData", evaluation.MISSING)
        if operator not in OPERATORS:
            raise unsupported("has alarms on a static threshold, and no anomaly detection", operator)
        if treatment not in _MISSING_DATA:
            raise refused(f"TreatMissingData must be one of {', '.join(_MISSING_DATA)}; it is {treatment!r}")
        if params.get("EvaluateLowSampleCountPercentile", "evaluate") != "evaluate":
            raise unsupported(
                "evaluates percentiles however few samples there are (EvaluateLowSampleCountPercentile=evaluate)",
                params["EvaluateLowSampleCountPercentile"],
            )
        # Whole numbers come as such over the wire; in reasons and messages a threshold is never one.
        self._put(METRIC_ALARM, {**params, "Threshold": float(params["Threshold"])})
        return {}

    def put_composite(self, request: Request) -> dict[str, Any]:
        """PutCompositeAlarm. Raises ValidationError for a rule that cannot be read, or asks what is not there."""
        params = request.params
        self._check_common(params)
        rule = self._read_rule(params["AlarmName"], params["AlarmRule"])
        self._put(COMPOSITE_ALARM, params, Asks=list(rule.alarms))
        return {}

    def describe(self, request: Request) -> dict[str, Any]:
        """DescribeAlarms: metric alarms where no type is named, as on AWS."""
        params = request.params
        for member in ("ChildrenOfAlarmName", "ParentsOfAlarmName"):
            if member in params:
                raise unsupported("lists alarms by name, prefix, type, state and action", member)
        if "AlarmNames" in params and "AlarmNamePrefix" in params:
            raise combination("The parameters AlarmNames and AlarmNamePrefix are mutually exclusive.")
        found = sorted(self._matching(params), key=lambda alarm: str(alarm["AlarmName"]))
        page, token = pages.cut(
            request.operation,
            found,
            params.get("NextToken"),
            params.get("MaxRecords", max(_PAGE, len(params.get("AlarmNames", ())))),
            lambda alarm: str(alarm["AlarmName"]),
        )
        return {
            "MetricAlarms": [_shown(alarm) for alarm in page if alarm["AlarmType"] == METRIC_ALARM],
            "CompositeAlarms": [_shown(alarm) for alarm in page if alarm["AlarmType"] == COMPOSITE_ALARM],
            "NextToken": token,
        }

    def describe_for_metric(self, request: Request) -> dict[str, Any]:
        """DescribeAlarmsForMetric."""
        params = request.params
        asked = metric_of(params)
        found = []
        for _, alarm in self._context.store.list(ALARMS):
            # As on AWS, alarms on expressions are not among them.
            same = alarm["AlarmType"] == METRIC_ALARM and "Metrics" not in alarm and metric_of(alarm) == asked
            others = ("Statistic", "ExtendedStatistic", "Period", "Unit")
            if same and all(alarm.get(member) == params[member] for member in others if member in params):
                found.append(_shown(alarm))
        return {"MetricAlarms": found}

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteAlarms: all of them, or none. Raises ResourceNotFound, or ValidationError for one that a composite
        alarm asks."""
        names = list(dict.fromkeys(request.params["AlarmNames"]))
        store = self._context.store
        with store.transaction():
            alarms = [self._get(name) for name in names]
            if len(names) > 1 and any(alarm["AlarmType"] == COMPOSITE_ALARM for alarm in alarms):
                raise refused("Only one composite alarm can be deleted at a time, and not together with other alarms")
            for name in names:
                self._check_unasked(name)
            for alarm in alarms:
                store.delete(ALARMS, alarm["AlarmName"])
                store.delete(_TAGS, alarm["AlarmArn"])
        for alarm in alarms:
            self._watch.forget(alarm)
            self._watch.record_configuration(alarm, "delete")
        return {}

    def set_state(self, request: Request) -> dict[str, Any]:
        """SetAlarmState: until the alarm is looked at again, which it is within a minute."""
        params = request.params
        data = params.get("StateReasonData", "")
        if data:
            try:
                json.loads(data)
            except ValueError as error:
                raise ServiceError("InvalidFormat", f"StateReasonData is not JSON: {error}") from None
        self._get(params["AlarmName"])
        self._watch.change(params["AlarmName"], Verdict(params["StateValue"], params["StateReason"], data))
        self._watch.look_later(params["AlarmName"])
        return {}

    def enable(self, request: Request) -> dict[str, Any]:
        """EnableAlarmActions."""
        return self._switch(request, True)

    def disable(self, request: Request) -> dict[str, Any]:
        """DisableAlarmActions."""
        return self._switch(request, False)

    def describe_history(self, request: Request) -> dict[str, Any]:
        """DescribeAlarmHistory, the newest first unless asked otherwise; also of alarms that are deleted."""
        params = request.params
        if "AlarmContributorId" in params:
            raise unsupported("has no contributors to alarms", "AlarmContributorId")
        types = params.get("AlarmTypes") or [METRIC_ALARM]
        start, end = (params[member].timestamp() if member in params else None for member in ("StartDate", "EndDate"))
        items = [
            item
            for item in self._history.find(params.get("AlarmName"), params.get("HistoryItemType"), start, end)
            if item.alarm_type in types or ("AlarmName" in params and "AlarmTypes" not in params)
        ]
        if params.get("ScanBy", "TimestampDescending") == "TimestampDescending":
            items.reverse()
        page, token = pages.cut(
            request.operation,
            items,
            params.get("NextToken"),
            params.get("MaxRecords", _HISTORY_PAGE),
            lambda item: str(item.number),
        )
        return {"AlarmHistoryItems": [_shown_item(item) for item in page], "NextToken": token}

    def tag(self, request: Request) -> dict[str, Any]:
        """TagResource."""
        arn = self._check_arn(request.params["ResourceARN"])
        with self._context.store.transaction():
            tags = {**self._tags(arn), **{tag["Key"]: tag["Value"] for tag in request.params["Tags"]}}
            self._put_tags(arn, tags)
        return {}

    def untag(self, request: Request) -> dict[str, Any]:
        """UntagResource."""
        arn = self._check_arn(request.params["ResourceARN"])
        with self._context.store.transaction():
            gone = set(request.params["TagKeys"])
            self._put_tags(arn, {key: value for key, value in self._tags(arn).items() if key not in gone})
        return {}

    def list_tags(self, request: Request) -> dict[str, Any]:
        """ListTagsForResource."""
        arn = self._check_arn(request.params["ResourceARN"])
        return {"Tags": [{"Key": key, "Value": value} for key, value in self._tags(arn).items()]}

    def _check_common(self, params: Mapping[str, Any]) -> None:
        for member, what in _REFUSED.items():
            if member in params:
                raise unsupported(what, member)
        for member in _ACTIONS:
            for arn in params.get(member, ()):
                self._actions.check(arn)

    def _put(self, alarm_type: str, params: Mapping[str, Any], **members: Any) -> None:
        name, now = params["AlarmName"], self._context.clock.now()
        arn = self._arn(name)
        with self._context.store.transaction():
            before = self._context.store.get(ALARMS, name)
            if before is not None and before["AlarmType"] != alarm_type:
                raise refused(f"The alarm {name} is a {before['AlarmType']}; it cannot be made a {alarm_type}")
            state = before or {
                "StateValue": INSUFFICIENT_DATA,
                "StateReason": "Unchecked: Initial alarm creation",
                "StateUpdatedTimestamp": now,
                "StateTransitionedTimestamp": now,
            }
            alarm = {
                "AlarmType": alarm_type,
                "AlarmArn": arn,
                "ActionsEnabled": True,
                **{member: [] for member in _ACTIONS},
                **{member: value for member, value in params.items() if member != "Tags"},
                **members,
                **{member: value for member, value in state.items() if member.startswith("State")},
                "AlarmConfigurationUpdatedTimestamp": now,
            }
            self._context.store.put(ALARMS, name, alarm)
            # As on AWS, tags are those of a new alarm only: TagResource is for others.
            if before is None and params.get("Tags"):
                self._put_tags(arn, {tag["Key"]: tag["Value"] for tag in params["Tags"]})
        self._watch.register(alarm, before)
        self._watch.record_configuration(alarm, "update" if before else "create", before)
        self._watch.look(name)

    def _read_rule(self, name: str, text: str) -> AlarmRule:
        try:
            rule = alarm_rule.parse(text)
        except RuleError as error:
            raise refused(f"Could not save the composite alarm as the alarm rule is not valid: {error}") from None
        unknown = [asked for asked in rule.alarms if self._context.store.get(ALARMS, asked) is None]
        if name in rule.alarms or name in set(self._asked_by(rule.alarms)):
            raise refused(f"Could not save the composite alarm as its alarm rule asks the alarm itself: {name}")
        if unknown:
            raise refused(
                f"Could not save the composite alarm as alarms [{', '.join(unknown)}] in the alarm rule do not exist"
            )
        return rule

    def _asked_by(self, names: tuple[str, ...]) -> Iterator[str]:
        """All that alarms ask, and what those ask."""
        for name in names:
            alarm = self._context.store.get(ALARMS, name) or {}
            yield from alarm.get("Asks", ())
            yield from self._asked_by(tuple(alarm.get("Asks", ())))

    def _check_unasked(self, name: str) -> None:
        asking = [
            other
            for other, alarm in self._context.store.list(ALARMS)
            if name in alarm.get("Asks", ()) and other != name
        ]
        if asking:
            raise refused(f"Cannot delete {name} as there are composite alarm(s) depending on it: {', '.join(asking)}")

    def _matching(self, params: Mapping[str, Any]) -> Iterator[Document]:
        names, prefix = params.get("AlarmNames"), params.get("AlarmNamePrefix", "")
        types = params.get("AlarmTypes") or [METRIC_ALARM]
        for name, alarm in self._context.store.list(ALARMS, prefix):
            action = params.get("ActionPrefix", "")
            if (
                (names is None or name in names)
                and alarm["AlarmType"] in types
                and params.get("StateValue", alarm["StateValue"]) == alarm["StateValue"]
                and (not action or any(arn.startswith(action) for member in _ACTIONS for arn in alarm[member]))
            ):
                yield alarm

    def _switch(self, request: Request, enabled: bool) -> dict[str, Any]:
        # As on AWS, a name that is none is passed over.
        for name in request.params["AlarmNames"]:
            with self._context.store.transaction():
                before = self._context.store.get(ALARMS, name)
                if before is None or before["ActionsEnabled"] == enabled:
                    continue
                now = self._context.clock.now()
                alarm = {**before, "ActionsEnabled": enabled, "AlarmConfigurationUpdatedTimestamp": now}
                self._context.store.put(ALARMS, name, alarm)
            self._watch.record_configuration(alarm, "update", before)
        return {}

    def _get(self, name: str) -> Document:
        alarm = self._context.store.get(ALARMS, name)
        if alarm is None:
            raise ServiceError("ResourceNotFound", f"Alarm {name} does not exist", 404)
        return alarm

    def _arn(self, name: str) -> str:
        return f"arn:aws:cloudwatch:{self._context.region}:{self._context.account_id}:alarm:{name}"

    def _check_arn(self, arn: str) -> str:
        name = alarm_rule.alarm_name(arn)
        if arn != self._arn(name) or self._context.store.get(ALARMS, name) is None:
            raise ServiceError(
                "ResourceNotFoundException",
                f"The resource {arn} does not exist",
                404,
                fields={"ResourceType": "alarm", "ResourceId": arn},
            )
        return arn

    def _tags(self, arn: str) -> dict[str, str]:
        return dict((self._context.store.get(_TAGS, arn) or {"Tags": {}})["Tags"])

    def _put_tags(self, arn: str, tags: dict[str, str]) -> None:
        if len(tags) > _MOST_TAGS:
            raise refused(f"{arn} would have {len(tags)} tags; an alarm has {_MOST_TAGS} at most")
        self._context.store.put(_TAGS, arn, {"Tags": tags})


def _check_statistic(params: Mapping[str, Any]) -> None:
    given = [params[member] for member in ("Statistic", "ExtendedStatistic") if member in params]
    if len(given) != 1:
        what = "Exactly one of the parameters Statistic and ExtendedStatistic must be specified."
        raise combination(what) if given else missing(what)
    if find(given[0]) is None:
        raise unsupported("has alarms on SampleCount, Average, Sum, Minimum, Maximum and percentiles", given[0])


def _check_metrics(params: Mapping[str, Any]) -> None:
    """Metric math, or one metric written as a query."""
    for member in _NOT_OF_MATH:
        if params.get(member):
            raise refused(f"{member} should not be set if list of Metrics is set.")
    found = queries.checked(params["Metrics"], "Metrics")
    if len(found.stats) > _MOST_METRICS:
        raise refused(f"An alarm's expression has {_MOST_METRICS} metrics at most; Metrics has {len(found.stats)}")
    names = returned(params["Metrics"])
    if len(names) != 1:
        raise refused("Exactly one element of the metrics list should return data.")
    # All metrics, also those that the expression does not ask: the alarm has one period.
    periods = sorted({stat.period for stat in found.stats.values()})
    if len(periods) != 1:
        raise unsupported("has alarms on metrics of one period", f"periods {', '.join(map(str, periods)) or 'of none'}")
    try:
        # Without any data it shows what the expression gives: one series, a number, or an array.
        found.values(names[0], lambda stat: {}, range(0))
    except MathError as error:
        raise refused(f"Invalid metrics list: {error}") from None


def _check_periods(params: Mapping[str, Any], period: int) -> None:
    periods = params["EvaluationPeriods"]
    if period not in _SHORT_PERIODS and period % MINUTE:
        raise refused(f"Period must be 10, 20, 30 or a multiple of 60; it is {period}")
    if period < _HOUR and period * periods > _DAY:
        raise refused("Metrics cannot be checked across more than a day (EvaluationPeriods * Period must be <= 86400).")
    if period * periods > _WEEK:
        raise refused(
            "Metrics cannot be checked across more than seven days (EvaluationPeriods * Period must be <= 604800)."
        )
    needed = params.get("DatapointsToAlarm", periods)
    if needed > periods:
        raise refused(f"DatapointsToAlarm ({needed}) must be less than or equal to EvaluationPeriods ({periods})")


def _shown(alarm: Mapping[str, Any]) -> Document:
    return {member: value for member, value in alarm.items() if member not in ("AlarmType", "Asks")}


def _shown_item(item: Item) -> Document:
    return {
        "AlarmName": item.alarm,
        "AlarmType": item.alarm_type,
        "Timestamp": moments.of_epoch(item.moment),
        "HistoryItemType": item.item_type,
        "HistorySummary": item.summary,
        "HistoryData": item.data,
    }
