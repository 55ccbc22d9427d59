"""The processes of all functions: one for each invocation under way, kept for the next, ended when nobody needs them.

acquire ── is one idle? ──> (an invocation) ──> release ──> the first in the line that can use it, or idle …
   └── the line <── whatever is free first: a process that is released, or one that has started ──┐
warm ──> starting (as many at once as there are cores, in the order of the line) ─────────────────┘
retire: the function has changed or is deleted      the timetable: nobody has called it for minutes

A start costs the time of a core. It counts until the process is ready, and not until its first call has ended, nor for
longer than a few seconds: what it waits for may be another start.
"""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import sys
import threading
import uuid
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from localcloud.context import Context
from localcloud.functions.logs import Logs
from localcloud.functions.process import Process, Spec
from localcloud.jobs.container import THREAD_VARIABLES
from localcloud.jobs.reaper import Reaper

_LOG = logging.getLogger(__name__)
# What is called every hour stays warm, so that days of it pass quickly.
_IDLE_SECONDS = 3900.0
# A start that takes longer keeps no other from its turn.
_TURN_SECONDS = 10.0


@dataclass(eq=False)
class _Waiter:
    """An invocation in the line."""

    spec: Spec
    role_arn: str
    done: threading.Event = field(default_factory=threading.Event)
    process: Process | None = None
    error: Exception | None = None

    def end(self, result: Process | Exception) -> None:
        """Let it go on, with a process or with what came in between."""
        if isinstance(result, Process):
            self.process = result
        else:
            self.error = result
        self.done.set()


@dataclass(eq=False)
class _Start:
    """A process that is being started, by a thread of its own."""

    spec: Spec
    role_arn: str
    process: Process | None = None
    counts: bool = True
    """Whether it keeps others from their turn."""
    retired: bool = False


