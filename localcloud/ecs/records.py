"""Tasks as they are in the store and are told of: their state, and the event with each change of it.

    PROVISIONING ──> PENDING ──> RUNNING ──> DEPROVISIONING ──> STOPPED

Source: "Amazon ECS task lifecycle", "Amazon ECS task state change events" (Amazon ECS Developer Guide).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from localcloud.context import Context
from localcloud.ecs.clusters import TASK
from localcloud.ecs.names import key, short
from localcloud.ecs.tags import Tags
from localcloud.signals import Event

Document = dict[str, Any]

STOPPED = "STOPPED"
_KEPT = timedelta(hours=1)


class Records:
    """The documents of tasks, by cluster and id. All methods may be called from any thread."""

    def __init__(self, context: Context, tags: Tags) -> None:
        self._context, self._store, self._tags = context, context.store, tags

    def add(self, document: Document, tags: list[dict[str, str]]) -> None:
        """A new task."""
        with self._store.transaction():
            self._forget_old()
            self._store.put(TASK, key_of(document), document)
            self._tags.put(document["taskArn"], tags)
        self._tell(document)

    def get(self, name: str) -> Document | None:
        """A task by its key."""
        return self._store.get(TASK, name)

    def of_cluster(self, cluster: str) -> list[Document]:
        """The tasks of a cluster, those that ended within the last hour among them, in the order of their start."""
        return [document for _, document in self._store.list(TASK, f"{cluster}/")]

    def all(self) -> list[tuple[str, Document]]:
        """Every task, by its key."""
        return self._store.list(TASK)

    def change(self, name: str, *, if_running: bool = False, **members: Any) -> Document | None:
        """Set members of a task, unless it is gone or has STOPPED, or, with `if_running`, is to stop; tells of it."""
        return self._update(name, lambda _: members, if_running)

    def change_container(self, name: str, container: str, **members: Any) -> Document | None:
        """Set members of one container of a task; the task's health follows from those of its containers."""

        def changed(document: Document) -> Document:
            containers = [{**one, **members} if one["name"] == container else one for one in document["containers"]]
            return {"containers": containers, "healthStatus": overall(containers)}

        return self._update(name, changed)

    def _update(self, name: str, members: Callable[[Document], Document], if_running: bool = False) -> Document | None:
        with self._store.transaction():
            before = self._store.get(TASK, name)
            if before is None or before["lastStatus"] == STOPPED:
                return None
            if if_running and before["desiredStatus"] == STOPPED:
                return None
            changed = {**before, **members(before), "version": before["version"] + 1}
            self._store.put(TASK, name, changed)
        # After what it tells of is committed.
        self._tell(changed)
        return changed

    def tags(self, document: Document) -> list[dict[str, str]]:
        """A task's tags."""
        return self._tags.of(document["taskArn"])

    def _forget_old(self) -> None:
        """AWS shows a task for an hour after its end."""
        limit = self._context.clock.now() - _KEPT
        for name, document in self._store.list(TASK, members=("stoppedAt", "taskArn")):
            if document.get("stoppedAt") is not None and document["stoppedAt"] < limit:
                self._store.delete(TASK, name)
                self._tags.drop(document["taskArn"])

    def _tell(self, document: Document) -> None:
        now = self._context.clock.now()
        detail = json.loads(json.dumps({**document, "updatedAt": now}, default=_text))
        event = Event("aws.ecs", "ECS Task State Change", detail, now, (document["taskArn"],))
        self._context.signals.event(event)


def key_of(document: Document) -> str:
    """The key of a task in the store."""
    return key(short(document["clusterArn"]), short(document["taskArn"]))


def overall(containers: list[Mapping[str, Any]]) -> str:
    """The health of a task: UNHEALTHY when one of its containers is, HEALTHY when all that are asked are."""
    found = {one["healthStatus"] for one in containers if one.get("healthStatus")}
    if not found or "UNHEALTHY" in found:
        return "UNHEALTHY" if found else "UNKNOWN"
    return "HEALTHY" if found == {"HEALTHY"} else "UNKNOWN"


def _text(value: object) -> str:
    assert isinstance(value, datetime)
    return f"{value:%Y-%m-%dT%H:%M:%S}.{value.microsecond // 1000:03}Z"
