"""The service scheduler: it starts and stops tasks until every service is as it shall be, and when something ends.

One thread does the work of all services, woken by what changes and else asleep. A task that ends soon after its start
is followed by the next later and later: AWS's service does so for tasks that fail to start, and needs half a minute for
each start in any case, which a process does not.

Source: "Amazon ECS service throttle logic" (Amazon ECS Developer Guide).
"""

from __future__ import annotations

import contextlib
import logging
import threading
from datetime import timedelta

from localcloud.context import Context
from localcloud.ecs.clusters import SERVICE
from localcloud.ecs.definitions import Definitions
from localcloud.ecs.deployments import DEPLOYED, Notices, new_deployment
from localcloud.ecs.names import key, short
from localcloud.ecs.pace import Pace
from localcloud.ecs.records import STOPPED, Document, Records, key_of
from localcloud.ecs.rollout import Step, Wanted, is_well, next_step, threshold
from localcloud.ecs.running import Running
from localcloud.ecs.tags import Tag, merged
from localcloud.ecs.tags import Tags as TagStore
from localcloud.ecs.tasks import Tasks
from localcloud.errors import ServiceError

_LOG = logging.getLogger(__name__)
# A task that has lived so long was no failure to start; a shorter life makes the next one wait, up to the most.
_SOUND_SECONDS, _LONGEST_WAIT_SECONDS = 60.0, 300.0
# After a look that failed.
_AGAIN_SECONDS = 10.0
# So long a task must be RUNNING until a deployment counts it: on AWS one that ends at once is seen to.
_PROOF_SECONDS = 1.0


