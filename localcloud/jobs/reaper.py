"""The watchdog: one small process that kills jobs when localcloud dies without a chance to do so itself.

It holds the reading end of a pipe from localcloud. Lines `+PGID` and `-PGID` say which process groups live; the end of
the pipe (the kernel closes it whatever killed localcloud) means that every group still listed is an orphan. Run as a
script with `python -S -E`, it imports nothing of localcloud's, so it costs some 8 MB and starts in milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading


class Reaper:
    """localcloud's end of the watchdog. Safe to call from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._groups: set[int] = set()

    def start(self) -> None:
        """Start the watchdog now rather than at the first job."""
        with self._lock:
            self._ensure()

    def watch(self, group: int) -> None:
        """From here on the process group dies with localcloud."""
        with self._lock:
            self._groups.add(group)
            self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        """The process group has ended; its number may be used by others from now on."""
        with self._lock:
            self._groups.discard(group)
            self._tell(f"-{group}\n")

    def stop(self) -> None:
        """End the watchdog, which kills what is still listed; returns when it has."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()

    def _ensure(self) -> bool:
        """Whether the watchdog had to be started."""
        if self._process is None or self._process.poll() is not None:
            # A session of its own: Ctrl-C at the terminal reaches localcloud, and must not end the watchdog first.
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-E", __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )
            return True
        return False

    def _tell(self, line: str) -> None:
        # One that somebody has killed knew of groups which a new one has to be told of.
        if self._ensure():
            line = "".join(f"+{group}\n" for group in self._groups)
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode())
        self._process.stdin.flush()


def main() -> None:
    """Keep the list of live groups from standard input until it ends, then kill them all."""
    groups: set[int] = set()
    for line in sys.stdin:
        if line.startswith("+"):
            groups.add(int(line[1:]))
        else:
            groups.discard(int(line[1:]))
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
