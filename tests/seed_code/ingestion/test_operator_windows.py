"""The operator's minutes: what a record counts for, when a minute is written, and what comes too late."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seed_code.ingestion.operator import lines
from seed_code.ingestion.operator.windows import Event, Minutes, minute_text

T = 1_763_820_180  # 2025-11-22T14:03:00Z, the beginning of a minute


def row(minute: int, count: int, total: int, average: float | None) -> dict[str, Any]:
    """A row; minute: counted from T."""
    return {
        "tx_minute": minute_text(T // 60 + minute),
        "total_nb_trx_1min": count,
        "total_fee_1min": total,
        "avg_fee_1min": average,
    }


def late(name: str, time: int) -> dict[str, Any]:
    return {"late_hash": name, "late_time": time, "late_minute": minute_text(time // 60)}


def test_a_minute_is_named_by_its_beginning_in_utc() -> None:
    assert minute_text(T // 60) == "2025-11-22T14:03:00Z"


def test_a_minute_is_written_when_the_watermark_reaches_its_end_and_not_a_second_before() -> None:
    minutes = Minutes(30)
    assert minutes.feed([("a", T, 10), ("b", T + 59, 5), ("c", T + 89, 1)]) == []
    assert minutes.feed([("d", T + 90, 1)]) == [row(0, 2, 15, 7.5)]


def test_without_lateness_the_first_event_of_the_next_minute_closes_the_one_before() -> None:
    assert Minutes(0).feed([("a", T, 10), ("b", T + 60, 5)]) == [row(0, 1, 10, 10.0)]


def test_an_event_is_late_when_its_minute_had_been_closed_before_it_came() -> None:
    minutes = Minutes(30)
    assert minutes.feed([("a", T, 10), ("b", T + 89, 1), ("in time", T + 1, 2)]) == []
    assert minutes.feed([("c", T + 90, 1), ("too late", T + 2, 7), (None, T + 3, None)]) == [
        row(0, 2, 12, 6.0),
        late("too late", T + 2),
    ]


def test_of_a_hash_the_smallest_time_counts_and_of_equal_times_the_first() -> None:
    minutes = Minutes(0)
    minutes.feed([("a", T + 5, 100), ("a", T + 4, 1), ("a", T + 4, 50), ("a", T + 9, 70)])
    assert minutes.end() == [row(0, 1, 1, 1.0)]


def test_the_same_hash_counts_in_each_of_its_minutes() -> None:
    minutes = Minutes(60)
    minutes.feed([("a", T, 1), ("a", T + 60, 2)])
    assert minutes.end() == [row(0, 1, 1, 1.0), row(1, 1, 2, 2.0)]


def test_unknown_fees_count_as_transactions_and_not_in_the_average() -> None:
    minutes = Minutes(0)
    minutes.feed([("a", T, None), ("b", T, 3), ("c", T, 4), ("d", T + 60, None)])
    assert minutes.end() == [row(1, 1, 0, None)]


def test_heartbeats_make_quiet_minutes_and_a_minute_without_any_record_has_no_row() -> None:
    minutes = Minutes(0)
    assert minutes.feed([(None, T, None), (None, T + 180, None)]) == [row(0, 0, 0, None)]


def test_sums_are_exact_and_averages_are_of_the_sum_as_a_double() -> None:
    minutes = Minutes(0)
    minutes.feed([(str(number), T, 2_100_000_000_000_000 - number) for number in range(7)])
    total = 7 * 2_100_000_000_000_000 - 21
    assert minutes.end() == [row(0, 7, total, float(total) / 7)]


def test_a_stream_without_events_has_no_minutes() -> None:
    minutes = Minutes(30)
    assert minutes.feed([]) == []
    assert minutes.end() == []
    assert minutes.newest is None


def test_a_minute_that_was_written_stays_so_when_the_lateness_grows() -> None:
    before = Minutes(0)
    before.feed([("a", T, 1), ("b", T + 60, 1)])
    after = Minutes.restored(before.snapshot(), 600)
    assert after.feed([("again", T + 1, 1)]) == [late("again", T + 1)]
    assert after.end() == [row(1, 1, 1, 1.0)]


def test_a_negative_lateness_is_refused() -> None:
    with pytest.raises(ValueError, match=r"lateness_seconds is -1; expected 0 or more"):
        Minutes(-1)


def test_what_is_kept_does_not_grow_with_the_stream() -> None:
    minutes = Minutes(30)
    sizes = []
    for hour in range(3):
        minutes.feed((f"{hour}-{second}", T + hour * 3600 + second, 1) for second in range(3600))
        sizes.append(len(json.dumps(minutes.snapshot())))
    assert max(sizes) - min(sizes) < 20


def _by_definition(events: list[Event], lateness: int) -> list[dict[str, Any]]:
    """The same by the definition's words, with no care for speed: (rows and late records, in order)."""
    told: list[dict[str, Any]] = []
    members: dict[int, list[Event]] = {}
    watermark: float = -1e18
    for name, time, fee in [*events, ("the end", 10**12, None)]:
        if (time // 60 + 1) * 60 <= watermark:
            told += [late(name, time)] if name is not None else []
        else:
            members.setdefault(time // 60, []).append((name, time, fee))
        watermark = max(watermark, time - lateness)
        for minute in sorted(members):
            if (minute + 1) * 60 <= watermark:
                counted: dict[str, Event] = {}
                for event in sorted(members.pop(minute), key=lambda event: event[1]):  # stable: the first of equal ones
                    if event[0] is not None:
                        counted.setdefault(event[0], event)
                fees = [fee for _, _, fee in counted.values() if fee is not None]
                average = float(sum(fees)) / len(fees) if fees else None
                told.append(row(minute - T // 60, len(counted), sum(fees), average))
    return told


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "d", None]),
        st.integers(T, T + 400),
        st.one_of(st.none(), st.integers(0, 2_100_000_000_000_000)),
    ),
    max_size=60,
)


