"""The life of a job, the same for every kind: created, waiting, running, ended; stopped, or cut off by a restart.

    create ──> run: slot ─> private root ─> execute (the kind's own) ─> log flushed ─> root removed ─> status written
                    stop: the control ends what runs
                    recover: what an earlier process left InProgress becomes Failed

A status is written last: whoever sees Completed finds every output in S3 and every line in the log.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from localcloud.context import Context, Request
from localcloud.errors import ServiceError, validation
from localcloud.jobs import process, pulls
from localcloud.jobs.container import Program, Root, program, remove
from localcloud.jobs.images import Image, ImageError, Images
from localcloud.jobs.logs import LogStream
from localcloud.jobs.process import Control, Ended, Launcher, Slots
from localcloud.jobs.reaper import Reaper
from localcloud.jobs.transfer import TransferError
from localcloud.sagemaker import roles
from localcloud.sagemaker.arns import Arns
from localcloud.sagemaker.crud import Document, Kind, Resources

_LOG = logging.getLogger(__name__)
CUT_OFF = "localcloud stopped while the job ran"
_REASON_LENGTH = 1024


@dataclass(frozen=True)
class Outcome:
    """How a job ended: a member of its status enumeration, why, and further members for its description."""

    status: str
    reason: str | None = None
    members: Mapping[str, Any] = field(default_factory=dict)


class JobKind(Protocol):
    """What is particular to processing or training."""

    kind: Kind
    log_group: str

    def check(self, params: Mapping[str, Any]) -> None:
        """Raise ValidationException for what this kind of job cannot do, naming the member."""
        ...

    def document(self, params: Mapping[str, Any], work: Runtime) -> Document:
        """Members of a new job's description beyond the request's."""
        ...

    def role(self, document: Document) -> str:
        """The role that a job runs as. Raises ServiceError if nothing says so any more."""
        ...

    def metrics(self, document: Document) -> list[tuple[str, str]]:
        """Names and regular expressions of the metrics to look for in the output."""
        ...

    def execute(self, job: Job) -> Outcome:
        """Do the work, from the first download to the last upload."""
        ...

    def ended(self, document: Document, outcome: Outcome, work: Runtime) -> Document:
        """The description of a job that has ended, however it did."""
        ...


class Runtime:
    """What all jobs of a localcloud share."""

    def __init__(self, context: Context, capacity: int | None = None, grace_seconds: float = 10.0) -> None:
        self.context = context
        self.reaper = Reaper()
        self.launcher = Launcher(self.reaper, grace_seconds)
        self.slots = Slots(capacity or _cores())
        self.folder = context.state_dir / "jobs"
        self._images: Images | None = None
        self._lock = threading.Lock()

    @property
    def images(self) -> Images:
        """Made at first use, because the first client of the leaf waits for moto."""
        with self._lock:
            if self._images is None:
                leaf = self.context.leaf
                self._images = Images(
                    leaf.client("ecr"),
                    leaf.client("s3"),
                    self.context.state_dir / "images",
                    lambda: leaf.changes("ecr"),
                )
            return self._images


@dataclass(frozen=True)
class Job:
    """One running job, as its kind sees it."""

    name: str
    document: Document
    role_arn: str
    """The role that it runs as: what is done for it is done as that."""
    root: Root
    log: LogStream
    control: Control
    runtime: Runtime
    resources: Resources

    @property
    def s3(self) -> Any:
        return self.runtime.context.clients.of("s3", self.role_arn)

    @property
    def stopped(self) -> bool:
        return self.control.stopping.is_set()

    def image(self, uri: str) -> Image:
        """Raises ImageError."""
        pulls.check(self.runtime.context, self.role_arn, uri)
        return self.runtime.images.resolve(uri)

    def program(self, image: Image, entrypoint: list[str], arguments: list[str], variables: dict[str, str]) -> Program:
        """Raises ImageError if the image has no such program."""
        context = self.runtime.context
        return program(
            image,
            self.root,
            entrypoint,
            arguments,
            variables,
            endpoint_url=context.endpoint_url,
            region=context.region,
            access_key=context.principals.access_key(self.role_arn),
        )

    def run(self, started: Program, limit_seconds: float) -> Ended:
        """Run a program to its end."""
        return self.runtime.launcher.run(
            started.argv,
            started.environment,
            started.folder,
            self.log.write,
            self.log.idle,
            limit_seconds,
            self.control,
        )

    def change(self, **members: Any) -> Document:
        """Set members of the job's description."""
        return self.resources.change(self.name, lambda document: {**document, **members})

    def text(self, path: str) -> str | None:
        """The first 1,024 characters of a file that the program may have written, or None."""
        place = self.root.inside(path)
        try:
            # A named pipe, of all things, would be waited for.
            if not place.is_file():
                return None
            with place.open(encoding="utf-8", errors="replace") as stream:
                return stream.read(_REASON_LENGTH).strip() or None
        except OSError:
            return None


