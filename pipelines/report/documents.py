"""Reading documents that may be of any shape: what is not there, or is something else, reads as nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pipelines.report import format as formats
from pipelines.report.format import as_number, figure, moment

__all__ = [
    "count",
    "facts_of",
    "inside",
    "instant",
    "mapping",
    "number_in",
    "numbers",
    "plain",
    "sequence",
    "values",
]


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def sequence(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else ()


def records(value: Any) -> list[Mapping[str, Any]]:
    """The mappings of a list."""
    return [row for row in map(mapping, sequence(value)) if row]


def inside(value: Any, keys: Iterable[str]) -> Any:
    for key in keys:
        value = mapping(value).get(key)
    return value


def numbers(table: Any) -> list[dict[str, float | None]]:
    return [{str(key): as_number(value) for key, value in mapping(row).items()} for row in sequence(table)]


def values(series: Any) -> list[float | None]:
    """A list of numbers; None for whatever else is in it."""
    return [as_number(value) for value in sequence(series)]


def instant(value: Any) -> datetime | None:
    """An aware datetime from ISO 8601 text; UTC where it names no zone."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
        return (found.replace(tzinfo=UTC) if found.tzinfo is None else found).astimezone(UTC)
    except (ValueError, OverflowError):  # astimezone overflows at the ends of the calendar
        return None


def number_in(value: Any) -> float | None:
    """A number, or the one that a text holds (hyperparameters are texts)."""
    if not isinstance(value, str):
        return as_number(value)
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def count(value: Any) -> str:
    number = as_number(value)
    return formats.NOTHING if number is None else f"{number:,.0f}"


def plain(value: Any) -> str | None:
    """A single value as text, times as people write them; None for anything with an inside."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return figure(value)
    if not isinstance(value, str):
        return None
    return moment(value) if "T" in value and instant(value) is not None else value


def facts_of(document: Mapping[str, Any], told: Iterable[str]) -> list[tuple[str, str]]:
    """(name, value) of the single values that are not told elsewhere, named by their keys."""
    left = set(told)
    return [
        (str(key).replace("_", " ").capitalize(), text)
        for key, value in document.items()
        if key not in left and (text := plain(value)) is not None
    ]
