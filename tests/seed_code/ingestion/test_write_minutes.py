"""The function between the stream of minutes and the feature store."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seed_code.ingestion.functions import minutes
from seed_code.ingestion.functions.dead_letters import DeadLetters
from seed_code.ingestion.functions.metrics import Metric
from seed_code.ingestion.functions.minute_writing import MinuteWriting, Result
from seed_code.ingestion.functions.minutes import Minute, Poison
from tests.seed_code.ingestion.lambda_doubles import FeatureStore, Queue, Timer, kinesis_event, refusal

START = datetime(2026, 11, 22, 14, 3, tzinfo=UTC)
CAME = datetime(2026, 11, 22, 14, 4, 6, tzinfo=UTC)
ROW = {
    "tx_minute": "2026-11-22T14:03:00Z",
    "total_nb_trx_1min": 280,
    "total_fee_1min": 2520000,
    "avg_fee_1min": 9000.0,
}
QUIET = {"tx_minute": "2026-11-22T14:02:00Z", "total_nb_trx_1min": 0, "total_fee_1min": 0, "avg_fee_1min": None}
LATE = {"late_hash": "ab12", "late_time": 1, "late_minute": "2026-11-22T14:01:00Z"}


def line(row: Any) -> bytes:
    return json.dumps(row).encode() + b"\n"


class Function:
    """The function over a store and a queue."""

    def __init__(self, *plan: Any, queue: Queue | None = None) -> None:
        self.store, self.queue, self.timer = FeatureStore(list(plan)), queue or Queue(), Timer()
        self.writing = MinuteWriting(self.store, "minutes-group", DeadLetters(self.queue, "queue-url"))

    def __call__(self, *data: bytes) -> Result:
        return self.writing.handle(kinesis_event(data, CAME)["Records"], self.timer)


def test_a_minute_becomes_a_record_with_its_end_as_event_time() -> None:
    function = Function()
    result = function(line(ROW), line(QUIET))
    assert result.answer() == {"batchItemFailures": []}
    assert function.store.records == [
        {
            "tx_minute": "2026-11-22T14:03:00Z",
            "total_nb_trx_1min": "280",
            "total_fee_1min": "2520000.0",
            "avg_fee_1min": "9000.0",
            "event_time": "2026-11-22T14:04:00Z",
        },
        {
            "tx_minute": "2026-11-22T14:02:00Z",
            "total_nb_trx_1min": "0",
            "total_fee_1min": "0.0",
            "event_time": "2026-11-22T14:03:00Z",
        },
    ]
    end, before = START + timedelta(minutes=1), START
    assert list(result.metrics()) == [
        Metric("MinutesWritten", 1, end),
        Metric("QuietMinutes", 0, end),
        Metric("MinuteAgeSeconds", 7, end, "Seconds"),
        Metric("MinutesWritten", 1, before),
        Metric("QuietMinutes", 1, before),
        Metric("MinuteAgeSeconds", 67, before, "Seconds"),
    ]


def test_late_transactions_are_counted_and_written_nowhere() -> None:
    function = Function()
    result = function(line(LATE), line(LATE))
    assert result.answer() == {"batchItemFailures": []}
    assert list(result.metrics()) == [Metric("LateTransactions", 2, CAME.replace(second=0))]
    assert function.store.records == function.queue.messages == []


def test_poison_goes_to_the_queue_with_its_reason_and_the_batch_goes_on() -> None:
    function = Function()
    result = function(b"{not JSON", line(ROW))
    assert result.answer() == {"batchItemFailures": []}
    assert [record["tx_minute"] for record in function.store.records] == [ROW["tx_minute"]]
    (message,) = function.queue.messages
    assert message.pop("reason").startswith("the record is not JSON: ")
    assert message == {
        "stream_arn": "arn:aws:kinesis:eu-west-1:123456789012:stream/minutes-stream",
        "shard_id": "shardId-000000000006",
        "sequence_number": "1",
        "arrived_at": CAME.timestamp(),
        "data_bytes": 9,
        "data_base64": base64.b64encode(b"{not JSON").decode(),
        "data": "{not JSON",
    }
    assert Metric("PoisonRecords", 1, CAME.replace(second=0)) in list(result.metrics())


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"tx_minute": "2026-11-22T14:03:30Z"}, "expected a minute such as"),
        ({"tx_minute": "2026-02-30T14:03:00Z"}, "expected a minute such as"),
        ({"tx_minute": "1969-12-31T23:59:00Z"}, "not before 1970"),
        ({"tx_minute": "9999-12-31T23:59:00Z"}, "expected a minute such as"),
        ({"tx_minute": 1795356180}, "`tx_minute` is `1795356180`"),
        ({"total_nb_trx_1min": True}, "`total_nb_trx_1min` is `true`; expected a whole number"),
        ({"total_nb_trx_1min": 2.0}, "expected a whole number"),
        ({"total_nb_trx_1min": -1}, "expected a whole number"),
        ({"total_nb_trx_1min": None}, "`total_nb_trx_1min` is null"),
        ({"total_nb_trx_1min": 10**4000}, "a very long number"),
        ({"total_nb_trx_1min": 0}, "`total_fee_1min` is 2520000 of 0 transactions"),
        ({"total_fee_1min": "2520000"}, "expected a whole number"),
        ({"avg_fee_1min": "9000"}, "expected a number"),
        ({"avg_fee_1min": float("nan")}, "expected a number"),
        ({"avg_fee_1min": None}, "expected the average of the known fees"),
        ({"avg_fee_1min": 8999.9}, "make 9000 to 2520000"),
        ({"avg_fee_1min": 2520001}, "make 9000 to 2520000"),
        ({"avg_fee_1min": 0.0, "total_fee_1min": 0, "total_nb_trx_1min": 0}, "of 0 transactions"),
        ({"late_hash": None}, "`late_hash` is null"),
    ],
)
def test_a_row_that_no_minute_has_is_poison(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(Poison) as poison:
        minutes.read(line({**ROW, **changed}))
    assert reason in str(poison.value)


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"\xff\xfe", b"1e999", b"[" * 100_000, b'"' + b"x" * 300_000])
def test_whatever_else_lies_on_the_stream_is_put_aside(data: bytes) -> None:
    function = Function()
    assert function(data, line(ROW)).failed is None
    assert len(function.queue.messages) == len(function.store.records) == 1
    assert function.queue.messages[0]["data_bytes"] == len(data)


@settings(max_examples=50)
@given(
    st.binary(max_size=50) | st.one_of(st.none(), st.integers(), st.text(max_size=20), st.lists(st.none())).map(line)
)
def test_reading_raises_nothing_but_poison(data: bytes) -> None:
    with pytest.raises(Poison):
        minutes.read(data)


def test_fees_that_are_not_known_leave_a_minute_without_average() -> None:
    row = {**ROW, "total_fee_1min": 0, "avg_fee_1min": None}
    assert minutes.read(line(row)) == Minute(START, 280, 0, None)
    del row["avg_fee_1min"]
    assert minutes.read(line(row)) == Minute(START, 280, 0, None)
    assert minutes.read(line({**row, "avg_fee_1min": 0})) == Minute(START, 280, 0, 0.0)


@settings(max_examples=50)
@given(
    count=st.integers(1, 10**6),
    unknown=st.integers(0, 10**6),
    total=st.integers(0, 21 * 10**20),
)
def test_every_minute_that_there_can_be_is_read_as_it_was_written(count: int, unknown: int, total: int) -> None:
    minute = Minute(START, count + unknown, total, float(total) / count)
    assert minutes.read(line(minute.row())) == minute


@pytest.mark.parametrize("code", ["ThrottlingException", "InternalFailure", "ServiceUnavailable", "AccessForbidden"])
def test_what_the_store_does_not_take_for_now_comes_again_with_all_after_it(code: str) -> None:
    function = Function(None, refusal(code))
    result = function(line(QUIET), line(ROW), b"poison", line(LATE))
    assert result.answer() == {"batchItemFailures": [{"itemIdentifier": "2"}]}
    assert [record["tx_minute"] for record in function.store.records] == [QUIET["tx_minute"]]
    assert function.queue.messages == []
    assert {metric.name for metric in result.metrics()} == {"MinutesWritten", "QuietMinutes", "MinuteAgeSeconds"}


def test_what_the_store_refuses_for_good_is_poison() -> None:
    function = Function(refusal("ValidationError"))
    assert function(line(ROW), line(QUIET)).failed is None
    assert "the feature group minutes-group refuses" in function.queue.messages[0]["reason"]
    assert len(function.store.records) == 1


def test_poison_that_the_queue_does_not_take_comes_again() -> None:
    function = Function(queue=Queue([refusal("RequestThrottled")]))
    assert function(line(ROW), b"poison", line(QUIET)).failed == "2"
    assert len(function.store.records) == 1
    assert function(b"poison", line(QUIET)).failed is None


def test_a_batch_that_there_is_no_time_for_comes_again() -> None:
    function = Function()
    function.timer.left = 4.0
    assert function(line(ROW)).failed == "1"
    assert function.store.records == []
