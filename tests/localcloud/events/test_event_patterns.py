"""Event patterns: every operator against what it matches and what it does not, and what makes a pattern wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localcloud.events.patterns import Pattern, PatternError

NOTHING = object()


def matches(test: Any, value: Any) -> bool:
    """Whether one test holds for the field `v` of an event."""
    event = {} if value is NOTHING else {"v": value}
    return Pattern.parse(json.dumps({"v": test})).matches(event)


@pytest.mark.parametrize(
    ("test", "right", "wrong"),
    [
        (["a", "b"], ["a", "b", ["x", "b"]], ["c", "A", 1, None, NOTHING, [], {"a": 1}]),
        ([1], [1, 1.0], ["1", True, 2]),
        ([True], [True], [1, "true", False]),
        ([None], [None], ["", 0, NOTHING]),
        ([""], [""], [None, " ", NOTHING]),
        ([{"prefix": "ab"}], ["ab", "abc", ["x", "abx"]], ["a", "AB", 1, NOTHING]),
        ([{"prefix": {"equals-ignore-case": "ab"}}], ["ABc", "abc"], ["ba"]),
        ([{"suffix": ".png"}], ["a.png"], ["a.PNG", "png"]),
        ([{"suffix": {"equals-ignore-case": ".png"}}], ["a.PNG"], ["a.jpg"]),
        ([{"equals-ignore-case": "Alice"}], ["alice", "ALICE"], ["alic", 1]),
        ([{"wildcard": "a*c"}], ["ac", "abc", "a\nc"], ["abcd", "xac"]),
        ([{"wildcard": "a\\*c\\\\"}], ["a*c\\"], ["abc\\"]),
        ([{"anything-but": "a"}], ["b", ["a", "b"]], ["a", ["a"], NOTHING]),
        ([{"anything-but": ["a", "b"]}], ["c"], ["a", "b"]),
        ([{"anything-but": [1, 2]}], [3, "1"], [1, 2.0]),
        ([{"anything-but": {"prefix": "a"}}], ["b", 1], ["ab", NOTHING]),
        ([{"anything-but": {"prefix": ["a", "b"]}}], ["c"], ["ab", "ba"]),
        ([{"anything-but": {"suffix": "a"}}], ["ab"], ["ba"]),
        ([{"anything-but": {"equals-ignore-case": ["A", "b"]}}], ["c"], ["a", "B"]),
        ([{"anything-but": {"wildcard": "*/lib/*"}}], ["/a/b"], ["/a/lib/b"]),
        ([{"numeric": ["=", 3]}], [3, 3.0], [4, "3", True, NOTHING]),
        ([{"numeric": [">", 0, "<=", 5]}], [1, 5], [0, 5.1]),
        ([{"exists": True}], ["", None, 0, ["a"]], [NOTHING, {"a": 1}, []]),
        ([{"exists": False}], [NOTHING], ["a", None]),
        ([{"cidr": "10.0.0.0/24"}], ["10.0.0.255"], ["10.0.1.0", "no address", 10]),
        ([{"prefix": "a"}, {"numeric": ["<", 0]}], ["ab", -1], ["b", 1]),
    ],
)
def test_operators(test: Any, right: list[Any], wrong: list[Any]) -> None:
    assert [value for value in right if not matches(test, value)] == []
    assert [value for value in wrong if matches(test, value)] == []


def test_all_fields_must_match_and_other_fields_do_not_matter() -> None:
    pattern = Pattern.parse('{"source": ["s"], "detail": {"state": {"value": ["ALARM"]}}}')
    assert pattern.matches({"source": "s", "detail": {"state": {"value": "ALARM", "x": 1}}, "id": "1"})
    assert not pattern.matches({"source": "s", "detail": {"state": {"value": "OK"}}})
    assert not pattern.matches({"source": "s", "detail": "ALARM"})
    assert not pattern.matches({"source": "s"})


def test_or_takes_one_of_its_alternatives_besides_the_other_fields() -> None:
    pattern = Pattern.parse('{"source": ["s"], "$or": [{"a": [1]}, {"b": [{"numeric": [">", 1]}], "c": ["x"]}]}')
    assert pattern.matches({"source": "s", "a": 1})
    assert pattern.matches({"source": "s", "b": 2, "c": "x"})
    assert not pattern.matches({"source": "s", "b": 2})
    assert not pattern.matches({"a": 1})


def test_fields_of_a_list_of_objects_must_be_in_the_same_element() -> None:
    pattern = Pattern.parse('{"variants": {"name": ["a"], "weight": [1]}}')
    assert pattern.matches({"variants": [{"name": "b"}, {"name": "a", "weight": 1}]})
    assert not pattern.matches({"variants": [{"name": "a", "weight": 0}, {"name": "b", "weight": 1}]})


def test_a_field_of_what_is_not_there_does_not_exist() -> None:
    assert Pattern.parse('{"detail": {"x": [{"exists": false}]}}').matches({})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no", "not JSON"),
        ("[]", "must be an object"),
        ("{}", "must have a field"),
        ('{"source": []}', "Empty arrays are not allowed at source"),
        ('{"detail": {"a": {}}}', "Empty objects are not allowed at detail.a"),
        ('{"source": "s"}', "source must be an object or an array"),
        ('{"a": [["b"]]}', r"at a\[0\]; got an array"),
        ('{"a": [{"preffix": "b"}]}', r"Unrecognized match type preffix at a\[0\]"),
        ('{"a": [{"prefix": "b", "suffix": "c"}]}', "Only one key allowed"),
        ('{"a": [{"prefix": 1}]}', r"a\[0\].prefix match pattern must be a string"),
        ('{"a": [{"prefix": {"wildcard": "x"}}]}', "a string or equals-ignore-case"),
        ('{"a": [{"exists": "yes"}]}', "must be either true or false"),
        ('{"a": [{"numeric": ["~", 1]}]}', "Unrecognized numeric range operator"),
        ('{"a": [{"numeric": [">", "1"]}]}', "must be numeric"),
        ('{"a": [{"numeric": [">", 5, "<", 1]}]}', "Bottom must be less than top"),
        ('{"a": [{"numeric": [">", 5, ">", 1]}]}', "one lower and one upper bound"),
        ('{"a": [{"numeric": []}]}', "one or two comparisons"),
        ('{"a": [{"cidr": "10.0/99"}]}', "Malformed CIDR"),
        ('{"a": [{"wildcard": "a**b"}]}', "Consecutive wildcard characters at pos 1"),
        ('{"a": [{"wildcard": "a\\\\b"}]}', "Invalid escape character"),
        ('{"a": [{"anything-but": []}]}', "that is not empty"),
        ('{"a": [{"anything-but": ["a", 1]}]}', "all values are numbers or all are strings"),
        ('{"a": [{"anything-but": {"numeric": [">", 1]}}]}', "may hold one of"),
        ('{"$or": []}', "must be an array of objects"),
    ],
)
def test_a_wrong_pattern_says_where(text: str, message: str) -> None:
    with pytest.raises(PatternError, match=message):
        Pattern.parse(text)
