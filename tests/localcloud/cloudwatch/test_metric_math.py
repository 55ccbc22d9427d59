"""Metric math: what expressions give, and which are refused."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.cloudwatch.metric_math import MathError, in_order, parse, series_of
from localcloud.cloudwatch.metrics import Series

BEGINS = range(0, 300, 60)
SERIES: dict[str, Series] = {
    "loss": {0: 0.25, 60: 0.5, 120: 0.75, 240: 1.0},
    "limit": {0: 0.5, 60: 0.5, 180: 0.5, 240: 0.5},
    "none": {},
}


def value(text: str) -> Any:
    return parse(text).evaluate(SERIES.__getitem__, BEGINS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3 - 4 / 2", 5.0),
        ("-(1 - 3) * 2", 4.0),
        ("--1.5e1", 15.0),
        (".5 < 1 AND 2 >= 2", 1.0),
        ("0 OR 0 || 1 && 0", 0.0),
        ("1 == 1 != 0", 1.0),
        # A datapoint only where all operands have one.
        ("loss - limit", {0: -0.25, 60: 0.0, 240: 0.5}),
        ("loss * 2", {0: 0.5, 60: 1.0, 120: 1.5, 240: 2.0}),
        ("-loss + 1", {0: 0.75, 60: 0.5, 120: 0.25, 240: 0.0}),
        ("loss > limit", {0: 0.0, 60: 0.0, 240: 1.0}),
        ("loss - none", {}),
        # Nothing is divided by zero, and what grows beyond all numbers is none.
        ("limit / (loss - 0.25)", {60: 2.0, 240: 0.5 / 0.75}),
        ("loss * 1e308 * 10", {}),
        ("ABS(limit - loss)", {0: 0.25, 60: 0.0, 240: 0.5}),
        ("ABS(-3)", 3.0),
        # Over one series, a number; over several, at each moment over those that have a datapoint there.
        ("MAX(loss)", 1.0),
        ("AVG(limit)", 0.5),
        ("loss / SUM(limit)", {0: 0.125, 60: 0.25, 120: 0.375, 240: 0.5}),
        ("SUM([loss, limit])", {0: 0.75, 60: 1.0, 120: 0.75, 180: 0.5, 240: 1.5}),
        ("MIN([loss, limit, none])", {0: 0.25, 60: 0.5, 120: 0.75, 180: 0.5, 240: 0.5}),
        ("AVG([loss * 2, limit])", {0: 0.5, 60: 0.75, 120: 1.5, 180: 0.5, 240: 1.25}),
        ("SUM([none])", {}),
        ("loss - MAX(none)", {}),
        ("FILL(loss, 0)", {0: 0.25, 60: 0.5, 120: 0.75, 180: 0.0, 240: 1.0}),
        ("FILL(loss, REPEAT)", {0: 0.25, 60: 0.5, 120: 0.75, 180: 0.75, 240: 1.0}),
        ("FILL(limit, loss)", {0: 0.5, 60: 0.5, 120: 0.75, 180: 0.5, 240: 0.5}),
        ("FILL(none, REPEAT)", {}),
        ("IF(loss > limit, 1, 0)", {0: 0.0, 60: 0.0, 240: 1.0}),
        ("IF(loss >= 0.75, loss)", {120: 0.75, 240: 1.0}),
        ("IF(limit, loss, 9)", {0: 0.25, 60: 0.5, 240: 1.0}),
        ("IF(1 > 2, loss, limit)", SERIES["limit"]),
    ],
)
def test_what_expressions_give(text: str, expected: Any) -> None:
    assert value(text) == (expected if isinstance(expected, float) else pytest.approx(expected))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loss -", "it ends too early"),
        ("(loss", "')' is expected instead of the end"),
        ("loss limit", "'limit' at position 5 is not expected there"),
        ("loss ^ 2", "'^' at position 5 is nothing that localcloud's metric math has"),
        ("Loss", "'Loss' at position 0 is no id"),
        ("RATE(loss)", "RATE() is not among localcloud's functions: MIN, MAX, SUM, AVG, ABS, FILL, IF"),
        ("SEARCH('{AWS/EC2}', 'Sum')", "SEARCH() is not among localcloud's functions"),
        ("FILL(loss, LINEAR)", "'LINEAR' at position 11 is no id"),
        ("IF(loss)", "IF() has 1 arguments here; it takes 2 or 3"),
        ("MAX(loss, limit)", "MAX() has 2 arguments here; it takes 1"),
        ("loss # 1", "cannot read '# 1' at position 5"),
        ("(" * 60 + "1" + ")" * 60, "nested more than"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, message: str) -> None:
    with pytest.raises(MathError) as error:
        parse(text)
    assert message in str(error.value)


@pytest.mark.parametrize("text", ["[loss, limit] + 1", "ABS([loss])", "[loss, 1]", "FILL(1, 0)"])
def test_kinds_that_do_not_fit_are_refused(text: str) -> None:
    with pytest.raises(MathError):
        value(text)


@pytest.mark.parametrize(("text", "kind"), [("MAX(loss)", "a number"), ("[loss, limit]", "an array of time series")])
def test_the_result_is_one_series(text: str, kind: str) -> None:
    with pytest.raises(MathError, match=kind):
        series_of(value(text), text)


def test_expressions_follow_those_that_they_ask() -> None:
    asked = {"a": parse("b + c"), "b": parse("c * 2"), "c": parse("m1")}
    assert in_order(asked) == ["c", "b", "a"]
    with pytest.raises(MathError, match="depends on itself: a -> b -> a"):
        in_order({"a": parse("b"), "b": parse("a")})


numbers = st.floats(-1e6, 1e6).map(lambda number: f"({number!r})")
arithmetic = st.recursive(
    numbers, lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda parts: f"({' '.join(parts)})")
)


@given(arithmetic)
def test_arithmetic_is_pythons(text: str) -> None:
    expected = eval(text)
    found = parse(text).evaluate(SERIES.__getitem__, BEGINS)
    assert found == expected or (math.isnan(found) and not math.isfinite(expected))  # type: ignore[arg-type]


@given(st.text(alphabet="loss limit+-*/()[],<>=!&|.019eAFILRMX'\"", max_size=40))
def test_no_text_is_answered_otherwise_than_by_a_value_or_an_error(text: str) -> None:
    with contextlib.suppress(MathError):
        parse(text)
