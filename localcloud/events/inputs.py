"""What a target gets: the event, a part of it, a constant, or a template filled from it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_PLACEHOLDER = re.compile(r"<([A-Za-z0-9._-]+)>")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\['([^']+)'\]|\[\"([^\"]+)\"\]")
RESERVED = (
    "aws.events.rule-arn",
    "aws.events.rule-name",
    "aws.events.event.ingestion-time",
    "aws.events.event",
    "aws.events.event.json",
)
_MISSING = object()


class InputError(Exception):
    """A path or a template that cannot be used; the message says why."""


def check(target: Mapping[str, Any]) -> None:
    """Raise InputError for a target whose input can never be made."""
    if sum(target.get(member) is not None for member in ("Input", "InputPath", "InputTransformer")) > 1:
        raise InputError(
            f"Only one of Input, InputPath, or InputTransformer must be provided for target {target['Id']}."
        )
    if target.get("Input") is not None:
        try:
            json.loads(target["Input"])
        except ValueError as error:
            raise InputError(f"JSON syntax error in input for target {target['Id']}: {error}") from None
    if target.get("InputPath") is not None:
        _path(target["InputPath"])
    transformer = target.get("InputTransformer")
    if transformer is None:
        return
    paths = transformer.get("InputPathsMap", {})
    for name, path in paths.items():
        if name.startswith("aws."):
            raise InputError(f"InputPathsMap for target {target['Id']} must not define the reserved name {name}.")
        _path(path)
    template = transformer["InputTemplate"]
    for name in _PLACEHOLDER.findall(template):
        if name not in paths and name not in RESERVED:
            raise InputError(f"InputTemplate for target {target['Id']} contains invalid placeholder {name}.")
    if template.lstrip()[:1] in ("{", "["):
        try:
            json.loads(fill(template, dict.fromkeys((*paths, *RESERVED), "")))
        except ValueError as error:
            raise InputError(f"InputTemplate for target {target['Id']} is no JSON once it is filled: {error}") from None


def render(target: Mapping[str, Any], event: Mapping[str, Any], rule_arn: str, ingested_at: str) -> str:
    """The text that the target gets of an event."""
    if target.get("Input") is not None:
        return str(target["Input"])
    if target.get("InputPath") is not None:
        found = find(target["InputPath"], event)
        return json.dumps(None if found is _MISSING else found, ensure_ascii=False)
    transformer = target.get("InputTransformer")
    if transformer is None:
        return json.dumps(event, ensure_ascii=False)
    values = {name: find(path, event) for name, path in transformer.get("InputPathsMap", {}).items()}
    values |= {
        "aws.events.rule-arn": rule_arn,
        "aws.events.rule-name": rule_arn.rpartition("/")[2],
        "aws.events.event.ingestion-time": ingested_at,
        "aws.events.event": {name: value for name, value in event.items() if name != "detail"},
        "aws.events.event.json": dict(event),
    }
    return fill(transformer["InputTemplate"], values)


def find(path: str, event: Mapping[str, Any]) -> Any:
    """The value at a path such as `$.detail.state`; something that is no JSON value if there is none."""
    value: Any = event
    for part in _path(path):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, TypeError, ValueError):
            return _MISSING
    return value


def text_at(path: str, event: Mapping[str, Any]) -> str:
    """The value at a path as text, JSON for what is none. Raises InputError if there is none."""
    value = find(path, event)
    if value is _MISSING:
        raise InputError(f"the event has nothing at {path}")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def fill(template: str, values: Mapping[str, Any]) -> str:
    """The template with its placeholders replaced.

    Within quotes a value's text is put in, elsewhere its JSON: a text then brings its own quotes. What the event does
    not have is nothing within quotes, and null elsewhere.
    """
    return "".join(_pieces(template, values))


def _pieces(template: str, values: Mapping[str, Any]) -> Iterator[str]:
    position, quoted = 0, False
    while position < len(template):
        found = _PLACEHOLDER.match(template, position)
        if found is not None and found[1] in values:
            yield _shown(values[found[1]], quoted)
            position = found.end()
            continue
        character = template[position]
        if quoted and character == "\\":
            yield template[position : position + 2]
            position += 2
            continue
        if character == '"':
            quoted = not quoted
        yield character
        position += 1


def _shown(value: Any, quoted: bool) -> str:
    if value is _MISSING:
        return "" if quoted else "null"
    text = json.dumps(value, ensure_ascii=False)
    if not quoted:
        return text
    return json.dumps(value if isinstance(value, str) else text, ensure_ascii=False)[1:-1]


def _path(path: str) -> list[str]:
    parts: list[str] = []
    if not path.startswith("$"):
        raise InputError(f"Invalid JSON path {path!r}: it must begin with $")
    position = 1
    while position < len(path):
        found = _STEP.match(path, position)
        if found is None:
            raise InputError(f"Invalid JSON path {path!r}: it cannot be read at {path[position:]!r}")
        parts.append(next(part for part in found.groups() if part is not None))
        position = found.end()
    return parts
