"""A short way through HTTP for requests that are short themselves.

Parsing with h11 and the steps of ASGI take longer than a PutRecord does. A request in the plain form that AWS clients
send, and that is for one of `services.QUICK`, is read and answered here once it is whole, in the protocol class that
uvicorn gives each connection's bytes to. Everything else is handed on to h11 untouched, byte for byte, and so are all
requests that are not quite right: this way says no to nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from localcloud.protocols.http import HttpRequest, HttpResponse

Quick = Callable[[HttpRequest], HttpResponse | None]
"""Answers a quick request; None for one that is not, which then goes the long way."""

# The whole head at once: to look at each line by itself takes five times as long.
_HEAD = re.compile(rb"(?:GET|PUT|POST|DELETE) /[!-~]* HTTP/1\.1(?:\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\x20-\x7e\t]*)+\Z")
# What changes how the body or the connection is to be read is h11's matter.
_NOT_PLAIN = frozenset({"transfer-encoding", "expect", "upgrade", "connection", "te", "trailer"})
_MOST_HEAD, _MOST_BODY = 16 * 1024, 1024 * 1024


@dataclass(frozen=True)
class Incomplete:
    """More bytes are needed. AWS's clients send a request's head and its body one after the other."""


_INCOMPLETE = Incomplete()


def read(data: bytes) -> HttpRequest | Incomplete | None:
    """One whole request, or that it is not whole yet; None for what is not plain, or is more than one request."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return _INCOMPLETE if len(data) < _MOST_HEAD else None
    if end > _MOST_HEAD or _HEAD.match(data, 0, end) is None:
        return None
    first, *lines = data[:end].decode("ascii").split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip(" \t")
    if len(headers) < len(lines) or not _NOT_PLAIN.isdisjoint(headers) or "host" not in headers:
        return None
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > _MOST_BODY:
        return None
    missing = end + 4 + int(length) - len(data)
    if missing > 0:
        return _INCOMPLETE
    if missing < 0:
        return None
    method, target, _ = first.split(" ")
    path, _, query = target.partition("?")
    return HttpRequest(method, path, query, headers, data[end + 4 :])


def protocol(answer: Quick, begins: re.Pattern[bytes]) -> type[H11Protocol]:
    """The protocol class for uvicorn. Requests whose first bytes do not match `begins` are h11's from the start."""

    class QuickProtocol(H11Protocol):
        _held = b""
        _answered_at = float("-inf")

        def data_received(self, data: bytes) -> None:
            if self._held:
                data, self._held = self._held + data, b""
            elif not self._idle() or begins.match(data) is None:
                super().data_received(data)
                return
            request = read(data)
            if isinstance(request, Incomplete):
                self._held = data
                return
            response = answer(request) if request is not None else None
            if response is None:
                super().data_received(data)
                return
            self.transport.write(_written(response, self.server_state.default_headers))
            self._answered_at = self.loop.time()
            if self.timeout_keep_alive_task is None:
                self._wait_for_the_next(self.timeout_keep_alive)

        def timeout_keep_alive_handler(self) -> None:
            # The timer goes on from one quick request to the next: setting it anew is dearer than looking here.
            left = self._answered_at + self.timeout_keep_alive - self.loop.time()
            if left > 0:
                self._wait_for_the_next(left)
            else:
                super().timeout_keep_alive_handler()

        def _wait_for_the_next(self, seconds: float) -> None:
            self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

        def _idle(self) -> bool:
            """Whether h11 waits for a new request, with nothing of one read yet."""
            return (
                self.conn.our_state is h11.IDLE
                and self.conn.their_state is h11.IDLE
                and self.conn.trailing_data == (b"", False)
            )

    return QuickProtocol


@cache
def _status_line(status: int) -> bytes:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()


def _written(response: HttpResponse, default: list[tuple[bytes, bytes]]) -> bytes:
    head = [_status_line(response.status)]
    head += [name + b": " + value for name, value in default]
    head += [f"{name}: {value}".encode("latin-1") for name, value in response.headers]
    head.append(b"content-length: %d" % len(response.body))
    return b"\r\n".join(head) + b"\r\n\r\n" + response.body
