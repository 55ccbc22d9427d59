"""The forecaster's test windows, read from an evaluation: what was forecast in each, what came, and who lost how much.

Also the choice of those that are drawn in full.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from pipelines.report import format as formats
from pipelines.report.axes import moment_text
from pipelines.report.documents import instant, mapping, number_in, records, values
from pipelines.report.forecast_charts import Band, Forecast, forecast_chart, joined_chart, range_of, small_forecast
from pipelines.report.format import as_number, figure

__all__ = ["MOST_DRAWN", "Shown", "Window", "in_full", "in_small", "joined", "read", "step_seconds", "wins"]

# Seconds of the units of a frequency (`1min`, `15min`, `h`, `2D`). Months are rough: only drawings rest on them.
UNITS = {"s": 1, "min": 60, "t": 60, "h": 3600, "d": 86400, "b": 86400, "w": 604800, "m": 2629746, "me": 2629746}
MOST_DRAWN = 60  # drawn one by one: more would make a page that nobody looks through


@dataclass(frozen=True)
class Window:
    """A test window: who lost how much in it, and the model's forecast where the evaluation holds it."""

    origin: float
    observed: float | None
    wql: float | None
    naive: float | None
    champion: float | None
    forecast: Forecast | None

    @property
    def beats_naive(self) -> bool | None:
        return None if self.wql is None or self.naive is None else self.wql < self.naive

    @property
    def when(self) -> str:
        return moment_text(self.origin)


def read(evaluation: Mapping[str, Any]) -> list[Window]:
    """Every window of which something is known, by time."""
    forecasts: dict[float, Forecast] = {}
    step = step_seconds(evaluation.get("frequency"))
    for row in records(evaluation.get("forecasts")):
        if (begins := instant(row.get("origin"))) is not None:
            forecasts[begins.timestamp()] = _forecast(row, begins.timestamp(), step)
    found: dict[float, Window] = {
        origin: Window(origin, None, None, None, None, forecast) for origin, forecast in forecasts.items()
    }
    for row in records(evaluation.get("windows")):
        if (begins := instant(row.get("origin"))) is not None:
            origin = begins.timestamp()
            keys = ("observed", "mean_wql", "seasonal_naive", "champion")
            observed, wql, naive, champion = (as_number(row.get(key)) for key in keys)
            found[origin] = Window(origin, observed, wql, naive, champion, forecasts.get(origin))
    return [found[origin] for origin in sorted(found)]


def _forecast(row: Mapping[str, Any], origin: float, step: float) -> Forecast:
    history = mapping(row.get("history"))
    before = values(history.get("values"))
    started = instant(history.get("start"))
    first = origin - step * len(before) if started is None else started.timestamp()
    by_level = {
        level: values(of_level)
        for key, of_level in mapping(row.get("quantiles")).items()
        if (level := number_in(key)) is not None and 0 < level < 1
    }

    def at_steps(series: Sequence[float | None]) -> list[tuple[float, float | None]]:
        return [(origin + step * index, value) for index, value in enumerate(series)]

    bands = []
    for level in sorted(level for level in by_level if level < 0.5):
        # Its partner on the other side; 1 - 0.05 is not quite the 0.95 that is written.
        other = next((each for each in by_level if abs(each - (1 - level)) < 1e-6), None)
        if other is not None:
            ends = zip(at_steps(by_level[level]), by_level[other], strict=False)
            bands.append(Band(_band_name(other - level), [(at, low, high) for (at, low), high in ends]))
    return Forecast(
        origin=origin,
        history=[(first + step * index, value) for index, value in enumerate(before)],
        actual=at_steps(values(row.get("actual"))),
        middle=at_steps(by_level.get(0.5) or values(row.get("mean"))),
        bands=bands,
    )


def step_seconds(frequency: Any) -> float:
    """Seconds of one step: `1min` is 60. What cannot be read counts as a minute."""
    found = re.fullmatch(r"(\d{0,6})([A-Za-z]+)(-[A-Z]+)?", frequency) if isinstance(frequency, str) else None
    return int(found[1] or 1) * UNITS.get(found[2].lower(), 60) or 60.0 if found else 60.0


def _band_name(share: float) -> str:
    return f"{formats.whole_percent(share)} band"


@dataclass(frozen=True)
class Shown:
    """A forecast that is drawn in full, and why this one."""

    why: str
    window: Window
    drawing: Markup


