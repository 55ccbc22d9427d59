"""The servers: started, found again, stopped; and what happens when one cannot start.

Small servers stand in for localcloud, MLflow and the simulator, which `test_cli_stack` starts.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from pipelines import stack
from pipelines.stack import Server, Stack, StackError, answering

REGION = "eu-west-1"
ALL = {"localcloud", "MLflow", "simulator"}


def free_port() -> int:
    """A port that is free together with the two after it."""
    while True:
        with socket.socket() as one, socket.socket() as second, socket.socket() as third:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
            try:
                second.bind(("127.0.0.1", port + 1))
                third.bind(("127.0.0.1", port + 2))
            except (OSError, OverflowError):
                continue
            return port


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that someone else has. Nobody listens there, so that the question who it is gets its answer at once."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        yield int(listener.getsockname()[1])


# With a process below it, as localcloud has its jobs; that one ends by itself too, some seconds after a server's death.
SMALL = """
import http.server, json, subprocess, sys
BELOW = "import os, time\\nparent = os.getppid()\\nwhile os.getppid() == parent: time.sleep(5)"
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"port": int(sys.argv[1])}).encode())
subprocess.Popen([sys.executable, "-S", "-c", BELOW])
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class _Small(Stack):
    """A stack of servers that start in no time."""

    @property
    def localcloud(self) -> Server:
        return self._small(super().localcloud)

    @property
    def mlflow(self) -> Server:
        return self._small(super().mlflow)

    @property
    def simulator(self) -> Server:
        return self._small(super().simulator)

    def _small(self, server: Server) -> Server:
        return replace(server, command=(sys.executable, "-S", "-c", SMALL, str(server.port)))


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Stack]:
    """A stack of its own that is stopped at the end, whatever happens."""
    made = _Small(tmp_path / "state", free_port(), REGION)
    yield made
    made.stop()


def _processes(servers: Stack) -> list[psutil.Process]:
    document = json.loads((servers.state / "stack.json").read_text())
    return [psutil.Process(process["pid"]) for process in document["processes"].values()]


def test_its_whole_life(servers: Stack) -> None:
    """Started, answering, found by another, left alone when it runs, healed when one server dies, and stopped."""
    assert servers.start() == ALL
    for server in servers.servers:
        servers.wait(server)
    assert answering(f"{servers.localcloud.url}/_localcloud/status")["port"] == servers.port
    assert answering(f"{servers.mlflow.url}/version")["port"] == servers.port + 1
    assert answering(f"{servers.simulator.url}/health")["port"] == servers.port + 2

    with pytest.raises(StackError, match=r"did not let time pass: HTTP Error 501"):
        servers.advance(timedelta(hours=1))

    recorded = Stack.recorded(servers.state)
    assert recorded is not None
    found = _Small(recorded.state, recorded.port, recorded.region)
    assert found == servers
    assert found.running() == ALL
    assert found.start() == set()
    with pytest.raises(StackError, match=f"already runs, at port {servers.port}"):
        replace(servers, port=servers.port + 100).start()

    processes = _processes(servers)
    processes[1].kill()
    processes[1].wait(20)
    assert found.running() == ALL - {"MLflow"}
    assert found.start() == {"MLflow"}
    found.wait(found.mlflow)

    processes = [*_processes(servers), *(child for process in _processes(servers) for child in process.children())]
    assert len(processes) == 6
    assert servers.stop() == ALL
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)
    assert servers.stop() == set()
    assert answering(f"{servers.localcloud.url}/_localcloud/status") is None
    assert servers.localcloud.log.is_file()  # the state stays


@pytest.mark.parametrize(("offset", "name"), [(0, "localcloud"), (-1, "MLflow"), (-2, "simulator")])
def test_a_port_that_is_taken_is_named_with_the_option(tmp_path: Path, taken: int, offset: int, name: str) -> None:
    servers = Stack(tmp_path / "state", taken + offset, REGION)
    with pytest.raises(StackError) as caught:
        servers.start()
    assert f"port {taken} for {name} is in use by something else" in str(caught.value)
    assert f"--port {taken + offset + 100}" in str(caught.value)
    assert servers.running() == set()


