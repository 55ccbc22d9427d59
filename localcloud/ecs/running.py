"""The tasks that run in this process: each on a thread of its own, from the first look at its images to its last line.

    prepare (images, roots, volumes, log streams) ─> RUNNING: a thread for each container ─┬─ an essential one ends
                                                                                           └─ somebody asks it to stop
    ─> SIGTERM, SIGKILL after stopTimeout ─> roots and volumes removed ─> STOPPED

When localcloud ends, however it does, the programs end at once and their tasks stay in the store. At the next start
those of services go on under the same ARN with the volumes that they had; others are STOPPED, since nobody can say how
far they have come.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from localcloud.context import Context
from localcloud.ecs.container import Container, Log, Plan, Surroundings, prepare
from localcloud.ecs.definitions import Definitions
from localcloud.ecs.names import short
from localcloud.ecs.records import STOPPED, Document, Records
from localcloud.jobs import process, pulls
from localcloud.jobs.container import Root, remove
from localcloud.jobs.images import Image, ImageError
from localcloud.jobs.logs import LogStream

_LOG = logging.getLogger(__name__)
CUT_OFF = "localcloud stopped while the task ran"
SCHEDULED = "chronos-schedule/"
"""What startedBy begins with where EventBridge Scheduler has started a task."""


class _NotStarted(Exception):
    """A task cannot start; the message is its stoppedReason."""


class Running:
    """The tasks that run. `image` finds an image by its URI. All methods may be called from any thread."""

    def __init__(
        self,
        context: Context,
        records: Records,
        definitions: Definitions,
        image: Callable[[str], Image],
        around: Surroundings,
    ) -> None:
        self.context, self.records, self.definitions = context, records, definitions
        self.image, self.around = image, around
        self.folder = context.state_dir / "ecs"
        self._lock = threading.Lock()
        self._tasks: dict[str, _Task] = {}
        self._on_change: Callable[[Document], None] = _ignore
        self._closing = False

    def on_change(self, listener: Callable[[Document], None]) -> None:
        """Tell `listener` of every task that has started, become well or unwell, or stopped."""
        self._on_change = listener

    def recover(self) -> None:
        """Take up, or end, what an earlier process has left."""
        process.kill_marked(str(self.folder), below=True)
        kept = set()
        for name, document in self.records.all():
            if document["lastStatus"] == STOPPED:
                continue
            if _is_of_service(document) and document["desiredStatus"] != STOPPED:
                kept.add(self.task_folder(name).name)
                self.begin(name, document)
            else:
                now = self.context.clock.now()
                reason: dict[str, Any] = {"stopCode": "TerminationNotice", "stoppedReason": CUT_OFF}
                if document.get("stopCode"):
                    reason = {}
                containers = [{**one, "lastStatus": STOPPED} for one in document["containers"]]
                self.records.change(
                    name, desiredStatus=STOPPED, lastStatus=STOPPED, stoppedAt=now, containers=containers, **reason
                )
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if path.name not in kept:
                remove(path)

    def begin(self, name: str, document: Document) -> None:
        """Start a task that is in the store. The clock waits for its end if a schedule has started it."""
        stack = ExitStack()
        if str(document.get("startedBy", "")).startswith(SCHEDULED):
            stack.enter_context(self.context.timetable.working())
        task = _Task(self, name, document, stack.close)
        with self._lock:
            if self._closing:
                stack.close()
                return
            self._tasks[name] = task
        task.start()

    def stop(self, name: str, code: str, reason: str) -> Document | None:
        """Ask a task to stop; gives it as it is then, or None if it has stopped."""
        now = self.context.clock.now()
        changed = self.records.change(
            name, if_running=True, desiredStatus=STOPPED, stoppingAt=now, stopCode=code, stoppedReason=reason
        )
        with self._lock:
            task = self._tasks.get(name)
        if task is not None:
            task.stop()
        return changed or self.records.get(name)

    def close(self) -> None:
        """Kill all programs, and return when nothing of them is left."""
        with self._lock:
            self._closing = True
            tasks = list(self._tasks.values())
        for task in tasks:
            task.kill()
        for task in tasks:
            task.join()

    @property
    def closing(self) -> bool:
        return self._closing

    def told(self, document: Document | None) -> None:
        """Hand on a change."""
        if document is not None and not self._closing:
            self._on_change(document)

    def ended(self, name: str) -> None:
        """Forget a task that has ended."""
        with self._lock:
            self._tasks.pop(name, None)

    def task_folder(self, name: str) -> Path:
        """Short, because programs put sockets below it and a socket's path has at most 103 characters on some
        systems."""
        return self.folder / hashlib.sha256(name.encode()).hexdigest()[:12]


class _Task:
    """One task on its thread."""

    def __init__(self, running: Running, name: str, document: Document, on_end: Callable[[], None]) -> None:
        self._running, self._name, self._document, self._on_end = running, name, document, on_end
        self._records, self._clock = running.records, running.context.clock
        self._folder = running.task_folder(name)
        self._lock = threading.Lock()
        self._containers: list[Container] = []
        self._stopping = threading.Event()
        self._killed = False
        self._thread = threading.Thread(target=self._run, name=f"task-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def stop(self) -> None:
        """Ask all containers to end; returns at once."""
        self._stopping.set()
        with self._lock:
            containers = list(self._containers)
        for container in containers:
            container.stop()

    def kill(self) -> None:
        self._stopping.set()
        with self._lock:
            self._killed = True
            containers = list(self._containers)
        for container in containers:
            container.kill()

    def _run(self) -> None:
        failure: str | None = None
        try:
            self._live()
        except _NotStarted as error:
            failure = str(error)
        except Exception as error:  # a bug or a broken leaf: the task must still end, and say why
            if not self._running.closing:
                _LOG.exception("the task %s", self._name)
            failure = f"{type(error).__name__}: {error}"
        try:
            if not self._running.closing:
                self._end(failure)
        finally:
            self._running.ended(self._name)
            self._on_end()

    def _live(self) -> None:
        """From PENDING to the end of the last container."""
        if self._document["lastStatus"] == "PROVISIONING":
            self._records.change(self._name, if_running=True, lastStatus="PENDING", pullStartedAt=self._clock.now())
        plans = self._plans()
        with self._lock:
            self._containers = [Container(plan, self._running.around, self._teller(plan)) for plan in plans]
            killed = self._killed
        if killed or self._stopping.is_set():
            return
        self._tell_running()
        threads = [
            threading.Thread(target=self._run_container, args=(container,), name=container.name, daemon=True)
            for container in self._containers
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _tell_running(self) -> None:
        now = self._clock.now()
        document = self._records.get(self._name)
        if document is None:
            return
        if document["lastStatus"] != "RUNNING":
            containers = [{**one, "lastStatus": "RUNNING"} for one in document["containers"]]
            document = self._records.change(
                self._name,
                lastStatus="RUNNING",
                startedAt=now,
                pullStoppedAt=now,
                connectivity="CONNECTED",
                connectivityAt=now,
                containers=containers,
            )
        self._running.told(document)

    def _run_container(self, container: Container) -> None:
        reason = {}
        try:
            container.run()
        except Exception as error:
            _LOG.exception("the container %s of %s", container.name, self._name)
            reason = {"reason": f"CannotStartContainerError: {error}"}
        if self._running.closing:
            return
        ended = {"lastStatus": STOPPED, "exitCode": container.exit_code, **reason}
        self._records.change_container(
            self._name, container.name, **{member: value for member, value in ended.items() if value is not None}
        )
        if container.essential:
            self._running.stop(self._name, "EssentialContainerExited", "Essential container in task exited")

    def _teller(self, plan: Plan) -> Callable[[Mapping[str, Any]], None]:
        def tell(members: Mapping[str, Any]) -> None:
            if not self._running.closing:
                self._running.told(self._records.change_container(self._name, plan.definition["name"], **members))

        return tell

    def _plans(self) -> list[Plan]:
        """Everything that the containers need. Raises _NotStarted."""
        definition = self._running.definitions.find(self._document["taskDefinitionArn"])
        overrides = self._document["overrides"]
        role = overrides.get("taskRoleArn") or definition.get("taskRoleArn")
        execution_role = overrides.get("executionRoleArn") or definition["executionRoleArn"]
        access_key = self._running.context.principals.access_key(role) if role else None
        volumes = {
            volume["name"]: self._folder / "volumes" / str(number)
            for number, volume in enumerate(definition["volumes"])
        }
        for folder in volumes.values():
            folder.mkdir(parents=True, exist_ok=True)
        own = {one["name"]: one for one in overrides.get("containerOverrides") or ()}
        plans = []
        for number, container in enumerate(definition["containerDefinitions"]):
            container = overridden(container, own.get(container["name"], {}))
            mounts = {
                one["containerPath"].rstrip("/"): volumes[one["sourceVolume"]] for one in container["mountPoints"]
            }
            try:
                pulls.check(self._running.context, execution_role, container["image"])
                image = self._running.image(container["image"])
                log = self._log(container, execution_role)
                root = Root(self._folder / str(number))
                plans.append(prepare(container, image, root, mounts, access_key, log, self._running.around))
            except ImageError as error:
                raise _NotStarted(f"CannotPullContainerError: {error}") from error
            digests = {"imageDigest": image.digest}
            self._records.change_container(self._name, container["name"], **digests)
        return plans

    def _log(self, container: Mapping[str, Any], execution_role: str) -> Log | None:
        configuration = container.get("logConfiguration")
        if configuration is None:
            return None
        options = configuration["options"]
        group = options["awslogs-group"]
        name = f"{options['awslogs-stream-prefix']}/{container['name']}/{short(self._document['taskArn'])}"
        logs = self._running.context.clients.of("logs", execution_role)
        try:
            if options.get("awslogs-create-group") == "true":
                _unless_there(lambda: logs.create_log_group(logGroupName=group))
            _unless_there(lambda: logs.create_log_stream(logGroupName=group, logStreamName=name))
        except ClientError as error:
            raise _NotStarted(
                "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times:"
                f" failed to create Cloudwatch log stream: {error.response['Error']['Code']}:"
                f" {error.response['Error']['Message']} (the log group is {group})"
            ) from error
        return Log(
            lambda: LogStream(logs, self._clock, group, name, opened=True), f"{self._name} ({container['name']})"
        )

    def _end(self, failure: str | None) -> None:
        """Remove what the task had, and say that it has stopped."""
        document = self._records.get(self._name)
        if document is None:
            return
        if document["desiredStatus"] != STOPPED:
            code, reason = "EssentialContainerExited", "Essential container in task exited"
            if failure is not None:
                code, reason = "TaskFailedToStart", failure
            self._records.change(
                self._name, desiredStatus=STOPPED, stoppingAt=self._clock.now(), stopCode=code, stoppedReason=reason
            )
        self._records.change(self._name, lastStatus="DEPROVISIONING", executionStoppedAt=self._clock.now())
        remove(self._folder)
        containers = [{**one, "lastStatus": STOPPED} for one in document["containers"]]
        changed = self._records.change(
            self._name, lastStatus=STOPPED, stoppedAt=self._clock.now(), containers=containers
        )
        self._running.told(changed)


def overridden(container: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """A container definition with what a task has of its own."""
    found = {**container, **{name: override[name] for name in ("command", "cpu", "memory") if name in override}}
    if override.get("environment"):
        variables = {one["name"]: one.get("value", "") for one in container["environment"]}
        variables |= {one["name"]: one.get("value", "") for one in override["environment"]}
        found["environment"] = [{"name": name, "value": value} for name, value in variables.items()]
    return found


def _unless_there(create: Callable[[], Any]) -> None:
    try:
        create()
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceAlreadyExistsException":
            raise


def _is_of_service(document: Document) -> bool:
    return str(document.get("group", "")).startswith("service:")


def _ignore(_: Document) -> None:
    """Nobody listens."""
