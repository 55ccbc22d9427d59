"""The short way through HTTP takes what is plain and whole, and leaves everything else alone."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uvicorn import Config
from uvicorn.server import ServerState

from localcloud.protocols.http import HttpRequest, HttpResponse
from localcloud.quick import Incomplete, protocol, read
from localcloud.services import QUICK_BEGINS

_REQUEST = (
    b"PUT /FeatureGroup/a%20b?x=1&y HTTP/1.1\r\nHost: 127.0.0.1:1\r\nX-Two:  b c \r\nContent-Length: 4\r\n\r\nbody"
)


def test_a_plain_request_is_read() -> None:
    assert read(_REQUEST) == HttpRequest(
        "PUT",
        "/FeatureGroup/a%20b",
        "x=1&y",
        {"host": "127.0.0.1:1", "x-two": "b c", "content-length": "4"},
        b"body",
    )


@given(st.integers(0, len(_REQUEST) - 1))
def test_a_part_of_one_is_incomplete(length: int) -> None:
    assert read(_REQUEST[:length]) == Incomplete()


@pytest.mark.parametrize(
    "change",
    [
        (b"body", b"bodyPUT /"),
        (b"PUT", b"BREW"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"/FeatureGroup", b"FeatureGroup"),
        (b"/a%20b", b"/a b"),
        (b"X-Two:", b"X-Two :"),
        (b"X-Two:", b" X-Two:"),
        (b"X-Two:  b c ", b"X-Two: b\x00c"),
        (b"X-Two:  b c ", b"X-Two: b\rc"),
        (b"X-Two:  b c ", b"X-Two: \xc3\xa4"),
        (b"X-Two:  b c ", b"no colon"),
        (b"X-Two:", b"Host:"),
        (b"X-Two:", b"Content-Length:"),
        (b"X-Two:  b c ", b"Transfer-Encoding: chunked"),
        (b"X-Two:  b c ", b"Expect: 100-continue"),
        (b"X-Two:  b c ", b"Connection: close"),
        (b"X-Two:  b c ", b"Upgrade: websocket"),
        (b"Length: 4", b"Length: -4"),
        (b"Length: 4", b"Length: 4, 4"),
        (b"Length: 4", b"Length: 99999999999"),
        (b"Host: 127.0.0.1:1\r\n", b""),
    ],
)
def test_what_is_not_plain_is_left_alone(change: tuple[bytes, bytes]) -> None:
    assert _REQUEST.count(change[0]) == 1
    assert read(_REQUEST.replace(*change)) is None


class FakeLoop:
    """As much of an event loop as timers need; time goes on when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, call: Callable[[], None]) -> Any:
        self.timers.append((self.now + seconds, call))
        return len(self.timers)

    def until_next(self) -> None:
        self.now, call = self.timers.pop()
        call()


class FakeTransport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


def test_an_idle_connection_is_closed_a_while_after_its_last_request() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("no request goes the long way")

    loop, transport = FakeLoop(), FakeTransport()
    answering = protocol(lambda request: HttpResponse(200, [("a", "b")], request.body), re.compile(b"PUT"))
    connection = answering(
        Config(application, timeout_keep_alive=10, log_config=None, lifespan="off"), ServerState(), {}, loop
    )
    connection.connection_made(transport)
    connection.data_received(_REQUEST[:-4])
    assert transport.written == b""
    connection.data_received(_REQUEST[-4:])
    assert transport.written == b"HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 4\r\n\r\nbody"
    loop.now = 6
    connection.data_received(_REQUEST)
    loop.until_next()
    assert (loop.now, transport.closed) == (10, False)
    loop.until_next()
    assert (loop.now, transport.closed, loop.timers) == (16, True, [])


def _raw(endpoint: str, *parts: bytes, answers: int = 1) -> list[tuple[int, bytes]]:
    """Send bytes as they are; gives status and body of so many answers."""
    address = urlsplit(endpoint)
    found: list[tuple[int, bytes]] = []
    with socket.create_connection((address.hostname or "", address.port or 0)) as connection:
        for part in parts:
            connection.sendall(part)
        with connection.makefile("rb") as stream:
            for _ in range(answers):
                status = int(stream.readline().split()[1])
                headers = http.client.parse_headers(stream)
                found.append((status, stream.read(int(headers["content-length"]))))
    return found


def _get(endpoint: str, **headers: str) -> bytes:
    sent = {
        "Host": urlsplit(endpoint).netloc,
        "Authorization": "AWS4-HMAC-SHA256 Credential=test/20240101/eu-west-1/sagemaker/aws4_request, Signature=0",
        **headers,
    }
    lines = [b"GET /FeatureGroup/none?RecordIdentifierValueAsString=a HTTP/1.1"]
    lines += [f"{name}: {value}".encode() for name, value in sent.items()]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def test_both_ways_answer_alike(localcloud: Any) -> None:
    ((short_status, short),) = _raw(localcloud.endpoint, _get(localcloud.endpoint))
    ((long_status, long),) = _raw(localcloud.endpoint, _get(localcloud.endpoint, Connection="close"))
    assert (short_status, short) == (long_status, long)
    assert short_status == 404
    assert b"can't find a FeatureGroup with name none" in short


def test_a_request_in_pieces_and_two_in_one_piece(localcloud: Any) -> None:
    whole = _get(localcloud.endpoint)
    pieces = [whole[:20], whole[20:60], whole[60:]]
    assert [status for status, _ in _raw(localcloud.endpoint, *pieces)] == [404]
    assert [status for status, _ in _raw(localcloud.endpoint, whole + whole, answers=2)] == [404, 404]


def test_another_hosts_name_is_refused(localcloud: Any) -> None:
    ((status, said),) = _raw(localcloud.endpoint, _get(localcloud.endpoint, Host="example.com"))
    assert status == 403
    assert b"example.com" in said


def test_quick_and_other_requests_share_a_connection(localcloud: Any) -> None:
    connection = http.client.HTTPConnection(urlsplit(localcloud.endpoint).netloc)
    scope = "Credential=test/20240101/eu-west-1/sagemaker/aws4_request, Signature=0"
    headers = {"Authorization": f"AWS4-HMAC-SHA256 {scope}"}
    for _ in range(2):
        connection.request("GET", "/FeatureGroup/none?RecordIdentifierValueAsString=a", headers=headers)
        assert b"FeatureGroup" in connection.getresponse().read()
        connection.request("GET", "/_localcloud/status")
        assert "services" in json.loads(connection.getresponse().read())
    connection.close()


@pytest.mark.parametrize(
    ("data", "quick"),
    [
        (b"PUT /FeatureGroup/a HTTP/1.1\r\nHost: a\r\n", True),
        (b"POST / HTTP/1.1\r\nHost: a\r\nX-Amz-Target: G.PutMetricData\r\nA: b\r\n\r\n", True),
        (b"POST / HTTP/1.1\r\nHost: a\r\nX-Amz-Target: G.GetMetricData\r\n\r\n", False),
        (b"POST / HTTP/1.1\r\nHost: a\r\n\r\nX-Amz-Target: G.PutMetricData\r\n", False),
        (b"POST /bucket HTTP/1.1\r\nX-Amz-Target: G.PutMetricData\r\n", False),
    ],
)
def test_which_requests_may_be_quick_is_told_by_their_begin(data: bytes, quick: bool) -> None:
    assert (QUICK_BEGINS.match(data) is not None) == quick