WAITING = (sys.executable, "-c", "import time; time.sleep(600)")


class _Broken(Stack):
    """A stack whose localcloud ends at once, and whose other servers only wait."""

    @property
    def localcloud(self) -> Server:
        return replace(super().localcloud, command=(sys.executable, "-c", "raise SystemExit('the disk is full')"))

    @property
    def mlflow(self) -> Server:
        return replace(super().mlflow, command=WAITING)

    @property
    def simulator(self) -> Server:
        return replace(super().simulator, command=WAITING)


def test_when_a_server_dies_at_its_start_its_log_is_shown_and_the_other_stopped(tmp_path: Path) -> None:
    broken = _Broken(tmp_path / "state", free_port(), REGION)
    said: list[str] = []

    def start() -> None:
        with stack.started(broken, said.append) as fresh:
            assert fresh == ALL
            broken.wait(broken.localcloud)

    with pytest.raises(StackError, match="localcloud ended while it started") as caught:
        start()
    assert "the disk is full" in str(caught.value)
    assert str(broken.localcloud.log) in str(caught.value)
    assert said == ["stopping what was started"]
    assert broken.running() == set()


def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    broken = _Broken(tmp_path / "state", free_port(), REGION)
    try:
        broken.start()
        with pytest.raises(StackError, match=r"MLflow \(pid \d+\) does not answer at http://127.0.0.1:\d+ after 0 s"):
            broken.wait(broken.mlflow, timeout_seconds=0)
    finally:
        broken.stop()


def test_what_ran_before_is_left_running_when_the_block_fails(tmp_path: Path) -> None:
    broken = _Broken(tmp_path / "state", free_port(), REGION)

    def use() -> None:
        with stack.started(replace(broken), lambda _: None):
            raise KeyboardInterrupt

    waiting = subprocess.Popen(WAITING)
    try:
        born = psutil.Process(waiting.pid).create_time()
        known = {"pid": waiting.pid, "created": born}
        broken.state.mkdir()
        document = {"port": broken.port, "region": REGION, "processes": {"localcloud": known, "MLflow": known}}
        (broken.state / "stack.json").write_text(json.dumps(document))
        with pytest.raises(KeyboardInterrupt):
            use()
        assert waiting.poll() is None
        assert broken.running() == {"localcloud", "MLflow"}  # and what was started in it is not
    finally:
        waiting.kill()
        waiting.wait()


def test_a_process_that_got_the_number_of_ours_is_not_taken_for_it(tmp_path: Path) -> None:
    servers = Stack(tmp_path, 4610, REGION)
    known = {"pid": os.getpid(), "created": psutil.Process().create_time() - 3600}
    (tmp_path / "stack.json").write_text(json.dumps({"port": 4610, "processes": {"MLflow": known}}))
    assert servers.running() == set()
    assert servers.stop() == set()


def test_the_servers_get_nothing_of_the_callers_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Telling(_Broken):
        @property
        def localcloud(self) -> Server:
            code = "import os; print(sorted(n for n in os.environ if n.startswith(('AWS_', 'MLFLOW_', 'MLOPS_'))))"
            return replace(super().localcloud, command=(sys.executable, "-c", code))

    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL", "MLFLOW_TRACKING_URI", "MLOPS_STATE"):
        monkeypatch.setenv(name, "mine")
    telling = Telling(tmp_path / "state", free_port(), REGION)
    try:
        telling.start()
        with pytest.raises(StackError, match=r"\['AWS_DEFAULT_REGION'\]"):
            telling.wait(telling.localcloud)
    finally:
        telling.stop()


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_a_damaged_record_is_no_stack(tmp_path: Path, content: str) -> None:
    (tmp_path / "stack.json").write_text(content)
    assert Stack.recorded(tmp_path) is None
