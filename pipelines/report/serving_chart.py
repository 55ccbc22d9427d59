"""The drawing of which version served in which stage from when on: a bar for each period, a lane for each stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from pipelines.report.axes import time_ticks
from pipelines.report.format import moment
from pipelines.report.svg import LinearScale, drawing, element

__all__ = ["Failure", "Lane", "Period", "timeline"]

BAR = 22.0
LEFT = 62.0


@dataclass(frozen=True)
class Period:
    """A version served from one moment to another; `serves` if it still does. Times are aware."""

    version: int
    start: datetime
    end: datetime
    serves: bool = False


@dataclass(frozen=True)
class Failure:
    """A version was to be deployed, and was not."""

    version: int
    at: datetime


@dataclass(frozen=True)
class Lane:
    """A stage: its periods, oldest first, and its failed deployments."""

    name: str
    periods: Sequence[Period]
    failures: Sequence[Failure] = ()


def timeline(lanes: Sequence[Lane], now: datetime, *, narrow: bool = False) -> Markup | None:
    """The drawing, for wide pages or for narrow ones; None when no stage ever served anything."""
    times = [period.start for lane in lanes for period in lane.periods]
    if not times:
        return None
    width = 340.0 if narrow else 1040.0
    # What failed before anything was served has no place in it.
    first = min(times)
    last = max([now, *(period.end for lane in lanes for period in lane.periods)])
    scale = LinearScale(first.timestamp(), max(last.timestamp(), first.timestamp() + 60), LEFT, width - 2)
    parts: list[Markup] = []
    top = 2.0
    for lane in lanes:
        parts.append(element("text", lane.name, x=0, y=top + BAR / 2 + 4, class_="label"))
        parts.append(element("line", x1=LEFT, x2=width - 2, y1=top + BAR / 2, y2=top + BAR / 2, class_="grid"))
        parts += [_bar(period, scale, top) for period in lane.periods]
        failures = [failure for failure in lane.failures if failure.at >= first]
        parts += _crosses(failures, scale, top + BAR)
        top += BAR + (26 if failures else 12)
    for place, text in time_ticks(scale.low, scale.high, 4 if narrow else 8):
        x = scale(place)
        anchor = "end" if x > width - 24 else "start" if x < LEFT + 10 else "middle"
        parts.insert(0, element("line", x1=x, x2=x, y1=0, y2=top - 4, class_="grid"))
        parts.append(element("text", text, x=x, y=top + 9, class_="tick", text_anchor=anchor))
    told = "; ".join(
        f"{lane.name}: "
        + (", ".join(f"version {period.version} from {moment(period.start)}" for period in lane.periods) or "nothing")
        for lane in lanes
    )
    style = "chart narrow" if narrow else "chart wide"
    return drawing(width, top + 12, "Which version served when", f"{told}.", parts, class_=style)


def _bar(period: Period, scale: LinearScale, top: float) -> Markup:
    start, end = scale(period.start.timestamp()), scale(period.end.timestamp())
    width = max(end - start - 1.5, 2.5)  # with a gap to the next one
    style = "period now" if period.serves else "period"
    until = "" if period.serves else f" to {moment(period.end)}"
    word = f"version {period.version}"
    digits = 7.0 * len(str(period.version))
    text, x = (word, start + 8) if width > 74 else (str(period.version), start + (width - digits) / 2)
    return element(
        "g",
        element("title", f"version {period.version}, {moment(period.start)}{until or ' until now'}"),
        element("rect", x=start, y=top, width=width, height=BAR, rx=min(5.0, width / 2)),
        *([element("text", text, x=x, y=top + 15.5)] if width > digits + 4 else []),
        class_=style,
    )


def _crosses(failures: Sequence[Failure], scale: LinearScale, top: float) -> list[Markup]:
    """Below its lane, a cross with the version for each; of those that would lie on one another, the first."""
    drawn: list[Markup] = []
    free = 0.0
    for failure in failures:
        x = min(scale(failure.at.timestamp()), scale.end - 26)
        title = element("title", f"version {failure.version} did not stay: {moment(failure.at)}")
        if x < free:
            continue
        free = x + 26
        drawn.append(
            element("g", title, element("text", f"\u00d7 {failure.version}", x=x - 3, y=top + 13, class_="cross"))
        )
    return drawn
