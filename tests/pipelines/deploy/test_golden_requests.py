"""How the answers of a live endpoint are held against those that were kept with the package."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.deploy.functions.golden import Verdict, differences, report

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(-1e9, 1e9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(_JSON)
def test_an_answer_is_as_itself(answer: Any) -> None:
    assert list(differences(answer, answer, 0.0)) == []
    assert list(differences(json.loads(json.dumps(answer)), answer, 1e-12)) == []


@pytest.mark.parametrize(
    ("found", "expected", "tolerance", "said"),
    [
        ({"a": 1.0}, {"a": 1.0 + 1e-7}, 1e-6, []),
        ({"a": 100.0}, {"a": 100.00005}, 1e-6, []),  # relative
        ({"a": 1.0}, {"a": 1.1}, 1e-6, ["answer.a is 1.0, expected 1.1 within 1e-06"]),
        ({"a": 1, "more": 2}, {"a": 1}, 0, []),
        ({}, {"a": {"b": 1}}, 0, ['answer.a is missing, expected {"b": 1}']),
        ([1, 2], [1], 0, ["answer is [1, 2], expected a list of 1"]),
        ([{"x": True}], [{"x": False}], 1, ["answer[0].x is true, expected false"]),
        ({"a": True}, {"a": 1}, 1, ["answer.a is true, expected 1"]),
        ({"a": "1"}, {"a": 1}, 1, ['answer.a is "1", expected 1']),
        ("text", {"a": 1}, 1, ['answer is "text", expected an object']),
        ({"a": float("nan")}, {"a": 1.0}, 1, ["answer.a is nan, expected 1.0 within 1"]),
    ],
)
def test_what_is_not_as_expected_is_named_with_its_place(
    found: Any, expected: Any, tolerance: float, said: list[str]
) -> None:
    assert list(differences(found, expected, tolerance)) == said


def test_the_report_has_the_times_and_whether_all_went_well() -> None:
    verdicts = [Verdict("a", 200, 3.0, ""), Verdict("b", 200, 1.0, ""), Verdict("c", 400, 10.0, "")]
    good = report("e", "arn", verdicts)
    assert (good["passed"], good["requests"], good["median_milliseconds"], good["slowest_milliseconds"]) == (
        True,
        3,
        3.0,
        10.0,
    )
    assert report("e", "arn", [*verdicts, Verdict("d", 500, 1.0, "status 500")])["passed"] is False
