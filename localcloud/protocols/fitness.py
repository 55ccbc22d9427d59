"""Whether values fit a shape, answered quickly with yes, or with "look closer".

botocore's validator walks a shape anew for every value, to be able to say all that is wrong; most values are right.
Here each shape becomes a function once. It says yes only to what `localcloud.protocols.validation` finds nothing wrong
with; for everything else (also for what is rare and not worth a rule of its own) the slow way is asked, and has the
last word. The tests hold both ways against each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape
from botocore.utils import is_json_value_header

Fits = Callable[[Any], bool]


@cache
def compiled(shape: Shape, limits: bool) -> Fits:
    """The function for a shape. `limits`: whether the upper limits and patterns hold too, as they do in requests."""
    if is_json_value_header(shape) or (isinstance(shape, StructureShape) and shape.is_document_type):
        return _never
    if isinstance(shape, StructureShape):
        return _structure(shape, limits)
    if isinstance(shape, ListShape):
        return _list(shape, limits)
    if isinstance(shape, MapShape):
        return _map(shape, limits)
    if shape.type_name == "string":
        return _string(shape, limits)
    if shape.type_name in ("integer", "long"):
        return _number(shape, limits, int)
    if shape.type_name in ("float", "double"):
        return _number(shape, limits, (int, float))
    return {"boolean": _is_boolean, "blob": _is_blob, "timestamp": _is_moment}.get(shape.type_name, _never)


def _never(_: Any) -> bool:
    return False


def _is_boolean(value: Any) -> bool:
    return isinstance(value, bool)


def _is_blob(value: Any) -> bool:
    return isinstance(value, bytes | bytearray)


def _is_moment(value: Any) -> bool:
    return isinstance(value, datetime)


def _structure(shape: StructureShape, limits: bool) -> Fits:
    required = frozenset(shape.metadata.get("required", ()))
    union = shape.is_tagged_union
    members = shape.members
    # Filled as members are met: a structure may hold itself.
    known: dict[str, Fits] = {}

    def fits(value: Any) -> bool:
        if not isinstance(value, dict) or not required <= value.keys() or (union and len(value) != 1):
            return False
        for name, item in value.items():
            member = known.get(name)
            if member is None:
                if name not in members:
                    return False
                member = known[name] = compiled(members[name], limits)
            if not member(item):
                return False
        return True

    return fits


def _list(shape: ListShape, limits: bool) -> Fits:
    low, high = _bounds(shape, limits)
    found: list[Fits] = []

    def fits(value: Any) -> bool:
        if not isinstance(value, list | tuple) or not low <= len(value) <= high:
            return False
        if not found:
            found.append(compiled(shape.member, limits))
        member = found[0]
        return all([member(item) for item in value])

    return fits


def _map(shape: MapShape, limits: bool) -> Fits:
    low, high = _bounds(shape, limits)

    def fits(value: Any) -> bool:
        if not isinstance(value, dict) or not low <= len(value) <= high:
            return False
        key_fits, item_fits = compiled(shape.key, limits), compiled(shape.value, limits)
        return all(key_fits(key) and item_fits(item) for key, item in value.items())

    return fits


def _string(shape: Shape, limits: bool) -> Fits:
    low, high = _bounds(shape, limits)
    choices = frozenset(shape.metadata.get("enum") or ())
    text = shape.metadata.get("pattern") if limits else None
    pattern = compile_pattern(text) if text else None
    # What a client names once it names again, and the pattern of a name is dear: the last ones are remembered.
    right: set[str] = set()

    def fits(value: Any) -> bool:
        if not isinstance(value, str) or not low <= len(value) <= high or (choices and value not in choices):
            return False
        if pattern is None or value in right:
            return True
        if pattern.fullmatch(value) is None:
            return False
        if len(value) <= 64:
            if len(right) >= 1024:
                right.clear()
            right.add(value)
        return True

    return fits


@cache
def compile_pattern(pattern: str) -> re.Pattern[str] | None:
    """The pattern, which AWS matches against the whole value; None if it is not one of Python's dialect.

    Some models hold Java's Unicode classes (`\\p{L}`) and surrogate ranges, which `re` lacks: those are not checked.
    """
    try:
        # In Java's patterns, unlike Python's, \w and \d are ASCII.
        return re.compile(pattern, re.ASCII)
    except re.error:
        return None


def _number(shape: Shape, limits: bool, types: type[int] | tuple[type[int], type[float]]) -> Fits:
    low, high = _bounds(shape, limits)

    def fits(value: Any) -> bool:
        return isinstance(value, types) and low <= value <= high

    return fits


def _bounds(shape: Shape, limits: bool) -> tuple[float, float]:
    low = shape.metadata.get("min", 1 if shape.serialization.get("hostLabel") else float("-inf"))
    high = shape.metadata.get("max", float("inf")) if limits else float("inf")
    return low, high
