"""Runs builds: as many side by side as the machine has processors, the others are QUEUED.

A build that runs when localcloud is killed ends as FAULT at the next start, and RetryBuild starts it anew; one that was
still QUEUED is taken up again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from localcloud.codebuild.build import Build, Outcome
from localcloud.codebuild.cache import Cache
from localcloud.codebuild.environment import Machine
from localcloud.codebuild.records import IN_PROGRESS, Records
from localcloud.codebuild.reports import Reports
from localcloud.context import Context
from localcloud.jobs.container import remove
from localcloud.jobs.process import Control, Launcher, Slots, kill_marked
from localcloud.jobs.reaper import Reaper

_LOG = logging.getLogger(__name__)
_MINUTE_SECONDS = 60.0
_FAULT = "INTERNAL_SERVICE_ERROR"
_CUT_OFF = "localcloud stopped while the build ran. RetryBuild starts it again"
MARK = "CODEBUILD_SRC_DIR"


@dataclass
class _Running:
    control: Control = field(default_factory=Control)
    thread: threading.Thread | None = None
    queued_too_long: bool = False


class Runner:
    """Runs builds. All methods may be called from any thread."""

    def __init__(
        self,
        context: Context,
        records: Records,
        reports: Reports,
        reaper: Reaper,
        *,
        environ: Mapping[str, str] = os.environ,
        capacity: int | None = None,
        minute_seconds: float = _MINUTE_SECONDS,
        grace_seconds: float = 10.0,
    ) -> None:
        """environ: localcloud's own environment, little of which builds get. minute_seconds: how long the minutes of a
        build's timeouts are. grace_seconds: between SIGTERM and SIGKILL when a build is stopped."""
        self._context, self._records, self._reports = context, records, reports
        self._machine, self._minute_seconds = Machine(environ), minute_seconds
        self._launcher = Launcher(reaper, grace_seconds)
        self._slots = Slots(capacity or _cores())
        self._folder = context.state_dir / "codebuild" / "builds"
        self._cache = Cache(context.state_dir / "codebuild" / "cache")
        self._running: dict[str, _Running] = {}
        self._lock = threading.Lock()
        self._closing = False

    def begin(self, build_id: str) -> None:
        """Run a build that is QUEUED, in the background."""
        running = _Running()
        with self._lock:
            if self._closing:
                return
            self._running[build_id] = running
            running.thread = threading.Thread(
                target=self._run, args=(build_id, running), name=f"build-{build_id}", daemon=True
            )
            running.thread.start()

    def stop(self, build_id: str) -> None:
        """Make a build end; nothing happens if it has. Returns at once."""
        with self._lock:
            running = self._running.get(build_id)
        if running is not None:
            running.control.stop()

    def count(self, project: str) -> int:
        """How many builds of a project run, or wait for their turn."""
        with self._lock:
            return sum(build_id.rpartition(":")[0] == project for build_id in self._running)

    def recover(self) -> None:
        """Deal with the builds that an earlier localcloud left unfinished."""
        kill_marked(str(self._folder), below=True, variable=MARK)
        remove(self._folder)
        for build_id, document in self._records.all():
            if document["Build"]["buildStatus"] != IN_PROGRESS:
                continue
            queued = document["Build"]["currentPhase"] == "QUEUED"
            # When the clock goes: all services have started then, and those that events are for.
            self._context.timetable.after(0, partial(self._take_up, build_id, queued), "a build that was left")

    def close(self) -> None:
        """Kill every build, and return when nothing of them is left."""
        with self._lock:
            self._closing = True
            running = list(self._running.values())
        for one in running:
            one.control.kill()
        for one in running:
            if one.thread is not None:
                one.thread.join()

    def _run(self, build_id: str, running: _Running) -> None:
        try:
            with self._context.timetable.working():
                self._run_in_turn(build_id, running)
        except Exception as error:
            _LOG.error("the build %s broke\n%s", build_id, "".join(traceback.format_exception(error)))
            if not self._closing:
                self._fault(build_id, f"{type(error).__name__}: {error}")
        finally:
            with self._lock:
                self._running.pop(build_id, None)

    def _run_in_turn(self, build_id: str, running: _Running) -> None:
        document = self._records.get(build_id)

        def too_long() -> None:
            running.queued_too_long = True
            running.control.stop()

        limit = document["Build"]["queuedTimeoutInMinutes"] * self._minute_seconds
        timer = threading.Timer(limit, too_long)
        timer.daemon = True
        timer.start()
        with self._slots.hold(running.control) as granted:
            timer.cancel()
            if self._closing:
                return
            if not granted:
                status = "TIMED_OUT" if running.queued_too_long else "STOPPED"
                self._records.leave(build_id, status)
                self._records.end(build_id, status)
                return
            self._records.leave(build_id, "SUCCEEDED")
            self._build(build_id, running.control)

    def _build(self, build_id: str, control: Control) -> None:
        # Short, because programs put sockets below it and a socket's path has at most 103 characters on some systems.
        folder = self._folder / hashlib.sha256(build_id.encode()).hexdigest()[:12]
        build = Build(
            self._context,
            self._records,
            self._reports,
            self._launcher,
            self._machine,
            self._cache,
            self._records.get(build_id),
            folder,
            control,
            self._minute_seconds,
        )
        try:
            outcome: Outcome = build.run()
        finally:
            kill_marked(str(build.source), variable=MARK)
            remove(folder)
        # When localcloud stops, builds stay IN_PROGRESS: the next start ends them, as it does after a crash.
        if not self._closing:
            self._records.end(build_id, outcome)

    def _take_up(self, build_id: str, queued: bool) -> None:
        if queued:
            self.begin(build_id)
        else:
            self._fault(build_id, _CUT_OFF)

    def _fault(self, build_id: str, message: str) -> None:
        found = self._records.find(build_id)
        if found is None or found["Build"]["buildComplete"]:
            return
        if "endTime" not in found["Build"]["phases"][-1]:
            self._records.leave(build_id, "FAULT", (_FAULT, message))
        self._records.end(build_id, "FAULT")


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