class Pool:
    """All methods may be called from any thread."""

    def __init__(
        self, context: Context, logs: Logs, starts_at_once: int | None = None, turn_seconds: float = _TURN_SECONDS
    ) -> None:
        """`starts_at_once` is the number of cores where it is not given."""
        self._context, self._logs = context, logs
        self._reaper = Reaper()
        # An event may start a process before `start` has removed those of earlier localclouds.
        self._folder = context.state_dir / "functions" / "processes" / uuid.uuid4().hex
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._starts_at_once, self._turn_seconds = starts_at_once or _cores(), turn_seconds
        self._idle: dict[str, list[tuple[Process, datetime]]] = {}
        # Whatever is neither idle nor closed: in an invocation's hands, or being started.
        self._running: set[Process] = set()
        self._line: list[_Waiter] = []
        self._ahead: deque[tuple[Spec, str]] = deque()
        self._starts: list[_Start] = []
        self._threads: set[threading.Thread] = set()
        self._closed = False
        self._sweep_due = False

    def start(self) -> None:
        """Remove what an earlier localcloud's processes left."""
        if self._folder.parent.is_dir():
            for folder in self._folder.parent.iterdir():
                if folder != self._folder:
                    shutil.rmtree(folder, ignore_errors=True)

    def warm(self, spec: Spec, role_arn: str) -> None:
        """Start a process that the first call will find; returns at once. What cannot start says so at that call."""
        with self._lock:
            self._ahead.append((spec, role_arn))
            self._start_next()

    def acquire(self, spec: Spec, role_arn: str) -> Process:
        """A process for one call: one that is idle, or else whichever is free first, in the order of the callers.

        Raises OSError when the machine can start no more, and at the end of localcloud.
        """
        while True:
            process = self._one(spec, role_arn)
            if process.failed or process.alive:
                return process
            self._close(process)

    def release(self, process: Process, *, gone: bool) -> None:
        """Take a process back after its call, or end it."""
        with self._lock:
            keep = not gone and not self._closed and process in self._running
            due = keep and self._hand_on(process)
        if not keep:
            self._close(process)
        elif due:
            self._sweep_later()

    def retire(self, name: str) -> None:
        """End a function's idle processes; those under way end after their call, as their specification is old."""
        with self._lock:
            retired = self._idle.pop(name, [])
            self._ahead = deque(entry for entry in self._ahead if entry[0].name != name)
            starting = [start for start in self._starts if start.spec.name == name]
            for start in starting:
                start.retired = True
            # Whoever waits for one of them is given another one.
            self._start_next()
        for process, _ in retired:
            self._close(process)
        for start in starting:
            if start.process is not None:
                start.process.kill()

    def kill(self) -> None:
        """End all processes now; calls under way end as those of a process that exits, and nobody waits for one."""
        with self._lock:
            self._closed = True
            running = list(self._running)
            line, self._line = self._line, []
            self._ahead.clear()
        for process in running:
            process.kill()
        for waiter in line:
            waiter.end(_stopping())

    def stop(self) -> None:
        """Close what is idle. No call is under way any more."""
        self.kill()
        with self._lock:
            idle, self._idle = self._idle, {}
            threads = list(self._threads)
        for thread in threads:
            thread.join()
        for processes in idle.values():
            for process, _ in processes:
                self._close(process)
        self._reaper.stop()

    def _one(self, spec: Spec, role_arn: str) -> Process:
        old = []
        waiter = _Waiter(spec, role_arn)
        with self._lock:
            if self._closed:
                raise _stopping()
            idle = self._idle.get(spec.name, [])
            while idle and waiter.process is None:
                process, _ = idle.pop()
                self._running.add(process)
                if process.spec == spec:
                    waiter.end(process)
                else:
                    old.append(process)
            if waiter.process is None:
                self._line.append(waiter)
                self._start_next()
        for process in old:
            self._close(process)
        # Without a limit, since every start ends: each of those before it takes its turn for seconds at most.
        waiter.done.wait()
        if waiter.error is not None:
            raise waiter.error
        assert waiter.process is not None
        return waiter.process

    # What follows, up to `_begin`, is called with the lock held.

    def _hand_on(self, process: Process) -> bool:
        """Give a process that is free to the first in the line who can use it; whether a sweep has to be entered."""
        if self._serve(process.spec, process):
            return False
        self._running.discard(process)
        self._idle.setdefault(process.spec.name, []).append((process, self._context.clock.now()))
        due, self._sweep_due = not self._sweep_due, True
        return due

    def _serve(self, spec: Spec, result: Process | Exception) -> bool:
        """End the waiting of the first in the line for a process of this kind; whether there is one."""
        for place, waiter in enumerate(self._line):
            if waiter.spec == spec:
                del self._line[place]
                waiter.end(result)
                return True
        return False

    def _start_next(self) -> None:
        while not self._closed and sum(start.counts for start in self._starts) < self._starts_at_once:
            wanted = self._next_wanted()
            if wanted is None:
                return
            start = _Start(*wanted)
            thread = threading.Thread(target=self._run, args=(start,), name=f"start-{start.spec.name}", daemon=True)
            self._starts.append(start)
            self._threads.add(thread)
            try:
                thread.start()
            except RuntimeError as error:
                self._threads.discard(thread)
                self._starts.remove(start)
                self._serve(start.spec, OSError(str(error)))

    def _next_wanted(self) -> tuple[Spec, str] | None:
        """What to start next: for the first in the line for whom nothing is being started, or else ahead of calls."""
        under_way = Counter(start.spec for start in self._starts if not start.retired)
        for waiter in self._line:
            if not under_way[waiter.spec]:
                return waiter.spec, waiter.role_arn
            under_way[waiter.spec] -= 1
        while self._ahead:
            spec, role_arn = self._ahead.popleft()
            # A call may have come first.
            if not under_way[spec] and all(process.spec != spec for process in self._running):
                return spec, role_arn
        return None

    def _begin(self, start: _Start) -> Process:
        spec = start.spec
        folder = self._folder / str(next(self._numbers))
        folder.mkdir(parents=True)
        stream = self._logs.new_stream()
        process = Process(spec, self._environment(spec, start.role_arn, stream), folder, stream, self._reaper)
        with self._lock:
            self._running.add(process)
            start.process = process
            unwanted = self._closed or start.retired
        if unwanted:
            process.kill()
        return process

    def _run(self, start: _Start) -> None:
        """Start a process, on a thread of its own, and hand it on."""
        try:
            process = self._begin(start)
            if not process.wait_until_started(self._turn_seconds):
                with self._lock:
                    start.counts = False
                    self._start_next()
                process.wait_until_started()
        except Exception as error:  # of whatever kind: an invocation waits for this
            self._cannot_start(start, error)
        else:
            self._started(start, process)
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _cannot_start(self, start: _Start, error: Exception) -> None:
        with self._lock:
            self._starts.remove(start)
            told = self._serve(start.spec, error)
            self._start_next()
        if start.process is not None:
            self._close(start.process)
        if not told:
            _LOG.warning("the function %s cannot be started ahead of its first call: %s", start.spec.name, error)

    def _started(self, start: _Start, process: Process) -> None:
        due = False
        with self._lock:
            self._starts.remove(start)
            keep = not start.retired and not self._closed
            if keep and process.failed:
                # Whoever calls it is told why; if nobody does yet, the first call finds it out anew.
                keep = self._serve(start.spec, process)
            elif keep:
                due = self._hand_on(process)
            self._start_next()
        if not keep:
            self._close(process)
        elif due:
            self._sweep_later()

    def _close(self, process: Process) -> None:
        with self._lock:
            self._running.discard(process)
        process.close()
        shutil.rmtree(process.folder, ignore_errors=True)

    def _sweep_later(self) -> None:
        self._context.timetable.after(_IDLE_SECONDS, self._sweep, "end idle functions")

    def _sweep(self) -> None:
        ended = []
        with self._lock:
            self._sweep_due = False
            limit = self._context.clock.now() - timedelta(seconds=_IDLE_SECONDS)
            for name, processes in list(self._idle.items()):
                ended += [process for process, since in processes if since <= limit]
                self._idle[name] = [entry for entry in processes if entry[1] > limit]
            left = [since for processes in self._idle.values() for _, since in processes]
            if left:
                self._sweep_due = True
        for process in ended:
            self._close(process)
        if left:
            moment = min(left) + timedelta(seconds=_IDLE_SECONDS)
            self._context.timetable.at(moment, self._sweep, "end idle functions")

    def _environment(self, spec: Spec, role_arn: str, stream: str) -> dict[str, str]:
        context = self._context
        return {
            "PATH": f"{os.path.dirname(sys.executable)}:/usr/bin:/bin",
            "LANG": "en_US.UTF-8",
            **dict.fromkeys(THREAD_VARIABLES, "1"),
            "AWS_ENDPOINT_URL": context.endpoint_url,
            "AWS_EC2_METADATA_DISABLED": "true",
            **dict(spec.environment),
            "TZ": ":UTC",
            "AWS_REGION": context.region,
            "AWS_DEFAULT_REGION": context.region,
            "AWS_ACCESS_KEY_ID": context.principals.access_key(role_arn),
            "AWS_SECRET_ACCESS_KEY": "localcloud",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{spec.runtime}",
            "AWS_LAMBDA_FUNCTION_NAME": spec.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec.memory_mb),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": spec.log_group,
            "AWS_LAMBDA_LOG_STREAM_NAME": stream,
            "LAMBDA_TASK_ROOT": str(spec.code),
            "_HANDLER": spec.handler,
        }


def folder_of_code(state_dir: Path) -> Path:
    """Where functions' packages lie unpacked, each in a folder named after its content."""
    return state_dir / "functions" / "code"


def _stopping() -> OSError:
    return OSError("localcloud is stopping")


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
