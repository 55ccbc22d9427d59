"""`up`, `down` and `demo`: the whole of a laptop's life with the project, its servers in processes of their own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.stack import Stack, answering
from tests.pipelines.test_stack import free_port, taken

__all__ = ["taken"]
ROOT = Path(__file__).resolve().parents[2]
Mlops = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A working copy with all that images, functions and stack are made of. What still runs of it is stopped."""
    folder = tmp_path / "copy"
    shutil.copytree(ROOT / "configs", folder / "configs")
    for part in ("seed_code", "pipelines", "template"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    yield folder
    for record in folder.glob(".mlops/*/stack.json"):
        servers = Stack.recorded(record.parent)
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
def mlops_in(tree: Path, mlops: Mlops, monkeypatch: pytest.MonkeyPatch) -> Mlops:
    """The command line in the tree, as from a shell that knows of no AWS: exit status, stdout, stderr."""
    for name in os.environ.keys() - _environment().keys():
        monkeypatch.delenv(name)
    return lambda *arguments: mlops(tree, *arguments)


def test_up_makes_a_laptop_ready_and_down_ends_it(tree: Path, mlops_in: Mlops) -> None:
    port = free_port()
    # A process of its own, which the servers outlive.
    first = subprocess.run(
        _command("up", "--port", str(port)), cwd=tree, env=_environment(), capture_output=True, text=True, check=False
    )
    assert first.returncode == 0, first.stderr
    assert f"http://127.0.0.1:{port}" in first.stdout
    assert re.search(r"made the stack mlops-demo: \d+ created", first.stdout)
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

    status, out, err = mlops_in("up")
    assert status == 0, err
    assert "already up" in out
    assert "made" not in out
    status, _, err = mlops_in("up", "--port", str(port + 100))
    assert status == 1
    assert f"already runs, at port {port}" in err
    status, _, err = mlops_in("up", "--port", str(free_port()), "--state", "other")
    assert status == 2
    assert "`mlops down` stops it" in err
    # Another verb finds it without being told.
    services = json.loads(mlops_in("status", "--json")[1])["services"]
    assert services["AWS"] == {
        "address": f"http://127.0.0.1:{port}",
        "answers": True,
        "state": str(tree / ".mlops" / "state" / "localcloud"),
    }
    assert services["MLflow"]["answers"] is True
    assert answering(f"http://127.0.0.1:{port + 1}/api/2.0/mlflow/experiments/search?max_results=1")["experiments"]

    servers = Stack.recorded(tree / ".mlops" / "state")
    assert servers is not None
    reached = servers.advance(timedelta(hours=2))
    assert timedelta(hours=1, minutes=59) < reached - datetime.now(UTC) < timedelta(hours=2, minutes=1)

    # Whatever the configuration says by now: who cannot stop the servers cannot work at all.
    (tree / "configs" / "project.yml").write_text("nothing: right\n")
    status, out, _ = mlops_in("down")
    assert status == 0
    assert "stopped MLflow and localcloud" in out
    assert not (tree / ".mlops" / "env").exists()
    assert answering(f"http://127.0.0.1:{port}/_localcloud/status") is None
    assert (tree / ".mlops" / "state" / "mlflow" / "mlflow.db").is_file()  # the state stays
    assert "nothing runs" in mlops_in("down")[1]


def test_a_taken_port_leaves_nothing_behind(tree: Path, mlops_in: Mlops, taken: int) -> None:
    for verb in ("up", "demo"):
        status, _, err = mlops_in(verb, "--port", str(taken))
        assert status == 1
        assert f"port {taken} for localcloud is in use" in err
        assert "--port" in err
        assert "Traceback" not in err
    assert not (tree / ".mlops" / "env").exists()


@pytest.mark.parametrize("name", ["missing.csv", "configs"])
def test_a_demo_on_what_is_no_file_says_so(mlops_in: Mlops, name: str) -> None:
    status, _, err = mlops_in("demo", "--data", name)
    assert status == 2
    assert f"--data `{name}` is no file" in err


def test_a_demo_on_minutes_that_cannot_be_taken_says_so_at_once(tree: Path, mlops_in: Mlops) -> None:
    (tree / "fees.csv").write_text("tx_minute,total_nb_trx_1min,total_fee_1min\nsoon,1,1\n")
    status, _, err = mlops_in("demo", "--minutes", "fees.csv")
    assert status == 2
    assert "line 2: `tx_minute` is `soon`" in err
    assert not (tree / ".mlops").exists()


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
    servers = Stack.recorded(tree / ".mlops" / f"demo-{port}")
    assert servers is not None
    assert servers.running() == set()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_demos_at_once_each_end_with_packages_that_wait(tree: Path) -> None:
    """On ports of their own, from one working copy, with a small file of card data; one of them with the built-in
    DeepAR in place of the forecaster's own image.
    """
    data = tree / "mine.csv.gz"
    size = ("--transactions", "60000", "--holders", "900")
    subprocess.run(
        [sys.executable, "-m", "seed_code.cardholders.generate", "--out", str(data), *size],
        cwd=ROOT,
        env=_environment(),
        check=True,
        stdout=subprocess.DEVNULL,
    )
    own = tree / "configs" / "local.yml"
    built_in = tree / "configs" / "built-in.yml"
    built_in.write_text(own.read_text().replace("  forecaster:\n", "  forecaster:\n    network: {image: built-in}\n"))
    overrides = {free_port(): own, free_port(): built_in}
    done: dict[int, subprocess.CompletedProcess[str]] = {}

    def demo(port: int) -> None:
        done[port] = subprocess.run(
            _command("demo", "--port", str(port), "--data", str(data)),
            cwd=tree,
            env={**_environment(), "MLOPS_OVERRIDES": str(overrides[port])},
            capture_output=True,
            text=True,
            check=False,
        )

    threads = [threading.Thread(target=demo, args=(port,)) for port in overrides]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for port, file in overrides.items():
        out = done[port].stdout
        assert done[port].returncode == 0, out + done[port].stderr
        assert out.count("✓ LinkMlflow") == 2
        assert "ROC AUC" in out
        assert "Mean wQL" in out
        assert out.count("version 1, waiting for approval") == 2
        assert f"http://127.0.0.1:{port + 1}/#/models/" in out
        pages = [(tree / line.split()[-1]).read_text() for line in out.splitlines() if line.startswith("Report")]
        assert len(pages) == 2
        assert all("Version 1 waits for approval" in page for page in pages)
        assert ("forecasting-deepar:1" in pages[1]) == (file == built_in)
        servers = Stack.recorded(tree / ".mlops" / f"demo-{port}")
        assert servers is not None
        assert servers.running() == set()
    assert not (tree / ".mlops" / "env").exists()
