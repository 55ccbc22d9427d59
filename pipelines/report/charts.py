"""The report's plots, each a function from plain values to an SVG drawing.

Values that are missing or not finite are left out of a line (it breaks there); a plot without a value is None, and the
page then has no place for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pipelines.report.axes import Point, horizontal_grid, pieces, tick_labels
from pipelines.report.format import compact, figure
from pipelines.report.svg import LinearScale, LogScale, Scale, drawing, element, path, round_ticks

__all__ = ["Plot", "Series", "Spread", "calibration_chart", "line_chart", "spread_chart"]

WIDTH, HEIGHT = 340.0, 220.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 12.0, 10.0, 34.0


@dataclass(frozen=True)
class Plot:
    """A drawing and the caption above it."""

    caption: str
    drawing: Markup


@dataclass(frozen=True)
class Series:
    """A line: its name in the legend, its class in the style sheet (`model`, `champion`, `base`, `gap`), its points."""

    name: str
    style: str
    points: Sequence[Point]

    @property
    def drawn(self) -> list[tuple[float, float]]:
        return [(x, y) for x, y in self.points if y is not None and math.isfinite(y) and math.isfinite(x)]


def line_chart(
    title: str,
    series: Sequence[Series],
    x_label: str,
    *,
    marked_x: float | None = None,
    marked_name: str = "chosen",
    y_from_zero: bool = False,
    width: float = WIDTH,
) -> Plot | None:
    """Lines over a common x. `marked_x` draws a vertical rule there, named `marked_name`. `width` is the
    drawing's in its own units: the more, the smaller its text beside it.
    """
    series = [one for one in series if one.drawn]
    if not series:
        return None
    xs = [x for one in series for x, _ in one.drawn]
    ys = [y for one in series for _, y in one.drawn]
    low, high = min(ys), max(ys)
    room = (high - low) * 0.06 or abs(high) * 0.1 or 0.5
    ticks = round_ticks(0.0 if y_from_zero and low >= 0 else low - room, high + room, 5)
    x_scale = LinearScale(min(xs), max(xs), LEFT + 6, width - RIGHT)
    y_scale = LinearScale(ticks[0], ticks[-1], HEIGHT - BOTTOM, TOP)
    parts = [
        *horizontal_grid(y_scale, ticks, LEFT, width - RIGHT),
        *_x_axis(x_scale, _whole_ticks(x_scale), x_label, width),
    ]
    if marked_x is not None and min(xs) <= marked_x <= max(xs):
        place = x_scale(marked_x)
        right = place > width * 0.72
        parts += [
            element("line", x1=place, x2=place, y1=TOP, y2=HEIGHT - BOTTOM, class_="rule"),
            element(
                "text",
                f"{marked_name} {figure(marked_x)}",
                x=place + (-5 if right else 5),
                y=TOP + 9,
                class_="note",
                text_anchor="end" if right else "start",
            ),
        ]
    # The first series is the subject: it is drawn last, over those that it is compared with.
    for one in reversed(series):
        for piece in pieces(one.points):
            parts.append(
                element("path", d=path([(x_scale(x), y_scale(y)) for x, y in piece]), class_=f"line {one.style}")
            )
        radius = 2.6 if len(one.drawn) <= 40 else 1.4
        parts += [
            element(
                "circle",
                element("title", f"{one.name}: {figure(y)} at {x_label} {figure(x)}"),
                cx=x_scale(x),
                cy=y_scale(y),
                r=radius if one.style == "model" else radius * 0.7,
                class_=f"dot {one.style}",
            )
            for x, y in one.drawn
        ]
    described = "; ".join(
        f"{one.name} from {figure(one.drawn[0][1])} at {figure(one.drawn[0][0])} to {figure(one.drawn[-1][1])} "
        f"at {figure(one.drawn[-1][0])}"
        for one in series
    )
    return Plot(title, drawing(width, HEIGHT, title, f"{title} over {x_label}: {described}.", parts))


def calibration_chart(bins: Sequence[Mapping[str, float | None]]) -> Markup | None:
    """Observed share against predicted probability, one point a bin, with the diagonal; below, where the examples lie.

    Each bin has `mean_predicted`, `observed` (both in [0, 1]), `count`, and may have `lower` and `upper`.
    """
    usable = [
        (predicted, observed, count, one.get("lower"), one.get("upper"))
        for one in bins
        if (predicted := one.get("mean_predicted")) is not None
        and (observed := one.get("observed")) is not None
        and (count := one.get("count") or 0) > 0
        and math.isfinite(predicted)
        and math.isfinite(observed)
    ]
    if not usable:
        return None
    width, plot_bottom, bars_top, bars_bottom = 420.0, 292.0, 312.0, 372.0
    x_scale = LinearScale(0, 1, LEFT + 6, width - RIGHT)
    y_scale = LinearScale(0, 1, plot_bottom, TOP)
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
    parts = horizontal_grid(y_scale, ticks, LEFT, width - RIGHT)
    parts += [
        element("line", x1=x_scale(0), y1=y_scale(0), x2=x_scale(1), y2=y_scale(1), class_="line base"),
        element("text", "perfectly calibrated", x=x_scale(0.6), y=y_scale(0.5), class_="note"),
        element(
            "path", d=path([(x_scale(p), y_scale(o)) for p, o, *_ in sorted(usable)]), class_="line model", fill="none"
        ),
    ]
    most = max(count for _, _, count, _, _ in usable)
    # Bins of equal counts have unequal widths: a bar's area is its count. Very narrow bins count as 0.02 wide, else one
    # of them would flatten all others.
    heights = [
        count / max(0.02, upper - lower if lower is not None and upper is not None else 0.04)
        for _, _, count, lower, upper in usable
    ]
    bar_scale = LinearScale(0, max(heights), bars_bottom, bars_top)
    for (predicted, observed, count, lower, upper), tall in zip(usable, heights, strict=True):
        said = f"predicted {figure(predicted)}, observed {figure(observed)}, {count:,.0f} examples"
        # A dot's area grows with its count, from 3 to 7 pixels of radius.
        radius = 3 + 4 * math.sqrt(count / most)
        parts.append(
            element(
                "circle",
                element("title", said),
                cx=x_scale(predicted),
                cy=y_scale(observed),
                r=radius,
                class_="dot model ring",
            )
        )
        left = x_scale(lower if lower is not None else max(0.0, predicted - 0.02)) + 1
        right = x_scale(upper if upper is not None else min(1.0, predicted + 0.02)) - 1
        parts.append(
            element(
                "rect",
                element("title", said),
                x=left,
                y=bar_scale(tall),
                width=max(2.0, right - left),
                height=max(0.5, bars_bottom - bar_scale(tall)),
                class_="bar",
            )
        )
    parts += [
        element("line", x1=x_scale(0), x2=x_scale(1), y1=bars_bottom, y2=bars_bottom, class_="axis"),
        element("text", "observed share ↑", x=x_scale(0) + 6, y=TOP + 9, class_="note"),
        element("text", "where the examples lie", x=x_scale(0) + 6, y=bars_top - 5, class_="note"),
        *tick_labels(x_scale, ticks, bars_bottom + 14),
        element(
            "text",
            "predicted probability",
            x=(x_scale(0) + x_scale(1)) / 2,
            y=bars_bottom + 28,
            class_="label",
            text_anchor="middle",
        ),
    ]
    described = ", ".join(f"{figure(p)} → {figure(o)}" for p, o, *_ in sorted(usable))
    return drawing(
        width,
        bars_bottom + 34,
        "Calibration: observed share by predicted probability",
        f"Mean predicted probability → observed share of purchases, by bin: {described}.",
        parts,
    )


@dataclass(frozen=True)
class Spread:
    """One row of a spread chart: a group's 10th percentile, median and 90th percentile."""

    name: str
    low: float
    middle: float
    high: float


