"""The function between the bus and the stream: nothing is lost, whatever fails, and what is known is not repeated."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seed_code.ingestion import transactions
from seed_code.ingestion.functions import environment
from seed_code.ingestion.functions.deduplication import Counts, Deduplication, NotPublished, Unexpected
from seed_code.ingestion.functions.publishing import LARGEST_RECORD, Publisher
from seed_code.ingestion.functions.seen import Seen
from tests.seed_code.ingestion.lambda_doubles import Kinesis, Table, Timer, refusal

NOW = 1_795_000_000
HEARTBEAT = None


def transaction(name: str, time: int = NOW - 5, **members: Any) -> dict[str, Any]:
    return {"hash": name, "time": time, "fee": 9000, "inputs": [{"sequence": 1}], **members}


def detail(*items: Any, observed_at: int = NOW) -> dict[str, Any]:
    return {"schema_version": 1, "observed_at": observed_at, "transactions": list(items)}


class Function:
    """The function over a stream and a table."""

    def __init__(self, kinesis: Kinesis | None = None, table: Table | None = None) -> None:
        self.kinesis, self.table, self.timer = kinesis or Kinesis(), table or Table(), Timer()
        publisher = Publisher(
            self.kinesis, "transactions-stream", transactions.PARTITION_KEY, sleep=self.timer.sleep, jitter=lambda: 1
        )
        self.deduplication = Deduplication(Seen(self.table, "seen-table"), publisher, hours=6)

    def __call__(self, *items: Any) -> Counts:
        return self.deduplication.handle(detail(*items), self.timer)[1]


def test_transactions_go_in_the_order_of_time_and_hash_and_then_the_heartbeat() -> None:
    function = Function()
    counts = function(transaction("c", NOW - 1), transaction("b", NOW - 2), transaction("a", NOW - 1))
    assert counts == Counts(3, 0, 3)
    assert function.kinesis.hashes == ["b", "a", "c", HEARTBEAT]
    assert json.loads(function.kinesis.taken[0]) == transaction("b", NOW - 2)
    assert function.kinesis.taken[-1] == b'{"hash":null,"time":1795000000,"fee":null}\n'
    assert function.table.items == dict.fromkeys("abc", NOW + 6 * 3600)


def test_an_event_without_transactions_is_a_heartbeat() -> None:
    function = Function()
    assert function() == Counts(0, 0, 0)
    assert function.kinesis.hashes == [HEARTBEAT]


def test_what_is_known_is_not_repeated() -> None:
    function = Function(table=Table({"a": 1}))
    assert function(transaction("a"), transaction("b")) == Counts(2, 1, 1)
    assert function(transaction("a"), transaction("b")) == Counts(2, 2, 0)
    assert function.kinesis.hashes == ["b", HEARTBEAT, HEARTBEAT]
    assert function.table.items["a"] == 1  # its time runs from when it was first passed on


def test_of_a_transaction_that_an_event_has_twice_the_earlier_goes_on() -> None:
    function = Function()
    assert function(transaction("a", NOW - 1), transaction("a", NOW - 3)) == Counts(2, 1, 1)
    assert json.loads(function.kinesis.taken[0])["time"] == NOW - 3


def test_only_records_that_were_refused_are_sent_again() -> None:
    function = Function(Kinesis([[0, 2], [1]]))
    assert function(*[transaction(name, NOW - 9) for name in "abcd"]) == Counts(4, 0, 4)
    assert function.kinesis.hashes == ["b", "d", "a", "c", HEARTBEAT]
    assert function.timer.left == pytest.approx(30 - 0.1 - 0.2)


def test_what_the_stream_does_not_take_in_time_comes_again_and_the_rest_is_marked() -> None:
    function = Function(Kinesis([[1]] + [[0]] * 50))
    with pytest.raises(NotPublished, match=r"did not take 1 of 3 .* because of ProvisionedThroughputExceeded.*2 are m"):
        function(*[transaction(name) for name in "abc"])
    assert function.kinesis.hashes == ["a", "c"]  # and no heartbeat: it would close a minute before its transactions
    assert sorted(function.table.items) == ["a", "c"]
    assert 3 <= function.timer.left < 7  # time for marking was left
    function.kinesis.plan, function.timer.left = [], 30
    assert function(*[transaction(name) for name in "abc"]) == Counts(3, 2, 1)
    assert function.kinesis.hashes == ["a", "c", "b", HEARTBEAT]


def test_a_request_that_fails_as_a_whole_is_sent_again() -> None:
    function = Function(Kinesis([refusal("InternalFailure"), refusal("LimitExceededException")]))
    assert function(transaction("a")) == Counts(1, 0, 1)
    assert function.kinesis.hashes == ["a", HEARTBEAT]


@pytest.mark.parametrize("code", ["ResourceNotFoundException", "AccessDeniedException", "KMSDisabledException"])
def test_what_no_repetition_mends_is_not_repeated(code: str) -> None:
    function = Function(Kinesis([refusal(code)]))
    with pytest.raises(NotPublished, match=code):
        function(transaction("a"))
    assert function.kinesis.requests == 1
    assert function.table.items == {}


def test_a_heartbeat_that_is_not_taken_comes_again() -> None:
    function = Function(Kinesis([(), refusal("AccessDeniedException")]))
    with pytest.raises(NotPublished, match="1 are marked"):
        function(transaction("a"))
    assert function(transaction("a")) == Counts(1, 1, 0)
    assert function.kinesis.hashes == ["a", HEARTBEAT]


def test_a_table_that_cannot_be_read_makes_repetitions_and_no_losses() -> None:
    function = Function(table=Table({"a": 1}, reads=[refusal("ProvisionedThroughputExceededException")]))
    assert function(transaction("a")) == Counts(1, 0, 1)
    assert function.kinesis.hashes == ["a", HEARTBEAT]


def test_keys_that_a_throttled_table_leaves_out_are_asked_for_again_and_then_taken_for_new() -> None:
    known = Table(dict.fromkeys("abc", 1), reads=[1])
    assert Function(table=known)(*[transaction(name) for name in "abc"]) == Counts(3, 3, 0)
    stubborn = Table(dict.fromkeys("abc", 1), reads=[1, 0, 0])
    assert Function(table=stubborn)(*[transaction(name) for name in "abc"]) == Counts(3, 1, 2)


def test_what_could_not_be_marked_is_passed_on_again() -> None:
    function = Function(table=Table(writes=[refusal("InternalServerError")]))
    assert function(transaction("a")) == Counts(1, 0, 1)
    assert function(transaction("a")) == Counts(1, 0, 1)
    assert function(transaction("a")) == Counts(1, 1, 0)


def test_what_a_throttled_table_did_not_mark_is_marked_at_once_or_passed_on_again() -> None:
    names = [f"{number:02}" for number in range(40)]
    throttled = Function(table=Table(writes=[[0, 24], [1], []]))
    assert throttled(*[transaction(name) for name in names]) == Counts(40, 0, 40)
    assert sorted(throttled.table.items) == names
    for_long = Function(table=Table(writes=[[7]] + [[0]] * 2))
    for_long(*[transaction(name) for name in names])
    assert sorted(for_long.table.items) == [name for name in names if name != "07"]
    assert for_long(*[transaction(name) for name in names]) == Counts(40, 39, 1)


def test_one_that_another_invocation_has_marked_meanwhile_keeps_its_time() -> None:
    function = Function(table=Table({"a": 1}, reads=[0, 0, 0]))
    assert function(transaction("a"), transaction("b")) == Counts(2, 0, 2)
    assert function.table.items == {"a": 1, "b": NOW + 6 * 3600}
    assert function.table.writes == []


def test_more_than_one_request_holds() -> None:
    function = Function()
    assert function(*[transaction(f"{number:04}") for number in range(1201)]) == Counts(1201, 0, 1201)
    assert function.kinesis.hashes == [f"{number:04}" for number in range(1201)] + [HEARTBEAT]
    assert function.kinesis.requests == 4
    assert len(function.table.items) == 1201


def test_what_is_no_transaction_is_told_after_the_others_are_passed_on() -> None:
    function = Function()
    with pytest.raises(Unexpected, match=r"2 of 3 items observed at 1795000000 .*the time is 1795000061, from the fut"):
        function(transaction("a"), transaction("b", NOW + 61), {"hash": "c"})
    assert function.kinesis.hashes == ["a", HEARTBEAT]


@pytest.mark.parametrize(
    "changed",
    [{"schema_version": 2}, {"observed_at": True}, {"observed_at": 10**13}, {"transactions": {}}, {"observed_at": 0}],
)
def test_an_event_of_another_kind_is_refused(changed: dict[str, Any]) -> None:
    function = Function()
    with pytest.raises(Unexpected, match=next(iter(changed))):
        function.deduplication.handle({**detail(), **changed}, function.timer)
    with pytest.raises(Unexpected, match="schema_version"):
        function.deduplication.handle(None, function.timer)
    assert function.kinesis.taken == []


def test_a_transaction_that_grows_beyond_a_record_goes_without_its_parts() -> None:
    function = Function()
    function(transaction("a", out="\N{SNOWMAN}" * (LARGEST_RECORD // 5)))
    assert json.loads(function.kinesis.taken[0]) == {"hash": "a", "time": NOW - 5, "fee": 9000, "trimmed": True}


@settings(max_examples=60)
@given(
    pages=st.lists(st.lists(st.integers(0, 12), max_size=6), min_size=1, max_size=5),
    met=st.lists(st.one_of(st.sets(st.integers(0, 5)), st.just(refusal("InternalFailure"))), max_size=12),
    unread=st.lists(st.sampled_from([refusal("InternalServerError"), 0, 1, 100]), max_size=4),
    unmarked=st.integers(0, 4),
)
def test_whatever_fails_all_arrive_when_events_come_again(
    pages: list[list[int]], met: list[Any], unread: list[Any], unmarked: int
) -> None:
    kinesis = Kinesis(met)
    function = Function(kinesis, Table(reads=unread, writes=[refusal("InternalServerError")] * unmarked))
    for page in pages:
        while True:
            function.timer.left = 3.5  # no time for many tries
            heartbeats = kinesis.hashes.count(HEARTBEAT)
            try:
                function(*[transaction(f"t{number}") for number in page])
            except NotPublished:
                assert kinesis.hashes.count(HEARTBEAT) == heartbeats
                continue
            break
        arrived = kinesis.hashes
        assert {f"t{number}" for number in page} <= set(arrived)
        assert arrived[-1] is HEARTBEAT
    assert set(function.table.items) <= set(kinesis.hashes)  # nothing is known that was not passed on


def test_a_function_that_is_not_told_enough_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PROJECT", "TRANSACTIONS_STREAM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SEEN_TABLE", "seen")
    with pytest.raises(
        environment.WrongEnvironment, match=r"^PROJECT, TRANSACTIONS_STREAM is not in the environment; "
    ):
        environment.read("PROJECT", "TRANSACTIONS_STREAM", "SEEN_TABLE")
    monkeypatch.setenv("DEDUPE_HOURS", "6h")
    with pytest.raises(environment.WrongEnvironment, match=r"DEDUPE_HOURS is `6h`; expected a whole number"):
        environment.whole_number("DEDUPE_HOURS")
