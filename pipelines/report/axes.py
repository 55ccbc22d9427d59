"""What plots share: grids, tick labels, unbroken stretches of a line, and round moments on a time axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from markupsafe import Markup

from pipelines.report.svg import LinearScale, LogScale, Scale, element, round_ticks

__all__ = [
    "Point",
    "fitting_scale",
    "horizontal_grid",
    "moment_text",
    "pieces",
    "tick_labels",
    "time_ticks",
]

Point = tuple[float, float | None]

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
_STEPS = (
    *(count * MINUTE for count in (1, 2, 5, 10, 15, 20, 30)),
    *(count * HOUR for count in (1, 2, 3, 6, 12)),
    *(count * DAY for count in (1, 2, 4, 7, 14, 28, 91, 182, 364, 1820, 3640)),
)


def pieces(points: Sequence[Point], shortest: int = 2) -> list[list[tuple[float, float]]]:
    """The unbroken stretches of a line that have `shortest` points at least."""
    found: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if y is None or not math.isfinite(y):
            found.append([])
        else:
            found[-1].append((x, y))
    return [piece for piece in found if len(piece) >= shortest]


def fitting_scale(values: Sequence[float], start: float, end: float, about: int = 5) -> tuple[Scale, list[float]]:
    """A scale for the values, and its ticks: from zero where they lie near it, logarithmic where a few of them tower
    over all others.

    values: finite, one at least.
    """
    low, high = min(values), max(values)
    middle = sorted(values)[len(values) // 2]
    if low > 0 and high > 25 * middle:
        log = LogScale(low * 0.9, high * 1.1, start, end)
        return log, log.ticks(about)
    if low >= 0 and low < 0.4 * high:
        low = 0.0
    room = (high - low) * 0.05 or abs(high) * 0.1 or 0.5
    ticks = round_ticks(low if low == 0 else low - room, high + room, about)
    return LinearScale(ticks[0], ticks[-1], start, end), ticks


def horizontal_grid(scale: Scale, ticks: Sequence[float], left: float, right: float) -> list[Markup]:
    """Lines from left to right with their values to the left of them."""
    lines = [element("line", x1=left, x2=right, y1=scale(tick), y2=scale(tick), class_="grid") for tick in ticks]
    labels = [
        element("text", text, x=left - 6, y=scale(tick) + 3.5, class_="tick", text_anchor="end")
        for tick, text in zip(ticks, _texts(ticks), strict=True)
    ]
    return lines + labels


def tick_labels(
    scale: Scale, ticks: Sequence[float], y: float, text: Callable[[float], str] | None = None
) -> list[Markup]:
    written = [text(tick) for tick in ticks] if text else _texts(ticks)
    return [
        element("text", label, x=scale(tick), y=y, class_="tick", text_anchor="middle")
        for tick, label in zip(ticks, written, strict=True)
    ]


def _texts(ticks: Sequence[float]) -> list[str]:
    """Tick labels with as many decimals as their step needs; from ten thousand on in thousands, millions, …"""
    highest = max((abs(tick) for tick in ticks), default=0)
    units = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
    unit, suffix = next(((unit, suffix) for unit, suffix in units if highest >= 10 * unit), (1.0, ""))
    if highest >= 1e15:
        return [f"{tick:.2g}" for tick in ticks]
    step = min((b - a for a, b in pairwise(ticks) if b > a), default=1.0) / unit
    decimals = next((d for d in range(6) if abs(round(step, d) - step) < step * 1e-6), 6)
    return [f"{tick / unit:.{decimals}f}{suffix}" if tick else f"{0:.{0 if suffix else decimals}f}" for tick in ticks]


def time_ticks(first: float, last: float, about: int) -> list[tuple[float, str]]:
    """Round moments (seconds since 1970) between two, at most `about`, each with its text: the time of day, and the
    date where a day begins or where whole days are counted.
    """
    if not last > first:
        return [(first, moment_text(first))]
    step = next((step for step in _STEPS if (last - first) / step <= about), (last - first) / about)
    # Weeks begin on Mondays: the first of 1970 was on the fifth day.
    origin = 4 * DAY if step % (7 * DAY) == 0 else 0.0
    place = origin + math.ceil((first - origin) / step) * step
    ticks = []
    while place <= last:
        moment = _moment(place)
        date = f"{moment.day} {moment:%b}"
        ticks.append((place, date if step >= DAY or (moment.hour, moment.minute) == (0, 0) else f"{moment:%H:%M}"))
        place += step
    return ticks


def moment_text(seconds: float) -> str:
    """`21 Nov 03:00`, in UTC."""
    moment = _moment(seconds)
    return f"{moment.day} {moment:%b %H:%M}"


def _moment(seconds: float) -> datetime:
    # Not fromtimestamp: it refuses moments before 1970 on some systems.
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=round(seconds))
