"""The drawing of what happened over time: plots and rows of bars, one below the other, over one time axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from markupsafe import Markup

from pipelines.report.axes import Point, fitting_scale, horizontal_grid, pieces, time_ticks
from pipelines.report.svg import LinearScale, Scale, drawing, element, path

__all__ = ["Bar", "Mark", "Plot", "Row", "Series", "Size", "course", "has_values"]

LEFT = 66.0
_ROW = 15.0
Size = Literal["wide", "narrow", "column"]
# The width in units of the drawing, its classes, and how many times its axis names at most.
_SIZES: dict[Size, tuple[float, str, int]] = {
    "wide": (1040.0, "chart wide", 9),
    "narrow": (340.0, "chart narrow", 4),
    "column": (460.0, "chart", 4),
}
_GAP = 26.0
_HEAD = 20.0


@dataclass(frozen=True)
class Series:
    """A line: (seconds since 1970, value or None for a gap), in a style of the page's (`model`, `base`, `limit` …).

    `dots` draws the points only.
    """

    name: str
    style: str
    points: Sequence[Point]
    dots: bool = False


@dataclass(frozen=True)
class Plot:
    """A plot with its own scale. `band` is (seconds, lowest, highest); `shades` are (from, to) behind it; `hovers` are
    (from, to, what is told of that time).
    """

    title: str
    series: Sequence[Series]
    height: float = 90.0
    band: Sequence[tuple[float, float, float]] = ()
    shades: Sequence[tuple[float, float]] = ()
    hovers: Sequence[tuple[float, float, str]] = ()


@dataclass(frozen=True)
class Bar:
    """From when to when something was so. `text` stands in it where it fits; `told` is its title."""

    start: datetime
    end: datetime
    style: str
    told: str
    text: str = ""


@dataclass(frozen=True)
class Row:
    """Bars in a row with a name."""

    name: str
    bars: Sequence[Bar]


@dataclass(frozen=True)
class Mark:
    """A moment that goes through all plots, with a text at its top."""

    at: datetime
    text: str
    told: str


@dataclass
class _Canvas:
    width: float
    times: LinearScale
    parts: list[Markup] = field(default_factory=list)
    top: float = 0.0


def has_values(series: Sequence[Series]) -> bool:
    """Whether there is anything to draw of these lines."""
    return any(value is not None and math.isfinite(value) for one in series for _, value in one.points)


def course(
    title: str,
    told: str,
    plots: Sequence[Plot],
    rows: Sequence[Row],
    marks: Sequence[Mark],
    first: float,
    last: float,
    *,
    size: Size = "wide",
) -> Markup:
    """The drawing: the first plot, the rows, and the other plots below them.

    first, last: the axis, in seconds since 1970. told: the drawing in words. Plots without a value are left out.
    size: for wide pages, for narrow ones, or for a column of either.
    """
    width, class_, about = _SIZES[size]
    canvas = _Canvas(width, LinearScale(first, max(last, first + 60), LEFT, width - 2))
    shown = [plot for plot in plots if has_values(plot.series)]
    marked = [mark for mark in marks if first <= mark.at.timestamp() <= last]
    if marked:
        canvas.top = 12.0
    for plot in shown[:1]:
        _plot(canvas, plot)
    for row in rows:
        _row(canvas, row)
    if rows:
        canvas.top += 12
    for plot in shown[1:]:
        _plot(canvas, plot)
    bottom = canvas.top - _GAP + 4 if shown[1:] or not rows else canvas.top
    behind: list[Markup] = []
    for place, text in time_ticks(canvas.times.low, canvas.times.high, about):
        x = canvas.times(place)
        anchor = "end" if x > width - 24 else "start" if x < LEFT + 10 else "middle"
        behind.append(element("line", x1=x, x2=x, y1=12 if marked else 0, y2=bottom, class_="grid"))
        canvas.parts.append(element("text", text, x=x, y=bottom + 13, class_="tick", text_anchor=anchor))
    parts = behind + _marks(canvas, marked, bottom) + canvas.parts
    return drawing(width, bottom + 18, title, told, parts, class_=class_)


def _marks(canvas: _Canvas, marks: Sequence[Mark], bottom: float) -> list[Markup]:
    """Lines with their texts, which are left out where they would lie on one another."""
    drawn, free = [], 0.0
    for mark in sorted(marks, key=lambda one: one.at):
        x = canvas.times(mark.at.timestamp())
        half = 3.2 * len(mark.text)
        text = []
        if x - half >= free:
            anchor = "end" if x + half > canvas.width else "middle"
            text = [element("text", mark.text, x=x, y=8, class_="note", text_anchor=anchor)]
            free = x + half + 4
        line = element("line", x1=x, x2=x, y1=12, y2=bottom, class_="rule")
        drawn.append(element("g", element("title", mark.told), line, *text))
    return drawn


def _row(canvas: _Canvas, row: Row) -> None:
    top, times = canvas.top, canvas.times
    middle = top + _ROW / 2
    canvas.parts.append(element("text", row.name, x=0, y=middle + 3.5, class_="label"))
    canvas.parts.append(element("line", x1=LEFT, x2=times.end, y1=middle, y2=middle, class_="grid"))
    for bar in row.bars:
        start, end = bar.start.timestamp(), bar.end.timestamp()
        if end < times.low or start > times.high:
            continue
        x = max(times(start), LEFT)
        width = max(min(times(end), times.end) - x, 3.0)
        fits = bar.text and width > 6.6 * len(bar.text) + 6
        inside = [element("text", bar.text, x=x + 5, y=middle + 4)] if fits else []
        canvas.parts.append(
            element(
                "g",
                element("title", bar.told),
                element("rect", x=x, y=top + 1, width=width, height=_ROW - 2, rx=min(4.0, width / 2)),
                *inside,
                class_=f"span {bar.style}",
            )
        )
    canvas.top += _ROW + 3


def _plot(canvas: _Canvas, plot: Plot) -> None:
    top = canvas.top + (_HEAD if plot.title else 6)
    bottom = top + plot.height
    times = canvas.times
    values = [y for one in plot.series for x, y in one.points if y is not None and math.isfinite(y)]
    scale, ticks = fitting_scale(values, bottom, top, max(3, round(plot.height / 36)))
    if plot.title:
        canvas.parts.append(element("text", plot.title, x=LEFT, y=canvas.top + 12, class_="label"))
    for start, end in plot.shades:
        x, until = max(times(start), LEFT), min(times(end), times.end)
        if until > x:
            canvas.parts.append(element("rect", x=x, y=top, width=until - x, height=plot.height, class_="shade hole"))
    canvas.parts += horizontal_grid(scale, ticks, LEFT, times.end)
    canvas.parts += _band(plot.band, times, scale, values)
    for one in plot.series:
        canvas.parts += _line(one, times, scale)
    for start, end, said in plot.hovers:
        x, until = max(times(start), LEFT), min(times(end), times.end)
        if until > x:
            canvas.parts.append(
                element("rect", element("title", said), x=x, y=top, width=until - x, height=plot.height, class_="hover")
            )
    canvas.top = bottom + _GAP


def _band(
    band: Sequence[tuple[float, float, float]], times: Scale, scale: Scale, values: Sequence[float]
) -> list[Markup]:
    """A bar from low to high for each moment, cut off where the plot ends."""
    lowest, highest = min(scale.low, min(values)), max(scale.high, max(values))
    return [
        element(
            "line",
            x1=times(at),
            x2=times(at),
            y1=scale(max(low, lowest)),
            y2=scale(min(high, highest)),
            class_="reach",
        )
        for at, low, high in band
        if high >= lowest and low <= highest
    ]


def _line(series: Series, times: Scale, scale: Scale) -> list[Markup]:
    whole = [] if series.dots else pieces(series.points)
    drawn = [
        element("path", d=path([(times(x), scale(y)) for x, y in piece]), class_=f"line {series.style}")
        for piece in whole
    ]
    alone = series.points if series.dots else [piece[0] for piece in pieces(series.points, 1) if len(piece) == 1]
    drawn += [
        element("circle", cx=times(x), cy=scale(y), r=3.2 if series.dots else 2.2, class_=f"dot {series.style}")
        for x, y in alone
        if y is not None and math.isfinite(y)
    ]
    return drawn
