"""The forecaster's plots: forecasts with their bands, losses by window, an interval, and a history with its gaps.

Times are seconds since 1970, UTC. Values that are missing or not finite break a line; a plot without a value is None.
Plots as wide as the page come twice, for wide and for narrow screens; the style sheet shows the one that fits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from pipelines.report.axes import Point, fitting_scale, horizontal_grid, moment_text, pieces, tick_labels, time_ticks
from pipelines.report.charts import Series
from pipelines.report.format import figure
from pipelines.report.svg import LinearScale, Scale, drawing, element, number, path, round_ticks

__all__ = [
    "Band",
    "Estimate",
    "Forecast",
    "Lane",
    "estimates_chart",
    "forecast_chart",
    "history_chart",
    "joined_chart",
    "range_of",
    "small_forecast",
    "windows_chart",
]

LEFT, RIGHT, TOP = 46.0, 12.0, 12.0
WIDE, NARROW = 1024.0, 340.0
Span = tuple[float, float]


@dataclass(frozen=True)
class Band:
    """What a forecast expects with some probability: (time, lower end, upper end) of every step."""

    name: str
    points: Sequence[tuple[float, float | None, float | None]]


@dataclass(frozen=True)
class Forecast:
    """A forecast and what came of it. `origin` is the first moment forecast; the widest band comes first."""

    origin: float
    history: Sequence[Point]
    actual: Sequence[Point]
    middle: Sequence[Point]
    bands: Sequence[Band]

    @property
    def seen(self) -> list[Point]:
        """What was observed, before the origin and after it."""
        return [*self.history, *self.actual]

    @property
    def times(self) -> list[float]:
        return [x for x, _ in (*self.seen, *self.middle)] + [x for band in self.bands for x, _, _ in band.points]


def range_of(forecast: Forecast) -> Span | None:
    """The lowest and the highest value of a forecast's drawing; None when there is none."""
    values = _finite(y for _, y in (*forecast.seen, *forecast.middle))
    values += _finite(y for band in forecast.bands for _, *ends in band.points for y in ends)
    return (min(values), max(values)) if values else None


def forecast_chart(title: str, told: str, forecast: Forecast, shared: Span | None = None) -> Markup | None:
    """A forecast beside what came, with a little of what went before. `shared` is the range of its vertical axis, where
    several drawings have one.
    """
    span = shared or range_of(forecast)
    if span is None:
        return None
    width, height, bottom = 420.0, 232.0, 24.0
    scale, ticks = fitting_scale(span, height - bottom, TOP, 5)
    x = LinearScale(min(forecast.times), max(forecast.times), LEFT + 4, width - RIGHT)
    origin = x(forecast.origin)
    parts = [
        *horizontal_grid(scale, ticks, LEFT, width - RIGHT),
        *_time_axis(x, height - bottom, LEFT, width - RIGHT, 6),
        element("line", x1=origin, x2=origin, y1=TOP, y2=height - bottom, class_="rule"),
        element("text", "forecast from here", x=origin - 5, y=TOP + 14, class_="note", text_anchor="end"),
        *_forecast(forecast, x, scale),
        *_hover(forecast, x, TOP, height - bottom),
    ]
    return drawing(width, height, title, told, parts)


def small_forecast(title: str, told: str, forecast: Forecast) -> Markup | None:
    """The same without axes, for many beside each other."""
    span = range_of(forecast)
    if span is None:
        return None
    width, height = 196.0, 72.0
    scale = LinearScale(*span, height - 4, 4)
    x = LinearScale(min(forecast.times), max(forecast.times), 2, width - 2)
    origin = x(forecast.origin)
    parts = [
        element("line", x1=0.0, x2=width, y1=height - 0.5, y2=height - 0.5, class_="grid"),
        element("line", x1=origin, x2=origin, y1=2.0, y2=height, class_="rule"),
        *_forecast(forecast, x, scale),
    ]
    return drawing(width, height, title, told, parts, class_="chart small")


