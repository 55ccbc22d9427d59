"""One container of a task: a program of its image, started again as its restart policy says, and asked how it is.

Its file system is the image's files, read-only as they are, and a private root with a home and a place for temporary
files; volumes are folders of the task. With readonlyRootFilesystem the private root cannot be written to either (save
by root), so that a program needs a volume for what it writes: one at /tmp is then where temporary files go.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from localcloud.ecs import health
from localcloud.ecs.pace import Pace
from localcloud.jobs.container import Program, Root, program
from localcloud.jobs.images import Image, ImageError
from localcloud.jobs.logs import LogStream
from localcloud.jobs.process import Control, Launcher
from localcloud.jobs.reaper import Reaper

_LOG = logging.getLogger(__name__)
_STOP_SECONDS, _RESTART_SECONDS = 30, 300
_KILLED = 128
_NO_ROLE = "nobody"
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
Definition = Mapping[str, Any]


@dataclass(frozen=True)
class Surroundings:
    """What all containers of a localcloud share."""

    endpoint_url: str
    region: str
    reaper: Reaper
    pace: Pace


@dataclass(frozen=True)
class Plan:
    """A container that is ready to start."""

    definition: Definition
    program: Program
    check: health.Check | None
    check_program: Program | None
    log: Log | None


class Log:
    """A container's output on its way to CloudWatch Logs. What cannot be written there is dropped, as awslogs does
    when it is non-blocking: no container ends of it. `open_stream` gives a stream that is there."""

    def __init__(self, open_stream: Callable[[], LogStream], name: str) -> None:
        self._open, self._name = open_stream, name
        self._stream = open_stream()

    def write(self, chunk: bytes) -> None:
        self._do(lambda stream: stream.write(chunk))

    def idle(self) -> None:
        self._do(LogStream.idle)

    def close(self) -> None:
        self._do(LogStream.close)

    def _do(self, action: Callable[[LogStream], None]) -> None:
        try:
            action(self._stream)
        except ClientError as error:
            _LOG.warning("the log of %s: %s; what it has written is dropped", self._name, error)
            self._stream = self._open()


def prepare(
    definition: Definition,
    image: Image,
    root: Root,
    mounts: Mapping[str, Path],
    access_key: str | None,
    log: Log | None,
    around: Surroundings,
) -> Plan:
    """Make a container's private root, and the command lines of its program and its health check.

    definition: with the task's overrides. mounts: the folders of its volumes, by their paths in the container.
    access_key: of the task's role, or None where it has none: then it has no credentials. Raises ImageError.
    """
    root.create()
    if definition.get("workingDirectory"):
        image = replace(image, working_dir=definition["workingDirectory"])
    entry = tuple(definition.get("entryPoint") or ())
    words = tuple(definition.get("command") or ())
    if not words and not entry:
        words = image.command
    entry = entry or image.entrypoint
    if not entry and not words:
        raise ImageError(
            f"the image {image.uri!r} has neither ENTRYPOINT nor CMD, and the container definition"
            f" {definition['name']!r} no entryPoint and no command; give one of them"
        )
    variables = {one["name"]: one.get("value", "") for one in definition.get("environment") or ()}
    if "/tmp" in mounts:
        variables = {"TMPDIR": "/tmp", **variables}
    variables = {"AWS_EXECUTION_ENV": "AWS_ECS_FARGATE", **variables}

    def command(entry: Sequence[str], words: Sequence[str]) -> Program:
        made = program(
            image,
            root,
            entry,
            words,
            variables,
            endpoint_url=around.endpoint_url,
            region=around.region,
            access_key=access_key or _NO_ROLE,
            mounts=mounts,
        )
        if access_key is None:
            left = {name: value for name, value in made.environment.items() if name not in _CREDENTIALS}
            made = replace(made, environment=left)
        return made

    main = command(entry, words)
    check = health.Check.of(definition.get("healthCheck"))
    # A mark of its own: what a program leaves behind is killed by its mark, and the check's end is not the container's.
    check_program = _marked(command(check.command, ()), root.base / "health") if check else None
    if definition.get("readonlyRootFilesystem"):
        for folder in (root.home, root.temporary, root.base / "output", root.base, root.base.parent, root.path):
            os.chmod(folder, 0o555)
    return Plan(definition, main, check, check_program, log)


def _marked(made: Program, base: Path) -> Program:
    return replace(made, environment={**made.environment, "SAGEMAKER_BASE_DIR": str(base)})


class Container:
    """A container that runs. `tell` is told members of its description when they change, on threads of its own."""

    def __init__(self, plan: Plan, around: Surroundings, tell: Callable[[Mapping[str, Any]], None]) -> None:
        self._plan, self._pace, self._tell = plan, around.pace, tell
        timeout = plan.definition.get("stopTimeout")
        grace = around.pace.seconds(_STOP_SECONDS if timeout is None else timeout)
        self._launcher = Launcher(around.reaper, grace)
        self._checks = Launcher(around.reaper, grace_seconds=0.5)
        self._control, self._check_control = Control(), Control()
        self._ended = threading.Event()
        self.exit_code: int | None = None
        """Once it has ended; None where it could not start."""

    @property
    def name(self) -> str:
        return str(self._plan.definition["name"])

    @property
    def essential(self) -> bool:
        return bool(self._plan.definition.get("essential", True))

    def run(self) -> None:
        """Run it to its end, restarts included; blocks."""
        watcher = None
        if self._plan.check is not None:
            watcher = threading.Thread(target=self._watch, name=f"health-{self.name}", daemon=True)
            watcher.start()
        try:
            while self._run_once():
                pass
        finally:
            self._ended.set()
            self._check_control.kill()
            if watcher is not None:
                watcher.join()
            if self._plan.log is not None:
                self._plan.log.close()

    def stop(self) -> None:
        """Ask it to end: SIGTERM now, SIGKILL when its stopTimeout has passed. Returns at once."""
        self._control.stop()

    def kill(self) -> None:
        """End it now."""
        self._control.kill()

    def _run_once(self) -> bool:
        """Run the program; whether it is to be run again."""
        plan, log = self._plan, self._plan.log
        begun = self._pace.monotonic()
        ended = self._launcher.run(
            plan.program.argv,
            plan.program.environment,
            plan.program.folder,
            log.write if log is not None else _drop,
            log.idle if log is not None else _nothing,
            None,
            self._control,
        )
        code = ended.returncode if ended.returncode >= 0 else _KILLED - ended.returncode
        self.exit_code = code
        if self._control.stopping.is_set():
            return False
        again = restarts(plan.definition.get("restartPolicy"), code, self._pace.since(begun))
        if again:
            _LOG.info("the container %s ended with exit code %s and is started again", self.name, code)
        return again

    def _watch(self) -> None:
        assert self._plan.check is not None
        health.watch(
            self._plan.check, self._pace, self._ended, self._ask, lambda status: self._tell({"healthStatus": status})
        )

    def _ask(self, limit_seconds: float) -> bool:
        asked = self._plan.check_program
        assert asked is not None
        with contextlib.suppress(OSError):
            ended = self._checks.run(
                asked.argv, asked.environment, asked.folder, _drop, _nothing, limit_seconds, self._check_control
            )
            return ended.returncode == 0
        return False


def restarts(policy: Definition | None, exit_code: int, lived_seconds: float) -> bool:
    """Whether a restart policy has a container that ended started again: it must have run for restartAttemptPeriod."""
    if not policy or not policy["enabled"]:
        return False
    if exit_code in (policy.get("ignoredExitCodes") or ()):
        return False
    return lived_seconds >= (policy.get("restartAttemptPeriod") or _RESTART_SECONDS)


def _drop(_: bytes) -> None:
    """Nobody reads it."""


def _nothing() -> None:
    """Nothing waits."""
