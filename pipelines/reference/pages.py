"""The pages of the reference that are written from the templates, as Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines import names as n
from pipelines.reference import templates
from pipelines.reference.metrics import DIMENSIONS, METRICS
from pipelines.reference.templates import described, resources

__all__ = ["PAGES", "metrics_in"]

_MADE = "<!-- Written by `pytest --regenerate` from the templates and the code; a test compares it. -->"
_PROJECT = "{SageMakerProjectName}"
_SIGNS = {
    "GreaterThanOrEqualToThreshold": "≥",
    "GreaterThanThreshold": ">",
    "LessThanOrEqualToThreshold": "≤",
    "LessThanThreshold": "<",
}
_MISSING = {
    "missing": "no data is a state of its own",
    "notBreaching": "no data is well",
    "breaching": "no data is bad",
    "ignore": "no data changes nothing",
}
_EVENTS_OF_ALARMS = "CloudWatch Alarm State Change"
_DASHBOARD_METRIC = re.compile(r'\[\s*"((?:AWS|MLOps)/[A-Za-z0-9]+)",\s*"([A-Za-z0-9]+)"')


# --- parameters -------------------------------------------------------------------------------------------------------


def parameters(folder: Path) -> str:
    """The templates' parameters."""
    said = [
        "# Parameters of the templates",
        "",
        _MADE,
        "",
        "`mlops up`, `mlops publish` and `mlops api` fill them from `configs/`; what has no default must be given.",
    ]
    for name in templates.names(folder):
        template = templates.read(folder, name)
        declared = template.get("Parameters", {})
        if not declared:
            continue
        rows = [
            (f"`{parameter}`", _type(found), _default(found), " ".join(str(found.get("Description", "")).split()))
            for parameter, found in declared.items()
        ]
        said += [
            "",
            f"## `template/{name}.yml`",
            "",
            *_table(("parameter", "what is expected", "default", "meaning"), rows),
        ]
    return "\n".join(said) + "\n"


def _type(found: Mapping[str, Any]) -> str:
    kind = {"String": "text", "Number": "a number", "CommaDelimitedList": "a list, with commas"}
    words = [kind.get(str(found["Type"]), f"`{found['Type']}`")]
    if "AllowedValues" in found:
        words = ["one of " + ", ".join(f"`{value}`" for value in found["AllowedValues"])]
    low, high = found.get("MinValue"), found.get("MaxValue")
    if low is not None and high is not None:
        words.append(f"from {low} to {high}")
    elif low is not None:
        words.append(f"of at least {low}")
    if "MaxLength" in found:
        words.append(f"of at most {found['MaxLength']} characters")
    if "AllowedPattern" in found:
        words.append(f"like `{found['AllowedPattern']}`")
    return " ".join(words)


def _default(found: Mapping[str, Any]) -> str:
    if "Default" not in found:
        return ""
    value = found["Default"]
    return "empty" if value == "" else f"`{value}`"


# --- events -----------------------------------------------------------------------------------------------------------


def events(folder: Path) -> str:
    """The rules and schedules: what happens, and what it starts."""
    said = [
        "# Events and schedules",
        "",
        _MADE,
        "",
        f"What the project listens for (Amazon EventBridge) and does by the clock. `{_PROJECT}` is the project's",
        "name; what a target does not take goes to the dead letter queue of its stack.",
    ]
    for name in templates.names(folder):
        template = templates.read(folder, name)
        rules = [
            _rule(properties)
            for _, properties in resources(template, "AWS::Events::Rule")
            if "EventPattern" in properties
        ]
        schedules = [_schedule(properties) for properties in _scheduled(template)]
        if not rules and not schedules:
            continue
        said += ["", f"## `template/{name}.yml`"]
        if rules:
            said += ["", *_table(("rule", "when", "event", "what it is about", "target"), rules)]
        if schedules:
            said += ["", *_table(("schedule", "what it does", "at", "target"), schedules)]
    return "\n".join(said) + "\n"


