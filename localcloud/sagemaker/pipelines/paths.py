"""Paths into documents: `A.B`, `['k']`, `[0]`, as in Get expressions and in JsonGet."""

from __future__ import annotations

import json
import re
from typing import Any

_TOKEN = re.compile(
    r"""\.?(?P<name>[^.\[\]'"]+) | \[(?P<index>-?\d+)\] | \[\s*'(?P<single>[^']*)'\s*\]
        | \[\s*"(?P<double>[^"]*)"\s*\]""",
    re.VERBOSE,
)
# What names the entries of a list that a Get addresses like a map: ProcessingOutputConfig.Outputs['train'].
_ENTRY_NAMES = ("OutputName", "InputName", "ChannelName", "MetricName", "Name", "Key")


class PathError(Exception):
    """A path that cannot be read, or leads nowhere; the message says where it ends."""


def parse(path: str) -> tuple[str | int, ...]:
    """The parts of a path: names as text, indices as numbers. A leading `$` is JSONPath's root. Raises PathError."""
    text = path.removeprefix("$")
    parts: list[str | int] = []
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise PathError(f"the path {path!r} cannot be read at {text[place:]!r}")
        if match["index"] is not None:
            parts.append(int(match["index"]))
        else:
            parts.append(next(part for part in (match["name"], match["single"], match["double"]) if part is not None))
        place = match.end()
    return tuple(parts)


def follow(value: Any, parts: tuple[str | int, ...], what: str) -> Any:
    """The value at a path. A name in a list means the entry of that name. Raises PathError, naming `what`."""
    for number, part in enumerate(parts):
        try:
            value = _step(value, part)
        except (KeyError, IndexError):
            there = show(parts[:number]) or "its top"
            raise PathError(f"{what} has no {part!r} at {there}; there is {_choices(value)}") from None
    return value


def show(parts: tuple[str | int, ...]) -> str:
    """The parts as a path again."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return text.removeprefix(".")


def _step(value: Any, part: str | int) -> Any:
    if isinstance(value, dict):
        return value[str(part)]
    if isinstance(value, list):
        if isinstance(part, int):
            return value[part]
        for entry in value:
            if isinstance(entry, dict) and any(entry.get(name) == part for name in _ENTRY_NAMES):
                return entry
    raise KeyError(part)


def _choices(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(sorted(map(str, value))) or "nothing"
    if isinstance(value, list):
        names = [next((str(e[n]) for n in _ENTRY_NAMES if n in e), "?") for e in value if isinstance(e, dict)]
        return f"a list of {len(value)}" + (f" ({', '.join(names)})" if names else "")
    return json.dumps(value, default=str)[:100]
