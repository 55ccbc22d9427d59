"""A dashboard of CloudWatch as a page shows it: its widgets, each drawn from what GetMetricData gave for it.

Widgets are those of "Dashboard body structure and syntax" in the CloudWatch API Reference: `metric` (lines or single
values, with horizontal annotations), `alarm` and `text`. Another kind is named, not drawn.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from pipelines.report.axes import Point
from pipelines.report.course import Plot, Series, Size, course, has_values
from pipelines.report.documents import mapping, number_in, records, sequence
from pipelines.report.format import figure

__all__ = ["Dashboard", "Query", "Widget", "WidgetView", "dashboard", "queries", "read"]

_STYLES = ("model", "champion", "gap", "base", "actual", "history")
_PERIOD = 300
_SINGLE, _METRIC, _ALARM, _TEXT = "singleValue", "metric", "alarm", "text"


@dataclass(frozen=True)
class Query:
    """A line of a widget: the entry for GetMetricData, its label, if it is shown, and if by the axis on the right."""

    request: Mapping[str, Any]
    label: str
    visible: bool = True
    right: bool = False

    @property
    def id(self) -> str:
        return str(self.request["Id"])


@dataclass(frozen=True)
class Widget:
    """A widget as the dashboard's body has it. `limits` are its horizontal annotations: (label, value). `alarms` are
    ARNs. `width` is of 24 columns.
    """

    kind: str
    title: str
    width: int = 6
    queries: Sequence[Query] = ()
    limits: Sequence[tuple[str, float]] = ()
    single: bool = False
    alarms: Sequence[str] = ()
    text: str = ""


@dataclass(frozen=True)
class WidgetView:
    """A widget to be shown. `legend` is (style, label); `values` are (label, newest value); `alarms` are (name, tone,
    state).
    """

    title: str
    wide: bool
    drawings: Sequence[Markup] = ()
    legend: Sequence[tuple[str, str]] = ()
    values: Sequence[tuple[str, str]] = ()
    alarms: Sequence[tuple[str, str, str]] = ()
    text: str = ""


@dataclass(frozen=True)
class Dashboard:
    """A dashboard to be shown."""

    name: str
    widgets: Sequence[WidgetView] = field(default_factory=tuple)


def read(body: str) -> list[Widget]:
    """The widgets of a dashboard's body, by row, then by column; none of a body that is no JSON."""
    try:
        told = json.loads(body)
    except ValueError:
        return []
    placed = sorted(records(mapping(told).get("widgets")), key=lambda one: (_whole(one, "y"), _whole(one, "x")))
    return [_widget(one) for one in placed]


def _whole(widget: Mapping[str, Any], key: str) -> int:
    return int(number_in(widget.get(key)) or 0)


def _widget(told: Mapping[str, Any]) -> Widget:
    kind, properties = str(told.get("type", "")), mapping(told.get("properties"))
    title, width = str(properties.get("title") or ""), _whole(told, "width") or 6
    if kind == _TEXT:
        return Widget(kind, title, width, text=str(properties.get("markdown") or ""))
    if kind == _ALARM:
        return Widget(kind, title, width, alarms=[str(arn) for arn in sequence(properties.get("alarms"))])
    if kind != _METRIC:
        return Widget(kind, title, width, text=f"A widget of the kind `{kind}`, which is not drawn here.")
    annotated = mapping(properties.get("annotations"))
    return Widget(
        kind=kind,
        title=title,
        width=width,
        queries=_queries(properties),
        limits=[
            (str(one.get("label") or "limit"), value)
            for one in records(annotated.get("horizontal"))
            if (value := number_in(one.get("value"))) is not None
        ],
        single=properties.get("view") == _SINGLE,
        alarms=[str(arn) for arn in sequence(annotated.get("alarms"))],
    )


def _queries(properties: Mapping[str, Any]) -> list[Query]:
    """GetMetricData's entries for the `metrics` of a widget: arrays whose last element may hold options, in which `.`
    stands for what the array before has at that place, and `...` for all that it has up to the end.
    """
    period = number_in(properties.get("period")) or _PERIOD
    stat = str(properties.get("stat") or "Average")
    found: list[Query] = []
    before: list[str] = []
    for place, row in enumerate(sequence(properties.get("metrics"))):
        entries = list(sequence(row))
        options = mapping(entries.pop()) if entries and isinstance(entries[-1], Mapping) else {}
        identity = str(options.get("id") or f"widget{place}")
        shown = (options.get("visible") is not False, options.get("yAxis") == "right")
        if "expression" in options:
            expression = str(options["expression"])
            wanted = {"Expression": expression, "Period": int(number_in(options.get("period")) or period)}
            found.append(Query({"Id": identity, **wanted}, str(options.get("label") or expression), *shown))
            continue
        before = _spelt_out([str(entry) for entry in entries], before)
        if len(before) < 2 or len(before) % 2:
            continue
        dimensions = [{"Name": name, "Value": value} for name, value in zip(before[2::2], before[3::2], strict=True)]
        metric = {
            "Metric": {"Namespace": before[0], "MetricName": before[1], "Dimensions": dimensions},
            "Period": int(number_in(options.get("period")) or period),
            "Stat": str(options.get("stat") or stat),
        }
        label = str(options.get("label") or before[1])
        found.append(Query({"Id": identity, "MetricStat": metric}, label, *shown))
    return found