def _scheduled(template: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for _, properties in resources(template, "AWS::Scheduler::Schedule"):
        yield {**properties, "Targets": [properties["Target"]]}
    for _, properties in resources(template, "AWS::Events::Rule"):
        if "ScheduleExpression" in properties:
            yield properties


def _rule(properties: Mapping[str, Any]) -> tuple[str, ...]:
    pattern = properties["EventPattern"]
    event = f"{', '.join(pattern['source'])}: {', '.join(pattern.get('detail-type', []))}"
    about = "; ".join(f"`{name}`: {_matched(values)}" for name, values in _leaves(pattern.get("detail", {})))
    return _name(properties), _said(properties), event, about, _targets(properties["Targets"])


def _schedule(properties: Mapping[str, Any]) -> tuple[str, ...]:
    zone = properties.get("ScheduleExpressionTimezone")
    at = f"`{properties['ScheduleExpression']}`" + (f" {zone}" if zone else "")
    return _name(properties), _said(properties), at, _targets(properties["Targets"])


def _said(properties: Mapping[str, Any]) -> str:
    state = properties.get("State")
    text = str(properties.get("Description", ""))
    return f"{text} ({described(state)})" if isinstance(state, dict) else text


def _leaves(detail: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Sequence[Any]]]:
    for name, value in detail.items():
        if isinstance(value, dict) and not _is_function(value):
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value if isinstance(value, list) else [value]


def _is_function(value: Mapping[str, Any]) -> bool:
    return len(value) == 1 and next(iter(value)).startswith(("Ref", "Fn::"))


def _matched(values: Sequence[Any]) -> str:
    return ", ".join(_one_matched(value) for value in values)


def _one_matched(value: Any) -> str:
    if isinstance(value, dict) and not _is_function(value):
        [(operator, operand)] = value.items()
        return f"{operator} {_short(operand)}"
    return _short(value)


def _short(value: Any) -> str:
    """A value without what every ARN begins with."""
    return re.sub(r"^arn:\{AWS::Partition\}:[a-z-]+:\{AWS::Region\}:\{AWS::AccountId\}:", "", described(value))


def _targets(targets: Iterable[Mapping[str, Any]]) -> str:
    return ", ".join(_target(target) for target in targets)


def _target(target: Mapping[str, Any]) -> str:
    task = target.get("EcsParameters", {}).get("TaskDefinitionArn")
    return _thing(task if task is not None else target["Arn"])


def _thing(value: Any) -> str:
    """The resource that a target is, by its logical id."""
    if isinstance(value, dict):
        [(function, argument)] = value.items()
        if function == "Ref":
            return str(argument)
        if function == "Fn::GetAtt":
            return str(argument[0])
    return re.sub(r"[{}]", "", _short(value))


# --- alarms -----------------------------------------------------------------------------------------------------------


def alarms(folder: Path) -> str:
    """The alarms: when they fire, and what that leads to."""
    said = [
        "# Alarms",
        "",
        _MADE,
        "",
        "`mlops explain ALARM` says of one that is on what it is about, and what was done. A *notice* goes to the",
        "project's SNS topic, and by mail to `notices.email`.",
    ]
    for name in templates.names(folder):
        template = templates.read(folder, name)
        found = list(resources(template, "AWS::CloudWatch::Alarm"))
        if not found:
            continue
        rules = [properties for _, properties in resources(template, "AWS::Events::Rule")]
        rows = [
            (
                f"`{described(alarm['AlarmName'])}`",
                str(alarm.get("AlarmDescription", "")),
                _when(alarm),
                _without_data(alarm.get("TreatMissingData", "missing")),
                _consequences(alarm, rules),
            )
            for _, alarm in found
        ]
        headings = ("alarm", "what it says", "fires when", "without data", "leads to")
        said += ["", f"## `template/{name}.yml`", "", *_table(headings, rows)]
    return "\n".join(said) + "\n"


def _without_data(value: Any) -> str:
    if isinstance(value, dict):
        condition, yes, no = value["Fn::If"]
        return f"{_MISSING[yes]} if {condition}, else {_MISSING[no]}"
    return _MISSING[value]


def _when(alarm: Mapping[str, Any]) -> str:
    periods, breaching = alarm["EvaluationPeriods"], alarm.get("DatapointsToAlarm")
    sign, level = _SIGNS[alarm["ComparisonOperator"]], described(alarm["Threshold"])
    if "Metrics" in alarm:
        [shown] = [metric for metric in alarm["Metrics"] if metric.get("ReturnData", True)]
        parts = {metric["Id"]: metric["MetricStat"] for metric in alarm["Metrics"] if "MetricStat" in metric}
        expression = shown.get("Expression") or shown["Id"]
        for name, stat in parts.items():
            expression = re.sub(rf"\b{re.escape(name)}\b", f"`{stat['Metric']['MetricName']}`", expression)
        stat = next(iter(parts.values()))
        what, seconds = f"{expression} ({stat['Stat']})", stat["Period"]
    else:
        statistic = alarm.get("Statistic") or alarm["ExtendedStatistic"]
        what, seconds = f"`{alarm['MetricName']}` ({statistic})", alarm["Period"]
    times = f"in {described(periods if breaching is None else breaching)} of {described(periods)}"
    return f"{what} {sign} {level}, {times} periods of {_period(seconds)}"


