"""Names of objects: expressions in prefixes, and what follows."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from localcloud.firehose import prefixes
from localcloud.firehose.errors import PartitionError
from localcloud.firehose.prefixes import Prefix, PrefixError

_MOMENT = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain/", "plain/"),
        ("a=!{timestamp:yyyy}/!{timestamp:MM-dd}/", "a=2026/02-03/"),
        ("!{timestamp:yy/M/d/H/m/s}", "26/2/3/4/5/6"),
        ("!{timestamp:'year='yyyy'/day='DDD}", "year=2026/day=034"),
        ("!{timestamp:HH''mm}", "04'05"),
        ("!{timestamp:yyyy/MM/dd/HH}/", "2026/02/03/04/"),
        ("day=!{partitionKeyFromQuery:day}/!{timestamp:mm}", "day=monday/05"),
        ("!{firehose:error-output-type}/", "failed/"),
    ],
)
def test_expressions_are_evaluated(text: str, expected: str) -> None:
    assert Prefix.parse(text).evaluate(_MOMENT, {"day": "monday"}, "failed") == expected


def test_a_random_string_is_another_one_every_time() -> None:
    prefix = Prefix.parse("!{firehose:random-string}/")
    found = {prefix.evaluate(_MOMENT, {}) for _ in range(5)}
    assert len(found) == 5
    assert all(re.fullmatch(r"[A-Za-z0-9]{11}/", one) for one in found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("!{timestamp:yyyy", "may only begin an expression"),
        ("!{timestamp:}", "is no pattern"),
        ("!{timestamp:yyyy'}", "is no pattern"),
        ("!{timestamp:YYYY}", "localcloud has no 'YYYY'"),
        ("!{firehose:name}", "there are error-output-type and random-string"),
        ("!{partitionKeyFromQuery:}", "is no expression"),
        ("!{partitionKeyFromLambda:day}", "no functions that transform records"),
        ("!{nonsense:day}", "is no expression"),
    ],
)
def test_what_is_no_expression_is_refused(text: str, said: str) -> None:
    with pytest.raises(PrefixError, match=said):
        Prefix.parse(text)


def test_the_time_is_put_behind_a_prefix_that_has_none_unless_it_is_partitioned() -> None:
    assert prefixes.for_records("a/", partitioned=False).evaluate(_MOMENT, {}) == "a/2026/02/03/04/"
    assert prefixes.for_records("a/!{timestamp:yyyy}/", partitioned=False).evaluate(_MOMENT, {}) == "a/2026/"
    partitioned = prefixes.for_records("!{partitionKeyFromQuery:k}/", partitioned=True)
    assert partitioned.evaluate(_MOMENT, {"k": "v"}) == "v/"


@pytest.mark.parametrize(
    ("text", "prefix", "expected"),
    [
        (None, "data/", "data/failed/2026/02/03/04/"),
        ("errors/", "data/", "errors/failed/2026/02/03/04/"),
        ("errors-", "data/", "errors-failed/2026/02/03/04/"),
        ("errors/!{firehose:error-output-type}/", "!{timestamp:yyyy}/", "errors/failed/"),
    ],
)
def test_errors_are_told_apart_by_their_kind(text: str | None, prefix: str, expected: str) -> None:
    assert prefixes.for_errors(text, prefix, partitioned=False).evaluate(_MOMENT, {}, "failed") == expected


def test_an_error_prefix_is_asked_for_where_the_prefix_has_expressions() -> None:
    for prefix, partitioned in (("!{timestamp:yyyy}/", False), ("data/", True)):
        with pytest.raises(PrefixError, match="ErrorOutputPrefix is required"):
            prefixes.for_errors(None, prefix, partitioned=partitioned)
    with pytest.raises(PrefixError, match=r"cannot contain !\{partitionKeyFromQuery"):
        prefixes.for_errors("!{partitionKeyFromQuery:k}/!{firehose:error-output-type}", "", partitioned=True)


def test_a_prefix_that_becomes_too_long_is_refused_for_the_record() -> None:
    with pytest.raises(PartitionError, match="has 513 characters"):
        Prefix.parse("!{partitionKeyFromQuery:k}/").evaluate(_MOMENT, {"k": "v" * 512})


def test_the_suffix_names_stream_version_and_moment() -> None:
    first, second = (prefixes.suffix("name", "3", _MOMENT, ".gz") for _ in range(2))
    assert re.fullmatch(r"name-3-2026-02-03-04-05-06-[0-9a-f-]{36}\.gz", first)
    assert first != second
