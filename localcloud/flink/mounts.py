"""Streams as folders of files, for Flink's filesystem connector.

    records of a stream ─ 1 s of them ─> .part, renamed ─> 00…17-00…41.json ─> Flink (source.monitor-interval)
    Flink's checkpoint renames ─> part-…-0-3 ─> its lines, in one put ─> records of a stream

A file's name says which positions of the stream are in it, so that where the feed has come to follows from the files
themselves. Flink reads the files that it finds at one look in no particular order: the next file is put in place only
when the one before has been read from, as its time of access tells.

What a job has written is put to the stream and then removed. A note that is written before says how far the stream had
come: after a kill in between, it is seen whether the lines are in the stream, and they are not put twice.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from localcloud.context import Context
from localcloud.kinesis.streams import Put, Record

_NOTE = "flink/outbound"
_FILE = re.compile(r"(\d{20})-(\d{20})\.json")
_PART = ".part"
_FED_SECONDS, _LOOK_SECONDS = 1.0, 0.25
# A file system that keeps no times of access does not tell when a file has been read.
_UNTOLD_SECONDS = 5.0
# So long what was read is kept: a job that fails begins again at its last checkpoint, which is a second old.
_KEPT_SECONDS = 600.0
_MOST_IN_A_FILE = 10_000


class StreamsOf(Protocol):
    """What is needed of the streams."""

    def read(self, name_or_arn: str, after: int, *, limit: int = ...) -> list[Record]: ...

    def put(self, name_or_arn: str, entries: Sequence[Put]) -> object: ...

    @property
    def latest(self) -> int: ...


class Inbound:
    """One stream on its way into a folder. `step` is called by one thread."""

    def __init__(
        self,
        streams: StreamsOf,
        stream: str,
        folder: Path,
        now: Callable[[], float] = time.time,
    ) -> None:
        """now: seconds since 1970, as the file system's times are."""
        self._streams, self._stream, self._folder, self._now = streams, stream, folder, now
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f"*{_PART}"):
            leftover.unlink()
        self._position = self._found()

    def step(self) -> bool:
        """Put the next file in place if the one before has been read; whether one was."""
        if not self._is_read():
            return False
        records = self._streams.read(self._stream, self._position, limit=_MOST_IN_A_FILE)
        if not records:
            return False
        name = f"{records[0].position:020}-{records[-1].position:020}.json"
        part = self._folder / f".{name}{_PART}"
        part.write_bytes(b"".join(record.data.rstrip(b"\n") + b"\n" for record in records))
        # Never read: what the file system puts there is a later time.
        os.utime(part, (0, part.stat().st_mtime))
        part.rename(self._folder / name)
        self._position = records[-1].position
        self._forget_old(name)
        return True

    def _found(self) -> int:
        last = max((path.name for path in self._files()), default="")
        found = _FILE.fullmatch(last)
        return int(found[2]) if found else 0

    def _files(self) -> list[Path]:
        return [path for path in self._folder.iterdir() if _FILE.fullmatch(path.name)]

    def _is_read(self) -> bool:
        """Whether the newest file has been read from, as far as that can be told."""
        files = self._files()
        if not files:
            return True
        status = max(files).stat()
        return status.st_atime > 1 or self._now() - status.st_mtime > _UNTOLD_SECONDS

    def _forget_old(self, newest: str) -> None:
        """The newest stays: it says how far the feed has come."""
        for path in self._files():
            status = path.stat()
            if path.name != newest and status.st_atime > 1 and self._now() - status.st_mtime > _KEPT_SECONDS:
                path.unlink()


class Outbound:
    """What a job writes into a folder, on its way to a stream. `step` is called by one thread."""

    def __init__(self, context: Context, streams: StreamsOf, stream: str, folder: Path, key: str) -> None:
        """key: the partition key of the records."""
        self._store, self._streams, self._stream = context.store, streams, stream
        self._folder, self._key = folder, key
        folder.mkdir(parents=True, exist_ok=True)
        self._note = f"{key}/{stream}"
        self._settle()

    def step(self) -> int:
        """Put what is committed; gives the number of records."""
        return sum(self._take(path) for path in committed(self._folder))

    def _take(self, path: Path) -> int:
        entries = self._entries(path)
        if entries:
            self._store.put(_NOTE, self._note, {"File": path.name, "After": self._streams.latest})
            self._streams.put(self._stream, entries)
        path.unlink()
        self._store.delete(_NOTE, self._note)
        return len(entries)

    def _entries(self, path: Path) -> list[Put]:
        return [Put(line + b"\n", self._key) for line in path.read_bytes().split(b"\n") if line]

    def _settle(self) -> None:
        """Finish what an earlier process has begun."""
        note = self._store.get(_NOTE, self._note)
        if note is None:
            return
        path = self._folder / note["File"]
        if path.exists():
            first = self._entries(path)[0]
            there = self._streams.read(self._stream, note["After"])
            # A put is in the stream as a whole or not at all.
            if any(record.partition_key == self._key and record.data == first.data for record in there):
                path.unlink()
        self._store.delete(_NOTE, self._note)


def committed(folder: Path) -> list[Path]:
    """The files that a checkpoint has finished, the oldest first: names of others begin with a dot or an underscore."""
    found = [path for path in folder.iterdir() if path.is_file() and path.name[0] not in "._"]
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))


class Feed:
    """Moves records both ways for as long as a job runs, on a thread of its own."""

    def __init__(self, inbound: Sequence[Inbound], outbound: Sequence[Outbound], tell: Callable[[Exception], None]):
        """tell: is told what goes wrong; the feed goes on."""
        self._inbound, self._outbound, self._tell = inbound, outbound, tell
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flink-streams", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, with what the job has committed by now."""
        self._ended.set()
        self._thread.join()
        self._step(self._outbound)

    def _run(self) -> None:
        fed = 0.0
        while not self._ended.wait(_LOOK_SECONDS):
            fed += _LOOK_SECONDS
            if fed >= _FED_SECONDS:
                self._step(self._inbound)
                fed = 0.0
            self._step(self._outbound)

    def _step(self, ways: Sequence[Inbound | Outbound]) -> None:
        for way in ways:
            try:
                way.step()
            except Exception as error:
                self._tell(error)
