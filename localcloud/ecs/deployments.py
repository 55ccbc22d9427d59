"""Deployments of services, and what is told of a service: its own events, and those for EventBridge.

Sources: "Amazon ECS service action events", "Amazon ECS service deployment state change events" (Amazon ECS Developer
Guide).
"""

from __future__ import annotations

import contextlib
import uuid
from datetime import datetime
from typing import Any

from localcloud.context import Context
from localcloud.ecs.clusters import SERVICE
from localcloud.signals import Event

Document = dict[str, Any]

DEPLOYED = (
    "taskDefinition", "launchType", "capacityProviderStrategy", "platformVersion", "networkConfiguration",
)  # fmt: skip
"""The members of a service that a deployment has of its own."""
_MOST_EVENTS = 100


def new_deployment(service: Document, now: datetime, reason: str = "") -> Document:
    """A primary deployment of a service as it is to be."""
    # AWS's are numbers of 19 digits.
    identifier = f"ecs-svc/{uuid.uuid4().int % 10**19:019}"
    return {
        "id": identifier,
        "status": "PRIMARY",
        "failedTasks": 0,
        "createdAt": now,
        "updatedAt": now,
        "platformFamily": "Linux",
        "rolloutState": "IN_PROGRESS",
        "rolloutStateReason": reason or f"ECS deployment {identifier} in progress.",
        **{member: service[member] for member in DEPLOYED if member in service},
    }


class Notices:
    """Tells what becomes of services. All methods may be called from any thread."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def say(self, name: str, text: str, event_name: str = "", kind: str = "INFO") -> None:
        """Add to the events of a service, by its key; with a name for it, tell EventBridge, too."""
        now = self._context.clock.now()

        def changed(service: Document) -> Document:
            entry = {"id": str(uuid.uuid4()), "createdAt": now, "message": f"(service {service['serviceName']}) {text}"}
            return {**service, "events": [entry, *service["events"]][:_MOST_EVENTS]}

        with contextlib.suppress(KeyError):
            service = self._context.store.update(SERVICE, name, changed)
            if event_name:
                detail = {"clusterArn": service["clusterArn"], "createdAt": _text(now)}
                self._event("ECS Service Action", service, event_name, kind, detail, now)

    def deployment(self, service: Document, deployment: Document, name: str, kind: str = "INFO") -> None:
        """Tell EventBridge of a deployment's state."""
        now = self._context.clock.now()
        detail = {
            "deploymentId": deployment["id"],
            "updatedAt": _text(now),
            "reason": deployment["rolloutStateReason"],
        }
        self._event("ECS Deployment State Change", service, name, kind, detail, now)

    def _event(
        self, detail_type: str, service: Document, name: str, kind: str, detail: Document, now: datetime
    ) -> None:
        detail = {"eventType": kind, "eventName": name, **detail}
        event = Event("aws.ecs", detail_type, detail, now, (service["serviceArn"],))
        self._context.signals.event(event)


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"
