"""Building blocks of the report's drawings: escaped SVG elements, scales with round ticks, text that fits.

The drawings are made here rather than by a plotting library because they take their colours from the page's style
sheet: one drawing then serves light, dark and print, and a page with two dozen of them stays small.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

__all__ = ["LinearScale", "LogScale", "Scale", "drawing", "element", "number", "path", "round_ticks", "shortened"]


def element(name: str, *children: str | Markup, **attributes: str | float | None) -> Markup:
    """One SVG element. Text and values are escaped; `stroke_width` becomes `stroke-width`, `class_` becomes `class`."""
    # Plain strings, joined once: a page has thousands of elements, and `Markup.format` takes twenty times as long.
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_value(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if not children:
        return Markup(f"<{name}{written}/>")
    return Markup(f"<{name}{written}>{''.join(str(escape(child)) for child in children)}</{name}>")


def drawing(
    width: float, height: float, title: str, description: str, parts: Iterable[Markup], class_: str = "chart"
) -> Markup:
    """A whole drawing that scales with its column, with a name and a description for those who cannot see it."""
    return element(
        "svg",
        element("title", title),
        element("desc", description),
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {number(width)} {number(height)}",
        role="img",
        aria_label=title,
        class_=class_,
    )


def path(points: Sequence[tuple[float, float]]) -> str:
    """Path data of the line through the points."""
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)


def number(value: float) -> str:
    """A coordinate with as many digits as the eye can use."""
    return f"{value:.1f}".rstrip("0").rstrip(".") if value % 1 else f"{value:.0f}"


def shortened(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "…"


def _value(value: str | float) -> str:
    return value if isinstance(value, str) else number(value)


@dataclass(frozen=True)
class LinearScale:
    """Maps values from low to high onto pixels from start to end."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        if self.high == self.low:
            return (self.start + self.end) / 2
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, about: int = 5) -> list[float]:
        return [tick for tick in round_ticks(self.low, self.high, about) if self.low <= tick <= self.high]


@dataclass(frozen=True)
class LogScale:
    """Maps positive values onto pixels by their logarithm. Values below `low` are drawn at its place."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        inner = LinearScale(math.log10(self.low), math.log10(self.high), self.start, self.end)
        return inner(math.log10(max(value, self.low)))

    def ticks(self, about: int = 5) -> list[float]:
        """Powers of ten, thinned until at most `about` are left; 1-3-10 steps where the range is short."""
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        powers = [10.0**exponent for exponent in range(first, last + 1)]
        short = self.high < 300 * self.low
        candidates = [p * m for p in powers for m in (1, 3)] if short else powers
        ticks = [tick for tick in candidates if self.low <= tick <= self.high]
        return ticks[:: max(1, math.ceil(len(ticks) / about))]


Scale = LinearScale | LogScale


def round_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values (1, 2, 2.5 or 5 times a power of ten) that cover low to high, about as many as asked for.

    They have twelve digits behind the point; of a range without room for two such values there is only `low`.
    """
    if not 1e-12 < high - low < math.inf:
        return [low]
    rough = (high - low) / max(1, about - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]
