"""The commands of one build, one after the other, all under one process.

    Launcher ──> sh (the driver: waits for orders) ──> a shell for each command ──> what the command starts
                 orders and answers go through two named pipes in the build's folder

A command has a shell of its own, as on AWS, and finds what the one before it left: its working directory and, unless
that one ended its shell by itself, its variables. What a command starts in the background lives on until the build
ends: the driver's process group goes with it. What localcloud says in between is written by the driver, too, so that it
stands in the log where it belongs.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from localcloud.jobs.process import Control, Ended, Launcher

# The trap lets the driver outlive a SIGTERM to its group, so that a command has its time to end by itself.
_DRIVER = """\
trap : TERM
exec 3<>"$1/orders" 4<>"$1/answers"
while IFS=' ' read -r order number <&3; do
  [ ! -s "$1/$number.said" ] || cat "$1/$number.said"
  case "$order" in
    run) "$2" "$1/$number.sh" 3<&- 4>&-; echo "$number $?" >&4 ;;
    *) exit 0 ;;
  esac
done
"""
# A stop that falls between the order and the shell's start would not reach the shell: it looks for itself.
_COMMAND = """\
[ ! -e {stopped} ] || exit 143
cd -- "$(cat {dir})" || exit 1
[ ! -f {env} ] || . {env}
{exports}
set -a
{command}
CODEBUILD_LAST_EXIT=$?
export -p >{env}
pwd >{dir}
exit $CODEBUILD_LAST_EXIT
"""
_DUMP = "import json, os, sys; json.dump(dict(os.environ), open(sys.argv[1], 'w'))"
_OVER = b"over\n"
_KILLED = 137


class SessionOver(Exception):
    """The build was stopped, or has taken too long."""


class Session:
    """One build's commands. Used by one thread."""

    def __init__(
        self,
        launcher: Launcher,
        folder: Path,
        shell: str,
        environment: Mapping[str, str],
        start: Path,
        control: Control,
    ) -> None:
        """folder: the session's own, which is made here. start: where the first command runs."""
        self._launcher, self._folder, self._shell = launcher, folder, shell
        self._environment, self._start, self._control = environment, start, control
        self._number = 0
        self._said: list[str] = []
        self._ended: Ended | None = None
        self._failure: Exception | None = None
        self._over = False
        folder.mkdir()
        for name in ("orders", "answers"):
            os.mkfifo(folder / name)
        (folder / "driver.sh").write_text(_DRIVER, encoding="utf-8")
        (folder / "dir").write_text(f"{start}\n", encoding="utf-8")
        # Open for both directions, so that neither side waits for the other to open it, nor meets its end.
        self._orders, self._answers = (os.open(folder / name, os.O_RDWR) for name in ("orders", "answers"))
        self._thread: threading.Thread | None = None
        control.on_stop(self._note_stop)

    def begin(self, on_output: Callable[[bytes], None], on_idle: Callable[[], None], limit_seconds: float) -> None:
        """Start the driver."""

        def run() -> None:
            argv = ["/bin/sh", str(self._folder / "driver.sh"), str(self._folder), self._shell]
            try:
                self._ended = self._launcher.run(
                    argv, self._environment, self._start, on_output, on_idle, limit_seconds, self._control
                )
            except Exception as error:
                self._failure = error
            finally:
                os.write(self._answers, _OVER)

        self._thread = threading.Thread(target=run, name="build-session", daemon=True)
        self._thread.start()

    def say(self, line: str) -> None:
        """A line for the log, after what was written so far."""
        self._said.append(line)

    def run(self, command: str, exports: Mapping[str, str]) -> int:
        """Run a command to its end; gives its exit status. `exports` are variables that are set before it. Raises
        SessionOver."""
        set_before = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in exports.items())
        files = {name: shlex.quote(str(self._folder / name)) for name in ("dir", "env", "stopped")}
        return self._run(_COMMAND.format(**files, exports=set_before, command=command))

    def variables(self) -> dict[str, str]:
        """All variables as the last command left them. Raises SessionOver."""
        file = self._folder / "variables.json"
        dump = shlex.join([sys.executable, "-I", "-S", "-c", _DUMP, str(file)])
        env = shlex.quote(str(self._folder / "env"))
        self._run(f"[ ! -f {env} ] || . {env}\nexec {dump}\n")
        try:
            found: dict[str, str] = json.loads(file.read_bytes())
        except (OSError, ValueError):
            return dict(self._environment)
        return {name: value.encode("utf-8", "replace").decode() for name, value in found.items()}

    def evaluate(self, text: str) -> str:
        """A text as the shell reads it between double quotes. Raises SessionOver."""
        file = self._folder / "text"
        env = shlex.quote(str(self._folder / "env"))
        self._run(f"[ ! -f {env} ] || . {env}\nprintf '%s' \"{text}\" >{shlex.quote(str(file))}\n")
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""

    def close(self) -> list[str]:
        """End the driver and all that its commands have left running; gives the lines that were still to be said.
        Raises what starting it had raised."""
        if self._thread is not None:
            if not self._over:
                os.write(self._orders, b"end 0\n")
            self._thread.join()
        for descriptor in (self._orders, self._answers):
            os.close(descriptor)
        if self._failure is not None:
            raise self._failure
        left, self._said = self._said, []
        return left

    @property
    def timed_out(self) -> bool:
        """Whether it took longer than it may."""
        return self._control.timed_out.is_set()

    def _run(self, script: str) -> int:
        if self._control.stopping.is_set() or self.timed_out:
            raise SessionOver
        if self._over:
            return _KILLED
        self._number += 1
        number = str(self._number)
        (self._folder / f"{number}.sh").write_text(script, encoding="utf-8")
        if self._said:
            text = "".join(f"{line}\n" for line in self._said)
            (self._folder / f"{number}.said").write_text(text, encoding="utf-8")
            self._said = []
        os.write(self._orders, f"run {number}\n".encode())
        answer = self._answer()
        with contextlib.suppress(OSError):
            (self._folder / f"{number}.sh").unlink()
        if self._control.stopping.is_set() or self.timed_out:
            raise SessionOver
        # A command may kill even the driver; it counts as one that was killed, and so does every later one.
        return _KILLED if self._over else int(answer.split()[1])

    def _note_stop(self) -> None:
        with contextlib.suppress(OSError):
            (self._folder / "stopped").touch()

    def _answer(self) -> bytes:
        """The next line of the answers: a command's, or that the driver is gone."""
        line = b""
        while not line.endswith(b"\n"):
            line += os.read(self._answers, 1)
        self._over = line == _OVER
        return line.strip()
