"""A localcloud that a test kills, and starts again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import Localcloud
from tests.pipelines.conftest import ROOT


class Killable:
    """A localcloud that keeps its state, and always has the same port."""

    def __init__(self, state: Path) -> None:
        self._state, self._port = state, 0
        self.start()

    @property
    def localcloud(self) -> Localcloud:
        endpoint = f"http://127.0.0.1:{self._port}"
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}
        region = {"AWS_DEFAULT_REGION": "eu-west-1", "AWS_REGION": "eu-west-1"}
        return Localcloud(endpoint, {"AWS_ENDPOINT_URL": endpoint, **keys, **region})

    def start(self) -> None:
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MLOPS_", "MLFLOW_"))
        }
        command = [sys.executable, "-m", "localcloud", "up", "--port", str(self._port), "--state", str(self._state)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env={**clean, "AWS_DEFAULT_REGION": "eu-west-1"}, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert "http://127.0.0.1:" in line, f"localcloud did not start: {line!r}; its messages are above"
        self._port = int(line.partition("http://127.0.0.1:")[2].split()[0].rstrip("/"))

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._end()

    def stop(self) -> None:
        self._process.terminate()
        self._end()

    def again(self) -> None:
        """Kill it, and start it."""
        self.kill()
        self.start()

    def _end(self) -> None:
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextmanager
def killable(state: Path) -> Iterator[Killable]:
    """One, while the block lasts. state: the folder that it keeps everything in."""
    found = Killable(state)
    try:
        yield found
    finally:
        found.stop()
