"""A project while it is made, changed or deleted: its status, and what its stack does, told as it happens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import ClientError

from pipelines.errors import ServiceError
from pipelines.names import Names
from pipelines.projects import reading
from pipelines.session import client

__all__ = ["Progress", "failures", "follow", "stack_gone"]

_UNDER_WAY = ("Pending", "CreateInProgress", "UpdateInProgress", "DeleteInProgress")
_LONGEST_SECONDS = 3600.0


@dataclass(frozen=True)
class Progress:
    """A reading: the project's status, and the resource that the stack has told of since the reading before."""

    status: str
    resource: str | None = None
    done: int = 0
    """Resources that are complete."""


def follow(
    session: boto3.Session,
    names: Names,
    poll_seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Progress]:
    """Readings until the project is settled; the last one's status is how it ended, `DeleteCompleted` if it is gone.

    Raises ServiceError when it takes more than an hour.
    """
    events = _Events(client(session, "cloudformation"))
    deadline = clock() + _LONGEST_SECONDS
    while True:
        project = reading.describe(session, names)
        stack = project.stack if project is not None else None
        told = events.new(stack.id) if stack is not None else []
        status = project.status if project is not None and project.status != reading.NO_PROJECT else "DeleteCompleted"
        yield Progress(status, told[-1] if told else None, events.done)
        if status not in _UNDER_WAY:
            return
        if clock() > deadline:
            raise ServiceError(
                f"the project `{names.project}` is {status} for an hour; `mlops project list` tells when it has ended"
            )
        sleep(poll_seconds)


def failures(session: boto3.Session, stack_id: str) -> list[str]:
    """The reasons of the resources that failed in a stack's last operation, the first failure first."""
    found: list[str] = []
    for event in _stack_events(client(session, "cloudformation"), stack_id):
        reason = event.get("ResourceStatusReason", "no reason given")
        if event["ResourceType"] == "AWS::CloudFormation::Stack" and reason == "User Initiated":
            break
        if event["ResourceStatus"].endswith("_FAILED") and "cancelled" not in reason:
            found.append(f"{event['LogicalResourceId']}: {reason}")
    return list(dict.fromkeys(found[::-1]))


def stack_gone(session: boto3.Session, name: str, poll_seconds: float) -> None:
    """Wait until a stack is deleted. Raises ServiceError with its reasons when it cannot be."""
    cloudformation: Any = client(session, "cloudformation")
    deadline = time.monotonic() + _LONGEST_SECONDS
    while time.monotonic() < deadline:
        try:
            [stack] = cloudformation.describe_stacks(StackName=name)["Stacks"]
        except ClientError as error:
            if "does not exist" in error.response["Error"]["Message"]:
                return
            raise
        if stack["StackStatus"] == "DELETE_FAILED":
            listed = "\n".join(f"  {reason}" for reason in failures(session, stack["StackId"]))
            raise ServiceError(f"the stack `{name}` cannot be deleted:\n{listed}")
        if stack["StackStatus"] == "DELETE_COMPLETE":
            return
        time.sleep(poll_seconds)
    raise ServiceError(f"the stack `{name}` is being deleted for an hour; run this again to go on")


class _Events:
    """What a stack tells, each thing once."""

    def __init__(self, cloudformation: Any) -> None:
        self._cloudformation = cloudformation
        self._seen: set[str] = set()
        self.done = 0

    def new(self, stack_id: str) -> list[str]:
        """`AWS::S3::Bucket Bucket CREATE_COMPLETE`, the oldest first."""
        fresh: list[str] = []
        for event in _stack_events(self._cloudformation, stack_id):
            if event["EventId"] in self._seen:
                break
            self._seen.add(event["EventId"])
            self.done += event["ResourceStatus"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "DELETE_COMPLETE")
            kind = event["ResourceType"].removeprefix("AWS::")
            fresh.append(f"{event['ResourceStatus']} {kind} {event['LogicalResourceId']}")
        return fresh[::-1]


def _stack_events(cloudformation: Any, stack_id: str) -> Iterator[dict[str, Any]]:
    """The newest first."""
    try:
        for page in cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack_id):
            yield from page["StackEvents"]
    except ClientError as error:
        if "does not exist" not in error.response["Error"]["Message"]:
            raise
