"""Stacks, their resources and their events, as they are kept in the store.

A stack's document holds what it was last asked for (template, parameters, tags, role) and how far that is; `Before`
is what it had before the update under way, for the roll-back. A resource's document is what the stack made of it; in an
update, `Change` says what was done (Added, Updated, Replaced, Noted), `Previous` is its document from before. What it
leaves to be deleted at its end is kept apart, as obsolete.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from localcloud.cloudformation.errors import no_stack
from localcloud.context import Context
from localcloud.errors import ServiceError
from localcloud.signals import Event
from localcloud.store import Document

STACK_TYPE = "AWS::CloudFormation::Stack"
_STACK, _NAME = "cloudformation/stack", "cloudformation/name"
_RESOURCE, _OBSOLETE, _EVENT = "cloudformation/resource", "cloudformation/obsolete", "cloudformation/event"
_CLEAN_UP = "_CLEANUP_IN_PROGRESS"
_GONE = ("DELETE_COMPLETE", "DELETE_SKIPPED")


class Superseded(Exception):
    """A stack's status is no more the one that a change of it was meant for: somebody asked to delete it."""


class Stacks:
    """All stacks of the account. All methods may be called from any thread."""

    def __init__(self, context: Context) -> None:
        self._context, self._store = context, context.store

    # --- stacks -------------------------------------------------------------------------------------------------------

    def new_id(self, name: str) -> str:
        """The ARN of a new stack."""
        context = self._context
        return f"arn:aws:cloudformation:{context.region}:{context.account_id}:stack/{name}/{uuid.uuid4()}"

    def add(self, document: Document) -> None:
        """Store a new stack. Raises AlreadyExistsException if its name is taken."""
        name, status, reason = document["StackName"], document["StackStatus"], document.get("StackStatusReason")
        with self._store.transaction():
            if not self._store.put(_NAME, name, {"StackId": document["StackId"]}, if_absent=True):
                raise ServiceError("AlreadyExistsException", f"Stack [{name}] already exists")
            self._store.put(_STACK, document["StackId"], document)
            self._tell(document)
        self._signal(document, "CloudFormation Stack Status Change", {}, status, reason)

    def get(self, name: str) -> Document:
        """The stack of a name or an id. Raises ValidationError if there is none; a deleted one has only its id."""
        found = self.find(name)
        if found is None:
            raise no_stack(name)
        return found

    def find(self, name: str) -> Document | None:
        """The stack of a name or an id, or None."""
        if not name.startswith("arn:"):
            known = self._store.get(_NAME, name)
            name = known["StackId"] if known else ""
        return self._store.get(_STACK, name)

    def everything(self) -> list[Document]:
        """All stacks, the newest first, with those that were deleted."""
        return [document for _, document in reversed(self._store.list(_STACK))]

    def live(self) -> list[Document]:
        """The stacks that are not deleted, the newest first."""
        return [stack for stack in self.everything() if stack["StackStatus"] != "DELETE_COMPLETE"]

    def change(self, stack_id: str, **members: Any) -> Document:
        """Replace members of a stack, without an event."""
        return self._store.update(_STACK, stack_id, lambda stack: {**stack, **members})

    def turn(self, stack_id: str, expected: str, status: str, reason: str | None = None, **members: Any) -> Document:
        """Give a stack its next status, with an event. Raises Superseded if it has not the `expected` one any more."""
        with self._store.transaction():
            stack = self._turned(stack_id, expected, status, reason, members)
        self._signal(stack, "CloudFormation Stack Status Change", {}, status, reason)
        return stack

    def _turned(
        self, stack_id: str, expected: str, status: str, reason: str | None, members: Mapping[str, Any]
    ) -> Document:
        stack = self._store.get(_STACK, stack_id)
        if stack is None or stack["StackStatus"] != expected:
            raise Superseded(stack_id)
        stack |= {"StackStatus": status, "StackStatusReason": reason, **members}
        if status == "DELETE_COMPLETE":
            stack["DeletionTime"] = self._context.clock.now()
            self._store.delete(_NAME, stack["StackName"])
        self._store.put(_STACK, stack_id, stack)
        self._tell(stack)
        return stack

    # --- resources ----------------------------------------------------------------------------------------------------

    def resources(self, stack_id: str) -> dict[str, Document]:
        """The resources that a stack has, by logical id, in the order in which they were first made."""
        found = {record["LogicalResourceId"]: record for record in self.all_resources(stack_id)}
        return {name: record for name, record in found.items() if record["ResourceStatus"] not in _GONE}

    def resource(self, stack_id: str, logical_id: str) -> Document | None:
        """One of these; None where a stack has it not, or no more."""
        record = self._store.get(_RESOURCE, f"{stack_id}/{logical_id}")
        return None if record is None or record["ResourceStatus"] in _GONE else record

    def all_resources(self, stack_id: str) -> list[Document]:
        """The resources of a stack, with those that its deletion or roll-back has deleted."""
        return [record for _, record in self._store.list(_RESOURCE, prefix=f"{stack_id}/")]

    def put_resource(self, stack: Document, record: Document) -> None:
        """Write a resource's document, without an event."""
        self._store.put(_RESOURCE, f"{stack['StackId']}/{record['LogicalResourceId']}", record)

    def tell_resource(
        self, stack: Document, record: Document, status: str, reason: str | None = None, *, keep: bool = True
    ) -> None:
        """Give a resource its next status, with an event; `keep` writes its document."""
        record |= {
            "ResourceStatus": status,
            "ResourceStatusReason": reason,
            "LastUpdatedTimestamp": self._context.clock.now(),
        }
        with self._store.transaction():
            if keep:
                self.put_resource(stack, record)
            self._event(
                stack,
                EventId=f"{record['LogicalResourceId']}-{uuid.uuid4()}",
                LogicalResourceId=record["LogicalResourceId"],
                PhysicalResourceId=record.get("PhysicalResourceId") or "",
                ResourceType=record["ResourceType"],
                ResourceStatus=status,
                ResourceStatusReason=reason,
                ResourceProperties=json.dumps(record.get("Properties") or {}),
            )
        detail = {
            "logical-resource-id": record["LogicalResourceId"],
            "physical-resource-id": record.get("PhysicalResourceId") or "",
            "resource-type": record["ResourceType"],
        }
        self._signal(stack, "CloudFormation Resource Status Change", detail, status, reason)

    def settle(
        self, stack: Document, records: Iterable[Document], obsolete: Iterable[Document], status: str, **members: Any
    ) -> Document:
        """The end of an update, or of its roll-back, in one step: the resources that the stack has from now on, those
        that are to be deleted, and its status."""
        stack_id = stack["StackId"]
        with self._store.transaction():
            for record in self.all_resources(stack_id):
                self._store.delete(_RESOURCE, f"{stack_id}/{record['LogicalResourceId']}")
            for record in records:
                self.put_resource(stack, {**record, "Change": None, "Previous": None})
            for record in obsolete:
                if record.get("PhysicalResourceId"):
                    key = f"{stack_id}/{record['LogicalResourceId']}/{record['PhysicalResourceId']}"
                    self._store.put(_OBSOLETE, key, record)
            settled = self._turned(stack_id, stack["StackStatus"], status, None, members)
        self._signal(settled, "CloudFormation Stack Status Change", {}, status, None)
        return settled

    def obsolete(self, stack_id: str) -> list[Document]:
        """What an update has left to be deleted."""
        return [record for _, record in self._store.list(_OBSOLETE, prefix=f"{stack_id}/")]

    def forget_obsolete(self, stack: Document, record: Document) -> None:
        """It is deleted, or nobody's any more."""
        key = f"{stack['StackId']}/{record['LogicalResourceId']}/{record['PhysicalResourceId']}"
        self._store.delete(_OBSOLETE, key)

    # --- exports ------------------------------------------------------------------------------------------------------

    def exports(self) -> dict[str, tuple[Document, str]]:
        """The stack and the value behind each exported name."""
        return {
            output["ExportName"]: (stack, output["OutputValue"])
            for stack in self.live()
            for output in stack.get("Outputs") or ()
            if output.get("ExportName")
        }

    def importers(self, export: str) -> list[str]:
        """The names of the stacks that import an exported value."""
        return sorted(stack["StackName"] for stack in self.live() if export in (stack.get("Imports") or ()))

    # --- events -------------------------------------------------------------------------------------------------------

    def events(self, stack_id: str) -> list[Document]:
        """What happened to a stack, the latest first."""
        return [document for _, document in reversed(self._store.list(_EVENT, prefix=f"{stack_id}/"))]

    def _tell(self, stack: Mapping[str, Any]) -> None:
        self._event(
            stack,
            EventId=str(uuid.uuid4()),
            LogicalResourceId=stack["StackName"],
            PhysicalResourceId=stack["StackId"],
            ResourceType=STACK_TYPE,
            ResourceStatus=stack["StackStatus"],
            ResourceStatusReason=stack.get("StackStatusReason"),
        )

    def _event(self, stack: Mapping[str, Any], **members: Any) -> None:
        # botocore's model of an event has no review and no clean-up among its statuses: a stack itself has them.
        if members["ResourceStatus"] == "REVIEW_IN_PROGRESS" or members["ResourceStatus"].endswith(_CLEAN_UP):
            return
        document = {
            "StackId": stack["StackId"],
            "StackName": stack["StackName"],
            "Timestamp": self._context.clock.now(),
            "ClientRequestToken": (stack.get("Operation") or {}).get("Token"),
            **members,
        }
        self._store.put(_EVENT, f"{stack['StackId']}/{members['EventId']}", document)

    def _signal(
        self, stack: Mapping[str, Any], kind: str, detail: Mapping[str, Any], status: str, reason: str | None
    ) -> None:
        self._context.signals.event(
            Event(
                source="aws.cloudformation",
                detail_type=kind,
                detail={
                    "stack-id": stack["StackId"],
                    **detail,
                    "status-details": {"status": status, "status-reason": reason or ""},
                    "client-request-token": (stack.get("Operation") or {}).get("Token") or "",
                },
                time=self._context.clock.now(),
                resources=[stack["StackId"]],
            )
        )
