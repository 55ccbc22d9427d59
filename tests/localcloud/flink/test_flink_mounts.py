"""Streams as files: in order, one at a time, and what a job commits once each, also after a kill at any moment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from localcloud.flink.mounts import Inbound, Outbound, committed
from localcloud.kinesis.streams import Put, Record
from tests.surroundings import surroundings


class Streams:
    """Streams in memory. `killed` makes a put the last thing that happens."""

    def __init__(self) -> None:
        self.records: dict[str, list[Record]] = {}
        self.latest = 0
        self.killed = False

    def read(self, name_or_arn: str, after: int, *, limit: int = 10_000) -> list[Record]:
        found = [record for record in self.records.get(name_or_arn, ()) if record.position > after]
        return found[:limit]

    def put(self, name_or_arn: str, entries: Sequence[Put]) -> None:
        for entry in entries:
            self.latest += 1
            record = Record(self.latest, 0, 0, entry.partition_key, entry.data)
            self.records.setdefault(name_or_arn, []).append(record)
        if self.killed:
            raise KeyboardInterrupt

    def texts(self, name: str) -> list[str]:
        return [record.data.decode() for record in self.records.get(name, ())]


@pytest.fixture
def streams() -> Streams:
    return Streams()


def fill(streams: Streams, *texts: str) -> None:
    streams.put("in", [Put(text.encode(), "k") for text in texts])


def read(folder: Path) -> list[str]:
    """The files' contents in their order; they count as read from then on."""
    found = []
    for path in sorted(folder.glob("*.json")):
        found.append(path.read_text())
        os.utime(path, (path.stat().st_mtime, path.stat().st_mtime))
    return found


def test_records_become_a_series_of_files(tmp_path: Path, streams: Streams) -> None:
    inbound = Inbound(streams, "in", tmp_path, now=lambda: 0.0)
    assert not inbound.step()
    fill(streams, "a\n", "b")
    assert inbound.step()
    fill(streams, "c")
    # The next one has to wait until the first is read.
    assert not inbound.step()
    assert read(tmp_path) == ["a\nb\n"]
    assert inbound.step()
    assert read(tmp_path) == ["a\nb\n", "c\n"]
    assert not list(tmp_path.glob(".*"))


def test_a_file_system_that_does_not_tell_is_not_waited_for(tmp_path: Path, streams: Streams) -> None:
    moment = [0.0]
    inbound = Inbound(streams, "in", tmp_path, now=lambda: moment[0])
    fill(streams, "a")
    assert inbound.step()
    fill(streams, "b")
    (path,) = tmp_path.glob("*.json")
    moment[0] = path.stat().st_mtime + 1
    assert not inbound.step()
    moment[0] += 5
    assert inbound.step()


def test_the_series_goes_on_after_a_restart(tmp_path: Path, streams: Streams) -> None:
    fill(streams, "a", "b")
    Inbound(streams, "in", tmp_path, now=lambda: 0.0).step()
    (tmp_path / ".half.json.part").write_text("a")
    again = Inbound(streams, "in", tmp_path, now=lambda: 0.0)
    fill(streams, "c")
    assert read(tmp_path) == ["a\nb\n"]
    assert again.step()
    assert read(tmp_path) == ["a\nb\n", "c\n"]
    assert not (tmp_path / ".half.json.part").exists()


def test_files_that_were_read_long_ago_are_removed(tmp_path: Path, streams: Streams) -> None:
    moment = [0.0]
    inbound = Inbound(streams, "in", tmp_path, now=lambda: moment[0])
    fill(streams, "a")
    inbound.step()
    read(tmp_path)
    (path,) = tmp_path.glob("*.json")
    moment[0] = path.stat().st_mtime + 601
    fill(streams, "b")
    assert inbound.step()
    assert read(tmp_path) == ["b\n"]


def test_only_what_is_committed_is_put(tmp_path: Path, streams: Streams) -> None:
    outbound = Outbound(surroundings(tmp_path / "state"), streams, "out", tmp_path / "out", "app")
    (tmp_path / "out" / ".part-0-0.inprogress.x").write_text("half")
    assert outbound.step() == 0
    (tmp_path / "out" / "part-0-0").write_text("1\n2\n")
    assert outbound.step() == 2
    assert outbound.step() == 0
    assert streams.texts("out") == ["1\n", "2\n"]
    assert {record.partition_key for record in streams.records["out"]} == {"app"}
    assert not (tmp_path / "out" / "part-0-0").exists()


def test_files_are_put_in_the_order_in_which_they_were_written(tmp_path: Path) -> None:
    for name, moment in (("part-b-0", 1), ("part-a-1", 3), ("part-a-0", 2)):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, (moment, moment))
    assert [path.name for path in committed(tmp_path)] == ["part-b-0", "part-a-0", "part-a-1"]


@pytest.mark.parametrize("after_the_put", [True, False])
def test_a_kill_puts_nothing_twice_and_loses_nothing(tmp_path: Path, streams: Streams, after_the_put: bool) -> None:
    context = surroundings(tmp_path / "state")
    outbound = Outbound(context, streams, "out", tmp_path / "out", "app")
    # The same line was there before, and is another record.
    streams.put("out", [Put(b"1\n", "app")])
    (tmp_path / "out" / "part-0-0").write_text("1\n2\n")
    if after_the_put:
        streams.killed = True
        with pytest.raises(KeyboardInterrupt):
            outbound.step()
        streams.killed = False
    else:
        # As it is between the note and the put.
        context.store.put("flink/outbound", "app/out", {"File": "part-0-0", "After": streams.latest})
    Outbound(context, streams, "out", tmp_path / "out", "app").step()
    assert streams.texts("out") == ["1\n", "1\n", "2\n"]
    assert not list((tmp_path / "out").iterdir())