def joined_chart(title: str, told: str, forecasts: Sequence[Forecast]) -> list[Markup]:
    """Forecasts that follow each other, on one axis of time, with what came; their origins are marked.

    forecasts: by time, one at least, none of which reaches into the next. Two drawings of one thing, wide and narrow.
    """
    ranges = [span for forecast in forecasts if (span := range_of(forecast)) is not None]
    if not ranges:
        return []
    before = forecasts[0].history
    times = [at for forecast in forecasts for at, _ in (*forecast.actual, *forecast.middle)]
    # As much of what went before as one forecast is long.
    first = min(times) - (max(times) - min(times)) / len(forecasts)
    drawn = []
    for width, bottom, style in ((WIDE, 232.0, "chart wide"), (NARROW, 192.0, "chart narrow")):
        scale, ticks = fitting_scale([end for span in ranges for end in span], bottom, TOP, 5)
        x = LinearScale(first, max(times), LEFT + 4, width - RIGHT)
        parts = horizontal_grid(scale, ticks, LEFT, width - RIGHT)
        parts += _time_axis(x, bottom, LEFT, width - RIGHT, round(width / 90))
        parts += [
            element("line", x1=x(each.origin), x2=x(each.origin), y1=bottom - 5, y2=bottom, class_="axis")
            for each in forecasts
        ]
        for forecast in forecasts:
            parts += _expected(forecast, x, scale)
        seen = [point for point in before if point[0] >= first]
        parts += _lines(seen + [point for each in forecasts for point in each.actual], x, scale, "line actual")
        drawn.append(drawing(width, bottom + 24, title, told, parts, class_=style))
    return drawn


def windows_chart(
    title: str, series: Sequence[Series], limit: float | None = None, limit_name: str = "limit"
) -> list[Markup]:
    """A value of each window, by the window's time, one line for each who forecast it; `limit` draws a rule.

    Two drawings of one thing, wide and narrow.
    """
    series = [one for one in series if one.drawn]
    if not series:
        return []
    xs = [x for one in series for x, _ in one.drawn]
    ys = [y for one in series for _, y in one.drawn]
    told = "; ".join(
        f"{one.name} between {figure(min(own))} and {figure(max(own))}"
        for one in series
        for own in [[y for _, y in one.drawn]]
    )
    drawn = []
    for width, height, style in ((WIDE, 250.0, "chart wide"), (NARROW, 230.0, "chart narrow")):
        bottom = height - 24
        scale, ticks = fitting_scale([*ys, *([limit] if limit is not None else [])], bottom, TOP, 5)
        x = LinearScale(min(xs), max(xs), LEFT + 10, width - RIGHT - 6)
        parts = [
            *horizontal_grid(scale, ticks, LEFT, width - RIGHT),
            *_time_axis(x, bottom, LEFT, width - RIGHT, round(width / 90)),
        ]
        # The first series is the subject: it is drawn last, over those that it is compared with.
        for one in reversed(series):
            points = sorted(one.points, key=lambda point: point[0])
            parts += [
                element("path", d=path([(x(at), scale(y)) for at, y in piece]), class_=f"line {one.style}")
                for piece in pieces(points)
            ]
            parts += [
                element(
                    "circle",
                    element("title", f"{one.name}, {moment_text(at)}: {figure(y)}"),
                    cx=x(at),
                    cy=scale(y),
                    r=3.4 if one.style == "model" else 2.4,
                    class_=f"dot {one.style}",
                )
                for at, y in one.drawn
            ]
        if limit is not None:
            place = scale(limit)
            parts += [
                element("line", x1=LEFT, x2=width - RIGHT, y1=place, y2=place, class_="limit"),
                element(
                    "text",
                    f"{limit_name} {figure(limit)}",
                    x=width - RIGHT - 2,
                    y=place - 5 if place > TOP + 14 else place + 13,
                    class_="note limit",
                    text_anchor="end",
                ),
            ]
        drawn.append(drawing(width, height, title, f"{title}. {told}.", parts, class_=style))
    return drawn


@dataclass(frozen=True)
class Estimate:
    """A value with the interval that it may lie in, where one is known."""

    name: str
    style: str
    value: float
    lower: float | None = None
    upper: float | None = None


