"""Run one program of a job: its own process group, its output line by line, a time limit, a stop, and a clean end.

How a program starts, so that no orphan is possible even if localcloud is killed in between:

    localcloud ── Popen ──> sh: waits for one line on its standard input
         └── tells the watchdog the group ── writes the line ──> sh: exec program

If localcloud dies before the line is written, `sh` reads the end of the pipe and exits.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from localcloud.jobs.reaper import Reaper

_GATE = 'IFS= read -r _ && exec "$0" "$@" </dev/null'
_BASE_VARIABLE = "SAGEMAKER_BASE_DIR"
# The most that Linux lets an ordinary user's pipe hold.
_MOST_PIPE_BYTES = 1 << 20


@dataclass(frozen=True)
class Ended:
    """How a program ended. `returncode` is negative for a signal, as in subprocess."""

    returncode: int
    stopped: bool
    timed_out: bool


class Control:
    """The handle by which one job is stopped, at any moment of its life: waiting, copying, running or ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._group: int | None = None
        self._timer: threading.Timer | None = None
        self._grace_seconds = 0.0
        self._killing = False
        self.stopping = threading.Event()
        self.timed_out = threading.Event()
        self._wakers: list[Callable[[], None]] = []

    def stop(self) -> None:
        """Ask the program to end (SIGTERM to its group, SIGKILL after the grace period); returns at once."""
        self._wake()
        self._terminate()

    def kill(self) -> None:
        """End the program's group now, or as soon as there is one."""
        self._killing = True
        self._wake()
        self._signal(signal.SIGKILL)

    def on_stop(self, wake: Callable[[], None]) -> None:
        """Call `wake` when the job is asked to stop (at once if it already was)."""
        with self._lock:
            self._wakers.append(wake)
        if self.stopping.is_set():
            wake()

    def _wake(self) -> None:
        self.stopping.set()
        with self._lock:
            wakers = list(self._wakers)
        for wake in wakers:
            wake()

    def _time_out(self) -> None:
        self.timed_out.set()
        self._terminate()

    def _terminate(self) -> None:
        if self._signal(signal.SIGTERM):
            timer = threading.Timer(self._grace_seconds, self._signal, (signal.SIGKILL,))
            timer.daemon = True
            with self._lock:
                if self._timer is None and self._group is not None:
                    self._timer = timer
                    timer.start()

    def _signal(self, number: signal.Signals) -> bool:
        # The lock is what makes this safe: `_finish` takes it before the group's number is given back.
        with self._lock:
            if self._group is None:
                return False
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._group, number)
            return True

    def _begin(self, group: int, grace_seconds: float) -> None:
        with self._lock:
            self._group = group
            self._grace_seconds = grace_seconds
        if self._killing:
            self._signal(signal.SIGKILL)
        elif self.stopping.is_set():
            self._terminate()

    def _finish(self) -> None:
        with self._lock:
            self._group = None
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()


class Slots:
    """At most `capacity` jobs at once, in the order in which they came."""

    def __init__(self, capacity: int) -> None:
        self._condition = threading.Condition()
        self._free = capacity
        self._queue: list[object] = []

    @contextmanager
    def hold(self, control: Control) -> Iterator[bool]:
        """Wait for a slot; gives False, without one, if the job is stopped while it waits."""
        ticket = object()
        control.on_stop(self._wake)
        with self._condition:
            self._queue.append(ticket)
            self._condition.wait_for(lambda: control.stopping.is_set() or (self._free > 0 and self._queue[0] is ticket))
            self._queue.remove(ticket)
            granted = not control.stopping.is_set()
            if granted:
                self._free -= 1
            self._condition.notify_all()
        try:
            yield granted
        finally:
            if granted:
                with self._condition:
                    self._free += 1
                    self._condition.notify_all()

    def _wake(self) -> None:
        with self._condition:
            self._condition.notify_all()


