"""Dashboards: kept as they were written, once what they say can be drawn.

Source: "Dashboard Body Structure and Syntax" (Amazon CloudWatch API Reference). A body that is no JSON, or that breaks
that structure, is refused with what is wrong and where. A member that the page does not know is told of and kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from localcloud.cloudwatch import pages
from localcloud.cloudwatch.errors import unsupported
from localcloud.context import Context, Request
from localcloud.errors import ServiceError

_KIND = "cloudwatch/dashboard"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
_PAGE = 100
_COLUMNS, _MOST_ROWS = 24, 1000
_MOST_WIDGETS, _MOST_METRICS = 500, 500
_SIZES = {"x": (0, _COLUMNS - 1), "y": (0, _MOST_ROWS), "width": (1, _COLUMNS), "height": (1, _MOST_ROWS)}
_BODY = frozenset({"widgets", "start", "end", "periodOverride", "variables"})
_WIDGET = frozenset({"type", "properties", *_SIZES})
# The properties that a type has to have; the types that the page knows.
_TYPES: Mapping[str, tuple[str, ...]] = {
    "metric": (),
    "text": ("markdown",),
    "log": ("query",),
    "alarm": ("alarms",),
    "explorer": ("metrics", "labels"),
    "custom": ("endpoint",),
}
_VIEWS = ("timeSeries", "singleValue", "gauge", "bar", "pie", "table")

Message = dict[str, str]


class Dashboards:
    """What the service answers."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def put(self, request: Request) -> dict[str, Any]:
        """PutDashboard: a new one, or all of one that is there anew. Raises DashboardInvalidInputError."""
        name, body = request.params["DashboardName"], request.params["DashboardBody"]
        if request.params.get("Tags"):
            raise unsupported("has no tags of dashboards", "Tags")
        if not _NAME.fullmatch(name):
            message = "The name of a dashboard has 1 to 255 letters, digits, hyphens and underscores"
            raise _invalid([_message("/DashboardName", message)])
        told = list(_problems(body))
        if wrong := [message for message, is_wrong in told if is_wrong]:
            raise _invalid(wrong)
        document = {"Body": body, "LastModified": self._context.clock.now()}
        self._context.store.put(_KIND, name, document)
        return {"DashboardValidationMessages": [message for message, _ in told]}

    def get(self, request: Request) -> dict[str, Any]:
        """GetDashboard. Raises ResourceNotFound."""
        name = request.params["DashboardName"]
        document = self._context.store.get(_KIND, name)
        if document is None:
            raise _not_found(name)
        return {"DashboardArn": self._arn(name), "DashboardBody": document["Body"], "DashboardName": name}

    def list(self, request: Request) -> dict[str, Any]:
        """ListDashboards, by name."""
        found = sorted(self._context.store.list(_KIND, request.params.get("DashboardNamePrefix", "")))
        page, token = pages.cut(
            request.operation, found, request.params.get("NextToken"), _PAGE, lambda entry: str(entry[0])
        )
        entries = [
            {
                "DashboardName": name,
                "DashboardArn": self._arn(name),
                "LastModified": document["LastModified"],
                "Size": len(document["Body"].encode()),
            }
            for name, document in page
        ]
        return {"DashboardEntries": entries, "NextToken": token}

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteDashboards: all of them, or none. Raises ResourceNotFound."""
        names = list(dict.fromkeys(request.params["DashboardNames"]))
        with self._context.store.transaction():
            for name in names:
                if not self._context.store.delete(_KIND, name):
                    raise _not_found(name)
        return {}

    def _arn(self, name: str) -> str:
        # Dashboards are of an account, not of a region.
        return f"arn:aws:cloudwatch::{self._context.account_id}:dashboard/{name}"


def _not_found(name: str) -> ServiceError:
    return ServiceError("ResourceNotFound", f"Dashboard {name} does not exist", 404)


def _invalid(messages: list[Message]) -> ServiceError:
    text = "; ".join(f"{message['Message']} (at {message['DataPath'] or '/'})" for message in messages)
    return ServiceError(
        "InvalidParameterInput",
        f"The field DashboardBody must be a valid JSON object: {text}",
        fields={"dashboardValidationMessages": messages},
    )


def _message(path: str, text: str) -> Message:
    return {"DataPath": path, "Message": text}


def _problems(body: str) -> Iterator[tuple[Message, bool]]:
    """What is to be said of a body, and whether it keeps it from being taken."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        yield _message("", f"The body is not JSON: {error}"), True
        return
    if not isinstance(found, dict) or not isinstance(found.get("widgets"), list):
        yield _message("/widgets", "Should have required property 'widgets', a list"), True
        return
    for member in sorted(found.keys() - _BODY):
        yield _message(f"/{member}", f"Unknown property '{member}': it has no effect"), False
    if len(found["widgets"]) > _MOST_WIDGETS:
        yield _message("/widgets", f"Should NOT have more than {_MOST_WIDGETS} items"), True
    for number, widget in enumerate(found["widgets"]):
        yield from _widget_problems(widget, f"/widgets/{number}")


