"""The raw archive: every transaction and heartbeat of the stream, as Firehose wrote them to S3.

    s3://bucket/ingestion/raw/day=2026-11-22/hour=14/fraud-archive-1-2026-11-22-14-01-07-….gz

A folder has the records of one hour, by the records' own time and in UTC, whenever they came; a file is a gzip of lines
of JSON. Firehose writes at least once: records come more often than once, and in any order. A file that is damaged is
read as far as it goes. What is left out is counted, with an example.

Source: "Understand data delivery in Amazon Data Firehose" and "Partition streaming data in Amazon Data Firehose".
"""

import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from seed_code.common.objects import Objects
from seed_code.ingestion.operator import lines
from seed_code.ingestion.operator.windows import Event

HOUR = timedelta(hours=1)
_GZIP = b"\x1f\x8b"
_SECONDS = 3600


@dataclass
class Reading:
    """What has been read, and what of it was left out.

    Attributes:
        objects: files.
        records: lines that were used, repetitions among them.
        heartbeats: of the records.
        broken_records: lines that are no transaction and no heartbeat, or lie in another hour's folder.
        damaged_objects: files that end too early, or are no gzip.
        first_problem: what the first of those is, and where; None where there is none.
        newest: the newest time of a record, in seconds since 1970; None before the first.
    """

    objects: int = 0
    records: int = 0
    heartbeats: int = 0
    broken_records: int = 0
    damaged_objects: int = 0
    first_problem: str | None = None
    newest: int | None = None

    def problem(self, text: str) -> None:
        """Note the first one."""
        self.first_problem = self.first_problem or text


class Archive:
    """The files below a folder in S3, read an hour at a time: no more than one file is in memory."""

    def __init__(self, objects: Objects, uri: str) -> None:
        """uri: the folder that the days' folders are in."""
        self._objects, self._uri = objects, uri.rstrip("/")
        self.reading = Reading()

    def hour(self, begin: datetime) -> Iterator[Event]:
        """The records of an hour, in the order of its files. `begin`: its first moment (aware).

        Raises:
            ClientError: when S3 refuses or does not answer.
        """
        return self._events(begin, self._objects.list(self._folder(begin)))

    def reaches(self, moment: datetime, after: datetime) -> bool:
        """Whether there is a record of a moment or later, in the hours that follow the one which begins with `after`.

        What is read for it counts in `reading.newest`, and in nothing else.

        Raises:
            ClientError: when S3 refuses or does not answer.
        """
        wanted = int(moment.timestamp())
        looking = Archive(self._objects, self._uri)
        # `~` comes after all characters of the files' names: what is listed lies in later folders.
        for uri in self._objects.list(self._uri, after=f"{self._folder(after)}/~"):
            hour = self._hour_of(uri)
            if hour is None or hour <= after:
                continue
            newest = int(hour.timestamp())  # a folder has records of its hour
            if newest < wanted:
                for _ in looking._events(hour, [uri]):
                    pass
            newest = max(newest, looking.reading.newest or 0)
            self.reading.newest = max(newest, self.reading.newest or 0)
            if newest >= wanted:
                return True
        return False

    def _events(self, begin: datetime, uris: Iterable[str]) -> Iterator[Event]:
        first = int(begin.timestamp())
        reading = self.reading
        for uri in uris:
            content = self._objects.get(uri)
            if content is None:  # its days are over: S3 has deleted it since
                continue
            reading.objects += 1
            for line in self._lines(uri, content):
                if not line.strip():
                    continue
                event = lines.event(line)
                if event is None or not first <= event[1] < first + _SECONDS:
                    reading.broken_records += 1
                    what = "no transaction" if event is None else "of another hour"
                    reading.problem(f"{uri} has a line that is {what}: {line[:80].decode(errors='replace').strip()}")
                    continue
                reading.records += 1
                reading.heartbeats += event[0] is None
                if reading.newest is None or event[1] > reading.newest:
                    reading.newest = event[1]
                yield event

    def _lines(self, uri: str, content: bytes) -> Iterator[bytes]:
        if not content.startswith(_GZIP):
            yield from content.splitlines()
            return
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
                yield from stream
        except (EOFError, OSError, zlib.error) as error:
            self.reading.damaged_objects += 1
            self.reading.problem(f"{uri} is damaged: {error}")

    def _folder(self, begin: datetime) -> str:
        return f"{self._uri}/{begin.astimezone(UTC):day=%Y-%m-%d/hour=%H}"

    def _hour_of(self, uri: str) -> datetime | None:
        """The hour of the folder that a file lies in; None for any other file."""
        folder = "/".join(uri.removeprefix(f"{self._uri}/").split("/")[:2])
        try:
            return datetime.strptime(folder, "day=%Y-%m-%d/hour=%H").replace(tzinfo=UTC)
        except ValueError:
            return None