def _period(seconds: Any) -> str:
    if not isinstance(seconds, int):
        return described(seconds)
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds % length == 0:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def _consequences(alarm: Mapping[str, Any], rules: Iterable[Mapping[str, Any]]) -> str:
    name = described(alarm["AlarmName"])
    actions = [_thing(action) for action in alarm.get("AlarmActions", [])]
    found = ["a notice" if action.lower().endswith("notices") else action for action in actions]
    for rule in rules:
        pattern = rule.get("EventPattern", {})
        named = [described(each) for each in pattern.get("detail", {}).get("alarmName", [])]
        if _EVENTS_OF_ALARMS in pattern.get("detail-type", []) and name in named:
            found.append(f"{_targets(rule['Targets'])} (rule {_name(rule)})")
    if name in _roll_back():
        found.append("a roll-back of an update of the endpoint that is under way")
    return "; ".join(found) or "nothing by itself"


def _roll_back() -> set[str]:
    """The alarms that deployments are given to watch (`Names.rollback_alarms`)."""
    some = n.Names("x", "0" * 12, "eu-west-1")
    return {
        _PROJECT + alarm.removeprefix("x")
        for workload in n.MONITORED
        for stage in n.STAGES
        for alarm in some.rollback_alarms(workload, stage)
    }


# --- metrics ----------------------------------------------------------------------------------------------------------


def metrics(folder: Path) -> str:
    """The metrics: the project's own, and AWS's that alarms and dashboards look at."""
    said = ["# Metrics", "", _MADE, ""]
    said += ["Values that are not known are not published: a metric without data points says so."]
    for namespace, dimensions in DIMENSIONS.items():
        rows = [(f"`{metric.name}`", metric.by, metric.meaning) for metric in METRICS if metric.namespace == namespace]
        said += ["", f"## `{namespace}`", "", f"Dimensions: {dimensions}.", ""]
        said += _table(("metric", "published by" if "Ingestion" in namespace else "workload", "what it says"), rows)
    others: dict[tuple[str, str], set[str]] = {}
    for name in templates.names(folder):
        for metric in metrics_in(templates.read(folder, name)):
            if metric[0] not in DIMENSIONS:
                others.setdefault(metric, set()).add(f"`template/{name}.yml`")
    rows = [(f"`{metric[0]}`", f"`{metric[1]}`", ", ".join(sorted(others[metric]))) for metric in sorted(others)]
    said += ["", "## AWS's own", "", "That alarms and dashboards look at.", ""]
    said += _table(("namespace", "metric", "in"), rows)
    return "\n".join(said) + "\n"


def metrics_in(template: Mapping[str, Any]) -> set[tuple[str, str]]:
    """The metrics, by namespace and name, that a template's alarms and dashboards look at."""
    found: set[tuple[str, str]] = set()
    for _, alarm in resources(template, "AWS::CloudWatch::Alarm"):
        single = [alarm] if "MetricName" in alarm else []
        stats = [metric["MetricStat"]["Metric"] for metric in alarm.get("Metrics", []) if "MetricStat" in metric]
        found |= {(metric["Namespace"], metric["MetricName"]) for metric in (*single, *stats)}
    for _, dashboard in resources(template, "AWS::CloudWatch::Dashboard"):
        found |= set(_DASHBOARD_METRIC.findall(str(dashboard["DashboardBody"])))
    return found


# --- tables -----------------------------------------------------------------------------------------------------------


def _name(properties: Mapping[str, Any]) -> str:
    return f"`{described(properties['Name'])}`"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(headings)} |",
        "|" + "---|" * len(headings),
        *(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows),
    ]


PAGES: Mapping[str, Callable[[Path], str]] = {
    "parameters.md": parameters,
    "events.md": events,
    "metrics.md": metrics,
    "alarms.md": alarms,
}
"""By file in docs/reference: what writes it, from the folder of the templates."""