def spread_chart(title: str, rows: Sequence[Spread]) -> Plot | None:
    """How a quantity spreads within each group: a bar from the 10th to the 90th percentile, a dot at the median.

    On a logarithmic axis when the rows span more than a factor of thirty and none is negative; zeros then stand at its
    left end.
    """
    rows = [row for row in rows if all(math.isfinite(value) for value in (row.low, row.middle, row.high))]
    if not rows:
        return None
    label_width, row_height, top = 62.0, 24.0, 8.0
    bottom = top + row_height * len(rows)
    scale = _spread_scale(rows, label_width, WIDTH - RIGHT - 4)
    parts = [
        element("line", x1=scale(tick), x2=scale(tick), y1=top, y2=bottom, class_="grid") for tick in scale.ticks(5)
    ]
    for index, row in enumerate(rows):
        y = top + row_height * (index + 0.5)
        said = (
            f"{row.name}: median {compact(row.middle)}, 10th to 90th percentile {compact(row.low)} to "
            f"{compact(row.high)}"
        )
        parts += [
            element("text", row.name, x=label_width - 10, y=y + 3.5, class_="tick", text_anchor="end"),
            element(
                "line",
                element("title", said),
                x1=scale(row.low),
                x2=max(scale(row.high), scale(row.low) + 0.5),
                y1=y,
                y2=y,
                class_="spread",
            ),
            element("circle", element("title", said), cx=scale(row.middle), cy=y, r=4.5, class_="dot model ring"),
        ]
    parts += tick_labels(scale, scale.ticks(5), bottom + 14, compact)
    described = "; ".join(
        f"{row.name}: median {compact(row.middle)}, {compact(row.low)} to {compact(row.high)}" for row in rows
    )
    return Plot(title, drawing(WIDTH, bottom + 22, title, f"Median and 10th to 90th percentile. {described}.", parts))


def _spread_scale(rows: Sequence[Spread], start: float, end: float) -> Scale:
    lowest, highest = min(row.low for row in rows), max(row.high for row in rows)
    positive = [value for row in rows for value in (row.low, row.middle, row.high) if value > 0]
    if positive and lowest >= 0 and highest > 30 * min(positive):
        return LogScale(min(positive) * 0.8, highest * 1.1, start, end)
    ticks = round_ticks(min(0.0, lowest), highest if highest > lowest else lowest + 1, 5)
    return LinearScale(ticks[0], ticks[-1], start, end)


def _x_axis(scale: Scale, ticks: Sequence[float], label: str, width: float) -> list[Markup]:
    return [
        element("line", x1=LEFT, x2=width - RIGHT, y1=HEIGHT - BOTTOM, y2=HEIGHT - BOTTOM, class_="axis"),
        *tick_labels(scale, ticks, HEIGHT - BOTTOM + 14),
        element(
            "text",
            label,
            x=(LEFT + width - RIGHT) / 2,
            y=HEIGHT - 5,
            class_="label",
            text_anchor="middle",
        ),
    ]


def _whole_ticks(scale: LinearScale) -> list[float]:
    """Ticks of an axis that counts things (days, clusters): both ends, and whole numbers between them."""
    ticks = [tick for tick in scale.ticks(7) if tick == round(tick)]
    room = (scale.high - scale.low) / 12
    inner = [tick for tick in ticks if tick - scale.low > room and scale.high - tick > room]
    return [scale.low, *inner, scale.high] if scale.high > scale.low else [scale.low]
