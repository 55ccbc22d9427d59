"""Streams as localcloud's own services read them: shards and positions, what time takes, limits, what is kept."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.actions import Actions
from localcloud.context import Request
from localcloud.errors import ServiceError
from localcloud.kinesis.iterators import ShardIterator
from localcloud.kinesis.limits import MIB, Limits
from localcloud.kinesis.records import Entry, Records
from localcloud.kinesis.service import Kinesis
from localcloud.kinesis.shards import (
    MOST_HASH,
    Shard,
    Stream,
    even_shards,
    from_document,
    hash_of,
    position_of,
    sequence_number,
    to_document,
)
from localcloud.kinesis.streams import Put, Streams
from tests.surroundings import StandingClock, surroundings

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def stream(shards: int = 1, name: str = "s") -> Stream:
    return Stream(
        name=name,
        arn=f"arn:aws:kinesis:eu-west-1:123456789012:stream/{name}",
        table=1,
        created_at=NOW,
        shards=even_shards(shards, 1, 0),
    )


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock(NOW)


@pytest.fixture
def streams(tmp_path: Path, clock: StandingClock) -> Iterator[Streams]:
    context = surroundings(tmp_path, clock)
    found = Streams(context)
    found.create(stream(2))
    yield found
    found.close()


def puts(*texts: str, key: str = "k") -> list[Put]:
    return [Put(text.encode(), key) for text in texts]


def read(streams: Streams, after: int = 0, **members: int) -> list[str]:
    return [record.data.decode() for record in streams.read("s", after, **members)]


# shards --------------------------------------------------------------------------------------------------------------


@given(st.integers(min_value=1, max_value=300), st.integers(min_value=0, max_value=MOST_HASH))
def test_every_hash_key_is_of_one_shard(count: int, hash_key: int) -> None:
    shards = even_shards(count, 1, 0)
    assert (shards[0].first_hash, shards[-1].last_hash) == (0, MOST_HASH)
    found = replace(stream(), shards=shards).shard_for(hash_key)
    assert [shard for shard in shards if shard.first_hash <= hash_key <= shard.last_hash] == [found]


@given(st.lists(st.tuples(st.booleans(), st.integers(min_value=0, max_value=MOST_HASH)), max_size=8))
def test_open_shards_have_all_hash_keys_however_they_were_split_and_merged(steps: list[tuple[bool, int]]) -> None:
    found = stream(2)
    for position, (splits, hash_key) in enumerate(steps, 2):
        shard = found.shard_for(hash_key)
        number = found.open_shards.index(shard)
        if splits and hash_key > shard.first_hash:
            found = found.split(shard, hash_key, position, position)
        elif number:
            found = found.merge(shard, found.open_shards[number - 1], position, position)
        edges = [(one.first_hash, one.last_hash) for one in found.open_shards]
        assert (edges[0][0], edges[-1][1]) == (0, MOST_HASH)
        assert all(before[1] + 1 == after[0] for before, after in itertools.pairwise(edges))
    assert [shard.number for shard in found.shards] == list(range(len(found.shards)))
    assert from_document(to_document(found)) == found


def test_a_partition_key_is_hashed_with_md5() -> None:
    assert hash_of("é") == int(hashlib.md5("é".encode()).hexdigest(), 16)


@given(st.integers(min_value=0, max_value=10**18), st.integers(min_value=0, max_value=10**18))
def test_sequence_numbers_are_as_their_positions(one: int, other: int) -> None:
    assert position_of(sequence_number(one)) == one
    assert (int(sequence_number(one)) < int(sequence_number(other))) == (one < other)
    assert len(sequence_number(one)) == 56


@pytest.mark.parametrize("text", ["", "0", "4965", f"4966{1:052d}", f"4965{1:051d}", "4965" + "x" * 52])
def test_what_is_no_sequence_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no sequence number"):
        position_of(text)


# records -------------------------------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(
            st.integers(min_value=-5, max_value=50),
            st.lists(st.integers(min_value=0, max_value=2), min_size=1, max_size=4),
        ),
        max_size=12,
    ),
    st.integers(min_value=0, max_value=400),
)
def test_a_moment_is_found_among_records(
    tmp_path_factory: pytest.TempPathFactory, additions: list[tuple[int, list[int]]], moment: int
) -> None:
    """Also where the clock has gone back, and where positions are used up by other streams."""
    records = Records(tmp_path_factory.mktemp("records") / "records.sqlite")
    records.create(1)
    records.create(2)
    now = 100
    expected: list[int] = []
    for step, shards in additions:
        now += step
        records.add(2, [Entry(0, "k", b"")], now)
        first = records.add(1, [Entry(shard, "k", b"x") for shard in shards], now)
        expected += range(first, first + len(shards))
    found = records.read(1, 0, 0, 100, 10**6)
    assert [record.position for record in found] == expected
    arrivals = [record.arrived_ms for record in found]
    assert arrivals == sorted(arrivals)
    after = records.before(1, moment)
    assert [record for record in found if record.position > after] == [
        record for record in found if record.arrived_ms >= moment
    ]
    for shard in range(3):
        of_shard = records.read(1, 0, 0, 100, 10**6, shard)
        assert of_shard == [record for record in found if record.shard == shard]
    records.close()


def test_what_was_added_is_there_when_the_file_is_opened_again(tmp_path: Path) -> None:
    records = Records(tmp_path / "records.sqlite")
    records.create(7)
    last = records.add(7, [Entry(0, "k", b"a"), Entry(0, "k", b"b")], 1000) + 1
    records.trim(7, 2000)
    # As after a kill: it was not closed.
    again = Records(tmp_path / "records.sqlite")
    assert again.tables() == {7}
    assert again.add(7, [Entry(0, "k", b"c")], 3000) > last
    records.close()
    again.close()


def test_a_long_log_is_moved_into_the_file(tmp_path: Path) -> None:
    records = Records(tmp_path / "records.sqlite")
    records.create(1)
    for number in range(3):
        records.add(1, [Entry(0, "k", bytes(1024)) for _ in range(5000)], number)
    assert len(records.read(1, 0, 0, 10**5, 10**9)) == 15_000
    records.close()
    assert (tmp_path / "records.sqlite").stat().st_size > 15_000 * 1024


def test_pages_end_with_their_bytes_or_their_number(streams: Streams) -> None:
    streams.put("s", puts("aaaa", "bb", "cc", "d"))
    assert read(streams, limit=3) == ["aaaa", "bb", "cc"]
    assert read(streams, most_bytes=6) == ["aaaa", "bb"]
    assert read(streams, most_bytes=1) == ["aaaa"]


# streams -------------------------------------------------------------------------------------------------------------


def test_a_reader_of_all_shards_needs_one_position(streams: Streams) -> None:
    keys = ["a", "b", "c", "d", "e", "f"]
    placed = streams.put("s", [Put(key.encode(), key) for key in keys])
    assert {one.shard.number for one in placed} == {0, 1}
    first = streams.read("s", 0, limit=4)
    assert [record.data.decode() for record in first] == keys[:4]
    streams.change("s", lambda one: one.split(one.shards[0], 5, streams.new_position(), 0))
    streams.put("s", puts("g"))
    assert read(streams, first[-1].position) == [*keys[4:], "g"]
    for shard in range(4):
        assert all(record.shard == shard for record in streams.read("s", 0, shard=shard))


def test_who_listens_is_told_after_the_records_are_there(streams: Streams) -> None:
    told: list[list[str]] = []
    streams.on_put(lambda one: told.append(read(streams)))
    streams.put("s", puts("a"))
    streams.put("s", puts("b"), lambda *_: False)
    streams.change("s", lambda one: replace(one, tags={"a": "b"}))
    assert told == [["a"]]
    streams.change("s", lambda one: one.split(one.shards[0], 5, streams.new_position(), 0))
    assert told == [["a"], ["a"]]


def test_records_whose_time_is_over_are_gone(streams: Streams, clock: StandingClock, tmp_path: Path) -> None:
    streams.put("s", puts("old"))
    clock.set(NOW + timedelta(hours=23))
    streams.put("s", puts("young"))
    clock.set(NOW + timedelta(hours=24, seconds=1))
    assert read(streams) == ["young"]
    streams.change("s", lambda one: replace(one, retention_hours=48))
    assert read(streams) == ["old", "young"]


def oldest(folder: Path) -> timedelta | None:
    """How long after the start the oldest record in the file arrived."""
    records = Records(folder / "kinesis" / "records.sqlite")
    found = records.oldest_arrival(1)
    records.close()
    return None if found is None else datetime.fromtimestamp(found / 1000, UTC) - NOW


def test_old_records_are_removed_from_the_file(tmp_path: Path, clock: StandingClock) -> None:
    context = surroundings(tmp_path, clock)
    streams = Streams(context)
    streams.create(stream())
    for text in ("a", "b", "c", "d"):
        streams.put("s", puts(text))
        context.timetable.advance(3600)
    streams.close()
    # The next localcloud does it, too.
    again = Streams(context)
    again.start()
    context.timetable.advance(21.5 * 3600)
    assert oldest(tmp_path) == timedelta(hours=1)
    context.timetable.advance(4 * 3600)
    assert oldest(tmp_path) is None
    again.close()


def test_a_stream_of_the_same_name_has_none_of_the_records(streams: Streams) -> None:
    streams.put("s", puts("a"))
    streams.delete("s")
    with pytest.raises(ServiceError, match="Stream s under account 123456789012 not found"):
        streams.read("s", 0)
    streams.create(replace(stream(), table=9))
    assert read(streams) == []


def test_what_a_killed_process_left_of_a_stream_is_removed(tmp_path: Path) -> None:
    records = Records(tmp_path / "kinesis" / "records.sqlite")
    records.create(5)
    records.close()
    Streams(surroundings(tmp_path)).close()
    again = Records(tmp_path / "kinesis" / "records.sqlite")
    assert again.tables() == set()
    again.close()


def test_a_request_has_ten_mebibytes_at_most(streams: Streams, tmp_path: Path, clock: StandingClock) -> None:
    service = Kinesis(surroundings(tmp_path / "other", clock), streams)
    whole = {"Data": b"x" * (MIB - 1), "PartitionKey": "k"}
    put = partial(Request, "kinesis", "PutRecords")
    with pytest.raises(ServiceError, match="Records size exceeds 10 MB limit"):
        service.operations["PutRecords"](put({"StreamName": "s", "Records": [whole] * 11}))
    answer = service.operations["PutRecords"](put({"StreamName": "s", "Records": [whole] * 10}))
    assert (answer["FailedRecordCount"], len(answer["Records"])) == (9, 10)


def test_a_read_by_an_iterator_is_one_of_its_stream() -> None:
    actions = Actions("eu-west-1", "123456789012")
    token = ShardIterator("s", 1, 0, 5, 0).encoded()
    arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/s"
    assert list(actions.of("kinesis", "GetRecords", {"ShardIterator": token})) == [("kinesis:GetRecords", arn)]
    assert list(actions.of("kinesis", "GetRecords", {"ShardIterator": "x"})) == [("kinesis:GetRecords", "*")]
    assert list(actions.of("kinesis", "TagResource", {"ResourceARN": arn})) == [("kinesis:TagResource", arn)]


# limits --------------------------------------------------------------------------------------------------------------


def allowed(limits: Limits, count: int, size: int = 1) -> int:
    one = stream()
    return sum(limits.write(one, one.shards[0], size) for _ in range(count))


def test_a_shard_takes_a_thousand_records_a_second(clock: StandingClock) -> None:
    limits = Limits(clock, monotonic=lambda: 0.0)
    assert allowed(limits, 1500) == 1000
    clock.set(NOW + timedelta(milliseconds=125))
    assert allowed(limits, 500) == 125
    clock.set(NOW + timedelta(hours=1))
    assert allowed(limits, 1500) == 1000


def test_a_shard_takes_a_mebibyte_a_second_and_a_larger_record_at_once(clock: StandingClock) -> None:
    limits = Limits(clock, monotonic=lambda: 0.0)
    assert allowed(limits, 20, MIB // 10) == 10
    clock.set(NOW + timedelta(seconds=1))
    assert allowed(limits, 2, 5 * MIB) == 1
    clock.set(NOW + timedelta(seconds=5))
    assert allowed(limits, 1) == 0
    clock.set(NOW + timedelta(seconds=6))
    assert allowed(limits, 1) == 1


def test_while_the_clock_stands_the_machine_s_time_counts(clock: StandingClock) -> None:
    ticks = [0.0]
    limits = Limits(clock, monotonic=lambda: ticks[0])
    assert allowed(limits, 1001) == 1000
    ticks[0] = 0.5
    assert allowed(limits, 1001) == 500


def test_what_was_read_keeps_the_next_reads_waiting(clock: StandingClock) -> None:
    limits, one = Limits(clock, monotonic=lambda: 0.0), stream(2)
    shard: Shard = one.shards[0]
    assert [limits.read(one, shard) for _ in range(6)] == [True] * 5 + [False]
    assert limits.read(one, one.shards[1])
    clock.set(NOW + timedelta(seconds=1))
    assert limits.read(one, shard)
    limits.was_read(one, shard, 10 * MIB)
    clock.set(NOW + timedelta(seconds=4.9))
    assert not limits.read(one, shard)
    clock.set(NOW + timedelta(seconds=5.1))
    assert limits.read(one, shard)
