"""What people see of the stream: the live picture, the lines on a pipe, JSON, and the section of the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pipelines.cli import stream as verb
from pipelines.errors import ServiceError
from pipelines.ingestion import minutes
from pipelines.ingestion.minutes import MINUTE, Minute
from pipelines.ingestion.watching import Program, StreamSeen, Tail
from pipelines.names import Names
from pipelines.report import stream as section

NAMES = Names("fraud", "123456789012", "eu-west-1")
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def minutes_of(there: Sequence[bool]) -> list[Minute]:
    return [
        Minute(NOON + at * MINUTE, 280 + at, 2_520_000.0, 9_000.0 + at) if is_there else Minute(NOON + at * MINUTE)
        for at, is_there in enumerate(there)
    ]


def seen(found: Sequence[Minute], **changes: Any) -> StreamSeen:
    values: dict[str, Any] = {
        "now": NOON + timedelta(hours=1),
        "programs": [Program("poller", "1 of 1 running", True), Program("operator", "0 of 1 running", False)],
        "counts": {"Published": 1200.0, "Duplicates": 7.0, "DuplicatesAcrossPages": 300.0, "Gaps": 2.0},
        "lag_seconds": 1.25,
        "minutes": found,
        "alarms": {"gaps": "ALARM", "minute-age": "OK", "poller-down": "INSUFFICIENT_DATA"},
        "waiting": {"set-aside": 3, "ingestion-dead": 0},
    }
    return StreamSeen(**{**values, **changes})


def printed(what: Any) -> str:
    console = Console(width=160, highlight=False, no_color=True)
    with console.capture() as capture:
        console.print(what)
    return capture.get()


class Kinesis:
    """One shard, whose records are given out batch by batch; then it is split in two."""

    def __init__(self, batches: list[list[bytes]]) -> None:
        self.batches, self.opened = batches, list[str]()

    def list_shards(self, **_: Any) -> dict[str, Any]:
        return {"Shards": [{"ShardId": "shardId-0"}]}

    def get_shard_iterator(self, **params: Any) -> dict[str, Any]:
        self.opened.append(params["ShardIteratorType"])
        return {"ShardIterator": "0"}

    def get_records(self, ShardIterator: str) -> dict[str, Any]:
        place = int(ShardIterator)
        following = {"NextShardIterator": str(place + 1)} if place + 1 < len(self.batches) else {}
        return {"Records": [{"Data": data} for data in self.batches[place]], **following}


THROTTLED = "ProvisionedThroughputExceededException"


class Shards:
    """Several shards: of each what it answers, call by call, a text being the code of an error."""

    def __init__(self, answers: dict[str, list[list[bytes] | str]]) -> None:
        self.answers = answers

    def list_shards(self, **_: Any) -> dict[str, Any]:
        return {"Shards": [{"ShardId": name} for name in self.answers]}

    def get_shard_iterator(self, ShardId: str, **_: Any) -> dict[str, Any]:
        return {"ShardIterator": ShardId}

    def get_records(self, ShardIterator: str) -> dict[str, Any]:
        answer = self.answers[ShardIterator].pop(0)
        if isinstance(answer, str):
            raise ClientError({"Error": {"Code": answer}}, "GetRecords")
        return {"Records": [{"Data": data} for data in answer], "NextShardIterator": ShardIterator}


def line(name: str | None, second: int, fee: int | None) -> bytes:
    return json.dumps({"hash": name, "time": second, "fee": fee}).encode() + b"\n"


class TestGaps:
    def test_what_lies_between_minutes_is_a_gap_and_what_is_to_come_is_none(self) -> None:
        found = minutes.gaps(minutes_of([False, True, False, False, True, False, True, False]))
        assert found == [
            (NOON + 2 * MINUTE, NOON + 4 * MINUTE),
            (NOON + 5 * MINUTE, NOON + 6 * MINUTE),
        ]

    def test_without_minutes_there_is_none(self) -> None:
        assert minutes.gaps(minutes_of([False, False])) == []
        assert minutes.latest(minutes_of([False])) is None

    @given(st.lists(st.booleans(), max_size=60))
    def test_gaps_and_minutes_are_the_whole_span(self, there: list[bool]) -> None:
        found = minutes_of(there)
        lost = sum(int((end - begin) / MINUTE) for begin, end in minutes.gaps(found))
        span = len("".join("x" if one else " " for one in there).strip())
        assert lost == span - sum(there)


class Store:
    """The feature store's runtime, which leaves out all but so many records of each call."""

    def __init__(self, answers: int) -> None:
        self.answers, self.calls = answers, 0

    def batch_get_record(self, Identifiers: list[dict[str, Any]]) -> dict[str, Any]:
        self.calls += 1
        [asked] = Identifiers
        names = asked["RecordIdentifiersValueAsString"]
        values = {"total_nb_trx_1min": "2", "total_fee_1min": "30.0"}
        record = [{"FeatureName": name, "ValueAsString": value} for name, value in values.items()]
        found = [{"RecordIdentifierValueAsString": name, "Record": record} for name in names[: self.answers]]
        left = {**asked, "RecordIdentifiersValueAsString": names[self.answers :]}
        return {"Records": found, "Errors": [], "UnprocessedIdentifiers": [left] if names[self.answers :] else []}


