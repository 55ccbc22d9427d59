"""The simulator's command, as a process of its own."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from seed_code.ingestion.simulator import __main__ as program

ROOT = Path(__file__).parents[3]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def started(*arguments: str) -> Iterator[tuple[httpx.Client, subprocess.Popen[bytes]]]:
    """The process and a client of it, once it answers."""
    port = free_port()
    command = [sys.executable, "-P", "-m", "seed_code.ingestion.simulator", "--port", str(port), *arguments]
    process = subprocess.Popen(command, env={"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE)
    try:
        transport = httpx.HTTPTransport(verify=False, retries=2)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", transport=transport, timeout=30) as client:
            while process.poll() is None:
                try:
                    client.get("/health")
                    break
                except httpx.ConnectError:
                    continue
            yield client, process
    finally:
        process.kill()
        process.communicate()


def test_it_serves_ends_when_told_to_and_goes_on_as_before_after_a_kill(tmp_path):
    arguments = ("--ledger", str(tmp_path), "--speed", "60", "--rate", "2.1", "--seed", "3")
    with started(*arguments) as (client, process):
        first = client.get("/unconfirmed-transactions?format=json")
        assert client.get("/health").json()["rate"] == 2.1
        client.post("/control", json={"faults": {"quiet": {"share": 1}}})
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert process.stderr.read() == b""
    with started(*arguments) as (client, process):
        again = client.get("/unconfirmed-transactions?format=json")
        assert client.get("/control").json()["faults"]["quiet"]["share"] == 1
        process.kill()
    dates = [answer.headers.get_list("date") for answer in (first, again)]
    assert [len(found) for found in dates] == [1, 1]
    assert dates[0] <= dates[1] or dates[0][0][:3] != dates[1][0][:3]
    kept = [json.loads(line) for file in (tmp_path / "served").iterdir() for line in file.read_text().splitlines()]
    served = {one["hash"] for answer in (first, again) for one in answer.json()["txs"]}
    assert {record["hash"] for record in kept} == served | {None}


@pytest.fixture
def refused(monkeypatch, tmp_path):
    """Runs the command with arguments that it refuses; gives the reason."""

    def ran(*arguments: str) -> str:
        monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
        monkeypatch.setattr(sys, "argv", ["simulator", "--ledger", str(tmp_path), *arguments])
        with pytest.raises(SystemExit):
            program.main()
        return (tmp_path / "output/message").read_text()

    return ran


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "the following arguments are required: --port"),
        (("--port", "0"), "argument --port: 0 is not from 1 to 65535"),
        (("--port", "1", "--rate", "0"), "argument --rate: 0.0 is not above 0 and at most 100"),
        (("--port", "1", "--speed", "fast"), "argument --speed: invalid number value: 'fast'"),
        (("--port", "1", "--drift-at", "soon"), "argument --drift-at: `soon` is no ISO 8601 time"),
        (("--port", "1", "--clock", "http://127.0.0.1:1", "--speed", "2"), "expected one of them"),
        (("--port", "1", "--clock", "localhost"), "--clock is `localhost`; expected an address such as"),
        (("--port", "1", "--faults", "/nowhere.json"), "--faults /nowhere.json cannot be read as JSON"),
    ],
)
def test_wrong_arguments_are_named(refused, arguments, expected):
    assert expected in refused(*arguments)


def test_wrong_faults_are_named(refused, tmp_path):
    file = tmp_path / "faults.json"
    file.write_text('{"rain": {"share": 1}}')
    assert "fault `rain` is unknown" in refused("--port", "1", "--faults", str(file))


def test_switches_that_were_kept_are_not_switched_silently(refused, tmp_path):
    (tmp_path / "control.json").write_text("[]")
    assert "leave --drift-at and --faults away and POST /control" in refused("--port", "1", "--drift-at", "2026-05-21")


def test_a_fast_clock_goes_on_where_it_was(tmp_path):
    before = time.time()
    begin = program._begin(tmp_path, 60.0)
    assert begin >= before
    assert program._begin(tmp_path, 60.0) == begin
    assert program._begin(tmp_path, 30.0) >= begin
