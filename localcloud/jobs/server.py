"""An image's server: started, waited for, called, and ended with its job.

The contract of a serving container: `serve` is run, listens on the port that SAGEMAKER_BIND_TO_PORT names, answers
GET /ping with 200 when it is ready, and POST /invocations.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import urllib3
from urllib3.exceptions import HTTPError

from localcloud.jobs.container import Program
from localcloud.jobs.process import Control, Ended, Launcher

PORT_VARIABLE = "SAGEMAKER_BIND_TO_PORT"
_PING_SECONDS = 2.0
_POLL_SECONDS = 0.05
_MOST_CONNECTIONS = 100


class ServerError(Exception):
    """The server did not come up, or is gone; the message says how it ended."""


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    body: bytes


def free_port() -> int:
    """A port of this machine that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server process. `call` may be used from several threads; the rest by one.

    It is killed when `job` is asked to stop: it holds nothing that would have to be saved.
    """

    def __init__(
        self,
        launcher: Launcher,
        program: Program,
        port: int,
        job: Control,
        on_output: Callable[[bytes], None],
        on_idle: Callable[[], None],
    ) -> None:
        self._control = Control()
        self._job = job
        self._ended: Ended | None = None
        self._failure: BaseException | None = None
        self._gone = threading.Event()
        self._pool = urllib3.HTTPConnectionPool("127.0.0.1", port, maxsize=_MOST_CONNECTIONS, retries=False)

        def run() -> None:
            try:
                self._ended = launcher.run(
                    program.argv, program.environment, program.folder, on_output, on_idle, None, self._control
                )
            except Exception as error:
                self._failure = error
            finally:
                self._gone.set()

        self._thread = threading.Thread(target=run, name=f"server-{port}", daemon=True)
        self._thread.start()
        job.on_stop(self._control.kill)

    def wait_until_ready(self, limit_seconds: float) -> bool:
        """Wait for the first 200 of /ping; False if the job was stopped meanwhile.

        Raises ServerError if the server ends before, or is not ready in time.
        """
        deadline = time.monotonic() + limit_seconds
        while not self._job.stopping.is_set():
            if self._gone.wait(_POLL_SECONDS):
                if self._job.stopping.is_set():
                    return False
                raise ServerError(f"the server ended before it was ready: {self.end()}")
            try:
                answer = self.get("/ping", _PING_SECONDS)
                if answer.status == 200:
                    return True
                last = f"GET /ping answers {answer.status}"
            except HTTPError as error:
                last = f"GET /ping: {error}"
            if time.monotonic() >= deadline:
                raise ServerError(f"the server was not ready after {limit_seconds:g} s: {last}")
        return False

    def get(self, path: str, timeout_seconds: float) -> Answer:
        """GET. Raises urllib3's HTTPError when there is no answer."""
        response = self._pool.request("GET", path, timeout=timeout_seconds)
        return Answer(response.status, response.data)

    def call(self, body: bytes, headers: Mapping[str, str], timeout_seconds: float) -> Answer:
        """POST /invocations. Raises urllib3's HTTPError when there is no answer in time."""
        response = self._pool.request("POST", "/invocations", body=body, headers=dict(headers), timeout=timeout_seconds)
        return Answer(response.status, response.data)

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return not self._gone.is_set()

    def end(self) -> str:
        """How the process ended, in words."""
        if self._failure is not None:
            return str(self._failure)
        code = self._ended.returncode if self._ended is not None else None
        if code is None:
            return "it is still running"
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def stop(self) -> None:
        """End the process, politely first; all its output has been handed on when this returns."""
        self._pool.close()
        self._control.stop()
        self._thread.join()
