"""What all tests share: a localcloud that really runs, hypothesis without a clock, service models that are read once,
the option that renews golden files, and which process runs which file.
"""

from __future__ import annotations

import contextlib
import functools
import gc
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
from typing import Any

import pytest
from botocore import loaders
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

from tests.records import leave

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


class _FromBothEnds(LoadFileScheduling):
    """Hands out whole files: every second process (`-n`) takes them from the front of the queue, the others from its
    back. What stands close together there needs the same libraries and fixtures, which then exist once.
    """

    def _assign_work_unit(self, node: WorkerController) -> None:
        if self.nodes.index(node) % 2:
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        super()._assign_work_unit(node)


# At the ends what takes long, and in the middle, where the processes meet, what is short.
_QUEUE = (
    "tests/stream/",
    "tests/pipelines/deploy/",
    "tests/pipelines/",
    "tests/contract/",
    "tests/localcloud/",
    "tests/seed_code/",
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _FromBothEnds | None:
    if config.option.dist != "load":  # what `-n` alone means
        return None
    config.option.loadscopereorder = False  # it would put files with many tests first
    return _FromBothEnds(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return next((place for place, start in enumerate(_QUEUE) if item.nodeid.startswith(start)), 4)

    items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Libraries, models and tests are a million objects that stay: what looks for garbage need not see them."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)
        gc.enable()


def pytest_sessionfinish() -> None:
    gc.unfreeze()


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
        leave(endpoint)
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
