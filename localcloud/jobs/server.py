"""An image's server: started, waited for, called, and ended with its job.

The contract of a serving container: `serve` is run, listens on the port that SAGEMAKER_BIND_TO_PORT names, answers
GET /ping with 200 when it is ready, and POST /invocations.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Mapping

from localcloud.jobs.connections import Answer, Connections, NoAnswer
from localcloud.jobs.container import Program
from localcloud.jobs.process import Control, Ended, Launcher

PORT_VARIABLE = "SAGEMAKER_BIND_TO_PORT"
_PING_SECONDS = 2.0
_POLL_SECONDS = 0.05


class ServerError(Exception):
    """The server did not come up, or is gone; the message says how it ended."""


def free_port() -> int:
    """A port of this machine that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server process. `call` may be used from several threads; the rest by one.

    It is killed when `job` is asked to stop: it holds nothing that would have to be saved. `on_end` is called when the
    process has ended, whatever ended it; on a thread that `stop` waits for.
    """

    def __init__(
        self,
        launcher: Launcher,
        program: Program,
        port: int,
        job: Control,
        on_output: Callable[[bytes], None],
        on_idle: Callable[[], None],
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self._control = Control()
        self._job = job
        self._ended: Ended | None = None
        self._failure: BaseException | None = None
        self._gone = threading.Event()
        self._connections = Connections(port)

        def run() -> None:
            try:
                self._ended = launcher.run(
                    program.argv, program.environment, program.folder, on_output, on_idle, None, self._control
                )
            except Exception as error:
                self._failure = error
            finally:
                self._gone.set()
                on_end()

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
            except NoAnswer as error:
                last = f"GET /ping: {error}"
            if time.monotonic() >= deadline:
                raise ServerError(f"the server was not ready after {limit_seconds:g} s: {last}")
        return False

    def get(self, path: str, timeout_seconds: float) -> Answer:
        """GET. Raises NoAnswer when there is none."""
        return self._connections.request("GET", path, timeout_seconds)

    def call(self, body: bytes, headers: Mapping[str, str], timeout_seconds: float) -> Answer:
        """POST /invocations. Raises NoAnswer when there is none, NoAnswerInTime when there is none in time."""
        return self._connections.request("POST", "/invocations", timeout_seconds, body, headers)

    def is_well(self) -> bool:
        """Whether it answers GET /ping with 200 in time."""
        try:
            return self.get("/ping", _PING_SECONDS).status == 200
        except NoAnswer:
            return False

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

    def kill(self) -> None:
        """End the process at once; `stop` must follow."""
        self._control.kill()

    def stop(self) -> None:
        """End the process, politely first; all its output has been handed on when this returns."""
        self._connections.close()
        self._control.stop()
        self._thread.join()
