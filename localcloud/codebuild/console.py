"""A build's log: what its commands write and what localcloud says of them, without the secrets that were looked up."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable

from botocore.exceptions import ClientError

from localcloud.clock import Clock
from localcloud.jobs.logs import LogStream

_LOG = logging.getLogger(__name__)
_HIDDEN = b"***"
# Less is no secret, and would be struck out of every other line.
_SHORTEST_SECRET = 4


class Console:
    """Takes lines from any thread. With no stream, what is written is dropped; so it is where the stream cannot be
    written any more: no build ends of it."""

    def __init__(self, stream: LogStream | None, clock: Clock, name: str) -> None:
        self._stream, self._clock, self._name = stream, clock, name
        self._secrets: list[bytes] = []
        self._rest = b""
        self._lock = threading.Lock()

    def hide(self, secrets: Iterable[str]) -> None:
        """From here on these texts, and each line of theirs, are shown as ***."""
        parts = {line.encode() for secret in secrets for line in (secret, *secret.splitlines())}
        self._secrets = sorted((part for part in parts if len(part) >= _SHORTEST_SECRET), key=len, reverse=True)

    def stamped(self, text: str) -> str:
        """A line as CodeBuild marks its own."""
        now = self._clock.now()
        return f"[Container] {now:%Y/%m/%d %H:%M:%S}.{now.microsecond:06} {text}"

    def say(self, line: str) -> None:
        """A line that is not a command's."""
        self.output(f"{line}\n".encode())

    def output(self, chunk: bytes) -> None:
        """The next bytes of a command."""
        with self._lock:
            if self._secrets or self._rest:
                # A secret may come in two chunks.
                whole, end, self._rest = (self._rest + chunk).rpartition(b"\n")
                chunk = self._masked(whole + end)
            if chunk and self._stream is not None:
                self._write(chunk)

    def idle(self) -> None:
        """Nothing is written just now: send what waits."""
        with self._lock:
            if self._stream is not None:
                try:
                    self._stream.idle()
                except ClientError as error:
                    self._lose(error)

    def close(self) -> None:
        """Send everything."""
        with self._lock:
            rest, self._rest = self._masked(self._rest), b""
            if self._stream is not None and rest:
                self._write(rest)
            if self._stream is not None:
                try:
                    self._stream.close()
                except ClientError as error:
                    self._lose(error)

    def _masked(self, text: bytes) -> bytes:
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return text

    def _write(self, chunk: bytes) -> None:
        assert self._stream is not None
        try:
            self._stream.write(chunk)
        except ClientError as error:
            self._lose(error)

    def _lose(self, error: ClientError) -> None:
        _LOG.warning("the log of the build %s: %s; what else it writes is dropped", self._name, error)
        self._stream = None
