"""The Flink job on this machine, over a file of lines: what it writes, how long it takes, and how much memory."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from seed_code.ingestion.flink.check import check

ROOT = Path(__file__).resolve().parents[3]
PYTHON = ROOT / ".venvs" / "flink" / "bin" / "python"
JOB = ROOT / "seed_code" / "ingestion" / "flink" / "main.py"
_SAMPLE_SECONDS = 0.2


@dataclass(frozen=True)
class Done:
    """A run.

    Attributes:
        rows: by their minutes.
        late: as they come.
        seconds: from the program's start to its end.
        megabytes: of the program and Flink together, at most.
    """

    rows: list[dict[str, Any]]
    late: list[dict[str, Any]]
    seconds: float
    megabytes: float


def run(lines: Iterable[str], lateness: int, folder: Path, seconds: float = 600) -> Done:
    """Run the job over lines until it has read them all.

    Raises:
        Unfit: when there is no Java or no PyFlink.
        RuntimeError: when the job fails; with what it said.
    """
    check(PYTHON, os.environ)
    source = folder / "streams" / "transactions"
    source.mkdir(parents=True)
    with (source / "0.json").open("w", encoding="ascii") as file:
        file.writelines(f"{line}\n" for line in lines)
    begun = time.perf_counter()
    with (folder / "said").open("wb") as said:
        process = psutil.Popen(
            [str(PYTHON), str(JOB)], env=_environ(lateness, folder), stdout=said, stderr=subprocess.STDOUT
        )
        megabytes = _watch(process, begun + seconds)
    if process.returncode:
        raise RuntimeError(f"the Flink job ended with {process.returncode}: {(folder / 'said').read_text()[:4000]}")
    rows = sorted(_written(folder / "streams" / "minutes"), key=lambda row: str(row["tx_minute"]))
    return Done(rows, _written(folder / "streams" / "late"), time.perf_counter() - begun, megabytes)


def plan(folder: Path, seconds: float = 600) -> str:
    """The job's plans, as Flink explains them, the one that it executes last. Raises Unfit as `run` does."""
    check(PYTHON, os.environ)
    environ = {**_environ(30, folder), "EXPLAIN": "1"}
    return subprocess.run(
        [str(PYTHON), str(JOB)], env=environ, capture_output=True, text=True, check=True, timeout=seconds
    ).stdout


def _environ(lateness: int, folder: Path) -> dict[str, str]:
    (folder / "properties.json").write_text(json.dumps(properties(lateness)))
    return {
        **os.environ,
        "APPLICATION_PROPERTIES_PATH": str(folder / "properties.json"),
        "MOUNT_ROOT": str(folder),
        "IS_LOCAL": "1",
        "FLINK_LOG_DIR": str(folder),
        "TZ": "Pacific/Chatham",  # the minutes are UTC's all the same
    }


def properties(lateness: int) -> list[dict[str, Any]]:
    """The application's properties, as the service gives them."""
    files = {"connector": "filesystem", "format": "json"}
    groups = {
        "transactions": {**files, "path": "/streams/transactions", "json.ignore-parse-errors": "true"},
        "minutes": {**files, "path": "/streams/minutes"},
        "late": {**files, "path": "/streams/late"},
        "aggregate": {"lateness_seconds": str(lateness)},
        # One file is one order.
        "flink": {"parallelism.default": "1"},
    }
    return [{"PropertyGroupId": name, "PropertyMap": group} for name, group in groups.items()]


def _watch(process: psutil.Popen, end: float) -> float:
    """Wait for a process; gives the megabytes that it and what it started took at most."""
    most = 0
    while True:
        most = max(most, _memory(process))
        try:
            process.wait(_SAMPLE_SECONDS)
        except psutil.TimeoutExpired:
            if time.perf_counter() < end:
                continue
            for one in (*process.children(recursive=True), process):
                one.kill()
            raise RuntimeError("the Flink job did not end in time") from None
        return most / 2**20


def _memory(process: psutil.Popen) -> int:
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def _written(folder: Path) -> list[dict[str, Any]]:
    files = sorted(folder.glob("part-*"), key=lambda file: int(file.name.rpartition("-")[2]))
    return [json.loads(line) for file in files for line in file.read_text(encoding="ascii").splitlines()]
