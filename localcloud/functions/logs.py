"""What functions write, in CloudWatch Logs: in order, by a thread of its own, so that no caller waits for it."""

from __future__ import annotations

import contextlib
import logging
import queue
import secrets
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from localcloud.context import Context
from localcloud.leaf import LeafUnavailable

_LOG = logging.getLogger(__name__)
# PutLogEvents takes 10,000 events and 1 MiB per call, where an event costs 26 bytes beyond its text.
_BATCH_EVENTS, _BATCH_BYTES, _EVENT_OVERHEAD, _EVENT_CHARACTERS = 5_000, 900_000, 26, 50_000


@dataclass(frozen=True)
class _Batch:
    group: str
    stream: str
    role_arn: str | None
    moment: datetime
    messages: Sequence[str]
    working: AbstractContextManager[None]


class Logs:
    """Writes to log streams, which are made when first written to. `write` may be called from any thread."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._batches: queue.Queue[_Batch | None] = queue.Queue()
        self._made: set[tuple[str, str]] = set()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def new_stream(self) -> str:
        """The name of a stream for a process that starts now."""
        return f"{self._context.clock.now():%Y/%m/%d}/[$LATEST]{secrets.token_hex(16)}"

    def write(self, group: str, stream: str, messages: Sequence[str], role_arn: str | None = None) -> None:
        """Append messages, as of now, as a role. What that may not write is lost, as on AWS, and said in the log."""
        working = self._context.timetable.working()
        working.__enter__()
        self._batches.put(_Batch(group, stream, role_arn, self._context.clock.now(), messages, working))
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="function-logs", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Write what has been given, and end."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            self._batches.put(None)
            thread.join()

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            with contextlib.suppress(LeafUnavailable):
                try:
                    self._append(batch)
                except ClientError as error:
                    _LOG.error("the log stream %s of %s: %s", batch.stream, batch.group, error)
            batch.working.__exit__(None, None, None)

    def _append(self, batch: _Batch) -> None:
        timestamp = int(batch.moment.timestamp() * 1000)
        events: list[dict[str, Any]] = []
        size = 0
        for message in batch.messages:
            for start in range(0, len(message), _EVENT_CHARACTERS):
                part = message[start : start + _EVENT_CHARACTERS]
                length = len(part.encode()) + _EVENT_OVERHEAD
                if events and (len(events) >= _BATCH_EVENTS or size + length > _BATCH_BYTES):
                    self._put(batch, events)
                    events, size = [], 0
                events.append({"timestamp": timestamp, "message": part})
                size += length
        if events:
            self._put(batch, events)

    def _put(self, batch: _Batch, events: Sequence[dict[str, Any]]) -> None:
        client = self._context.clients.of("logs", batch.role_arn)
        missing = client.exceptions.ResourceNotFoundException
        for _ in range(2):
            if (batch.group, batch.stream) not in self._made:
                self._make(client, batch)
            try:
                client.put_log_events(logGroupName=batch.group, logStreamName=batch.stream, logEvents=list(events))
                return
            except missing:
                # Somebody has deleted the group meanwhile.
                self._made.discard((batch.group, batch.stream))

    def _make(self, client: Any, batch: _Batch) -> None:
        """A stream, and the group where there is none: most roles may make no groups."""
        exists = client.exceptions.ResourceAlreadyExistsException
        with contextlib.suppress(exists):
            try:
                client.create_log_stream(logGroupName=batch.group, logStreamName=batch.stream)
            except client.exceptions.ResourceNotFoundException:
                with contextlib.suppress(exists):
                    client.create_log_group(logGroupName=batch.group)
                client.create_log_stream(logGroupName=batch.group, logStreamName=batch.stream)
        self._made.add((batch.group, batch.stream))
