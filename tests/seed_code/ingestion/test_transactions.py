"""What a transaction is, and how it is written."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seed_code.ingestion import transactions
from seed_code.ingestion.transactions import LARGEST_FEE, Unusable, check, encode, heartbeat, in_order

NOW = 1_795_000_000


@pytest.mark.parametrize("fee", [None, 0, 1, 2**31, LARGEST_FEE])
def test_a_transaction_goes_through_as_it_came(fee):
    item = {"hash": "aB3", "time": NOW, "fee": fee, "inputs": [{"prev_out": None}], "new member": 1}
    assert check(item, NOW) == item


def test_a_fee_that_is_not_said_is_null_and_the_given_item_stays_as_it_is():
    item = {"hash": "a", "time": NOW}
    assert check(item, NOW) == {**item, "fee": None}
    assert "fee" not in item


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hash": None}, "the hash is null; expected 1 to 128 letters and digits"),
        ({"hash": ""}, "the hash is ''"),
        ({"hash": "a" * 129}, "the hash is 'aaa"),
        ({"hash": "a\n"}, r"the hash is 'a\n'"),
        ({"hash": "é"}, "the hash is"),
        ({"hash": 7}, "the hash is 7"),
        ({"hash": ["a"]}, "the hash is a list"),
        ({"time": None}, "the time is null; expected whole seconds since 1970"),
        ({"time": 0}, "the time is 0"),
        ({"time": -1}, "the time is -1"),
        ({"time": 1.5}, "the time is 1.5"),
        ({"time": True}, "the time is true"),
        ({"time": "1795000000"}, "the time is '1795000000'"),
        ({"time": NOW + 61}, f"the time is {NOW + 61}, from the future: the source's clock said {NOW}"),
        ({"fee": -1}, "the fee is -1; expected null or whole satoshi from 0 to"),
        ({"fee": LARGEST_FEE + 1}, f"the fee is {LARGEST_FEE + 1}"),
        ({"fee": 1.0}, "the fee is 1.0"),
        ({"fee": False}, "the fee is false"),
        ({"fee": {}}, "the fee is an object"),
        ({"fee": 10**4000}, "the fee is a number of more than 38 digits"),
        ({"fee": 10**5000}, "the fee is a number of more than 38 digits"),
    ],
)
def test_what_is_no_transaction_is_refused_with_the_reason(change, said):
    with pytest.raises(Unusable) as refused:
        check({"hash": "a", "time": NOW, "fee": 1, **change}, NOW)
    assert said in str(refused.value)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(("item", "kind"), [(None, "null"), ([], "a list"), ("tx", "'tx'"), (3, "3"), (True, "true")])
def test_only_an_object_is_a_transaction(item, kind):
    with pytest.raises(Unusable, match=f"the item is {kind}; expected an object"):
        check(item, NOW)


def test_a_clock_may_be_a_little_ahead():
    assert check({"hash": "a", "time": NOW + transactions.FUTURE_SECONDS, "fee": 1}, NOW)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner), max_leaves=5
)


@given(st.dictionaries(st.sampled_from(["hash", "time", "fee", "more"]), _JSON) | _JSON)
def test_whatever_comes_is_a_transaction_or_unusable(item):
    try:
        found = check(item, NOW)
    except Unusable as error:
        said = str(error)
    else:
        said = "it is one"
        assert type(found["time"]) is int
        assert found["fee"] is None or type(found["fee"]) is int
    assert said.isprintable()


def test_a_record_is_one_compact_line():
    assert encode({"hash": "a", "time": 5, "fee": None, "é": "\n"}) == (
        b'{"hash":"a","time":5,"fee":null,"\\u00e9":"\\n"}\n'
    )
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode({"hash": "a", "time": 5, "fee": 1, "size": float("nan")})


def test_a_heartbeat_has_a_time_and_nothing_else():
    assert json.loads(heartbeat(NOW)) == {"hash": None, "time": NOW, "fee": None}


def test_an_events_transactions_are_ordered_by_time_and_hash():
    given = [{"hash": "b", "time": 2}, {"hash": "a", "time": 2}, {"hash": "c", "time": 1}]
    assert [one["hash"] for one in in_order(given)] == ["c", "a", "b"]