def estimates_chart(
    title: str, rows: Sequence[Estimate], limit: float | None = None, limit_name: str = "limit"
) -> Markup | None:
    """Values on one axis from zero, one row each, with their intervals; `limit` draws a rule across."""
    if not rows:
        return None
    width, label, row_height, top = 420.0, 112.0, 30.0, 22.0
    bottom = top + row_height * len(rows)
    ends = [end for row in rows for end in (row.value, row.lower, row.upper) if end is not None]
    ticks = round_ticks(min(0.0, *ends), max(0.0, *ends, *([limit] if limit is not None else [])) or 1.0, 5)
    scale = LinearScale(ticks[0], ticks[-1], label, width - RIGHT - 10)
    parts = [element("line", x1=scale(tick), x2=scale(tick), y1=top, y2=bottom, class_="grid") for tick in ticks]
    for index, row in enumerate(rows):
        y = top + row_height * (index + 0.5)
        said = f"{row.name}: {figure(row.value)}"
        if row.lower is not None and row.upper is not None:
            said += f", {figure(row.lower)} to {figure(row.upper)}"
            parts.append(
                element(
                    "line",
                    element("title", said),
                    x1=scale(row.lower),
                    x2=scale(row.upper),
                    y1=y,
                    y2=y,
                    class_=f"spread {row.style}",
                )
            )
        parts += [
            element("text", row.name, x=label - 12, y=y + 3.5, class_="tick", text_anchor="end"),
            element(
                "circle",
                element("title", said),
                cx=scale(row.value),
                cy=y,
                r=5.0 if row.style == "model" else 4.2,
                class_=f"dot {row.style} ring",
            ),
        ]
    if limit is not None:
        place = scale(limit)
        late = place > label + (width - label) * 0.6
        parts += [
            element("line", x1=place, x2=place, y1=top - 6, y2=bottom, class_="limit"),
            element(
                "text",
                f"{limit_name} {figure(limit)}",
                x=place + (4 if late else -4),
                y=top - 10,
                class_="note limit",
                text_anchor="end" if late else "start",
            ),
        ]
    parts += tick_labels(scale, ticks, bottom + 15)
    told = "; ".join(
        f"{row.name} {figure(row.value)}"
        + (f" ({figure(row.lower)} to {figure(row.upper)})" if row.lower is not None and row.upper is not None else "")
        for row in rows
    )
    return drawing(width, bottom + 22, title, f"{title}: {told}.", parts)


@dataclass(frozen=True)
class Lane:
    """A strip below a history that marks stretches of time (start, end). `shaded` marks the long ones in the plot."""

    name: str
    style: str
    spans: Sequence[Span]
    shaded: bool = False


def history_chart(title: str, told: str, points: Sequence[Point], lanes: Sequence[Lane]) -> list[Markup]:
    """A series over all of its time, and below it where something holds. Two drawings of one thing, wide and narrow.

    points: in order of time.
    """
    values = _finite(y for _, y in points)
    lanes = [lane for lane in lanes if lane.spans]
    if not values:
        return []
    times = [x for x, _ in points] + [end for lane in lanes for span in lane.spans for end in span]
    drawn = []
    for width, plot, style in ((WIDE, 190.0, "chart wide"), (NARROW, 170.0, "chart narrow")):
        bottom = TOP + plot
        scale, ticks = fitting_scale(values, bottom, TOP, 5)
        x = LinearScale(min(times), max(times), LEFT + 4, width - RIGHT)
        parts = []
        for lane in lanes:
            if lane.shaded:
                wide = [span for span in _merged(lane.spans, x) if span[1] - span[0] >= 2]
                parts += [
                    element("rect", x=left, y=TOP, width=right - left, height=plot, class_=f"shade {lane.style}")
                    for left, right in wide
                ]
        parts += [
            *horizontal_grid(scale, ticks, LEFT, width - RIGHT),
            *_time_axis(x, bottom, LEFT, width - RIGHT, round(width / 100)),
            *_lines(points, x, scale, "line history"),
        ]
        low = bottom + 34
        for lane in lanes:
            strokes = "".join(f"M{number(a)} {number(low)}H{number(b)}" for a, b in _merged(lane.spans, x))
            parts += [
                element("line", x1=LEFT + 4, x2=width - RIGHT, y1=low, y2=low, class_="lane"),
                element("path", d=strokes, class_=f"lane {lane.style}"),
                element("text", lane.name, x=LEFT + 4, y=low + 15, class_="note"),
            ]
            low += 32
        drawn.append(drawing(width, low - 12 if lanes else bottom + 22, title, told, parts, class_=style))
    return drawn


