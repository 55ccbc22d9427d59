"""Records in SQLite: what is kept, and which of it becomes which file."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet
import pytest

from localcloud.featurestore import offline
from localcloud.featurestore.records import HOUR, Batch, Pending, Records, Version

GROUP = "arn:group 2026"


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    made = Records(tmp_path / "records.sqlite")
    yield made
    made.close()


def write(records: Records, *hours: int, group: str = GROUP) -> None:
    """A version in each of these hours of event time."""
    for hour in hours:
        version = Version(f"id{hour}", hour * HOUR + 1, 7, False, [("name", f"a{hour}"), ("count", "3")])
        records.write(group, version, online=True, offline=True)


def batches(records: Records, stem: str = "x") -> list[Batch]:
    return list(records.batches(GROUP, 9, lambda hour: f"{hour}/{stem}"))


def hours_of(batch: list[Pending]) -> list[str]:
    return [version.values["name"] for version in batch]


def test_an_hour_is_a_batch_and_is_gone_when_it_is_finished(records: Records) -> None:
    write(records, 5, 2, 5)
    write(records, 3, group="another")
    found = batches(records)
    assert [(batch.object, batch.hour) for batch in found] == [("2/x", 2), ("5/x", 5)]
    assert [hours_of(content) for content in records.contents(found)] == [["a2"], ["a5", "a5"]]
    records.finish(found[:1])
    assert (records.waiting(), batches(records)) == (3, found[1:])
    records.finish(found[1:])
    assert (records.waiting(), batches(records), records.groups_waiting()) == (1, [], ["another"])


def test_a_batch_that_was_cut_off_comes_back_as_it_was(records: Records, tmp_path: Path) -> None:
    write(records, 1, 2)
    before = batches(records)
    content = records.contents(before)
    records.close()

    again = Records(tmp_path / "records.sqlite")
    write(again, 2, 3)
    assert batches(again, "y") == before
    assert again.contents(before) == content
    again.finish(before)
    later = batches(again, "z")
    assert [batch.object for batch in later] == ["2/z", "3/z"]
    assert [hours_of(found) for found in again.contents(later)] == [["a2"], ["a3"]]
    again.close()


def test_a_number_that_is_used_again_belongs_to_no_earlier_batch(records: Records) -> None:
    write(records, 1, 1, 2, 2)
    first, second = batches(records)
    records.finish([second])
    # The numbers of the second batch are free again; these versions come after the first batch all the same.
    write(records, 1, 1, 1)
    assert hours_of(records.contents([first])[0]) == ["a1", "a1"]
    records.finish([first])
    assert records.waiting() == 3


def test_a_checkpoint_begins_the_log_anew(records: Records, tmp_path: Path) -> None:
    write(records, *range(2000))
    assert records.log_is_long
    records.checkpoint()
    assert not records.log_is_long
    write(records, 1)
    with sqlite3.connect(tmp_path / "records.sqlite") as connection:
        _, pages, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    connection.close()
    assert pages < 10


def test_a_file_for_each_batch_with_the_columns_of_the_service() -> None:
    versions = [
        [Pending(1_000_000, False, {"Name": "ä", "Count": "1", "Fee": "1e-3"}), Pending(2, True, {"Name": "b"})],
        [Pending(3, False, {"Name": "c", "Fee": "-Infinity"})],
    ]
    types = {"Name": "String", "Count": "Integral", "Fee": "Fractional"}
    first, second = (
        pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist() for content in offline.parquet(versions, types, 5)
    )
    moment = datetime(1970, 1, 1)
    added = {"write_time": moment.replace(microsecond=5), "is_deleted": False}
    assert first == [
        {"Name": "ä", "Count": 1, "Fee": 0.001, **added, "api_invocation_time": moment.replace(second=1)},
        {
            "Name": "b",
            "Count": None,
            "Fee": None,
            **added,
            "api_invocation_time": moment.replace(microsecond=2),
            "is_deleted": True,
        },
    ]
    assert [(row["Name"], row["Count"], row["Fee"]) for row in second] == [("c", None, float("-inf"))]


def test_files_that_are_written_together_share_a_name() -> None:
    stem = offline.object_stem(datetime(2024, 2, 1, 0, 0, 7, tzinfo=UTC))
    assert stem.startswith("20240201T000007Z_")
    hour = int(datetime(2024, 1, 31, 23, tzinfo=UTC).timestamp()) // 3600
    assert offline.object_name(stem, hour) == f"year=2024/month=01/day=31/hour=23/{stem}.parquet"