def in_full(windows: Sequence[Window]) -> tuple[list[Shown], bool]:
    """The best, the median, the worst and the latest window, and whether they have one scale."""
    drawn = [window for window in windows if window.forecast is not None and range_of(window.forecast) is not None]
    # The loss of a window of which hardly anything was observed says little.
    most = max((window.observed or 0 for window in drawn), default=0)
    judged = [window for window in drawn if window.wql is not None and (window.observed or 0) * 2 >= most]
    ranked = sorted(judged, key=lambda window: window.wql or 0.0)
    chosen: dict[float, list[str]] = {}
    if len(ranked) > 2:
        for why, window in (("Best", ranked[0]), ("Median", ranked[len(ranked) // 2]), ("Worst", ranked[-1])):
            chosen.setdefault(window.origin, []).append(why)
    elif drawn:
        for window in drawn[:2]:
            chosen.setdefault(window.origin, []).append("Window")
    if drawn:
        chosen.setdefault(drawn[-1].origin, []).append("Latest")
    by_origin = {window.origin: window for window in drawn}
    ranges = [span for origin in chosen if (span := range_of(_of(by_origin[origin]))) is not None]
    # One scale for all lets them be compared; where one towers over the others, they would become flat lines.
    shared = None
    if ranges and max(high - low for low, high in ranges) <= 3 * min(high - low for low, high in ranges):
        shared = (min(low for low, _ in ranges), max(high for _, high in ranges))
    shown = []
    for origin, reasons in chosen.items():
        window = by_origin[origin]
        why = " and ".join([reasons[0], *(reason.lower() for reason in reasons[1:])])
        title = f"{why} window: forecast from {window.when} UTC"
        if (drawing := forecast_chart(title, _told(window), _of(window), shared)) is not None:
            shown.append(Shown(why, window, drawing))
    return shown, shared is not None and len(shown) > 1


def _of(window: Window) -> Forecast:
    assert window.forecast is not None, "chosen among those with a forecast"
    return window.forecast


def joined(windows: Sequence[Window], step: float) -> list[Markup]:
    """All windows on one axis of time, where they follow each other closely enough to be a forecast of their time.

    step: in seconds.
    """
    forecasts = [_of(window) for window in windows[-MOST_DRAWN:] if window.forecast is not None]
    ends = [max(forecast.times) + step for forecast in forecasts]
    overlap = any(later.origin < end - step / 2 for end, later in zip(ends, forecasts[1:], strict=False))
    covered = sum(end - forecast.origin for end, forecast in zip(ends, forecasts, strict=True))
    if len(forecasts) < 2 or overlap or covered < 0.5 * (ends[-1] - forecasts[0].origin):
        return []
    title = f"Forecasts from {moment_text(forecasts[0].origin)} to {moment_text(ends[-1])} UTC"
    told = f"{len(forecasts)} forecasts one after another, each made without knowing what came in it or after it."
    return joined_chart(title, told, forecasts)


def in_small(windows: Sequence[Window]) -> list[tuple[Window, Markup]]:
    """Every window, or the latest of very many, in small."""
    drawn = []
    for window in [window for window in windows if window.forecast is not None][-MOST_DRAWN:]:
        title = f"Forecast from {window.when} UTC"
        if (drawing := small_forecast(title, _told(window), _of(window))) is not None:
            drawn.append((window, drawing))
    return drawn if len(drawn) > 1 else []


def _told(window: Window) -> str:
    """A forecast in words, for those who cannot see it."""
    forecast = _of(window)
    middle = [value for _, value in forecast.middle if value is not None]
    actual = [value for _, value in forecast.actual if value is not None]
    said = [f"wQL {figure(window.wql)}, seasonal naive {figure(window.naive)}."]
    if middle:
        said.append(f"The forecast goes from {figure(middle[0])} to {figure(middle[-1])}.")
    if forecast.bands:
        ends = [(low, high) for _, low, high in forecast.bands[0].points if low is not None and high is not None]
        if ends:
            said.append(
                f"Its {forecast.bands[0].name} lies between {figure(min(low for low, _ in ends))} and "
                f"{figure(max(high for _, high in ends))}."
            )
    if actual:
        said.append(
            f"Observed were {len(actual)} of {len(forecast.actual)} steps, from {figure(min(actual))} to "
            f"{figure(max(actual))}."
        )
    return " ".join(said)


def wins(windows: Sequence[Window]) -> tuple[int, int] | None:
    """In how many windows the model lost less than seasonal naive, and of how many that is known."""
    known = [window.beats_naive for window in windows if window.beats_naive is not None]
    return (sum(known), len(known)) if known else None