class Launcher:
    """Starts programs. One for all jobs of a localcloud; `grace_seconds` is the time between SIGTERM and SIGKILL."""

    def __init__(self, reaper: Reaper, grace_seconds: float = 10.0) -> None:
        self._reaper = reaper
        self._grace_seconds = grace_seconds

    def run(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        on_output: Callable[[bytes], None],
        on_idle: Callable[[], None],
        limit_seconds: float | None,
        control: Control,
    ) -> Ended:
        """Run a program to its end; blocks. The processes that it started have been killed when this returns: its
        group's, those that have its environment, and those that have its output open.

        `on_output` gets chunks of its standard output and error as they come, on another thread; `on_idle` is called on
        that thread about once a second. Raises OSError when there is no such folder or no more processes.
        """
        process = subprocess.Popen(
            ["/bin/sh", "-c", _GATE, *argv],
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            close_fds=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        group = process.pid
        self._reaper.watch(group)
        control._begin(group, self._grace_seconds)
        output = _Output(process.stdout.fileno(), on_output, on_idle)
        reader = threading.Thread(target=output.read, name=f"output-{group}", daemon=True)
        reader.start()
        limit: threading.Timer | None = None
        if limit_seconds is not None:
            limit = threading.Timer(limit_seconds, control._time_out)
            limit.daemon = True
            limit.start()
        # The gate may be gone already, stopped while it waited.
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(b"\n")
            process.stdin.flush()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        _await_exit(process.pid)
        if limit is not None:
            limit.cancel()
        # The leader is a zombie until `wait`, so its number cannot belong to another group yet.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
        control._finish()
        returncode = process.wait()
        self._reaper.forget(group)
        kill_marked(environment.get(_BASE_VARIABLE))
        output.end()
        reader.join()
        if output.is_held:
            _kill_writers(process.stdout.fileno())
        process.stdout.close()
        if output.failure is not None:
            raise output.failure
        return Ended(
            returncode,
            stopped=control.stopping.is_set() and not control.timed_out.is_set(),
            timed_out=control.timed_out.is_set(),
        )


def kill_marked(base: str | None, *, below: bool = False, variable: str = _BASE_VARIABLE) -> int:
    """Kill processes whose environment says that they belong to the job in `base`; gives how many there were.

    A program may start a daemon in a session of its own, which its group's end does not reach; the variable
    SAGEMAKER_BASE_DIR, which every job gets (a build another one), still finds it. With `below`, every job in a folder
    below `base`.
    """
    if base is None:
        return 0
    found = 0
    for pid, value in _bases(variable):
        if value == base or (below and value.startswith(base.rstrip("/") + "/")):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
                found += 1
    return found


def _bases(variable: str) -> Iterator[tuple[int, str]]:
    own = os.getpid()
    needle = variable.encode() + b"="
    if os.path.isdir("/proc/self"):
        # Reading the files directly takes a tenth of psutil's time, and every job waits for this at its end.
        for name in os.listdir("/proc"):
            if not name.isdigit() or int(name) == own:
                continue
            try:
                with open(f"/proc/{name}/environ", "rb") as stream:
                    environment = stream.read()
            except OSError:
                continue
            if needle in environment:
                for entry in environment.split(b"\0"):
                    if entry.startswith(needle):
                        yield int(name), os.fsdecode(entry[len(needle) :])
        return
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            value = process.environ().get(variable) if process.pid != own else None
            if value is not None:
                yield process.pid, value


def _await_exit(pid: int) -> None:
    """Wait until a child has ended, and leave it a zombie where the system can (it must have been a child of ours)."""
    if hasattr(os, "waitid"):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return
    psutil.Process(pid).wait()  # macOS: waits on a kernel queue and does not reap


class _Output:
    """Hands on what comes through a pipe, until it is closed or, after `end`, empty."""

    def __init__(self, descriptor: int, on_output: Callable[[bytes], None], on_idle: Callable[[], None]) -> None:
        self._descriptor, self._on_output, self._on_idle = descriptor, on_output, on_idle
        self._ended, self._end = os.pipe()
        self.failure: Exception | None = None
        self.is_held = False
        """Whether some process still had the pipe open when the reading ended."""

    def end(self) -> None:
        """The program has ended: all that it wrote is in the pipe, and who else has the pipe open is not waited for."""
        os.close(self._end)

    def read(self) -> None:
        """Returns at the end, whatever the two functions raise."""
        poller = select.poll()
        poller.register(self._descriptor, select.POLLIN | select.POLLHUP)
        poller.register(self._ended, select.POLLHUP)
        left = _MOST_PIPE_BYTES
        while left > 0:
            ready = {descriptor for descriptor, _ in poller.poll(1000)}
            chunk: bytes | None = None
            if self._descriptor in ready:
                chunk = os.read(self._descriptor, 1 << 16)
                if not chunk:
                    break
            elif self._ended in ready:
                self.is_held = True
                break
            if self._ended in ready and chunk is not None:
                left -= len(chunk)
                self.is_held = left <= 0
            self._hand_on(chunk)
        os.close(self._ended)

    def _hand_on(self, chunk: bytes | None) -> None:
        # After a failure the pipe is still emptied, or the program would wait for ever to write.
        if self.failure is not None:
            return
        try:
            if chunk is None:
                self._on_idle()
            else:
                self._on_output(chunk)
        except Exception as error:
            self.failure = error


def _kill_writers(descriptor: int) -> None:
    """Kill processes that can write to a pipe which we read: a daemon in a session and an environment of its own."""
    if not os.path.isdir("/proc/self"):
        return
    pipe = f"pipe:[{os.fstat(descriptor).st_ino}]"
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        with contextlib.suppress(OSError), os.scandir(f"/proc/{name}/fd") as entries:
            for entry in entries:
                # The mode of the link says how the file is open. A process that another thread is just starting has a
                # copy of our reading end for a moment.
                if os.readlink(entry.path) == pipe and entry.stat(follow_symlinks=False).st_mode & 0o200:
                    os.kill(int(name), signal.SIGKILL)
                    break
