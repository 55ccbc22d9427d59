"""What all tests share: a localcloud that really runs, hypothesis without a clock, service models that are read once,
and the option that renews golden files.
"""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from botocore import loaders
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

# How long an example takes says nothing on a shared machine.
settings.register_profile("repository", deadline=None)
settings.load_profile("repository")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--regenerate",
        action="store_true",
        help="write the golden definitions and the tables of the reference anew instead of comparing with them",
    )


@pytest.fixture
def regenerate(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--regenerate"))


@pytest.fixture(scope="session", autouse=True)
def service_models_read_once() -> Iterator[None]:
    """botocore parses a service's model (2 MB for SageMaker) once for each session, and most tests make sessions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.session.create_loader", functools.cache(loaders.create_loader))
        yield


@dataclass(frozen=True)
class Localcloud:
    """A running localcloud: its address, and the variables that point an AWS client at it."""

    endpoint: str
    environment: Mapping[str, str]


@pytest.fixture(scope="session")
def localcloud() -> Iterator[Localcloud]:
    """One localcloud for all tests of this process, with temporary state. Tests keep apart by the names they use."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MLOPS_", "MLFLOW_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "localcloud", "up", "--port", "0"],
        cwd=ROOT,
        env={**clean, "AWS_DEFAULT_REGION": "eu-west-1", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        endpoint = _ready(process)
        yield Localcloud(
            endpoint,
            {
                "AWS_ENDPOINT_URL": endpoint,
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_DEFAULT_REGION": "eu-west-1",
                "AWS_REGION": "eu-west-1",
                "AWS_EC2_METADATA_DISABLED": "true",
            },
        )
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _ready(process: subprocess.Popen[str]) -> str:
    """The address of a localcloud, once it says that it is ready. What it writes later is read, so that it never
    blocks.
    """
    found: queue.Queue[str | None] = queue.Queue()
    said: deque[str] = deque(maxlen=50)
    assert process.stdout is not None
    output = process.stdout

    def read() -> None:
        with contextlib.suppress(ValueError):  # the pipe is closed at the end
            for line in output:
                said.append(line)
                if address := re.search(r"http://127\.0\.0\.1:\d+", line):
                    found.put(address[0])
        found.put(None)

    threading.Thread(target=read, daemon=True).start()
    endpoint = found.get(timeout=60)
    if endpoint is None:
        raise RuntimeError(f"localcloud ended before it was ready:\n{''.join(said)}")
    return endpoint


@pytest.fixture
def aws(localcloud: Localcloud, monkeypatch: pytest.MonkeyPatch) -> Localcloud:
    """The running localcloud, with this process's environment pointing at it for the length of a test."""
    point_at(localcloud, monkeypatch)
    return localcloud


def point_at(localcloud: Localcloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this process's environment that of someone who works with this localcloud and nothing else."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "MLOPS_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    for name, value in localcloud.environment.items():
        monkeypatch.setenv(name, value)