class TestMinutes:
    def test_what_the_store_leaves_out_is_asked_for_again(self) -> None:
        store = Store(40)
        found = minutes.read(store, NAMES, NOON, 150)
        assert [minute.transactions for minute in found] == [2] * 150
        assert store.calls == 3 + 2

    def test_a_store_that_never_answers_is_not_asked_for_ever(self) -> None:
        store = Store(0)
        with pytest.raises(ServiceError, match="left out 3 minutes that it was asked for, 5 times"):
            minutes.read(store, NAMES, NOON, 3)


class TestTail:
    def test_counts_each_transaction_once_and_averages_the_fees_that_are_known(self) -> None:
        kinesis = Kinesis([[line("a", 100, 10), line("b", 100, None), line("a", 100, 10)], [line("c", 102, 30)], []])
        tail = Tail(kinesis, NAMES)
        assert tail.rate() is None
        tail.read()
        tail.read()
        assert tail.rate() == 1.0  # three in three seconds
        assert tail.fees() == [10.0, None, 30.0]

    def test_heartbeats_and_rubbish_count_nothing(self) -> None:
        tail = Tail(Kinesis([[line(None, 100, None), b"rubbish", b"[]", b'{"hash":"x"}'], []]), NAMES)
        tail.read()
        assert tail.fees() == [None]

    def test_a_shard_that_has_ended_is_followed_by_those_that_there_are_then(self) -> None:
        kinesis = Kinesis([[line("a", 100, 1)]])
        tail = Tail(kinesis, NAMES)
        tail.read()
        tail.read()
        assert kinesis.opened == ["LATEST", "LATEST"]

    def test_a_shard_that_is_throttled_is_read_again_whatever_other_shards_there_are(self) -> None:
        kinesis = Shards({"busy": [THROTTLED, [line("a", 100, 10)], []], "idle": [[], [], []]})
        tail = Tail(kinesis, NAMES)
        tail.read()
        assert tail.fees() == []
        tail.read()
        assert tail.fees() == [10.0]

    def test_an_iterator_that_has_expired_begins_anew(self) -> None:
        kinesis = Shards({"busy": ["ExpiredIteratorException", [line("a", 100, 10)]], "idle": [[], [], []]})
        tail = Tail(kinesis, NAMES)
        tail.read()
        tail.read()
        assert tail.fees() == [10.0]

    def test_without_a_stream_it_says_what_makes_one(self) -> None:
        class NoStream:
            def list_shards(self, **_: Any) -> None:
                raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "ListShards")

        expected = "there is no stream `fraud-transactions`: the stream's stack .* makes it, on this machine `mlops up`"
        with pytest.raises(ServiceError, match=expected):
            Tail(NoStream(), NAMES).read()


