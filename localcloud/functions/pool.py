"""The processes of all functions: one for each invocation under way, kept for the next, ended when nobody needs them.

warm ──> waiting ──> acquire ──> (an invocation) ──> release ──> waiting …
                                                     └─ of an older revision, or gone: closed
retire: the function has changed or is deleted      the timetable: nobody has called it for minutes
"""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import sys
import threading
import uuid
from datetime import datetime, timedelta
from pathlib import Path

from localcloud.context import Context
from localcloud.functions.logs import Logs
from localcloud.functions.process import Process, Spec
from localcloud.jobs.container import THREAD_VARIABLES
from localcloud.jobs.reaper import Reaper

_LOG = logging.getLogger(__name__)
_IDLE_SECONDS = 300.0


class Pool:
    """All methods may be called from any thread."""

    def __init__(self, context: Context, logs: Logs) -> None:
        self._context, self._logs = context, logs
        self._reaper = Reaper()
        # An event may start a process before `start` has removed those of earlier localclouds.
        self._folder = context.state_dir / "functions" / "processes" / uuid.uuid4().hex
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._waiting: dict[str, list[tuple[Process, datetime]]] = {}
        self._running: set[Process] = set()
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
        try:
            process = self._begin(spec, role_arn)
        except OSError as error:
            _LOG.warning("the function %s cannot be started ahead of its first call: %s", spec.name, error)
            return
        self.release(process, gone=False)

    def acquire(self, spec: Spec, role_arn: str) -> Process:
        """A process for one call. Raises OSError when the machine can start no more."""
        while True:
            with self._lock:
                waiting = self._waiting.get(spec.name)
                found = waiting.pop()[0] if waiting else None
                if found is not None:
                    self._running.add(found)
            if found is None:
                return self._begin(spec, role_arn)
            if found.spec == spec and found.alive:
                return found
            self._close(found)

    def release(self, process: Process, *, gone: bool) -> None:
        """Take a process back after its call, or end it."""
        with self._lock:
            keep = not gone and not self._closed and process in self._running
            if keep:
                self._running.discard(process)
                self._waiting.setdefault(process.spec.name, []).append((process, self._context.clock.now()))
                due, self._sweep_due = not self._sweep_due, True
        if not keep:
            self._close(process)
        elif due:
            self._context.timetable.after(_IDLE_SECONDS, self._sweep, "end idle functions")

    def retire(self, name: str) -> None:
        """End a function's waiting processes; those under way end after their call, as their specification is old."""
        with self._lock:
            retired = self._waiting.pop(name, [])
        for process, _ in retired:
            self._close(process)

    def kill(self) -> None:
        """End all processes now; calls under way end as those of a process that exits."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for process in running:
            process.kill()

    def stop(self) -> None:
        """Close what waits. No call is under way any more."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for processes in waiting.values():
            for process, _ in processes:
                self._close(process)
        self._reaper.stop()

    def _begin(self, spec: Spec, role_arn: str) -> Process:
        folder = self._folder / str(next(self._numbers))
        folder.mkdir(parents=True)
        stream = self._logs.new_stream()
        process = Process(spec, self._environment(spec, role_arn, stream), folder, stream, self._reaper)
        with self._lock:
            self._running.add(process)
            closed = self._closed
        if closed:
            process.kill()
        return process

    def _close(self, process: Process) -> None:
        with self._lock:
            self._running.discard(process)
        process.close()
        shutil.rmtree(process.folder, ignore_errors=True)

    def _sweep(self) -> None:
        ended = []
        with self._lock:
            self._sweep_due = False
            limit = self._context.clock.now() - timedelta(seconds=_IDLE_SECONDS)
            for name, processes in list(self._waiting.items()):
                ended += [process for process, since in processes if since <= limit]
                self._waiting[name] = [entry for entry in processes if entry[1] > limit]
            left = [since for processes in self._waiting.values() for _, since in processes]
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
