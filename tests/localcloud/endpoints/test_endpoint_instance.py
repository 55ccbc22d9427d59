"""One server process: started, started again when it crashes, and ended with all that it had."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from localcloud.jobs.connections import NoAnswer
from localcloud.jobs.images import Image, ImageError
from localcloud.jobs.process import Launcher
from localcloud.jobs.reaper import Reaper
from localcloud.sagemaker.endpoints.background import Background
from localcloud.sagemaker.endpoints.instance import Host, Instance, InstanceError, PreparationError
from localcloud.sagemaker.models import Container
from tests.surroundings import surroundings

SERVE = """
import os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

if os.path.exists(os.environ["BROKEN"]):
    sys.exit("no model here")

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if os.path.exists(os.environ["ILL"]) else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if body == b"die":
            os._exit(9)
        answer = f"{os.getpid()} {os.environ['AWS_ACCESS_KEY_ID']} {sys.argv[1:]}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass

print("serving", flush=True)
HTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
"""


class Logs:
    """Keeps lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.exceptions = SimpleNamespace(ResourceNotFoundException=KeyError)
        self.streams: list[str] = []

    def create_log_stream(self, *, logGroupName: str, logStreamName: str) -> None:
        self.streams.append(f"{logGroupName} {logStreamName}")

    def put_log_events(self, *, logEvents: list[dict[str, Any]], **_: Any) -> None:
        self.lines += [event["message"] for event in logEvents]


class Bench:
    """A place for one instance, and what it says of itself."""

    def __init__(self, folder: Path) -> None:
        self.logs, self.reaper, self.folder = Logs(), Reaper(), folder
        self.changed = threading.Condition()
        clients: Any = SimpleNamespace(of=lambda service, role_arn: self.logs)
        self.context = replace(surroundings(folder), clients=clients)
        (folder / "image").mkdir()
        (folder / "image" / "serve.py").write_text(SERVE)
        self.image = Image("i:1", "sha256:0", folder / "image", {}, "/", (sys.executable, "/serve.py"), ())
        runtime: Any = SimpleNamespace(
            launcher=Launcher(self.reaper, 5.0), images=SimpleNamespace(resolve=self._resolve), folder=folder / "jobs"
        )
        models: Any = None
        self.host = Host(self.context, runtime, models, Background(self.context.timetable), Instance, 0.0)
        environment = {"BROKEN": str(folder / "broken"), "ILL": str(folder / "ill")}
        container = Container("i:1", None, environment, "arn:aws:iam::1:role/serving")
        self.instance = Instance(self.host, "e", "v", container, 30.0, self._notice)

    def await_serving(self, serving: bool = True) -> None:
        """Wait until the instance does or does not serve."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.instance.serving is serving, 30)

    def die(self) -> None:
        """Crash the server by a request."""
        with pytest.raises(NoAnswer):
            self.instance.call(b"die", {}, 30)
        self.await_serving(False)

    def close(self) -> None:
        self.host.background.close()
        self.instance.kill()
        self.host.background.join()
        self.instance.stop()
        self.reaper.stop()
        self.context.calls.close()

    def _resolve(self, uri: str) -> Image:
        if (self.folder / "no-image").exists():
            raise ImageError(f"the image {uri!r} does not exist")
        return self.image

    def _notice(self) -> None:
        with self.changed:
            self.changed.notify_all()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    found = Bench(tmp_path)
    yield found
    found.close()


def pid(bench: Bench) -> int:
    return int(bench.instance.call(b"", {}, 30).body.split()[0])


def test_a_server_that_crashes_is_started_again_with_back_off(bench: Bench) -> None:
    instance = bench.instance
    instance.start()
    assert instance.serving
    _, key, arguments = instance.call(b"", {}, 30).body.decode().split(" ", 2)
    assert bench.context.principals.of(key) == "arn:aws:iam::1:role/serving"
    assert arguments == "['serve']"
    first = pid(bench)
    bench.die()
    bench.await_serving()
    second = pid(bench)
    assert second != first
    # The second time in a minute it waits.
    bench.die()
    bench.context.timetable.advance(0)
    assert not instance.serving
    bench.context.timetable.advance(1)
    assert instance.serving
    instance.stop()
    assert not instance.serving
    assert bench.logs.streams == [f"/aws/sagemaker/Endpoints/e v/{instance.id}"]
    assert bench.logs.lines == [
        "serving",
        "The server ended (exit code 9). It is started again.",
        "serving",
        "The server ended (exit code 9). It is started again in 1 s.",
        "serving",
    ]
    assert list((bench.folder / "jobs").iterdir()) == []


def test_a_server_that_is_ill_for_long_is_replaced(bench: Bench) -> None:
    instance = bench.instance
    instance.start()
    first = pid(bench)
    ill = bench.folder / "ill"
    ill.touch()
    instance.check()
    assert instance.is_doubtful
    ill.unlink()
    instance.check()
    assert not instance.is_doubtful
    ill.touch()
    for _ in range(3):
        instance.check()
    bench.await_serving(False)
    ill.unlink()
    bench.await_serving()
    assert pid(bench) != first
    instance.stop()
    assert "The server failed 3 pings and was killed. It is started again." in bench.logs.lines


def test_a_server_that_does_not_come_up_again_is_tried_again(bench: Bench) -> None:
    instance = bench.instance
    instance.start()
    broken = bench.folder / "broken"
    broken.touch()
    bench.die()
    bench.context.timetable.advance(0)
    assert not instance.serving
    bench.context.timetable.advance(1)
    broken.unlink()
    assert not instance.serving
    bench.context.timetable.advance(2)
    assert instance.serving
    instance.stop()
    assert [line for line in bench.logs.lines if "again" in line] == [
        "The server ended (exit code 9). It is started again.",
        "The server did not come up: the server ended before it was ready: exit code 1. It is started again in 1 s.",
        "The server did not come up: the server ended before it was ready: exit code 1. It is started again in 2 s.",
    ]


def touched(name: str) -> Callable[[Bench], None]:
    return lambda bench: (bench.folder / name).touch()


@pytest.mark.parametrize(
    ("prepare", "error", "message"),
    [
        (touched("broken"), InstanceError, "the server ended before it was ready: exit code 1"),
        (touched("no-image"), PreparationError, "the image 'i:1' does not exist"),
    ],
)
def test_a_server_that_does_not_come_up_says_why(
    bench: Bench, prepare: Callable[[Bench], None], error: type[Exception], message: str
) -> None:
    prepare(bench)
    with pytest.raises(error, match=message):
        bench.instance.start()
    bench.instance.stop()
    assert bench.logs.lines in ([], ["no model here", message])


def test_a_start_ends_when_the_instance_is_killed(bench: Bench) -> None:
    (bench.folder / "ill").touch()
    failures: list[InstanceError] = []

    def start() -> None:
        try:
            bench.instance.start()
        except InstanceError as error:
            failures.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    while bench.instance.image is None:
        os.sched_yield()
    bench.instance.kill()
    thread.join()
    bench.instance.stop()
    assert [str(error) for error in failures] == ["it was stopped before it was ready"]
