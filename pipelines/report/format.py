"""How the report and the command line write figures, times and addresses."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any

__all__ = [
    "as_number",
    "bytes_text",
    "compact",
    "difference",
    "duration",
    "figure",
    "moment",
    "percent",
    "rounded",
    "short_uri",
    "web_address",
    "whole_percent",
]

NOTHING = "\u2013"


# A number with more digits than anybody reads: what a pipeline joins into a sentence is not rounded.
_LONG_NUMBER = re.compile(r"-?\d+\.\d{5,}(?:[eE][+-]?\d+)?")


def as_number(value: Any) -> float | None:
    """The value when it is a finite number (JSON's NaN and booleans are none), else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def figure(value: Any) -> str:
    """A measure with four decimals (very small ones with three digits); whole numbers as they are; a dash for none."""
    number = as_number(value)
    if number is None:
        return NOTHING
    if number == int(number) and abs(number) < 1e15:
        return f"{int(number):,}"
    if abs(number) >= 1000:
        return f"{number:,.0f}"
    if abs(number) >= 100:
        return f"{number:.1f}"
    if abs(number) < 0.001:
        return f"{number:.3g}"
    return f"{number:.4f}" if abs(number) < 10 else f"{number:.2f}"


def rounded(sentence: str) -> str:
    """A sentence with its long numbers as `figure` writes them."""
    return _LONG_NUMBER.sub(lambda found: figure(float(found[0])), sentence)


def difference(value: float) -> str:
    """How much more or less, with its sign; a minus that is as wide as the plus."""
    sign = "+" if value >= 0 else "\u2212"
    return f"{sign}{figure(abs(value)) if abs(value) >= 10 else f'{abs(value):.4f}'}"


def compact(value: Any) -> str:
    """A quantity short enough for an axis: `1.2k`, `35k`, `4.1M`."""
    number = as_number(value)
    if number is None:
        return NOTHING
    for limit, divisor, suffix in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k"), (1e3, 1e3, "k")):
        if abs(number) >= limit * 0.9995:
            scaled = number / divisor
            return f"{scaled:.0f}{suffix}" if abs(scaled) >= 10 else f"{scaled:.1f}".removesuffix(".0") + suffix
    if abs(number) >= 10 or number == int(number):
        return f"{number:.0f}"
    return f"{number:.2g}"


def percent(value: Any) -> str:
    number = as_number(value)
    if number is None:
        return NOTHING
    return "<0.1 %" if 0 < number < 0.0005 else f"{number * 100:.1f} %"


def whole_percent(share: float) -> str:
    """A share as a level is named: `90 %`; with decimals where it has them (`97.5 %`)."""
    return f"{share * 100:.3g} %"


def duration(seconds: float | None) -> str:
    """`0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds is None:
        return NOTHING
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def moment(value: Any) -> str:
    """A time (aware datetime or ISO text) as `2026-11-22 01:16 UTC`; other text as it stands."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return str(value)
    if not isinstance(value, datetime):
        return NOTHING
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def bytes_text(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def short_uri(uri: str, characters: int = 60) -> str:
    """An address with its middle left out: its start and its end say what it is."""
    if len(uri) <= characters:
        return uri
    half = (characters - 1) // 2
    return f"{uri[:half]}…{uri[-half:]}"


def web_address(value: Any) -> str | None:
    """The value when it is an http(s) address that may become a link; anything else (`javascript:` …) may not."""
    text = str(value or "")
    return text if text.startswith(("http://", "https://")) and not any(c in text for c in "\"'<> \n") else None
