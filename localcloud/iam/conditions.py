"""A statement's conditions: every operator of IAM, over the keys that a call has.

Source: "IAM JSON policy elements: Condition operators" and "Conditions with multiple context keys or values" in the IAM
User Guide.
"""

from __future__ import annotations

import base64
import binascii
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property
from ipaddress import ip_address, ip_network
from typing import Any

from localcloud.iam import keys
from localcloud.iam.patterns import Values, filled, matches, matches_arn, plain

_LOG = logging.getLogger(__name__)
_YEAR_DIGITS = 4
_FORALL, _FORANY, _IF_EXISTS = "forallvalues:", "foranyvalue:", "ifexists"

Comparison = Callable[[str, str], bool]
"""Whether a call's value stands as the operator says to a value of the policy, whose variables are filled in."""


@dataclass(frozen=True)
class Condition:
    """One operator on one key: it holds where one of the values does."""

    operator: str
    """In lower case, without its prefix and its suffix."""
    key: str
    wanted: tuple[str, ...]
    quantifier: str = ""
    """`forallvalues:` or `foranyvalue:`, for a key of several values; else empty."""
    if_exists: bool = False

    def holds(self, values: Values) -> bool:
        """Whether it does, with the values that a call's keys have."""
        given = values(self.key)
        if given and self._plain is not None:
            return not self._plain.isdisjoint(given)
        if self.operator == "null":
            # An empty list is as good as none: "ForAllValues … also true if … an empty dataset".
            return any((not given) == (wanted.lower() == "true") for wanted in self.wanted)
        comparison, negated = _OPERATORS[self.operator]
        if not given:
            if self.quantifier:
                return self.quantifier == _FORALL or self.if_exists
            # What is not there does not equal anything.
            return negated or self.if_exists
        wanted = [text for text in (filled(one, values) for one in self.wanted) if text is not None]

        def stands(value: str) -> bool:
            found = any(comparison(value, one) for one in wanted)
            return not found if negated else found

        if self.quantifier == _FORALL:
            return all(stands(value) for value in given)
        if self.quantifier == _FORANY:
            return any(stands(value) for value in given)
        return all(stands(value) for value in given) if negated else any(stands(value) for value in given)

    @cached_property
    def _plain(self) -> frozenset[str] | None:
        """What a value must be one of, for the operator that most conditions have, without variables and the rest."""
        if self.operator != "stringequals" or self.quantifier or any("${" in one for one in self.wanted):
            return None
        return frozenset(self.wanted)

    @cached_property
    def known(self) -> bool:
        """Whether localcloud knows what the key is. A statement that asks for what it does not know never applies."""
        return keys.is_known(self.key)


def read(conditions: Mapping[str, Any]) -> tuple[Condition, ...]:
    """A statement's `Condition`. Raises ValueError for what is none."""
    found: list[Condition] = []
    if not isinstance(conditions, Mapping):
        raise ValueError("Condition is no object")
    for name, entries in conditions.items():
        operator, quantifier, if_exists = _operator(name)
        if operator not in _OPERATORS and operator != "null":
            raise ValueError(f"there is no condition operator {name}")
        if not isinstance(entries, Mapping):
            raise ValueError(f"the condition {name} is no object")
        for key, wanted in entries.items():
            texts = tuple(_text(one) for one in (wanted if isinstance(wanted, list) else [wanted]))
            _check(operator, key, texts)
            found.append(Condition(operator, key, texts, quantifier, if_exists))
    return tuple(found)


@cache
def say_unknown(statement: str, key: str) -> None:
    """Log, once, that a statement never applies because of a key."""
    _LOG.warning("%s: localcloud does not have the condition key %s; the statement never applies", statement, key)


def _operator(name: str) -> tuple[str, str, bool]:
    text, quantifier = name.lower(), ""
    for one in (_FORALL, _FORANY):
        if text.startswith(one):
            text, quantifier = text.removeprefix(one), one
    if_exists = text.endswith(_IF_EXISTS)
    return text.removesuffix(_IF_EXISTS), quantifier, if_exists


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError(f"a condition's value is {value!r}, expected a text, a number or a truth value")


