"""What a rule's statement asks of a request: byte matches of parts of it, and And, Or and Not of statements.

These are the statements that narrow a rate or a managed rule group down (ScopeDownStatement); a rule may also consist
of one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from localcloud.protocols.http import HttpRequest
from localcloud.waf.errors import invalid, lacking

Statement = Mapping[str, Any]
Matches = Callable[[HttpRequest, float], bool]
"""Whether a request matches that comes at a moment (seconds)."""

ONE_OF = "You have used none or multiple values for a field that requires exactly one value."
_LONGEST_SEARCH = 200
_TOO_FEW = (
    "You haven't met a minimum requirement for a threshold setting. Examples include a rule group capacity setting"
    " that's too low and an OR statement with only one nested statement."
)

_TRANSFORMATIONS: Mapping[str, Callable[[bytes], bytes]] = {
    "NONE": lambda text: text,
    "LOWERCASE": bytes.lower,
    "URL_DECODE": lambda text: unquote_to_bytes(text.replace(b"+", b" ")),
}
_CONSTRAINTS: Mapping[str, tuple[Callable[[bytes, bytes], bool], int]] = {
    "EXACTLY": (bytes.__eq__, 2),
    "STARTS_WITH": (bytes.startswith, 2),
    "ENDS_WITH": (bytes.endswith, 2),
    "CONTAINS": (bytes.__contains__, 10),
}
"""The comparison, and its price in capacity units."""
_PRICE_OF_TRANSFORMATION = 10


@dataclass(frozen=True)
class Condition:
    """A statement that was read."""

    matches: Matches
    capacity: int
    """In web ACL capacity units."""


def only(structure: Mapping[str, Any], field: str, parameter: str) -> str:
    """The one member that a structure has of which exactly one must be there. Raises WAFInvalidParameterException."""
    if len(structure) != 1:
        raise invalid(ONE_OF, field, parameter)
    return next(iter(structure))


def read(statement: Statement) -> Condition:
    """The condition of a statement. Raises WAFInvalidParameterException for one that is not valid, or not here."""
    kind = only(statement, "STATEMENT", "Statement")
    if kind == "ByteMatchStatement":
        return _byte_match(statement[kind])
    if kind in ("AndStatement", "OrStatement"):
        return _combined(kind, statement[kind]["Statements"])
    if kind == "NotStatement":
        inner = read(statement[kind]["Statement"])
        return Condition(lambda request, now: not inner.matches(request, now), inner.capacity)
    if kind in ("RateBasedStatement", "ManagedRuleGroupStatement"):
        raise invalid("A reference in your rule statement is not valid.", "STATEMENT", kind)
    raise lacking(kind, "STATEMENT", kind)


def _combined(kind: str, statements: Sequence[Statement]) -> Condition:
    if len(statements) < 2:
        raise invalid(_TOO_FEW, "AND_STATEMENT" if kind == "AndStatement" else "OR_STATEMENT", kind)
    parts = [read(statement) for statement in statements]
    holds = all if kind == "AndStatement" else any
    capacity = sum(part.capacity for part in parts)
    return Condition(lambda request, now: holds(part.matches(request, now) for part in parts), capacity)


def _byte_match(statement: Statement) -> Condition:
    search: bytes = statement["SearchString"]
    if not 0 < len(search) <= _LONGEST_SEARCH:
        raise invalid(
            f"The search string has {len(search)} bytes; it must have 1 to {_LONGEST_SEARCH}.",
            "BYTE_MATCH_STATEMENT",
            "SearchString",
        )
    constraint = statement["PositionalConstraint"]
    if constraint not in _CONSTRAINTS:
        raise lacking(f"PositionalConstraint {constraint}", "BYTE_MATCH_STATEMENT", constraint)
    compare, price = _CONSTRAINTS[constraint]
    part = _part(statement["FieldToMatch"])
    transform, transformations = _transformation(statement["TextTransformations"])

    def matches(request: HttpRequest, now: float) -> bool:
        text = part(request)
        return text is not None and compare(transform(text), search)

    return Condition(matches, price + _PRICE_OF_TRANSFORMATION * transformations)


def _part(field: Mapping[str, Any]) -> Callable[[HttpRequest], bytes | None]:
    kind = only(field, "FIELD_TO_MATCH", "FieldToMatch")
    if kind == "UriPath":
        return lambda request: request.path.encode()
    if kind == "QueryString":
        return lambda request: request.query.encode()
    if kind == "Method":
        return lambda request: request.method.encode()
    if kind == "SingleHeader":
        name = str(field[kind]["Name"]).lower()
        return lambda request: None if (found := request.headers.get(name)) is None else found.encode()
    raise lacking(f"FieldToMatch {kind}", "FIELD_TO_MATCH", kind)


def _transformation(given: Sequence[Mapping[str, Any]]) -> tuple[Callable[[bytes], bytes], int]:
    """All transformations by their priority as one, and how many of them cost something."""
    types = [str(one["Type"]) for one in sorted(given, key=lambda one: int(one["Priority"]))]
    if not types or len({one["Priority"] for one in given}) < len(types):
        raise invalid(
            "Text transformations are one or several, each with a priority of its own.",
            "TEXT_TRANSFORMATION",
            "TextTransformations",
        )
    for name in types:
        if name not in _TRANSFORMATIONS:
            raise lacking(f"text transformation {name}", "TEXT_TRANSFORMATION", name)
    steps = [_TRANSFORMATIONS[name] for name in types if name != "NONE"]

    def transform(text: bytes) -> bytes:
        for step in steps:
            text = step(text)
        return text

    return transform, len(steps)
