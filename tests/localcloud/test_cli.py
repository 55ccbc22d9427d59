"""The command line, with a real process behind it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import boto3
import pytest

from localcloud import instance
from localcloud.cli import main
from localcloud.errors import LocalcloudError
from localcloud.foreground import run

_COMMAND = [sys.executable, "-m", "localcloud"]


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run([*_COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The command in this process; gives its exit status and what it has written."""

    def run_here(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["localcloud", *arguments])
        with pytest.raises(SystemExit) as raised:
            main()
        return int(raised.value.code or 0), *capsys.readouterr()

    return run_here


Started = tuple[subprocess.Popen[str], int, str]


@contextlib.contextmanager
def _starter() -> Iterator[Callable[..., Started]]:
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str, stderr: IO[str] | None = None) -> Started:
        process = subprocess.Popen(
            [*_COMMAND, "up", "--port", "0", *arguments], stdout=subprocess.PIPE, stderr=stderr, text=True
        )
        processes.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        port = int(line.partition("http://127.0.0.1:")[2].split()[0])
        return process, port, line

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def up() -> Iterator[Callable[..., Started]]:
    """Starts `localcloud up`; gives the process, its port and the line that it prints when it is ready."""
    with _starter() as start:
        yield start


@pytest.fixture(scope="module")
def running() -> Iterator[Started]:
    """One that runs for all tests that leave it as it is."""
    with _starter() as start:
        yield start()


def test_up_status_down(up: Callable[..., Started], here: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    process, port, line = up("--state", str(tmp_path / "state"))
    assert line.startswith(f"localcloud is ready: export AWS_ENDPOINT_URL=http://127.0.0.1:{port}")
    status, shown, _ = here("status", "--port", str(port))
    assert status == 0
    assert f"{tmp_path / 'state'} (kept)" in shown
    machine = json.loads(here("status", "--json", "--port", str(port))[1])
    assert (machine["pid"], machine["port"], machine["temporary"]) == (process.pid, port, False)
    stopped = _run("down", "--port", str(port))
    assert (stopped.returncode, stopped.stdout) == (0, "")
    assert process.wait(timeout=30) == 0
    assert (tmp_path / "state" / "localcloud.sqlite").exists()
    assert not (tmp_path / "state" / "tmp").exists()


def test_an_interrupt_ends_it_and_leaves_nothing_behind(up: Callable[..., Started]) -> None:
    process, port, _ = up()
    state = Path(instance.query(port)["state"])
    assert state.is_dir()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0
    assert not state.exists()


def test_sigterm_ends_it_and_a_query_leaves_no_complaint_of_its_engine(
    up: Callable[..., Started], tmp_path: Path
) -> None:
    with (tmp_path / "stderr").open("w") as stderr:
        process, port, _ = up(stderr=stderr)
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-west-1")
    endpoint = f"http://127.0.0.1:{port}"
    athena = session.client("athena", endpoint_url=endpoint)
    # A result that cannot be written: the query has been run all the same.
    query = athena.start_query_execution(
        QueryString="SELECT 1", ResultConfiguration={"OutputLocation": "s3://nowhere/results/"}
    )["QueryExecutionId"]
    found = "QUEUED"
    while found in ("QUEUED", "RUNNING"):
        found = athena.get_query_execution(QueryExecutionId=query)["QueryExecution"]["Status"]["State"]
    assert found == "FAILED"
    state = Path(instance.query(port)["state"])
    assert state.is_dir()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    assert (tmp_path / "stderr").read_text() == ""
    assert not state.exists()


def test_a_temporary_state_that_a_killed_process_left_is_removed_by_the_next(up: Callable[..., Started]) -> None:
    process, port, _ = up()
    state = Path(instance.query(port)["state"])
    process.kill()
    process.wait()
    assert state.is_dir()
    up()
    assert not state.exists()


def test_a_second_one_on_the_same_port_is_told_whose_it_is(running: Started) -> None:
    process, port, _ = running
    second = _run("up", "--port", str(port))
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert f"port {port} is in use by another localcloud (pid {process.pid}, state " in second.stderr
    assert f"`localcloud down --port {port}`" in second.stderr


def test_a_second_one_on_the_same_state_is_told_whose_it_is(up: Callable[..., Started], tmp_path: Path) -> None:
    process, port, _ = up("--state", str(tmp_path))
    second = _run("up", "--port", "0", "--state", str(tmp_path))
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert (
        f"the state folder {tmp_path} is in use by another localcloud (pid {process.pid}, port {port})" in second.stderr
    )
    assert "--state" in second.stderr


def test_a_state_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "localcloud.sqlite").write_bytes(b"this is no database, whatever its name says" * 100)
    done = _run("up", "--port", "0", "--state", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: the state in {tmp_path} cannot be read: file is not a database.")


def test_a_port_of_another_program_is_named_with_its_program() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        other.settimeout(0)
        with pytest.raises(LocalcloudError, match=f"port {port} is in use by .*pid {os.getpid()}"):
            instance.bind(port)


@pytest.mark.parametrize("command", [["status"], ["down"], ["logs", "job"]])
def test_without_a_running_one_the_next_command_is_named(
    here: Callable[..., tuple[int, str, str]], command: list[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    said = f"error: no localcloud answers at port {port}. Start one with `localcloud up --port {port}`.\n"
    assert here(*command, "--port", str(port)) == (1, "", said)


def test_the_log_of_a_job_that_there_is_not_says_where_to_look(
    running: Started, here: Callable[..., tuple[int, str, str]]
) -> None:
    status, _, errors = here("logs", "nowhere", "--port", str(running[1]))
    assert status == 1
    assert "there is no job 'nowhere' (ProcessingJobs, TrainingJobs, TransformJobs)" in errors


def test_the_server_says_nothing_about_itself_to_strangers(running: Started) -> None:
    _, port, _ = running
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{instance.STATUS_PATH}", headers={"Host": "attacker.example"}
    )
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request)


def test_a_state_of_another_format_is_named(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "localcloud.sqlite")) as connection:
        connection.execute("PRAGMA user_version = 7")
    with pytest.raises(LocalcloudError, match=f"the state in {tmp_path} cannot be read: its format is number 7"):
        run(0, tmp_path, on_ready=lambda *_: pytest.fail("it must not start"))


def test_a_state_folder_that_cannot_be_written_is_named() -> None:
    with (
        pytest.raises(LocalcloudError, match=r"/proc/\S+ cannot be written: .* Name another with --state"),
        instance.claimed_state(Path("/proc/self/fdinfo"), 0),
    ):
        pytest.fail("it must not be claimed")