def _widget_problems(widget: Any, path: str) -> Iterator[tuple[Message, bool]]:
    if not isinstance(widget, dict):
        yield _message(path, "Should be object"), True
        return
    kind = widget.get("type")
    if not isinstance(kind, str) or kind not in _TYPES:
        yield _message(f"{path}/type", f"Should be one of {', '.join(_TYPES)}; it is {kind!r}"), True
        return
    for member in sorted(widget.keys() - _WIDGET):
        yield _message(f"{path}/{member}", f"Unknown property '{member}': it has no effect"), False
    for member, (least, most) in _SIZES.items():
        value = widget.get(member, least)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            yield _message(f"{path}/{member}", f"Should be an integer from {least} to {most}; it is {value!r}"), True
    if ("x" in widget) != ("y" in widget):
        yield _message(path, "Should have both 'x' and 'y', or neither"), True
    properties = widget.get("properties")
    if not isinstance(properties, dict):
        yield _message(f"{path}/properties", "Should have required property 'properties', an object"), True
        return
    for member in _TYPES[kind]:
        if member not in properties:
            yield _message(f"{path}/properties", f"Should have required property '{member}'"), True
    if kind == "metric":
        yield from _metric_problems(properties, f"{path}/properties")


def _metric_problems(properties: Mapping[str, Any], path: str) -> Iterator[tuple[Message, bool]]:
    annotations, metrics = properties.get("annotations"), properties.get("metrics")
    if metrics is None and not (isinstance(annotations, dict) and annotations.get("alarms")):
        yield _message(path, "Should have required property 'metrics', or an alarm among its annotations"), True
    if annotations is not None and not isinstance(annotations, dict):
        yield _message(f"{path}/annotations", "Should be object"), True
    if not properties.get("region"):
        yield _message(path, "Should have required property 'region'"), True
    view = properties.get("view", _VIEWS[0])
    if view not in _VIEWS:
        yield _message(f"{path}/view", f"Should be one of {', '.join(_VIEWS)}; it is {view!r}"), True
    period = properties.get("period", 60)
    if not isinstance(period, int) or isinstance(period, bool) or period < 1 or (period > 30 and period % 60):
        yield _message(f"{path}/period", f"Should be 1, 5, 10, 30 or a multiple of 60; it is {period!r}"), True
    if metrics is None:
        return
    if not isinstance(metrics, list) or len(metrics) > _MOST_METRICS:
        yield _message(f"{path}/metrics", f"Should be a list of at most {_MOST_METRICS} metrics"), True
        return
    for number, metric in enumerate(metrics):
        if (problem := _metric_problem(metric)) is not None:
            yield _message(f"{path}/metrics/{number}", problem), True


def _metric_problem(metric: Any) -> str | None:
    """What is wrong with `["Namespace", "Metric", "Dimension", "Value", {options}]` or `[{"expression": …}]`."""
    if not isinstance(metric, list) or not metric:
        return "Should be a list of a namespace, a metric, dimensions and options, or of an expression"
    options = metric[-1] if isinstance(metric[-1], dict) else {}
    names = metric[:-1] if options or metric[-1] == {} else metric
    if not all(isinstance(name, str) and name for name in names):
        return "Should have text for namespace, metric and dimensions"
    if not names:
        return None if isinstance(options.get("expression"), str) else "Should have an expression, or a metric"
    # "..." stands for what the metric before has there.
    if "..." not in names and (len(names) < 2 or len(names) % 2):
        return "Should have a namespace, a metric, and a value for each dimension"
    return None
