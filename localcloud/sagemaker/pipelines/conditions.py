"""The conditions of a Condition step, under the names of the SDK."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "Equals": operator.eq,
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}
TYPES = (*_COMPARISONS, "In", "Not", "Or")


class ConditionError(Exception):
    """Values that cannot be compared."""


def evaluate(condition: dict[str, Any]) -> bool:
    """Whether a condition, whose values are resolved, holds. Raises ConditionError for values that do not compare."""
    kind = condition["Type"]
    if kind == "Not":
        return not evaluate(condition["Condition"])
    if kind == "Or":
        return any([evaluate(part) for part in condition["Conditions"]])
    if kind == "In":
        return any(_compare("Equals", condition["QueryValue"], value) for value in condition["Values"])
    return _compare(kind, condition["LeftValue"], condition["RightValue"])


def mistakes(conditions: Any) -> Iterator[str]:
    """What is wrong with the Conditions of a step, before anything in them is resolved."""
    if not isinstance(conditions, list) or not conditions:
        yield "Conditions must be a list of at least one condition"
        return
    for index, condition in enumerate(conditions):
        yield from _mistakes(condition, f"Conditions[{index}]")


def _mistakes(condition: Any, where: str) -> Iterator[str]:
    kind = condition.get("Type") if isinstance(condition, dict) else None
    if not isinstance(kind, str):
        yield f"{where} must be an object with a Type, one of {', '.join(TYPES)}; got {condition!r}"
        return
    if kind in _COMPARISONS:
        needed: tuple[str, ...] = ("LeftValue", "RightValue")
    elif kind == "In":
        needed = ("QueryValue", "Values")
    elif kind == "Not":
        needed = ("Condition",)
    elif kind == "Or":
        needed = ("Conditions",)
    else:
        yield f"{where} has the unknown condition type {kind!r}; known are {', '.join(TYPES)}"
        return
    missing = [name for name in needed if name not in condition]
    if missing:
        yield f"{where} ({kind}) lacks {' and '.join(missing)}"
    elif kind == "Not":
        yield from _mistakes(condition["Condition"], f"{where}.Condition")
    elif kind == "Or":
        if not isinstance(condition["Conditions"], list) or not condition["Conditions"]:
            yield f"{where}.Conditions must be a list of at least one condition"
            return
        for index, part in enumerate(condition["Conditions"]):
            yield from _mistakes(part, f"{where}.Conditions[{index}]")
    elif kind == "In" and not isinstance(condition["Values"], list):
        yield f"{where}.Values must be a list"


def _compare(kind: str, left: Any, right: Any) -> bool:
    left, right = _alike(left, right)
    if type(left) is not type(right):
        if kind == "Equals":
            return False
        raise ConditionError(f"{kind} cannot compare {left!r} with {right!r}: one is a number and one is not")
    return _COMPARISONS[kind](left, right)


def _alike(left: Any, right: Any) -> tuple[Any, Any]:
    """Numbers as numbers, also where one of the two came as text (a parameter, a joined value)."""
    first, second = _number(left), _number(right)
    numeric = isinstance(left, int | float) or isinstance(right, int | float)
    booleans = isinstance(left, bool) or isinstance(right, bool)
    if numeric and not booleans and first is not None and second is not None:
        return first, second
    return left, right


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