# --- what they are made of --------------------------------------------------------------------------------------------


def _forecast(forecast: Forecast, x: Scale, y: Scale) -> list[Markup]:
    """The bands, the middle of the forecast, and over them what was observed."""
    return [*_expected(forecast, x, y), *_lines(forecast.seen, x, y, "line actual")]


def _expected(forecast: Forecast, x: Scale, y: Scale) -> list[Markup]:
    parts = []
    for band in forecast.bands:
        stretches = _stretches(band.points)
        for stretch in stretches:
            upper = [(x(at), y(high)) for at, _, high in stretch]
            lower = [(x(at), y(low)) for at, low, _ in reversed(stretch)]
            parts.append(element("path", d=f"{path([*upper, *lower])}Z", class_="band"))
    return parts + _lines(forecast.middle, x, y, "line model")


def _stretches(
    points: Sequence[tuple[float, float | None, float | None]],
) -> list[list[tuple[float, float, float]]]:
    found: list[list[tuple[float, float, float]]] = [[]]
    for at, low, high in points:
        if low is None or high is None:
            found.append([])
        else:
            found[-1].append((at, low, high))
    return [stretch for stretch in found if len(stretch) > 1]


def _lines(points: Sequence[Point], x: Scale, y: Scale, style: str) -> list[Markup]:
    """A line of all stretches; a point that has no neighbour is a short stroke, which round ends make a dot."""
    data = "".join(
        path([(x(at), y(value)) for at, value in piece])
        if len(piece) > 1
        else f"M{number(x(piece[0][0]))} {number(y(piece[0][1]))}h.1"
        for piece in pieces(points, shortest=1)
    )
    return [element("path", d=data, class_=style)] if data else []


def _hover(forecast: Forecast, x: Scale, top: float, bottom: float) -> list[Markup]:
    """Invisible columns, one a step, that tell its figures to whoever points at them."""
    actual = dict(forecast.actual)
    band = {at: (low, high) for at, low, high in forecast.bands[0].points} if forecast.bands else {}
    steps = sorted(forecast.middle)
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(steps)]
    if not gaps or min(gaps) <= 0:
        return []
    breadth = abs(x(steps[0][0] + min(gaps)) - x(steps[0][0]))
    columns = []
    for at, value in steps:
        low, high = band.get(at, (None, None))
        said = f"{moment_text(at)} forecast {figure(value)} ({figure(low)} to {figure(high)})"
        said += f", observed {figure(actual[at])}" if actual.get(at) is not None else ", not observed"
        columns.append(
            element(
                "rect",
                element("title", said),
                x=x(at) - breadth / 2,
                y=top,
                width=breadth,
                height=bottom - top,
                class_="hover",
            )
        )
    return columns


def _time_axis(x: LinearScale, y: float, left: float, right: float, about: int) -> list[Markup]:
    parts = [element("line", x1=left, x2=right, y1=y, y2=y, class_="axis")]
    for at, text in time_ticks(x.low, x.high, about):
        place = x(at)
        parts += [
            element("line", x1=place, x2=place, y1=y, y2=y + 4, class_="axis"),
            # The outermost labels stay inside the drawing.
            element(
                "text",
                text,
                x=min(place, right),
                y=y + 17,
                class_="tick",
                text_anchor="end" if place > right - 14 else "middle",
            ),
        ]
    return parts


def _merged(spans: Sequence[Span], x: Scale, narrowest: float = 1.6) -> list[Span]:
    """Stretches of time as stretches of pixels: each wide enough to be seen, those that touch made one."""
    merged: list[list[float]] = []
    for start, end in sorted(spans):
        left, right = x(start), max(x(end), x(start) + narrowest)
        if merged and left <= merged[-1][1] + 0.4:
            merged[-1][1] = max(merged[-1][1], right)
        else:
            merged.append([left, right])
    return [(left, right) for left, right in merged]


def _finite(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]