@settings(max_examples=100, deadline=None)
@given(events=EVENTS, lateness=st.sampled_from([0, 1, 30, 59, 60, 61]), parts=st.lists(st.integers(0, 60), max_size=4))
def test_rows_follow_from_the_definition_however_the_stream_is_cut_and_restored(
    events: list[Event], lateness: int, parts: list[int]
) -> None:
    minutes = Minutes(lateness)
    found = []
    cuts = [0, *sorted(parts), len(events)]
    for begin, end in itertools.pairwise(cuts):
        found += minutes.feed(events[begin:end])
        minutes = Minutes.restored(json.loads(json.dumps(minutes.snapshot())), lateness)
    found += minutes.end()
    assert found == _by_definition(events, lateness)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"hash":"a"}',
        b'{"hash":"a","time":"1"}',
        b'{"hash":"a","time":1.5}',
        b'{"hash":"a","time":true}',
        b'{"hash":"a","time":0}',
        b'{"hash":"a","time":253402300800}',
        b'{"hash":7,"time":1}',
        b'{"hash":"a","time":1,"fee":"2"}',
        b'{"hash":"a","time":1,"fee":-2}',
        b'{"hash":"a","time":1,"fee":9223372036854775808}',
        b'{"hash":"a","time":1,"fee":' + b"9" * 5000 + b"}",
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_what_is_no_transaction_is_none(line: bytes) -> None:
    assert lines.event(line) is None


def test_a_record_is_a_line_or_several_and_other_members_do_not_matter() -> None:
    data = b'{"hash":"a","time":1,"fee":2,"inputs":[{}]}\n\n{broken\n{"hash":null,"time":3,"fee":null}\n{"time":4}\n'
    assert lines.events([data, b"\n"]) == ([("a", 1, 2), (None, 3, None), (None, 4, None)], 1)


def test_rows_are_lines_of_compact_json() -> None:
    assert lines.encode(row(0, 280, 2520000, 9000.0)) == (
        b'{"tx_minute":"2025-11-22T14:03:00Z","total_nb_trx_1min":280,"total_fee_1min":2520000,"avg_fee_1min":9000.0}\n'
    )
