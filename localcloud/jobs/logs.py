"""A job's output in CloudWatch Logs: one stream per job, line by line, in batches."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from localcloud.clock import Clock

_LOG = logging.getLogger(__name__)

# PutLogEvents takes 10,000 events and 1 MiB per call, where an event costs 26 bytes beyond its text; an event may be
# 256 KiB long. Ours are kept well below, in characters of at most 4 bytes.
_BATCH_EVENTS, _BATCH_BYTES, _LINE_BYTES, _EVENT_OVERHEAD = 10_000, 900_000, 200_000, 26
_IDLE_SECONDS = 1.0


@dataclass(frozen=True)
class Metric:
    """The last value that a metric's regular expression found in the output."""

    name: str
    value: float
    timestamp: datetime


class LogStream:
    """Takes a program's output as it comes. Used by one thread at a time."""

    def __init__(
        self,
        client: Any,
        clock: Clock,
        group: str,
        stream: str,
        metrics: Sequence[tuple[str, str]] = (),
        *,
        opened: bool = False,
    ) -> None:
        """`opened`: the stream is there already, and need not be made."""
        self._client, self._clock = client, clock
        self._group, self._stream = group, stream
        self._metrics = [(name, re.compile(pattern)) for name, pattern in metrics]
        self._found: dict[str, Metric] = {}
        self._rest = b""
        self._events: list[dict[str, Any]] = []
        self._bytes = 0
        self._opened, self._refused = opened, False
        # The first lines wait as long as later ones: a job of a second then costs one call.
        self._sent_at = clock.now()

    def write(self, chunk: bytes) -> None:
        """Take the next bytes, in UTF-8; anything else is shown as the replacement character."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > _LINE_BYTES:
            lines.append(self._rest)
            self._rest = b""
        now = self._clock.now()
        for line in lines:
            self._add(line, now)
        self._flush_if_due(now)

    def idle(self) -> None:
        """Send what has waited, so that a quiet program's lines can be read while it runs."""
        self._flush_if_due(self._clock.now())

    def line(self, text: str) -> None:
        """Add a line of localcloud's own."""
        self._add(text.encode(), self._clock.now())

    def close(self) -> None:
        """Send everything; when this returns a reader of the stream sees it all."""
        if self._rest:
            self._add(self._rest, self._clock.now())
            self._rest = b""
        self._flush()

    @property
    def metrics(self) -> list[Metric]:
        """The last value of each metric that was seen, in the order of the definitions."""
        return [self._found[name] for name, _ in self._metrics if name in self._found]

    def _add(self, line: bytes, now: datetime) -> None:
        text = line.rstrip(b"\r").decode("utf-8", "replace")
        for name, pattern in self._metrics:
            for match in pattern.finditer(text):
                value = _number(match.group(1) if pattern.groups else match.group(0))
                if value is not None:
                    self._found[name] = Metric(name, value, now)
        if not text:
            # An event must have text; a blank line is kept as one space, as it separates paragraphs for the reader.
            text = " "
        timestamp = int(now.timestamp() * 1000)
        for start in range(0, len(text), _LINE_BYTES // 4):
            part = text[start : start + _LINE_BYTES // 4]
            size = len(part.encode()) + _EVENT_OVERHEAD
            if len(self._events) >= _BATCH_EVENTS or self._bytes + size > _BATCH_BYTES:
                self._flush()
            self._events.append({"timestamp": timestamp, "message": part})
            self._bytes += size

    def _flush_if_due(self, now: datetime) -> None:
        if abs((now - self._sent_at).total_seconds()) >= _IDLE_SECONDS:
            self._flush()

    def _flush(self) -> None:
        if not self._events:
            return
        if not self._refused:
            self._send(self._events)
        self._events, self._bytes = [], 0
        self._sent_at = self._clock.now()

    def _send(self, events: list[dict[str, Any]]) -> None:
        try:
            if not self._opened:
                self._open()
            self._client.put_log_events(logGroupName=self._group, logStreamName=self._stream, logEvents=events)
        except ClientError as error:
            if not error.response["Error"]["Code"].startswith("AccessDenied"):
                raise
            # As on AWS: what runs goes on, and has no log.
            _LOG.warning("the log stream %s of %s is not written: %s", self._stream, self._group, error)
            self._refused = True

    def _open(self) -> None:
        try:
            self._client.create_log_stream(logGroupName=self._group, logStreamName=self._stream)
        except self._client.exceptions.ResourceNotFoundException:
            # Another job may make it in between.
            with contextlib.suppress(self._client.exceptions.ResourceAlreadyExistsException):
                self._client.create_log_group(logGroupName=self._group)
            self._client.create_log_stream(logGroupName=self._group, logStreamName=self._stream)
        self._opened = True


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
