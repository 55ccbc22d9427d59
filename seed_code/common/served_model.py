"""A model behind its own server, as a subprocess: started from a `model.tar.gz`, asked over HTTP, stopped.

Evaluate judges a model by what its server answers, not by what its classes would, so that parsing and the archive are
under test as well.
"""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from seed_code.common import archives, paths
from seed_code.common.errors import ClientError

START_SECONDS = 60
ANSWER_SECONDS = 60
_STOP_SECONDS = 10
_POLL_SECONDS = 0.05


class ServedModel:
    """A running server of one model. A context manager: the process ends with the block.

    Attributes:
        source: what messages call the model.
        folder: the extracted archive.
    """

    def __init__(self, archive: Path, program: str, source: str) -> None:
        """Extract `archive`, called `source` in messages, below a temporary folder; `__enter__` starts the server.

        Args:
            program: the server's module, such as `seed_code.cardholders.serve`.

        Raises:
            ClientError: when the archive is not readable.
        """
        self.source = source
        self._program = program
        self._base = Path(tempfile.mkdtemp(prefix="served-model-"))
        self.folder = self._base / "model"
        try:
            archives.extract(archive, self.folder)
        except BaseException:
            self._remove()
            raise
        self._log = self._base / "serve.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._ready = False

    def __enter__(self) -> Self:
        """Start the server. The first question waits until it is ready, so that the caller can work meanwhile."""
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    @contextmanager
    def connection(self) -> Iterator[http.client.HTTPConnection]:
        """A connection to the server, kept open within the block.

        Raises:
            ClientError: when the server ended, or does not answer within START_SECONDS; with the end of its log.
        """
        if not self._ready:
            self._wait()
            self._ready = True
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_SECONDS)
        try:
            connection.connect()
            # Otherwise the body waits for the header's acknowledgement, 40 ms on Linux.
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield connection
        finally:
            connection.close()

    @staticmethod
    def post(connection: http.client.HTTPConnection, content_type: str, body: str) -> tuple[int, Any]:
        """Status and parsed answer of one invocation over an open connection."""
        connection.request("POST", "/invocations", body.encode(), {"Content-Type": content_type})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def _start(self) -> None:
        self._port = _free_port()
        environment = {
            **os.environ,
            paths.BASE_DIR_VARIABLE: str(self._base),
            paths.PORT_VARIABLE: str(self._port),
            "OMP_NUM_THREADS": "1",  # as the images set it; a limit set later holds for one thread of the server only
        }
        with self._log.open("wb") as log:
            # The module rather than the `serve` on PATH: the same code as the one that runs here, whatever PATH says.
            self._process = subprocess.Popen(
                [sys.executable, "-m", self._program], env=environment, stdout=log, stderr=subprocess.STDOUT
            )

    def _wait(self) -> None:
        assert self._process is not None, "a model answers within its `with` block only"
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            status = self._process.poll()
            if status is not None:
                raise ClientError(f"the server of {self.source} ended with status {status}: {self._last()}")
            if time.monotonic() > deadline:
                raise ClientError(f"the server of {self.source} gave no answer in {START_SECONDS} s: {self._last()}")
            time.sleep(_POLL_SECONDS)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=2)
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def _last(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "it logged nothing"

    def _stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._remove()

    def _remove(self) -> None:
        shutil.rmtree(self._base, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
