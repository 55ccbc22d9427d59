"""Event patterns: read once, with everything that is wrong said where it is, and held against events.

    {"source": ["aws.sagemaker"], "detail": {"EndpointStatus": [{"anything-but": ["CREATING"]}]}}

A pattern is an object whose leaves are lists; a field matches if one of the list's tests holds for its value, or for
one of its values where it is a list itself. All fields must match, and of `$or` one of the alternatives.
"""

from __future__ import annotations

import ipaddress
import json
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_MOST_NUMBER = 5_000_000_000
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_OPERATORS = ("anything-but", "cidr", "equals-ignore-case", "exists", "numeric", "prefix", "suffix", "wildcard")
_DEEPEST = 100


class PatternError(Exception):
    """A pattern that cannot be read; the message says where and why."""


class _Absent:
    """In place of a value that is not there."""


_ABSENT = _Absent()
_Test = Callable[[Any], bool]
"""Whether a leaf's value (never a list or an object) passes; `_ABSENT` for none."""


@dataclass(frozen=True)
class Pattern:
    """A pattern without mistakes."""

    fields: Mapping[str, Pattern | tuple[_Test, ...]]
    alternatives: tuple[Pattern, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Read a pattern. Raises PatternError."""
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise PatternError(f"it is not JSON: {error}") from None
        if not isinstance(value, dict):
            raise PatternError("the pattern must be an object")
        if not value:
            raise PatternError("the pattern must have a field")
        return _object(value, "", 0)

    def matches(self, event: Mapping[str, Any]) -> bool:
        """Whether an event, as of JSON, is one that the pattern means."""
        if not all(_field_matches(wanted, event.get(name, _ABSENT)) for name, wanted in self.fields.items()):
            return False
        return not self.alternatives or any(one.matches(event) for one in self.alternatives)


def _field_matches(wanted: Pattern | tuple[_Test, ...], value: Any) -> bool:
    if isinstance(wanted, Pattern):
        if isinstance(value, list):
            # All of a pattern's fields are looked for in one and the same element.
            return any(_field_matches(wanted, element) for element in value)
        return wanted.matches(value if isinstance(value, dict) else {})
    values = _leaves(value) if isinstance(value, list) else [value]
    # Of an object, and of a list without values, there is no leaf.
    known = [one for one in values if not isinstance(one, dict)] or [_ABSENT]
    return any(test(one) for test in wanted for one in known)


def _leaves(values: list[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        found += _leaves(value) if isinstance(value, list) else [value]
    return found


def _object(value: dict[str, Any], where: str, depth: int) -> Pattern:
    if depth > _DEEPEST:
        raise PatternError(f"{where} is nested too deeply")
    fields: dict[str, Pattern | tuple[_Test, ...]] = {}
    alternatives: tuple[Pattern, ...] = ()
    for name, item in value.items():
        place = f"{where}.{name}" if where else name
        if name == "$or":
            alternatives = _alternatives(item, place, depth)
        elif isinstance(item, dict):
            if not item:
                raise PatternError(f"Empty objects are not allowed at {place}")
            fields[name] = _object(item, place, depth + 1)
        elif isinstance(item, list):
            if not item:
                raise PatternError(f"Empty arrays are not allowed at {place}")
            fields[name] = tuple(_test(entry, f"{place}[{number}]") for number, entry in enumerate(item))
        else:
            raise PatternError(f"{place} must be an object or an array; got {json.dumps(item)}")
    return Pattern(fields, alternatives)


def _alternatives(value: Any, place: str, depth: int) -> tuple[Pattern, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(item, dict) and item for item in value):
        raise PatternError(f"{place} must be an array of objects that are not empty; got {json.dumps(value)}")
    return tuple(_object(item, f"{place}[{number}]", depth + 1) for number, item in enumerate(value))


def _test(value: Any, place: str) -> _Test:
    if isinstance(value, dict):
        if len(value) != 1:
            raise PatternError(f"Only one key allowed in match expression at {place}; got {', '.join(value) or 'none'}")
        (name, operand) = next(iter(value.items()))
        if name not in _OPERATORS:
            raise PatternError(f"Unrecognized match type {name} at {place}; known are {', '.join(_OPERATORS)}")
        return _READERS[name](operand, f"{place}.{name}")
    if isinstance(value, list):
        raise PatternError(f"Match value must be String, number, true, false, or null at {place}; got an array")
    return _equal(value)


def _equal(wanted: Any) -> _Test:
    # To Python True is 1, and to JSON it is not.
    kind = bool if isinstance(wanted, bool) else (int, float) if isinstance(wanted, int | float) else type(wanted)

    def test(value: Any) -> bool:
        return isinstance(value, kind) and isinstance(value, bool) == isinstance(wanted, bool) and value == wanted

    return test


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise PatternError(f"{place} match pattern must be a string; got {json.dumps(value)}")
    return value


def _of_text(check: Callable[[str], bool]) -> _Test:
    return lambda value: isinstance(value, str) and check(value)


def _affix(method: str) -> Callable[[Any, str], _Test]:
    """prefix and suffix: of a text, or of one whose case does not matter."""

    def read(operand: Any, place: str) -> _Test:
        if isinstance(operand, dict):
            if set(operand) != {"equals-ignore-case"}:
                raise PatternError(
                    f"{place} may hold a string or equals-ignore-case; got {', '.join(operand) or 'nothing'}"
                )
            folded = _text(operand["equals-ignore-case"], f"{place}.equals-ignore-case").casefold()
            return _of_text(lambda value: getattr(value.casefold(), method)(folded) is True)
        wanted = _text(operand, place)
        return _of_text(lambda value: getattr(value, method)(wanted) is True)

    return read


def _ignoring_case(operand: Any, place: str) -> _Test:
    wanted = _text(operand, place).casefold()
    return _of_text(lambda value: value.casefold() == wanted)


def _wildcard(operand: Any, place: str) -> _Test:
    text = _text(operand, place)
    pattern, position = "", 0
    while position < len(text):
        character = text[position]
        following = text[position + 1 : position + 2]
        if character == "\\":
            if following not in ("*", "\\"):
                raise PatternError(f"Invalid escape character at pos {position} at {place}")
            pattern += re.escape(following)
            position += 1
        elif character == "*":
            if following == "*":
                raise PatternError(f"Consecutive wildcard characters at pos {position} at {place}")
            pattern += ".*"
        else:
            pattern += re.escape(character)
        position += 1
    compiled = re.compile(pattern, re.DOTALL)
    return _of_text(lambda value: compiled.fullmatch(value) is not None)


def _exists(operand: Any, place: str) -> _Test:
    if not isinstance(operand, bool):
        raise PatternError(f"{place} must be either true or false; got {json.dumps(operand)}")
    return lambda value: (value is not _ABSENT) == operand


def _numeric(operand: Any, place: str) -> _Test:
    if not isinstance(operand, list) or not operand or len(operand) % 2 or len(operand) > 4:
        raise PatternError(
            f"{place} must be an array of one or two comparisons, each an operator and a number; got"
            f" {json.dumps(operand)}"
        )
    checks = []
    for sign, number in zip(operand[::2], operand[1::2], strict=True):
        if sign not in _COMPARISONS:
            raise PatternError(f"Unrecognized numeric range operator {json.dumps(sign)} at {place}")
        if isinstance(number, bool) or not isinstance(number, int | float) or abs(number) > _MOST_NUMBER:
            raise PatternError(
                f"Value of {sign} must be numeric, from -5.0E9 to 5.0E9, at {place}; got {json.dumps(number)}"
            )
        checks.append((_COMPARISONS[sign], number))
    if len(checks) == 2 and not (operand[0] in (">", ">=") and operand[2] in ("<", "<=")):
        if not (operand[0] in ("<", "<=") and operand[2] in (">", ">=")):
            raise PatternError(f"{place} needs one lower and one upper bound; got {json.dumps(operand)}")
        if operand[3] >= operand[1]:
            raise PatternError(f"Bottom must be less than top at {place}")
    elif len(checks) == 2 and operand[1] >= operand[3]:
        raise PatternError(f"Bottom must be less than top at {place}")

    def test(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return all(check(value, number) for check, number in checks)

    return test


def _cidr(operand: Any, place: str) -> _Test:
    try:
        network = ipaddress.ip_network(_text(operand, place), strict=False)
    except ValueError:
        raise PatternError(
            f"Malformed CIDR, one of the form 10.0.0.0/24 is expected, at {place}; got {operand!r}"
        ) from None

    def inside(value: str) -> bool:
        try:
            return ipaddress.ip_address(value) in network
        except ValueError:
            return False

    return _of_text(inside)


def _anything_but(operand: Any, place: str) -> _Test:
    if isinstance(operand, dict):
        if len(operand) != 1 or next(iter(operand)) not in _BUT:
            known = ", ".join(_BUT)
            raise PatternError(f"{place} may hold one of {known}; got {', '.join(operand) or 'nothing'}")
        (name, inner) = next(iter(operand.items()))
        entries = inner if isinstance(inner, list) else [inner]
        if not entries:
            raise PatternError(f"Empty arrays are not allowed at {place}.{name}")
        tests = [_BUT[name](entry, f"{place}.{name}") for entry in entries]
    else:
        entries = operand if isinstance(operand, list) else [operand]
        if not entries or any(isinstance(entry, dict | list) for entry in entries):
            raise PatternError(
                f"{place} must be a value, or a list of values that is not empty; got {json.dumps(operand)}"
            )
        if len({isinstance(entry, str) for entry in entries}) > 1:
            raise PatternError(
                f"Inside {place}, either all values are numbers or all are strings; got {json.dumps(operand)}"
            )
        tests = [_equal(entry) for entry in entries]
    return lambda value: value is not _ABSENT and not any(test(value) for test in tests)


_BUT: Mapping[str, Callable[[Any, str], _Test]] = {
    "prefix": _affix("startswith"),
    "suffix": _affix("endswith"),
    "equals-ignore-case": _ignoring_case,
    "wildcard": _wildcard,
}
_READERS: Mapping[str, Callable[[Any, str], _Test]] = {
    **_BUT,
    "anything-but": _anything_but,
    "cidr": _cidr,
    "exists": _exists,
    "numeric": _numeric,
}
