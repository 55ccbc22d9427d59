"""Connections to a server: kept, given up when they have been idle, and what is said when there is no answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from localcloud.jobs.connections import Connections, NoAnswer, NoAnswerInTime
from localcloud.jobs.server import free_port


class Handler(BaseHTTPRequestHandler):
    """Answers with the caller's port, which tells connections apart."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if body == b"hang up":
            self.close_connection = True
            return
        answer = str(self.client_address[1]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("X-Seen", self.headers.get("X-Sent", ""))
        if body == b"last":
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def ask(connections: Connections, body: bytes = b"") -> bytes:
    return connections.request("POST", "/", 30, body).body


def test_a_connection_is_kept_for_the_next_request(port: int) -> None:
    connections = Connections(port, idle_seconds=60)
    assert ask(connections) == ask(connections)
    answer = connections.request("POST", "/", 30, b"", {"X-Sent": "1"})
    assert (answer.status, answer.headers["x-seen"]) == (200, "1")
    connections.close()


def test_one_that_was_idle_for_too_long_is_not(port: int) -> None:
    connections = Connections(port, idle_seconds=0)
    assert ask(connections) != ask(connections)
    connections.close()


def test_one_that_the_server_closes_is_not(port: int) -> None:
    connections = Connections(port, idle_seconds=60)
    assert ask(connections, b"last") != ask(connections)
    connections.close()


def test_a_request_without_an_answer_fails_and_the_next_one_does_not(port: int) -> None:
    connections = Connections(port, idle_seconds=60)
    with pytest.raises(NoAnswer, match="closed connection without response"):
        ask(connections, b"hang up")
    assert ask(connections)
    connections.close()


def test_nobody_there_and_nobody_who_speaks() -> None:
    with pytest.raises(NoAnswer, match="refused"):
        ask(Connections(free_port()))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(NoAnswerInTime, match=r"no answer in 0\.05 s"):
            Connections(silent.getsockname()[1]).request("GET", "/ping", 0.05)