class Keeper:
    """Keeps services as they shall be. All methods may be called from any thread."""

    def __init__(
        self,
        context: Context,
        definitions: Definitions,
        records: Records,
        running: Running,
        tasks: Tasks,
        tags: TagStore,
        pace: Pace,
    ) -> None:
        self._context, self._store, self._definitions = context, context.store, definitions
        self._records, self._running, self._tasks, self._tags, self._pace = records, running, tasks, tags, pace
        self._notices = Notices(context)
        self._changed = threading.Condition()
        self._due: dict[str, float] = {}
        self._closing = False
        self._thread: threading.Thread | None = None
        # Of tasks, by ARN: when they were seen to run. Of services: how many ended soon, and when the next may start.
        self._begun: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._not_before: dict[str, float] = {}

    def start(self) -> None:
        """Look at every service that there is."""
        for name, document in self._store.list(SERVICE, members=("status",)):
            if document["status"] != "INACTIVE":
                self.look(name)

    def close(self) -> None:
        """Start and stop nothing more."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def look(self, name: str, seconds: float = 0.0) -> None:
        """See to a service, at once or in so many of the pace's seconds."""
        due = self._pace.monotonic() + self._pace.seconds(seconds)
        with self._changed:
            if self._closing:
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ecs-services", daemon=True)
                self._thread.start()
            self._due[name] = min(due, self._due.get(name, due))
            self._changed.notify_all()

    def forgive(self, name: str) -> None:
        """Let a service start tasks at once, whatever became of those before: it was given another deployment."""
        with self._changed:
            self._failures.pop(name, None)
            self._not_before.pop(name, None)

    def task_changed(self, task: Document) -> None:
        """A task has come to run, is well or unwell, or has stopped."""
        group = str(task.get("group", ""))
        if not group.startswith("service:"):
            return
        name = key(short(task["clusterArn"]), group.partition(":")[2])
        if task["lastStatus"] == STOPPED:
            self._task_ended(name, task)
        elif task["lastStatus"] == "RUNNING":
            with self._changed:
                self._begun.setdefault(task["taskArn"], self._pace.monotonic())
        self.look(name)

    def _task_ended(self, name: str, task: Document) -> None:
        with self._changed:
            begun = self._begun.pop(task["taskArn"], None)
        if task.get("stopCode") in ("ServiceSchedulerInitiated", "UserInitiated"):
            unhealthy = task.get("healthStatus") == "UNHEALTHY"
            if not unhealthy:
                return
        lived = 0.0 if begun is None else self._pace.since(begun)
        with self._changed:
            failures = 0 if lived >= _SOUND_SECONDS else self._failures.get(name, 0) + 1
            self._failures[name] = failures
            wait = 0.0 if failures <= 1 else min(2.0 ** (failures - 2), _LONGEST_WAIT_SECONDS)
            self._not_before[name] = self._pace.monotonic() + self._pace.seconds(wait)
        if failures == threshold(1):
            self._notices.say(
                name, "is unable to consistently start tasks successfully.", "SERVICE_TASK_START_IMPAIRED", "WARN"
            )
        self._count_failure(name, task)

    def _count_failure(self, name: str, task: Document) -> None:
        """A failed task of a deployment that is in progress; too many are the end of it."""

        def counted(service: Document) -> Document:
            primary, *others = service["deployments"]
            if primary["id"] == task.get("startedBy") and primary["rolloutState"] == "IN_PROGRESS":
                primary = {**primary, "failedTasks": primary["failedTasks"] + 1}
            return {**service, "deployments": [primary, *others]}

        with contextlib.suppress(KeyError):
            service = self._store.update(SERVICE, name, counted)
            breaker = service["deploymentConfiguration"]["deploymentCircuitBreaker"]
            primary = service["deployments"][0]
            enough = primary["failedTasks"] >= threshold(service["desiredCount"])
            if breaker["enable"] and enough and primary["rolloutState"] == "IN_PROGRESS":
                self._give_up(name, service, roll_back=breaker["rollback"])

    def _give_up(self, name: str, service: Document, *, roll_back: bool) -> None:
        now = self._context.clock.now()
        reason = "ECS deployment circuit breaker: tasks failed to start."
        completed = service.get("Completed")
        failed = {**service["deployments"][0], "rolloutState": "FAILED", "rolloutStateReason": reason, "updatedAt": now}

        def changed(there: Document) -> Document:
            deployments = [failed, *there["deployments"][1:]]
            if not roll_back or completed is None:
                return {**there, "deployments": deployments}
            why = f"ECS deployment circuit breaker: rolling back to deploymentId {completed['id']}."
            again = new_deployment({**there, **completed}, now, why)
            older = [{**one, "status": "ACTIVE"} for one in deployments]
            return {**there, "taskDefinition": completed["taskDefinition"], "deployments": [again, *older]}

        self._store.update(SERVICE, name, changed)
        self._notices.deployment(service, failed, "SERVICE_DEPLOYMENT_FAILED", "ERROR")
        self._notices.say(name, f"(deployment {failed['id']}) deployment failed: tasks failed to start.")
        if roll_back and completed is not None:
            self.forgive(name)

    def _run(self) -> None:
        while (name := self._next()) is not None:
            try:
                self._see_to(name)
            except Exception:
                if not self._closing:
                    _LOG.exception("the service %s", name)
                    self.look(name, _AGAIN_SECONDS)

    def _next(self) -> str | None:
        """The next service to look at when its moment has come; None at the end."""
        with self._changed:
            while not self._closing:
                if not self._due:
                    self._changed.wait()
                    continue
                name = min(self._due, key=lambda one: self._due[one])
                left = self._due[name] - self._pace.monotonic()
                if left <= 0:
                    del self._due[name]
                    return name
                self._changed.wait(left)
        return None

    def _see_to(self, name: str) -> None:
        service = self._store.get(SERVICE, name)
        if service is None or service["status"] == "INACTIVE":
            return
        tasks = self._live(service)
        if service["status"] == "DRAINING":
            self._drain(name, service, tasks)
            return
        step = next_step(self._wanted(name, service, tasks), tasks)
        for arn, reason in step.stop:
            task = next(one for one in tasks if one["taskArn"] == arn)
            self._running.stop(key_of(task), "ServiceSchedulerInitiated", reason)
        if step.stop:
            ids = " ".join(f"(task {short(arn)})" for arn, _ in step.stop)
            self._notices.say(name, f"has stopped {len(step.stop)} running tasks: {ids}.", "TASKS_STOPPED")
        if step.start:
            self._start(name, service, step, len(tasks))
        self._note_steadiness(name, service, step)

    def _live(self, service: Document) -> list[Document]:
        """The tasks of a service that have not stopped, the oldest first."""
        cluster, group = short(service["clusterArn"]), f"service:{service['serviceName']}"
        found = self._records.of_cluster(cluster)
        return [task for task in found if task["group"] == group and task["lastStatus"] != STOPPED]

    def _wanted(self, name: str, service: Document, tasks: list[Document]) -> Wanted:
        primary, configuration = service["deployments"][0], service["deploymentConfiguration"]
        now = self._context.clock.now()
        with self._changed:
            wait = self._not_before.get(name, 0.0) - self._pace.monotonic()
            ages = {
                task["taskArn"]: self._pace.since(self._begun.setdefault(task["taskArn"], self._pace.monotonic()))
                for task in tasks
                if is_well(task)
            }
        if wait > 0 and len(tasks) < service["desiredCount"]:
            self.look(name, wait / self._pace.second)
        young = {arn: age for arn, age in ages.items() if age < _PROOF_SECONDS and not service["Steady"]}
        if young:
            self.look(name, _PROOF_SECONDS - min(young.values()))
        grace = timedelta(seconds=service.get("healthCheckGracePeriodSeconds") or 0)
        left = {task["taskArn"]: task["startedAt"] + grace - now for task in tasks if "startedAt" in task}
        excused = {arn: span for arn, span in left.items() if span > timedelta()}
        if excused:
            self.look(name, min(excused.values()).total_seconds())
        return Wanted(
            deployment=primary["id"],
            count=service["desiredCount"],
            least_percent=configuration["minimumHealthyPercent"],
            most_percent=configuration["maximumPercent"],
            may_start=wait <= 0 and primary["rolloutState"] != "FAILED",
            excused=frozenset(excused),
            unproven=frozenset(young),
        )

    def _start(self, name: str, service: Document, step: Step, others: int) -> None:
        primary = service["deployments"][0]
        definition = self._definitions.find(primary["taskDefinition"])
        started = []
        try:
            for number in range(step.start):
                task = self._tasks.launch(
                    short(service["clusterArn"]),
                    definition,
                    primary,
                    primary["networkConfiguration"],
                    group=f"service:{service['serviceName']}",
                    started_by=primary["id"],
                    tags=self._task_tags(service, definition),
                    others=others + number,
                )
                started.append(f"(task {short(task['taskArn'])})")
        except ServiceError as error:
            _LOG.warning("the service %s: %s", name, error)
            self.look(name, _AGAIN_SECONDS)
        if started:
            self._notices.say(name, f"has started {len(started)} tasks: {' '.join(started)}.")

    def _task_tags(self, service: Document, definition: Document) -> list[Tag]:
        source = {"SERVICE": service["serviceArn"], "TASK_DEFINITION": definition["taskDefinitionArn"]}
        arn = source.get(service["propagateTags"])
        tags = self._tags.of(arn) if arn else []
        if service["enableECSManagedTags"]:
            cluster = {"key": "aws:ecs:clusterName", "value": short(service["clusterArn"])}
            tags = merged(tags, [cluster, {"key": "aws:ecs:serviceName", "value": service["serviceName"]}])
        return tags

    def _note_steadiness(self, name: str, service: Document, step: Step) -> None:
        primary = service["deployments"][0]
        if step.steady == service["Steady"] and (not step.steady or primary["rolloutState"] != "IN_PROGRESS"):
            return
        now = self._context.clock.now()
        completes = step.steady and primary["rolloutState"] == "IN_PROGRESS"

        def changed(there: Document) -> Document:
            if there["deployments"][0]["id"] != primary["id"]:
                return there
            members: Document = {"Steady": step.steady}
            if completes:
                reason = f"ECS deployment {primary['id']} completed."
                done = {"rolloutState": "COMPLETED", "rolloutStateReason": reason, "updatedAt": now}
                members["deployments"] = [{**there["deployments"][0], **done}]
                members["Completed"] = {member: primary[member] for member in ("id", *DEPLOYED) if member in primary}
            return {**there, **members}

        after = self._store.update(SERVICE, name, changed)
        if completes:
            self._notices.deployment(after, after["deployments"][0], "SERVICE_DEPLOYMENT_COMPLETED")
            self._notices.say(name, f"(deployment {primary['id']}) deployment completed.")
        if step.steady:
            self._notices.say(name, "has reached a steady state.", "SERVICE_STEADY_STATE")

    def _drain(self, name: str, service: Document, tasks: list[Document]) -> None:
        for task in tasks:
            if task["desiredStatus"] != STOPPED:
                reason = f"Scaling activity initiated by (deployment {service['deployments'][0]['id']})"
                self._running.stop(key_of(task), "ServiceSchedulerInitiated", reason)
        if not tasks:
            self._store.update(SERVICE, name, lambda there: {**there, "status": "INACTIVE", "deployments": []})
            self.forgive(name)
