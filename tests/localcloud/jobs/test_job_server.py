"""An image's server: when it counts as ready, and how it is told that it does not."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localcloud.jobs.container import Program
from localcloud.jobs.process import Control, Launcher
from localcloud.jobs.reaper import Reaper
from localcloud.jobs.server import Server, ServerError, free_port

SERVE = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(sys.argv[2]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[::-1])

HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
Start = Callable[..., Server]


@pytest.fixture
def job() -> Control:
    return Control()


@pytest.fixture
def start(tmp_path: Path, job: Control) -> Iterator[Start]:
    """Starts a program as a server; `{port}` in its arguments is its port. All are ended after the test."""
    reaper = Reaper()
    started: list[Server] = []

    def make(*arguments: str) -> Server:
        port = free_port()
        environment = {"PATH": os.environ["PATH"], "SAGEMAKER_BASE_DIR": str(tmp_path / "opt/ml")}
        argv = tuple(argument.replace("{port}", str(port)) for argument in arguments)
        server = Server(
            Launcher(reaper, 1.0), Program(argv, environment, tmp_path), port, job, lambda _: None, lambda: None
        )
        started.append(server)
        return server

    yield make
    for server in started:
        server.stop()
    reaper.stop()


def test_a_server_that_answers_is_ready_and_is_called(start: Start) -> None:
    server = start(sys.executable, "-c", SERVE, "{port}", "200")
    assert server.wait_until_ready(30)
    assert server.call(b"abc", {}, 30).body == b"cba"
    assert server.running


def test_a_server_that_is_never_well_is_given_up(start: Start) -> None:
    server = start(sys.executable, "-c", SERVE, "{port}", "503")
    with pytest.raises(ServerError, match=r"not ready after 2 s: GET /ping answers 503"):
        server.wait_until_ready(2)


def test_a_server_that_never_listens_is_given_up(start: Start) -> None:
    server = start("/bin/sleep", "60")
    with pytest.raises(ServerError, match=r"not ready after 0.2 s: GET /ping: .*refused"):
        server.wait_until_ready(0.2)


def test_a_server_that_ends_says_how(start: Start) -> None:
    server = start("/bin/sh", "-c", "exit 7")
    with pytest.raises(ServerError, match="ended before it was ready: exit code 7"):
        server.wait_until_ready(30)
    assert not server.running


def test_a_stopped_jobs_server_is_not_waited_for(start: Start, job: Control) -> None:
    server = start("/bin/sleep", "60")
    job.stop()
    assert server.wait_until_ready(30) is False
