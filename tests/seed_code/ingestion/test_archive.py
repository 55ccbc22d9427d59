"""The raw archive, as Firehose may leave it."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime

import pytest

from seed_code.common.objects import Objects
from seed_code.ingestion import rows
from seed_code.ingestion.archive import Archive, Reading
from seed_code.ingestion.functions.minutes import Minute
from tests.seed_code.ingestion.archived import PREFIX, URI, at, deliver, heartbeat, key, packed, transaction
from tests.seed_code.ingestion.fake_s3 import S3

HOUR = datetime(2026, 11, 22, 14, tzinfo=UTC)


def archive(s3: S3) -> Archive:
    return Archive(Objects(s3), URI)


def test_an_hour_has_all_files_of_its_folder_whenever_they_came() -> None:
    s3 = S3()
    for number in range(8):
        deliver(s3, transaction(f"t{number}", at("14:00:00") + number))
    deliver(s3, transaction("late", at("14:59:59")), transaction("next", at("15:00:00")), heartbeat(at("13:59:59")))
    found = archive(s3)
    assert [event[0] for event in found.hour(HOUR)] == [*(f"t{number}" for number in range(8)), "late"]
    assert found.reading == Reading(objects=9, records=9, newest=at("14:59:59"))


def test_an_hour_without_a_folder_is_empty() -> None:
    found = archive(S3())
    assert list(found.hour(HOUR)) == []
    assert found.reading == Reading()


def test_a_file_that_is_not_compressed_is_read_too() -> None:
    s3 = S3()
    s3.objects[key(at("14:00:00"))] = gzip.decompress(packed([transaction("a", at("14:00:01"), None)]))
    assert list(archive(s3).hour(HOUR)) == [("a", at("14:00:01"), None)]


def test_a_damaged_file_is_read_as_far_as_it_goes() -> None:
    s3 = S3()
    content = packed(transaction(f"t{number:05}", at("14:00:00")) for number in range(20_000))
    s3.objects[key(at("14:00:00"))] = content[: len(content) // 2]
    s3.objects[key(at("14:00:00"))] = packed([transaction("b", at("14:00:02"))])[:-8] + b"rubbish!"
    s3.objects[key(at("14:00:00"))] = gzip.compress(b'{"hash":"c","time":%d,"fee":1}\n{"hash":"d' % at("14:00:03"))
    s3.objects[key(at("14:00:00"))] = packed([transaction("e", at("14:00:04"))])
    found = archive(s3)
    names = [event[0] for event in found.hour(HOUR)]
    assert 5_000 < len(names) < 15_000
    assert names[:-3] == [f"t{number:05}" for number in range(len(names) - 3)]
    assert names[-3:] == ["b", "c", "e"]
    assert (found.reading.damaged_objects, found.reading.broken_records, found.reading.objects) == (2, 1, 4)
    assert found.reading.first_problem is not None
    assert found.reading.first_problem.startswith(f"{URI}/day=2026-11-22/hour=14/")


@pytest.mark.parametrize(
    "line",
    [b"[]", b"{}", b'{"hash":1,"time":1}', b'{"hash":"a","time":1.5}', b"\xff", b'{"hash":"a","time":1795359600}'],
)
def test_a_line_that_is_no_record_of_the_hour_is_counted(line: bytes) -> None:
    s3 = S3({key(at("14:00:00")): line + b"\n\n" + b'{"hash":"a","time":%d}\n' % at("14:00:01")})
    found = archive(s3)
    assert list(found.hour(HOUR)) == [("a", at("14:00:01"), None)]
    assert (found.reading.records, found.reading.broken_records) == (1, 1)
    assert "has a line that is" in str(found.reading.first_problem)


def test_how_far_an_archive_reaches_is_told_by_its_later_hours() -> None:
    s3 = S3({f"{PREFIX}/day=2026-11-22/hour=99/x.gz": b"", f"{PREFIX}/zzz": b""})
    deliver(s3, heartbeat(at("14:59:00")))
    found = archive(s3)
    assert not found.reaches(HOUR.replace(minute=58), after=HOUR)  # of its own hour's records it knows already
    deliver(s3, heartbeat(at("15:01:00")), heartbeat(at("15:02:00")))
    assert found.reaches(HOUR.replace(hour=15, minute=2), after=HOUR)
    assert not found.reaches(HOUR.replace(hour=15, minute=3), after=HOUR)
    assert found.reading == Reading(newest=at("15:02:00"))
    s3.objects[key(at("20:00:00"))] = b"never read"
    assert found.reaches(HOUR.replace(hour=19), after=HOUR)
    assert found.reading == Reading(newest=at("20:00:00"))


def test_minutes_of_records_count_each_transaction_once() -> None:
    five = at("14:05:00")
    events = [
        ("a", five + 9, 100),
        ("b", five + 59, None),
        ("a", five + 8, 50),
        ("a", five + 8, 70),
        ("a", five + 60, 30),  # another minute
        (None, five - 60, None),
        ("c", five, 25),
    ]
    assert list(rows.of(events).values()) == [
        Minute(HOUR.replace(minute=4), 0, 0, None),
        Minute(HOUR.replace(minute=5), 3, 75, 37.5),
        Minute(HOUR.replace(minute=6), 1, 30, 30.0),
    ]
    assert rows.of([]) == {}
