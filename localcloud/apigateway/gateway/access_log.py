"""Access logs: a line of each request in CloudWatch Logs. No request waits for its line, and lines go together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from localcloud.gathering import Gathering
from localcloud.timetable import Timetable

Write = Callable[[str, str, Sequence[str]], None]
"""Appends messages to a stream of a log group."""
_GATHER_SECONDS = 0.05


class AccessLog:
    """Gathers lines for a moment and hands those of each stream to `write`. Safe to call from any thread."""

    def __init__(self, timetable: Timetable, write: Write) -> None:
        self._write = write
        self._lines: Gathering[tuple[str, str, str]] = Gathering(
            "lines of access logs", timetable, self._take, seconds=_GATHER_SECONDS
        )
        self.stop = self._lines.stop

    def add(self, group: str, stream: str, line: str) -> None:
        """Take over a line."""
        self._lines.put([(group, stream, line)])

    def _take(self, lines: Sequence[tuple[str, str, str]]) -> None:
        by_stream: dict[tuple[str, str], list[str]] = {}
        for group, stream, line in lines:
            by_stream.setdefault((group, stream), []).append(line)
        for (group, stream), some in by_stream.items():
            self._write(group, stream, some)
