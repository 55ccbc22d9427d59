"""The program git, run so that nothing of the user's own configuration, and nothing that was pushed, has a say in it.

What is pushed is data: no hook of it ever runs, no attribute of it converts anything, no credential is asked for.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO

from localcloud.errors import ServiceError

_SETTINGS = (
    f"core.hooksPath={os.devnull}",
    # A commit that a branch has left may be what a pipeline is about to fetch.
    "gc.auto=0",
    "receive.autogc=false",
    "maintenance.auto=false",
    # What is no sound tree (a path `../x`, a `.git` in it) is not to be unpacked by others later.
    "receive.fsckObjects=true",
    "protocol.version=2",
    "safe.directory=*",
    # Said briefly: what git advises is for whoever keeps a server.
    "receive.denyDeleteCurrent=refuse",
)


class GitError(Exception):
    """git did not do what it was asked; `text` is what it said."""

    def __init__(self, command: str, status: int, text: str) -> None:
        super().__init__(f"git {command} ended with status {status}: {text}")
        self.status, self.text = status, text


class Git:
    """Runs git. All methods may be called from any thread."""

    def __init__(self, home: Path) -> None:
        """home: an empty folder, which stands for the user's."""
        self._home = home
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()

    def run(
        self,
        folder: Path,
        *arguments: str,
        data: bytes = b"",
        stdin: IO[bytes] | None = None,
        stdout: IO[bytes] | None = None,
        environment: Mapping[str, str] | None = None,
        holding: Collection[int] = (),
    ) -> bytes:
        """What a command prints; nothing where it goes to a file `stdout`.

        data: what it reads, unless a file `stdin` is given. holding: file descriptors that it keeps open until it has
        ended, however this process ends. Raises GitError for a command that fails, ServiceError where there is no git.
        """
        settings = [part for setting in _SETTINGS for part in ("-c", setting)]
        process = subprocess.Popen(
            [_program(), *settings, *arguments],
            cwd=folder,
            env={**self._environment(), **(environment or {})},
            stdin=stdin or subprocess.PIPE,
            stdout=stdout or subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=tuple(holding),
            # Ctrl-C is for localcloud, which ends what it has begun.
            start_new_session=True,
        )
        with self._lock:
            self._running.add(process)
        try:
            with process:
                printed, said = process.communicate(data if stdin is None else None)
        finally:
            with self._lock:
                self._running.discard(process)
        if process.returncode:
            text = said.decode(errors="replace").strip()
            raise GitError(arguments[0] if arguments else "", process.returncode, text)
        return printed or b""

    def stop(self) -> None:
        """End every command that runs. Those who wait for one get a GitError."""
        with self._lock:
            running = list(self._running)
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._home),
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_OPTIONAL_LOCKS": "0",
        }


def _program() -> str:
    found = shutil.which("git")
    if found is None:
        raise ServiceError(
            "ServiceUnavailable",
            "localcloud keeps repositories with the program git, and there is none on its PATH. Install git (on Debian:"
            " apt-get install git) and start localcloud again.",
            503,
        )
    return found