class TestPicture:
    def test_tells_what_passes_by_and_what_is_wrong(self) -> None:
        tail = Tail(Kinesis([[line("a", 100, 10), line("b", 101, 30)], []]), NAMES)
        tail.read()
        text = printed(verb.shown(seen(minutes_of([True, True, False, True])), tail))
        assert "poller" in text
        assert "1.0 a second" in text
        assert "▁█  30 satoshi on average, by the second" in text
        assert "1.2 s from the newest transaction to its page" in text
        assert "1,200 passed on, 7 duplicates left out (300 were on the page before, too), 0 late" in text
        assert ", 2 gaps between pages" in text
        assert "12:03 283 transactions, 9,003 satoshi on average; 1 gap" in text
        assert "3 wait in the queue" in text
        assert "gaps ALARM" in text

    def test_says_that_there_is_nothing_yet(self) -> None:
        text = printed(verb.shown(seen([], lag_seconds=None, counts={}), Tail(Kinesis([[]]), NAMES)))
        assert "none in the last hour" in text

    def test_a_quiet_minute_has_no_fee(self) -> None:
        assert verb.told_minute(Minute(NOON, 0, 0.0, None)) == "12:00 0 transactions, no fee known"


class TestLines:
    def test_every_minute_and_every_trouble_is_a_line(self) -> None:
        told = verb.facts(seen(minutes_of([True, False, True])))
        assert told["12:02"] == "12:02 282 transactions, 9,002 satoshi on average"
        assert told["gap 12:01"] == "12:01 to 12:02 are missing"
        assert told["Gaps"] == "Gaps in the last hour: 2"
        assert told["alarm poller-down"] == "alarm poller-down: too few data"

    def test_what_is_known_is_not_told_again(self) -> None:
        console = Console(width=120, highlight=False)
        tail = Tail(Kinesis([[]]), NAMES)
        first, second = seen(minutes_of([True])), seen(minutes_of([True, True]))
        with console.capture() as capture:
            verb.follow(console, iter([(first, tail), (second, tail), (second, tail)]))
        assert capture.get().count("12:00 280 transactions") == 1
        assert capture.get().count("12:01 281 transactions") == 1


def test_json_has_the_minutes_that_are_there_and_the_gaps() -> None:
    document = verb.document(seen(minutes_of([True, False, True])))
    assert json.loads(json.dumps(document)) == document
    assert [minute["minute"] for minute in document["minutes"]] == [
        "2026-11-22T12:00:00+00:00",
        "2026-11-22T12:02:00+00:00",
    ]
    assert document["gaps"] == [{"from": "2026-11-22T12:01:00+00:00", "to": "2026-11-22T12:02:00+00:00"}]


class TestSection:
    def test_shows_minutes_and_gaps(self) -> None:
        found = section.view(minutes_of([False, True, True, False, False, True]))
        assert found is not None
        assert found.figures[0] == ("Minutes", "3", "0 of them quiet")
        assert found.figures[1] == ("Missing", "2", "in 1 gap")
        assert found.gaps == [("2026-11-22 12:03 UTC", "2026-11-22 12:05 UTC", "2 min 00 s")]
        assert len(found.drawings) == 2
        assert "missing from 2026-11-22 12:03 UTC" in found.drawings[0]

    def test_is_left_out_without_minutes(self) -> None:
        assert section.view(minutes_of([False])) is None

    def test_shows_the_newest_of_many_gaps(self) -> None:
        found = section.view(minutes_of([at % 2 == 0 for at in range(61)]))
        assert found is not None
        assert (len(found.gaps), found.more_gaps) == (20, 10)
        assert found.gaps[0][0] == "2026-11-22 12:59 UTC"