def _spelt_out(entries: Sequence[str], before: Sequence[str]) -> list[str]:
    if entries[:1] == ["..."]:
        last = list(entries[1:])
        return [*before[: len(before) - len(last)], *last]
    return [before[place] if entry == "." and place < len(before) else entry for place, entry in enumerate(entries)]


def queries(widget: Widget) -> list[dict[str, Any]]:
    """GetMetricData's `MetricDataQueries` for a widget; every entry returns its values, that a hidden one can be told
    from one without data.
    """
    return [dict(query.request) for query in widget.queries]


def dashboard(
    name: str,
    widgets: Sequence[Widget],
    values: Sequence[Mapping[str, Sequence[tuple[datetime, float]]]],
    states: Mapping[str, str],
    first: datetime,
    last: datetime,
) -> Dashboard:
    """The dashboard as it is shown.

    values: for each widget the points of each query, by its id, oldest first. states: of alarms, by ARN.
    """
    shown = [_view(widget, found, states, first, last) for widget, found in zip(widgets, values, strict=True)]
    return Dashboard(name, shown)


def _view(
    widget: Widget,
    values: Mapping[str, Sequence[tuple[datetime, float]]],
    states: Mapping[str, str],
    first: datetime,
    last: datetime,
) -> WidgetView:
    wide = widget.width > 12
    if widget.kind == _ALARM:
        return WidgetView(widget.title or "Alarms", wide, alarms=[_alarm(arn, states) for arn in widget.alarms])
    if widget.kind != _METRIC:
        return WidgetView(widget.title, wide, text=_plain(widget.text))
    shown = [query for query in widget.queries if query.visible]
    if widget.single:
        newest = [(query.label, figure(points[-1][1] if (points := values.get(query.id)) else None)) for query in shown]
        return WidgetView(widget.title, wide, values=newest)
    lines = [
        Series(query.label, _STYLES[place % len(_STYLES)], _broken(values.get(query.id, ())))
        for place, query in enumerate(shown)
    ]
    ends = (first.timestamp(), last.timestamp())
    limits = [Series(label, "limit", [(at, value) for at in ends]) for label, value in widget.limits]
    if not has_values(lines):
        return WidgetView(widget.title, wide, text="No data in this time.")
    # What has an axis of its own gets a plot of its own: two scales in one plot mislead.
    right = {query.label for query in shown if query.right}
    plots = [Plot("", [*limits, *(line for line in lines if line.name not in right)], height=120.0)]
    plots += [Plot("", [line for line in lines if line.name in right], height=70.0)] if right else []
    told = "; ".join(f"{line.name}: {sum(1 for _, y in line.points if y is not None)} values" for line in lines)
    sizes: tuple[Size, ...] = ("wide", "narrow") if wide else ("column",)
    title = widget.title or "metrics"
    return WidgetView(
        title=widget.title,
        wide=wide,
        drawings=[course(title, f"{told}.", plots, [], [], *ends, size=size) for size in sizes],
        legend=[(line.style, line.name) for line in [*lines, *limits]],
        alarms=[_alarm(arn, states) for arn in widget.alarms],
    )


def _alarm(arn: str, states: Mapping[str, str]) -> tuple[str, str, str]:
    state = states.get(arn, "gone")
    return arn.rpartition(":")[2], {"OK": "good", "ALARM": "bad"}.get(state, "idle"), state.replace("_", " ").lower()


def _plain(markdown: str) -> str:
    """Markdown without its marks: headings, emphasis, and links by their texts."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", markdown)
    return re.sub(r"^#+\s*|[*_`]{1,2}", "", text, flags=re.MULTILINE).strip()


def _broken(points: Sequence[tuple[datetime, float]]) -> list[Point]:
    """With a gap wherever the time between two points is more than half as long again as the shortest one."""
    seconds = [(at.timestamp(), value) for at, value in points]
    steps = [b[0] - a[0] for a, b in pairwise(seconds)]
    usual = min((step for step in steps if step > 0), default=0.0)
    found: list[Point] = []
    for place, point in enumerate(seconds):
        if place and steps[place - 1] > 1.5 * usual:
            found.append((point[0] - 1, None))
        found.append(point)
    return found
