"""The model server as a subprocess: started from a package, asked over HTTP, stopped.

Evaluate judges a model by what its server answers, not by what its classes would, so that parsing, the manifest and
the archive are under test as well.
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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from seed_code.common import archives, documents, paths
from seed_code.common.errors import ClientError

START_SECONDS = 60
ANSWER_SECONDS = 60
_STOP_SECONDS = 10
_POLL_SECONDS = 0.05


class Endpoint:
    """A running server of one model package. A context manager: the process ends with the block.

    Attributes:
        manifest: the package's manifest.
        folder: the extracted package.
    """

    def __init__(self, archive: Path, source: str) -> None:
        """Extract `archive`, called `source` in messages, below a temporary folder; `__enter__` starts the server.

        Raises:
            ClientError: when the archive is not readable or has no manifest.
        """
        self._base = Path(tempfile.mkdtemp(prefix="endpoint-"))
        self._source = source
        self.folder = self._base / "model"
        try:
            archives.extract(archive, self.folder)
            self.manifest: dict[str, Any] = documents.read(self.folder / "manifest.json")
        except BaseException:
            shutil.rmtree(self._base, ignore_errors=True)
            raise
        self._log = self._base / "serve.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._ready = False

    def __enter__(self) -> "Endpoint":
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

    def invoke(self, payload: Any) -> Any:
        """The `response` to a record or to a list of records.

        Raises:
            ClientError: when the server refuses the request; with its message.
        """
        with self.connection() as connection:
            return self._post(connection, payload)

    def invoke_all(self, records: Sequence[dict[str, Any]], size: int = 2000) -> list[dict[str, Any]]:
        """The answers to any number of records, asked for in batches of `size` over one connection."""
        answers: list[dict[str, Any]] = []
        with self.connection() as connection:
            for start in range(0, len(records), size):
                answers += self._post(connection, records[start : start + size])
        return answers

    def latencies_ms(self, records: Sequence[dict[str, Any]]) -> list[float]:
        """Milliseconds from request to answer, of each record alone, one after the other over one connection."""
        taken = []
        with self.connection() as connection:
            for record in records:
                started = time.perf_counter()
                self._post(connection, record)
                taken.append((time.perf_counter() - started) * 1000)
        return taken

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

    def _post(self, connection: http.client.HTTPConnection, payload: Any) -> Any:
        body = json.dumps(payload, separators=(",", ":"), allow_nan=False)
        connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        document = json.loads(answer.read())
        if answer.status != 200:
            error = document["error"]
            where = error["field"] or "the request"
            raise ClientError(f"the server of {self._source} answered {answer.status}: {where}: {error['message']}")
        return document["response"]

    def _start(self) -> None:
        self._port = _free_port()
        environment = {
            **os.environ,
            paths.BASE_DIR_VARIABLE: str(self._base),
            paths.PORT_VARIABLE: str(self._port),
            "OMP_NUM_THREADS": "1",  # as the image sets it; a limit set later holds for one thread of the server only
        }
        with self._log.open("wb") as log:
            # The module rather than the `serve` on PATH: the same code as the one that runs here, whatever PATH says.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "seed_code.cardholders.serve"],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _wait(self) -> None:
        assert self._process is not None, "an Endpoint answers within its `with` block only"
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            status = self._process.poll()
            if status is not None:
                raise ClientError(f"the server of {self._source} ended with status {status}: {self._last()}")
            if time.monotonic() > deadline:
                raise ClientError(f"the server of {self._source} gave no answer in {START_SECONDS} s: {self._last()}")
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
        shutil.rmtree(self._base, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
