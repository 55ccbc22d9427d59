"""HTTP to a server of ours on this machine, over connections that are kept for the next request.

A connection that has been idle for a while is not used again: a server closes its idle ones after some seconds, and a
request that meets the closing fails, though nothing is wrong with it or with the server.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException

# Servers keep an idle connection for two seconds and more (gunicorn two, uvicorn five).
_IDLE_SECONDS = 1.0


class NoAnswer(Exception):
    """The server gave no whole answer; the message says what happened instead."""


class NotConnected(NoAnswer):
    """Nobody listens: the server has seen nothing of the request."""


class NoAnswerInTime(NoAnswer):
    """The server is there, and silent."""


@dataclass(frozen=True)
class Answer:
    """What the server said. Names of headers are in lower case."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Connections:
    """The connections to one port. `request` may be called from any thread."""

    def __init__(self, port: int, idle_seconds: float = _IDLE_SECONDS) -> None:
        self._port, self._idle_seconds = port, idle_seconds
        self._lock = threading.Lock()
        self._idle: list[tuple[float, HTTPConnection]] = []

    def request(
        self,
        method: str,
        path: str,
        timeout_seconds: float,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request. Raises NoAnswer: NotConnected when nobody listens, and NoAnswerInTime when the server is silent
        for `timeout_seconds`."""
        connection = self._take(timeout_seconds)
        try:
            if connection.sock is None:
                connection.connect()
        except OSError as error:
            raise NotConnected(str(error)) from error
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            answer = Answer(
                response.status, response.read(), {name.lower(): value for name, value in response.getheaders()}
            )
        except TimeoutError as error:
            connection.close()
            raise NoAnswerInTime(f"no answer in {timeout_seconds:g} s") from error
        except (OSError, HTTPException) as error:
            connection.close()
            raise NoAnswer(str(error) or type(error).__name__) from error
        if response.will_close:
            connection.close()
        else:
            with self._lock:
                self._idle.append((time.monotonic(), connection))
        return answer

    def close(self) -> None:
        """Close those that are idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def _take(self, timeout_seconds: float) -> HTTPConnection:
        with self._lock:
            since, connection = self._idle.pop() if self._idle else (0.0, None)
        if connection is not None and time.monotonic() - since < self._idle_seconds and _is_open(connection.sock):
            connection.sock.settimeout(timeout_seconds)
            return connection
        if connection is not None:
            # The last to be used is the first to be taken, so that the others have been idle for longer still.
            connection.close()
            self.close()
        return HTTPConnection("127.0.0.1", self._port, timeout=timeout_seconds)


def _is_open(connection: socket.socket) -> bool:
    """Whether the other end has said nothing since: all that it could say now is that it closes."""
    poller = select.poll()
    poller.register(connection, select.POLLIN)
    return not poller.poll(0)
