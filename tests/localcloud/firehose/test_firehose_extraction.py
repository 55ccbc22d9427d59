"""The partition of a record, by a jq query."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.firehose.errors import PartitionError
from localcloud.firehose.extraction import Extraction, QueryError

_BY_TIME = '{day: (.time | strftime("%Y-%m-%d")), hour: (.time | strftime("%H"))}'


def test_keys_are_what_the_query_makes_of_the_record() -> None:
    found = Extraction(_BY_TIME, ["day", "hour"]).partition(b'{"time": 1763820000, "fee": null}\n')
    assert found == {"day": "2025-11-22", "hour": "14"}


@pytest.mark.parametrize(
    ("value", "text"), [('"a b"', "a b"), ("5", "5"), ("1.5", "1.5"), ("true", "true"), ('"ü"', "ü")]
)
def test_plain_values_are_texts(value: str, text: str) -> None:
    assert Extraction("{k: .v}", ["k"]).partition(f'{{"v": {value}}}'.encode()) == {"k": text}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "Non JSON record provided"),
        (b"{", "Non JSON record provided"),
        (b'{"v": "1"}{"v": "2"}', "Non JSON record provided"),
        (b"\xff", "Non JSON record provided"),
        (b"5", "The query fails for the record"),
        (b'{"v": null}', "must not be null or empty; k is null"),
        (b'{"v": ""}', 'must not be null or empty; k is ""'),
        (b'{"v": [1]}', r"must not be null or empty; k is \[1\]"),
        (b"{}", "must not be null or empty; k is null"),
    ],
)
def test_what_has_no_partition_says_why(data: bytes, said: str) -> None:
    with pytest.raises(PartitionError, match=said):
        Extraction("{k: .v}", ["k"]).partition(data)


def test_a_query_must_give_one_object() -> None:
    for query in (".v", "{k: .v}, {k: .v}", "empty"):
        with pytest.raises(PartitionError, match="must give one object"):
            Extraction(query, ["k"]).partition(b'{"v": "1"}')


def test_a_query_that_is_none_is_refused() -> None:
    with pytest.raises(QueryError, match="syntax error"):
        Extraction("{k: ", ["k"])


@given(st.binary(max_size=200))
def test_no_record_does_more_than_have_no_partition(data: bytes) -> None:
    with contextlib.suppress(PartitionError):
        assert set(Extraction(_BY_TIME, ["day", "hour"]).partition(data)) == {"day", "hour"}