def _check(operator: str, key: str, wanted: Sequence[str]) -> None:
    check = _CHECKS.get(re.sub(r"(not)?(equals|lessthan|greaterthan).*", "", operator))
    for one in wanted:
        if check is not None and "${" not in one and not check(one):
            raise ValueError(f"the value {one!r} of the condition key {key} does not suit its operator")


def _equal(value: str, wanted: str) -> bool:
    return value == plain(wanted)


def _equal_ignoring_case(value: str, wanted: str) -> bool:
    return value.lower() == plain(wanted).lower()


def _number(compare: Callable[[float, float], bool]) -> Comparison:
    def holds(value: str, wanted: str) -> bool:
        try:
            return compare(float(value), float(wanted))
        except ValueError:
            return False

    return holds


def _moment(text: str) -> datetime:
    """ISO 8601, or seconds since 1970. Raises ValueError."""
    if re.fullmatch(r"\d+(\.\d+)?", text) and len(text) > _YEAR_DIGITS:
        return datetime.fromtimestamp(float(text), UTC)
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _date(compare: Callable[[datetime, datetime], bool]) -> Comparison:
    def holds(value: str, wanted: str) -> bool:
        try:
            return compare(_moment(value), _moment(wanted))
        except ValueError:
            return False

    return holds


def _within(value: str, wanted: str) -> bool:
    try:
        return ip_address(value) in ip_network(wanted, strict=False)
    except ValueError:
        return False


def _binary(value: str, wanted: str) -> bool:
    try:
        return base64.b64decode(value) == base64.b64decode(wanted)
    except binascii.Error:
        return False


def _like(value: str, wanted: str) -> bool:
    return matches(wanted, value)


def _arn(value: str, wanted: str) -> bool:
    return matches_arn(wanted, value)


_OPERATORS: Mapping[str, tuple[Comparison, bool]] = {
    "stringequals": (_equal, False),
    "stringnotequals": (_equal, True),
    "stringequalsignorecase": (_equal_ignoring_case, False),
    "stringnotequalsignorecase": (_equal_ignoring_case, True),
    "stringlike": (_like, False),
    "stringnotlike": (_like, True),
    "numericequals": (_number(lambda value, wanted: value == wanted), False),
    "numericnotequals": (_number(lambda value, wanted: value == wanted), True),
    "numericlessthan": (_number(lambda value, wanted: value < wanted), False),
    "numericlessthanequals": (_number(lambda value, wanted: value <= wanted), False),
    "numericgreaterthan": (_number(lambda value, wanted: value > wanted), False),
    "numericgreaterthanequals": (_number(lambda value, wanted: value >= wanted), False),
    "dateequals": (_date(lambda value, wanted: value == wanted), False),
    "datenotequals": (_date(lambda value, wanted: value == wanted), True),
    "datelessthan": (_date(lambda value, wanted: value < wanted), False),
    "datelessthanequals": (_date(lambda value, wanted: value <= wanted), False),
    "dategreaterthan": (_date(lambda value, wanted: value > wanted), False),
    "dategreaterthanequals": (_date(lambda value, wanted: value >= wanted), False),
    "bool": (_equal_ignoring_case, False),
    "binaryequals": (_binary, False),
    "ipaddress": (_within, False),
    "notipaddress": (_within, True),
    # "ArnEquals and ArnLike behave identically."
    "arnequals": (_arn, False),
    "arnlike": (_arn, False),
    "arnnotequals": (_arn, True),
    "arnnotlike": (_arn, True),
}


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+(\.\d+)?", text) is not None


def _is_moment(text: str) -> bool:
    try:
        _moment(text)
    except ValueError:
        return False
    return True


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


_CHECKS: Mapping[str, Callable[[str], bool]] = {
    "numeric": _is_number,
    "date": _is_moment,
    "bool": lambda text: text.lower() in ("true", "false"),
    "null": lambda text: text.lower() in ("true", "false"),
    "ipaddress": _is_network,
    "notipaddress": _is_network,
}
