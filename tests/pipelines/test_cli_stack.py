"""`up`, `down` and `demo`: the whole of a laptop's life with the project, in processes of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.stack import Stack
from tests.pipelines.test_stack import free_port, taken

__all__ = ["taken"]
ROOT = Path(__file__).resolve().parents[2]
Mlops = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A working copy with all that the image holds. Whatever still runs of it at the end is stopped."""
    folder = tmp_path / "copy"
    shutil.copytree(ROOT / "configs", folder / "configs")
    shutil.copytree(ROOT / "seed_code", folder / "seed_code", ignore=shutil.ignore_patterns("__pycache__"))
    yield folder
    for record in folder.glob(".mlops/*/stack.json"):
        servers = Stack.recorded(record.parent, "eu-west-1")
        assert servers is not None
        servers.stop()


def _environment(*, python_path: Path = ROOT) -> dict[str, str]:
    left_out = ("AWS_", "MLFLOW_", "MLOPS_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return {**kept, "PYTHONPATH": str(python_path)}


def _command(*arguments: str) -> list[str]:
    # -P: the copy's own `seed_code` must not stand before the repository's packages.
    return [sys.executable, "-P", "-c", "from pipelines.cli import main; main()", *arguments]


@pytest.fixture
def mlops_in(tree: Path) -> Mlops:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            _command(*arguments), cwd=tree, env=_environment(), capture_output=True, text=True, check=False
        )

    return run


def test_up_makes_a_laptop_ready_and_down_ends_it(tree: Path, mlops_in: Mlops) -> None:
    port = free_port()
    first = mlops_in("up", "--port", str(port))
    assert first.returncode == 0, first.stderr
    assert f"http://127.0.0.1:{port}" in first.stdout
    assert "made bucket" in first.stdout
    assert "made image" in first.stdout
    kept = (tree / ".mlops" / "env").read_text()
    assert f"AWS_ENDPOINT_URL='http://127.0.0.1:{port}'" in kept
    assert f"MLFLOW_TRACKING_URI='http://127.0.0.1:{port + 1}'" in kept
    shell = subprocess.run(
        ["sh", "-c", "set -a; . .mlops/env; echo $MLOPS_OVERRIDES $AWS_SECRET_ACCESS_KEY"],
        cwd=tree,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shell.stdout.split() == [str(tree / "configs" / "local.yml"), "localcloud"]

    again = mlops_in("up")
    assert again.returncode == 0, again.stderr
    assert "already up" in again.stdout
    assert "made" not in again.stdout
    elsewhere = mlops_in("up", "--port", str(port + 100))
    assert elsewhere.returncode == 1
    assert f"already runs, at port {port}" in elsewhere.stderr
    beside = mlops_in("up", "--port", str(free_port()), "--state", "other")
    assert beside.returncode == 2
    assert "`mlops down` stops it" in beside.stderr
    # Another verb finds it without being told.
    status = json.loads(mlops_in("status", "--json").stdout)
    assert status["services"]["AWS"] == {
        "address": f"http://127.0.0.1:{port}",
        "answers": True,
        "state": str(tree / ".mlops" / "state" / "localcloud"),
    }
    assert status["services"]["MLflow"]["answers"] is True

    down = mlops_in("down")
    assert down.returncode == 0
    assert "stopped MLflow and localcloud" in down.stdout
    assert not (tree / ".mlops" / "env").exists()
    assert "nothing runs" in mlops_in("down").stdout


def test_a_taken_port_leaves_nothing_behind(tree: Path, mlops_in: Mlops, taken: int) -> None:
    for verb in ("up", "demo"):
        done = mlops_in(verb, "--port", str(taken))
        assert done.returncode == 1
        assert f"port {taken} for localcloud is in use" in done.stderr
        assert "--port" in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tree / ".mlops" / "env").exists()


@pytest.mark.parametrize("name", ["missing.csv", "configs"])
def test_a_demo_on_what_is_no_file_says_so(mlops_in: Mlops, name: str) -> None:
    done = mlops_in("demo", "--data", name)
    assert done.returncode == 2
    assert f"--data `{name}` is no file" in done.stderr


def test_a_demo_that_is_ended_stops_what_it_started(tree: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        _command("demo", "--port", str(port)),
        cwd=tree,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    assert "AWS" in process.stdout.readline()  # the servers are started by now
    process.terminate()
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + 15
    assert "stopping what was started" in said
    servers = Stack.recorded(tree / ".mlops" / f"demo-{port}", "eu-west-1")
    assert servers is not None
    assert servers.running() == set()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_demos_at_once_each_end_with_a_package_that_waits(tree: Path) -> None:
    """On ports of their own, from one working copy, with a small file of card data."""
    data = tree / "mine.csv.gz"
    size = ("--transactions", "60000", "--holders", "900")
    subprocess.run(
        [sys.executable, "-m", "seed_code.cardholders.generate", "--out", str(data), *size],
        cwd=ROOT,
        env=_environment(),
        check=True,
        stdout=subprocess.DEVNULL,
    )
    ports = [free_port(), free_port()]
    done: dict[int, subprocess.CompletedProcess[str]] = {}

    def demo(port: int) -> None:
        arguments = ("demo", "--port", str(port), "--data", str(data))
        done[port] = subprocess.run(
            _command(*arguments), cwd=tree, env=_environment(), capture_output=True, text=True, check=False
        )

    threads = [threading.Thread(target=demo, args=(port,)) for port in ports]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for port in ports:
        out = done[port].stdout
        assert done[port].returncode == 0, out + done[port].stderr
        assert "✓ LinkMlflow" in out
        assert "ROC AUC" in out
        assert "version 1, waiting for approval" in out
        assert f"http://127.0.0.1:{port + 1}/#/models/" in out
        report = next(line.split()[-1] for line in out.splitlines() if line.startswith("Report"))
        assert "Version 1 waits for approval" in (tree / report).read_text()
        servers = Stack.recorded(tree / ".mlops" / f"demo-{port}", "eu-west-1")
        assert servers is not None
        assert servers.running() == set()
    assert not (tree / ".mlops" / "env").exists()
