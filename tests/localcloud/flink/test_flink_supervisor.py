"""The life of an application, with a stand-in for Flink: started, started again, stopped, and taken up after a kill."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from localcloud.context import Context
from localcloud.flink.configuration import configured
from localcloud.flink.engine import Order
from localcloud.flink.supervisor import KIND, Supervisor
from localcloud.protocols.http import HttpRequest, HttpResponse
from tests.localcloud.flink.test_flink_configuration import given
from tests.localcloud.flink.test_flink_mounts import Streams
from tests.surroundings import surroundings


class Job:
    """A job that runs until it is ended."""

    def __init__(self, order: Order, restore: str | None, runs: bool) -> None:
        self.order, self.restore, self.runs = order, restore, runs
        self.ended = threading.Event()
        if not runs:
            self.ended.set()

    def wait_until_runs(self) -> bool:
        return self.runs

    def stop(self, target: Path) -> str | None:
        path = target / "savepoint-1"
        path.mkdir(parents=True)
        self.ended.set()
        return str(path)

    def kill(self) -> None:
        self.ended.set()


class Engine:
    """Remembers the jobs that it has started."""

    def __init__(self) -> None:
        self.runs = True
        self.jobs: list[Job] = []
        self.started = threading.Semaphore(0)

    def check(self) -> None:
        """Any machine will do."""

    def start(
        self, order: Order, restore: str | None, on_output: Callable[[bytes], None], on_idle: Callable[[], None]
    ) -> Job:
        job = Job(order, restore, self.runs)
        self.jobs.append(job)
        self.started.release()
        return job

    def next_job(self) -> Job:
        assert self.started.acquire(timeout=30)
        return self.jobs[-1]


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """Whose S3 has the code of every application."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("main.py", "print()")

    def answer(_: HttpRequest) -> HttpResponse:
        return HttpResponse(200, [("content-type", "application/zip")], content.getvalue())

    found = surroundings(tmp_path)
    found.clients.connect(answer)
    return found


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def supervisor(context: Context, engine: Engine) -> Iterator[Supervisor]:
    found = Supervisor(context, Streams(), engine, first_pause_seconds=0.0)  # type: ignore[arg-type]
    yield found
    found.close()


def document(context: Context, status: str = "STARTING", **members: Any) -> dict[str, Any]:
    found = {
        "ApplicationName": "a",
        "ApplicationStatus": status,
        "ServiceExecutionRole": "arn:aws:iam::123456789012:role/flink",
        "Configuration": configured(given()),
        "Logging": [],
        **members,
    }
    context.store.put(KIND, "a", found)
    return found


def checkpoint(supervisor: Supervisor, number: int) -> str:
    folder = supervisor.folder_of("a") / "checkpoints" / "job" / f"chk-{number}"
    folder.mkdir(parents=True)
    (folder / "_metadata").write_text("x")
    return str(folder)


def test_a_job_finds_its_code_its_properties_and_its_streams(
    context: Context, engine: Engine, supervisor: Supervisor
) -> None:
    supervisor.begin("a", document(context), anew=True)
    job = engine.next_job()
    assert (job.restore, job.order.program) == (None, "main.py")
    assert (job.order.folder / "code" / "main.py").read_text() == "print()"
    properties = json.loads(Path(job.order.environment["APPLICATION_PROPERTIES_PATH"]).read_text())
    assert [group["PropertyGroupId"] for group in properties][:2] == ["in", "out"]
    root = Path(job.order.environment["MOUNT_ROOT"])
    supervisor.stop("a", None)
    assert sorted(path.name for path in (root / "streams").iterdir()) == ["minutes", "transactions"]


def test_a_job_that_ends_is_started_again_from_its_newest_checkpoint(
    context: Context, engine: Engine, supervisor: Supervisor
) -> None:
    supervisor.begin("a", document(context, Restore="/savepoint"), anew=True)
    first = engine.next_job()
    assert first.restore == "/savepoint"
    first.ended.set()
    # Before the first checkpoint it begins at the savepoint again.
    second = engine.next_job()
    assert second.restore == "/savepoint"
    newest = checkpoint(supervisor, 7)
    second.ended.set()
    assert engine.next_job().restore == newest


def test_a_stop_takes_a_savepoint(context: Context, engine: Engine, supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.begin("a", document(context), anew=True)
    engine.next_job()
    assert supervisor.stop("a", tmp_path / "target") == str(tmp_path / "target" / "savepoint-1")
    assert len(engine.jobs) == 1


def test_a_start_anew_forgets_checkpoints_and_files(context: Context, engine: Engine, supervisor: Supervisor) -> None:
    checkpoint(supervisor, 1)
    left = supervisor.folder_of("a") / "mounts" / "streams" / "transactions" / "left.json"
    left.parent.mkdir(parents=True)
    left.write_text("x")
    supervisor.begin("a", document(context), anew=True)
    assert engine.next_job().restore is None
    assert not left.exists()


@pytest.mark.parametrize("status", ["STARTING", "RUNNING", "UPDATING"])
def test_what_ran_is_taken_up_after_a_kill(
    context: Context, engine: Engine, supervisor: Supervisor, status: str
) -> None:
    document(context, status)
    newest = checkpoint(supervisor, 3)
    supervisor.recover()
    assert engine.next_job().restore == newest


@pytest.mark.parametrize("status", ["STOPPING", "FORCE_STOPPING"])
def test_what_was_being_stopped_is_stopped(
    context: Context, engine: Engine, supervisor: Supervisor, status: str
) -> None:
    document(context, status)
    supervisor.recover()
    found = context.store.get(KIND, "a")
    assert found is not None
    assert found["ApplicationStatus"] == "READY"
    assert not engine.jobs


def test_a_job_that_never_runs_is_given_up(
    context: Context, engine: Engine, supervisor: Supervisor, caplog: pytest.LogCaptureFixture
) -> None:
    engine.runs = False
    supervisor.begin("a", document(context), anew=True)
    engine.next_job()
    supervisor.join("a")
    found = context.store.get(KIND, "a")
    assert found is not None
    assert found["ApplicationStatus"] == "READY"
    assert "cannot be started" in caplog.text
    assert len(engine.jobs) == 1