class Jobs:
    """The operations of one kind of job, and what pipelines call."""

    def __init__(self, kind: JobKind, runtime: Runtime, arns: Arns) -> None:
        self._kind, self._runtime = kind, runtime
        self.resources = Resources(kind.kind, runtime.context, arns)
        self._controls: dict[str, Control] = {}
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self._closing = False

    @property
    def kind(self) -> Kind:
        return self._kind.kind

    def create(self, request: Request) -> dict[str, Any]:
        """CreateXJob: the job starts in the background."""
        arn = self.add(request.params)
        name = request.params[self.kind.name_member]
        thread = threading.Thread(target=self._run_and_forget, args=(name,), name=f"job-{name}", daemon=True)
        with self._lock:
            self._threads.add(thread)
        thread.start()
        return {self.kind.arn_member: arn}

    def add(self, params: Mapping[str, Any]) -> str:
        """Store a new job, InProgress, and give its ARN. Raises ServiceError if it cannot be one."""
        self._kind.check(params)
        if params.get("RoleArn"):
            roles.check(self._runtime.context, params["RoleArn"])
        name = params[self.kind.name_member]
        with self._lock:
            if self._closing:
                raise ServiceError("ServiceUnavailable", "localcloud is stopping", 503)
            document = self.resources.add(params, **self._kind.document(params, self._runtime))
            self._controls[name] = Control()
        arn: str = document[self.kind.arn_member]
        return arn

    def run(self, name: str) -> Document:
        """Run a job that `add` stored, to its end; blocks, and gives its description."""
        with self._lock:
            control = self._controls[name]
        document = self.resources.get(name)
        short = hashlib.sha256(f"{self.kind.resource}/{name}".encode()).hexdigest()[:12]
        # Short, because programs put sockets below it and a socket's path has at most 103 characters on some systems.
        root = Root(self._runtime.folder / short)
        context = self._runtime.context
        epoch = int(context.clock.now().timestamp() * 1000)
        try:
            role_arn = self._kind.role(document)
            log = LogStream(
                context.clients.of("logs", role_arn),
                context.clock,
                self._kind.log_group,
                f"{name}/algo-1-{epoch}",
                self._kind.metrics(document),
            )
            job = Job(name, document, role_arn, root, log, control, self._runtime, self.resources)
            outcome = self._execute(job)
        except Exception as error:  # a bug or a broken leaf: the job must still end, and say why
            outcome = self._internal(error, name)
        with self._lock:
            # When localcloud stops, jobs stay InProgress: the next start ends them, as it does after a crash.
            if self._closing:
                return document
        try:
            return self.resources.change(name, lambda stored: self._kind.ended(stored, outcome, self._runtime))
        finally:
            with self._lock:
                self._controls.pop(name, None)

    def stop(self, request: Request) -> dict[str, Any]:
        """StopXJob: the job's program gets SIGTERM now and SIGKILL after the grace period."""
        name = request.params[self.kind.name_member]
        status = self.kind.status

        def stopping(document: Document) -> Document:
            if document[status] not in ("InProgress", "Stopping"):
                raise validation(
                    f"The request was rejected because the {self.kind.resource.replace('-', ' ')} is in status"
                    f" {document[status]}."
                )
            return {**document, status: "Stopping"}

        self.resources.change(name, stopping)
        self.end(name)
        return {}

    def end(self, name: str) -> None:
        """Make a job end; nothing happens if it has."""
        with self._lock:
            control = self._controls.get(name)
        if control is not None:
            control.stop()

    def recover(self) -> None:
        """End the jobs that an earlier localcloud left unfinished."""
        status = self.kind.status
        for name, document in self._runtime.context.store.list(self.kind.store, members=(status,)):
            if document[status] in ("InProgress", "Stopping"):
                self.resources.change(name, self._cut_off)

    def close(self) -> None:
        """Kill every job, and return when nothing of them is left."""
        with self._lock:
            self._closing = True
            controls, threads = list(self._controls.values()), list(self._threads)
        for control in controls:
            control.kill()
        for thread in threads:
            thread.join()

    def _cut_off(self, document: Document) -> Document:
        outcome = Outcome("Failed", f"InternalServerError: {CUT_OFF}. Start it again under another name")
        return self._kind.ended(document, outcome, self._runtime)

    def _run_and_forget(self, name: str) -> None:
        try:
            self.run(name)
        except Exception:
            _LOG.exception("the %s %s", self.kind.resource, name)
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _execute(self, job: Job) -> Outcome:
        with self._runtime.slots.hold(job.control) as granted:
            if not granted:
                return Outcome("Stopped")
            job.root.create()
            try:
                outcome = self._outcome(job)
            finally:
                job.root.remove()
        return outcome

    def _outcome(self, job: Job) -> Outcome:
        try:
            outcome = self._kind.execute(job)
        except (TransferError, ImageError) as error:
            outcome = Outcome("Failed", f"ClientError: {error}")
        except Exception as error:
            outcome = self._internal(error, job.name)
        if outcome.reason is not None:
            job.log.line(outcome.reason)
        job.log.close()
        return outcome

    def _internal(self, error: Exception, name: str) -> Outcome:
        _LOG.error("the %s %s broke\n%s", self.kind.resource, name, "".join(traceback.format_exception(error)))
        return Outcome("Failed", f"InternalServerError: {type(error).__name__}: {error}")


def clear(folder: Path) -> None:
    """Kill the programs, and remove the private roots, that an earlier localcloud left in its jobs folder."""
    if folder.is_dir():
        process.kill_marked(str(folder), below=True)
        remove(folder)


def cut(reason: str | None) -> str | None:
    """A failure reason in the 1,024 characters that AWS gives it."""
    return None if reason is None else reason[:_REASON_LENGTH]


def unsupported(params: Mapping[str, Any], names: tuple[str, ...], what: str) -> None:
    """Raise ValidationException if the request has a member that localcloud does not honour: it never pretends."""
    for name in names:
        if params.get(name):
            raise validation(f"localcloud runs no {what} with {name}; leave it out")


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
