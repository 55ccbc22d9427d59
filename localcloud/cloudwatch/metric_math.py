"""Metric math: expressions over metrics, such as `loss - threshold` or `IF(requests > 10, errors / requests)`.

Source: "Using math expressions with CloudWatch metrics" (Amazon CloudWatch User Guide). A value is a number, a time
series, or an array of time series (`[m1, m2]`):

    - + - * /                       a datapoint where all operands have one (a number has one everywhere)
    == != < <= > >=  AND && OR ||   likewise: 1 where it holds, else 0
    ABS(x)                          of each datapoint
    MIN MAX AVG SUM(series)         a number: over the datapoints of the whole range
    MIN MAX AVG SUM([a, b])         a series: at each moment over those that have a datapoint there
    IF(condition, a[, b])           a where the condition is not 0, else b; no datapoint where that has none
    FILL(series, number|REPEAT|s)   the missing datapoints filled: with a number, the one before, another series's

A result that is no finite number (a division by zero) is no datapoint.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial

from localcloud.cloudwatch.metrics import Series

Value = float | Series | list[Series]
Read = Callable[[str], Value]
"""The value of a metric or of another expression, by its id."""
_Node = Callable[[Read, Sequence[int]], Value]

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)|(?P<word>[A-Za-z_]\w*)"
    r"|(?P<text>'[^']*'|\"[^\"]*\")|(?P<sign>&&|\|\||[=!<>]=|[-+*/^%<>()\[\],!]))"
)
_ARITHMETIC = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
_COMPARISONS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_OVER: Mapping[str, Callable[[Sequence[float]], float]] = {
    "MIN": min,
    "MAX": max,
    "SUM": math.fsum,
    "AVG": lambda values: math.fsum(values) / len(values),
}
_FUNCTIONS = (*_OVER, "ABS", "FILL", "IF")
_POINTWISE = ("ABS", "IF")
_REPEAT = "REPEAT"
_DEEPEST = 50


class MathError(Exception):
    """An expression that cannot be read or evaluated; the message says where or why."""


@dataclass(frozen=True)
class Expression:
    """An expression that was read. `asks` are the ids in it, each once, in their order."""

    text: str
    asks: tuple[str, ...]
    pointwise: bool
    """Whether a datapoint hangs on nothing but the datapoints of its own moment."""
    _node: _Node = field(repr=False, compare=False)

    def evaluate(self, read: Read, begins: Sequence[int]) -> Value:
        """Its value over the periods that begin at `begins`, in order. Raises MathError where kinds do not fit."""
        return self._node(read, begins)


@cache
def parse(text: str) -> Expression:
    """Read an expression. Raises MathError."""
    reader = _Reader(list(_tokens(text)))
    node = reader.either(0)
    reader.end()
    return Expression(text, tuple(dict.fromkeys(reader.asks)), reader.pointwise, node)


def series_of(value: Value, text: str) -> Series:
    """The one time series that a result has to be. Raises MathError for a number or an array."""
    if isinstance(value, dict):
        return value
    kind = "an array of time series" if isinstance(value, list) else "a number"
    raise MathError(f"The expression {text!r} must give a single time series; it gives {kind}")


def in_order(expressions: Mapping[str, Expression]) -> list[str]:
    """The ids of expressions, each after those that it asks. Raises MathError for a circle."""
    found: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise MathError(f"The expression {name!r} depends on itself: {' -> '.join((*path, name))}")
        if name in found:
            return
        for asked in expressions[name].asks:
            if asked in expressions:
                visit(asked, (*path, name))
        found.append(name)

    for name in expressions:
        visit(name, ())
    return found


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    place: int


def _tokens(text: str) -> Iterator[_Token]:
    place = 0
    while text[place:].strip():
        found = _TOKEN.match(text, place)
        if found is None:
            left = text[place:].lstrip()
            raise MathError(f"cannot read {left[:20].rstrip()!r} at position {len(text) - len(left)}")
        assert found.lastgroup is not None
        yield _Token(found.lastgroup, found[found.lastgroup], found.start(found.lastgroup))
        place = found.end()


class _Reader:
    """Recursive descent, from the loosest operator (OR) to the tightest (the sign)."""

    def __init__(self, tokens: Sequence[_Token]) -> None:
        self._tokens, self._next = tokens, 0
        self.asks: list[str] = []
        self.pointwise = True

    def end(self) -> None:
        if (left := self._peek()) is not None:
            raise MathError(f"{left.text!r} at position {left.place} {_unknown(left)}")

    def either(self, depth: int) -> _Node:
        if depth > _DEEPEST:
            raise MathError(f"it is nested more than {_DEEPEST} levels deep")
        node = self._both(depth)
        while self._take("OR", "||"):
            node = _combined(lambda one, other: float(bool(one) or bool(other)), node, self._both(depth))
        return node

    def _both(self, depth: int) -> _Node:
        node = self._compared(depth)
        while self._take("AND", "&&"):
            node = _combined(lambda one, other: float(bool(one) and bool(other)), node, self._compared(depth))
        return node

    def _compared(self, depth: int) -> _Node:
        node = self._sum(depth)
        while (found := self._take(*_COMPARISONS)) is not None:
            node = _combined(partial(_compare, _COMPARISONS[found.text]), node, self._sum(depth))
        return node

    def _sum(self, depth: int) -> _Node:
        node = self._product(depth)
        while (found := self._take("+", "-")) is not None:
            node = _combined(_ARITHMETIC[found.text], node, self._product(depth))
        return node

    def _product(self, depth: int) -> _Node:
        node = self._signed(depth)
        while (found := self._take("*", "/")) is not None:
            node = _combined(_ARITHMETIC[found.text], node, self._signed(depth))
        return node

    def _signed(self, depth: int) -> _Node:
        signs = 0
        while self._take("-") is not None:
            signs += 1
        node = self._atom(depth + 1)
        return _mapped(operator.neg, node) if signs % 2 else node

    def _atom(self, depth: int) -> _Node:
        token = self._peek()
        if token is None:
            raise MathError("it ends too early")
        self._next += 1
        if token.kind == "number":
            number = float(token.text)
            return lambda read, begins: number
        if token.text == "(":
            node = self.either(depth)
            self._expect(")")
            return node
        if token.text == "[":
            return _array(self._list("]", depth))
        if token.kind == "word":
            following = self._peek()
            if following is not None and following.text == "(":
                self._next += 1
                return self._function(token, depth)
            # As on AWS, ids begin with a small letter and what belongs to the language with a great one.
            if token.text[0].islower():
                self.asks.append(token.text)
                return lambda read, begins: read(token.text)
        raise MathError(f"{token.text!r} at position {token.place} {_unknown(token)}")

    def _function(self, token: _Token, depth: int) -> _Node:
        name = token.text
        if name not in _FUNCTIONS:
            raise MathError(f"{name}() is not among localcloud's functions: {', '.join(_FUNCTIONS)}")
        self.pointwise = self.pointwise and name in _POINTWISE
        if name == "FILL":
            series = self.either(depth)
            self._expect(",")
            if self._take(_REPEAT) is not None:
                self._expect(")")
                return _repeated(series)
            (filling,) = self._count(name, self._list(")", depth), 1)
            return _filled(series, filling)
        arguments = self._list(")", depth)
        if name == "IF":
            return _chosen(*self._count(name, arguments, 2, 3))
        (argument,) = self._count(name, arguments, 1)
        return _mapped(abs, argument) if name == "ABS" else _over(name, argument)

    @staticmethod
    def _count(name: str, arguments: list[_Node], *counts: int) -> list[_Node]:
        if len(arguments) not in counts:
            raise MathError(f"{name}() has {len(arguments)} arguments here; it takes {' or '.join(map(str, counts))}")
        return arguments

    def _list(self, closing: str, depth: int) -> list[_Node]:
        nodes = [self.either(depth)]
        while self._take(",") is not None:
            nodes.append(self.either(depth))
        self._expect(closing)
        return nodes

    def _peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _take(self, *texts: str) -> _Token | None:
        token = self._peek()
        if token is None or token.kind == "text" or token.text not in texts:
            return None
        self._next += 1
        return token

    def _expect(self, text: str) -> None:
        if self._take(text) is None:
            token = self._peek()
            found = f"{token.text!r} at position {token.place}" if token else "the end"
            raise MathError(f"{text!r} is expected instead of {found}")


def _unknown(token: _Token) -> str:
    if token.kind == "word" and not token.text[0].islower():
        return "is no id (these begin with a small letter) and nothing that localcloud's metric math has"
    if token.kind == "text" or token.text in ("^", "%", "!"):
        return "is nothing that localcloud's metric math has"
    return "is not expected there"


def _compare(compare: Callable[[float, float], bool], one: float, other: float) -> float:
    return float(compare(one, other))


def _single(value: Value) -> float | Series:
    if isinstance(value, list):
        raise MathError("an array of time series can only be an argument of MIN, MAX, AVG and SUM")
    return value


def _at(value: float | Series, begin: int) -> float | None:
    return value.get(begin) if isinstance(value, dict) else value


def _computed(function: Callable[..., float], *values: float) -> float | None:
    try:
        result = float(function(*values))
    except (ZeroDivisionError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def _combined(function: Callable[[float, float], float], left: _Node, right: _Node) -> _Node:
    def node(read: Read, begins: Sequence[int]) -> Value:
        one, other = _single(left(read, begins)), _single(right(read, begins))
        if not isinstance(one, dict) and not isinstance(other, dict):
            # A number that cannot be told is one of which nothing can be computed.
            result = _computed(function, one, other)
            return math.nan if result is None else result
        moments = one if isinstance(one, dict) else other
        found: Series = {}
        for begin in moments if isinstance(moments, dict) else ():
            a, b = _at(one, begin), _at(other, begin)
            result = None if a is None or b is None else _computed(function, a, b)
            if result is not None:
                found[begin] = result
        return found

    return node


def _mapped(function: Callable[[float], float], operand: _Node) -> _Node:
    def node(read: Read, begins: Sequence[int]) -> Value:
        value = _single(operand(read, begins))
        if isinstance(value, dict):
            return {begin: float(function(one)) for begin, one in value.items()}
        return float(function(value))

    return node


def _array(items: Sequence[_Node]) -> _Node:
    def node(read: Read, begins: Sequence[int]) -> Value:
        found: list[Series] = []
        for item in items:
            value = _single(item(read, begins))
            if not isinstance(value, dict):
                raise MathError("an array holds time series; it has a number")
            found.append(value)
        return found

    return node


def _over(name: str, operand: _Node) -> _Node:
    function = _OVER[name]

    def node(read: Read, begins: Sequence[int]) -> Value:
        value = operand(read, begins)
        if isinstance(value, list):
            moments = {begin: [one[begin] for one in value if begin in one] for begin in sorted(set().union(*value))}
            return {begin: function(values) for begin, values in moments.items()}
        if isinstance(value, dict):
            return function(list(value.values())) if value else math.nan
        return value

    return node


def _chosen(condition: _Node, then: _Node, otherwise: _Node | None = None) -> _Node:
    def node(read: Read, begins: Sequence[int]) -> Value:
        asked, one = _single(condition(read, begins)), _single(then(read, begins))
        other = _single(otherwise(read, begins)) if otherwise is not None else {}
        if not isinstance(asked, dict):
            return one if asked else other
        found: Series = {}
        for begin, holds in asked.items():
            value = _at(one if holds else other, begin)
            if value is not None and math.isfinite(value):
                found[begin] = value
        return found

    return node


def _filled(operand: _Node, filling: _Node) -> _Node:
    def node(read: Read, begins: Sequence[int]) -> Value:
        series, other = _to_fill(operand(read, begins)), _single(filling(read, begins))
        values = ((begin, series.get(begin, _at(other, begin))) for begin in begins)
        return {begin: value for begin, value in values if value is not None and math.isfinite(value)}

    return node


def _repeated(operand: _Node) -> _Node:
    def node(read: Read, begins: Sequence[int]) -> Value:
        series = _to_fill(operand(read, begins))
        found: Series = {}
        last: float | None = None
        for begin in begins:
            last = series.get(begin, last)
            if last is not None:
                found[begin] = last
        return found

    return node


def _to_fill(value: Value) -> Series:
    if not isinstance(value, dict):
        raise MathError("FILL() fills a time series")
    return value
