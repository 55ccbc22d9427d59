"""Change sets: what an update would do, to be looked at before it is done."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from localcloud.cloudformation import template as templates
from localcloud.cloudformation import views
from localcloud.cloudformation.errors import invalid
from localcloud.cloudformation.requests import Requests, check_updatable, refuse
from localcloud.cloudformation.stacks import Stacks
from localcloud.context import Context, Request
from localcloud.errors import ServiceError
from localcloud.store import Document

_KIND = "cloudformation/change-set"
_UNCHANGED = "The submitted information didn't contain changes. Submit different information to create a change set."


class ChangeSets:
    """The operations. `begin` starts the work on a stack."""

    def __init__(self, context: Context, stacks: Stacks, requests: Requests, begin: Callable[[str], None]) -> None:
        self._context, self._stacks, self._requests, self._begin = context, stacks, requests, begin

    def create(self, request: Request) -> dict[str, Any]:
        """CreateChangeSet. It is CREATE_COMPLETE, or FAILED without changes, when this returns."""
        params = request.params
        refuse(params, "NotificationARNs", "ResourceTypes", "RollbackConfiguration", "ResourcesToImport")
        refuse(params, "IncludeNestedStacks", "ImportExistingResources", "DeploymentMode", "DeploymentConfig")
        kind = params.get("ChangeSetType", "UPDATE")
        if kind not in ("CREATE", "UPDATE"):
            raise invalid(f"localcloud has no change sets of type {kind}; it has CREATE and UPDATE")
        on_failure = params.get("OnStackFailure")
        if on_failure and kind == "UPDATE" and on_failure != "ROLLBACK":
            raise invalid(f"localcloud rolls a failed update back; got OnStackFailure {on_failure}")
        name = params["StackName"]
        stack = self._stacks.find(name)
        if kind == "CREATE":
            stack = self._new_stack(name, stack)
        elif stack is None or stack["StackStatus"] in ("DELETE_COMPLETE", "REVIEW_IN_PROGRESS"):
            raise invalid(f"Stack [{name}] does not exist")
        else:
            check_updatable(stack)
        if any(one["ChangeSetName"] == params["ChangeSetName"] for one in self._of(stack["StackId"])):
            raise ServiceError("AlreadyExistsException", f"ChangeSet {params['ChangeSetName']} already exists")
        asked = self._requests.read(params, stack, request.access_key)
        difference = self._requests.changes(asked, stack)
        changed = difference.any or kind == "CREATE"
        document: Document = {
            "ChangeSetId": f"arn:aws:cloudformation:{self._context.region}:{self._context.account_id}:changeSet/"
            f"{params['ChangeSetName']}/{uuid.uuid4()}",
            "ChangeSetName": params["ChangeSetName"],
            "StackId": stack["StackId"],
            "StackName": stack["StackName"],
            "Type": kind,
            "Description": params.get("Description"),
            "CreationTime": self._context.clock.now(),
            "Status": "CREATE_COMPLETE" if changed else "FAILED",
            "StatusReason": None if changed else _UNCHANGED,
            "ExecutionStatus": "AVAILABLE" if changed else "UNAVAILABLE",
            "Asked": asked.members,
            "RoleARN": params.get("RoleARN"),
            "OnStackFailure": on_failure,
            "Changes": [views.change(one, values=False) for one in difference.resources],
            "ChangesWithValues": [views.change(one, values=True) for one in difference.resources],
        }
        if kind == "CREATE" and self._stacks.find(name) is None:
            self._stacks.add(stack)
        self._context.store.put(_KIND, document["ChangeSetId"], document)
        return {"Id": document["ChangeSetId"], "StackId": stack["StackId"]}

    def describe(self, request: Request) -> dict[str, Any]:
        """DescribeChangeSet."""
        params = request.params
        found = self.find(params["ChangeSetName"], params.get("StackName"))
        template = templates.read(found["Asked"]["Template"], self._context.region)
        changes = found["ChangesWithValues" if params.get("IncludePropertyValues") else "Changes"]
        page, token = views.page(changes, params, lambda change: str(change["ResourceChange"]["LogicalResourceId"]))
        return {
            **{name: found.get(name) for name in _SHOWN},
            "OnStackFailure": found.get("OnStackFailure"),
            "Parameters": views.stack_parameters(found["Asked"], template),
            "Tags": found["Asked"]["Tags"],
            "Capabilities": found["Asked"]["Capabilities"],
            "NotificationARNs": [],
            "RollbackConfiguration": {},
            "IncludeNestedStacks": False,
            "Changes": page,
            "NextToken": token,
        }

    def execute(self, request: Request) -> dict[str, Any]:
        """ExecuteChangeSet. The stack's other change sets are obsolete from then on, and deleted, as on AWS."""
        params = request.params
        refuse(params, "RetainExceptOnCreate")
        found = self.find(params["ChangeSetName"], params.get("StackName"))
        if found["ExecutionStatus"] != "AVAILABLE":
            raise ServiceError(
                "InvalidChangeSetStatus",
                f"ChangeSet [{found['ChangeSetId']}] cannot be executed in its current status of [{found['Status']}]",
            )
        if params.get("DisableRollback") and found["Type"] == "UPDATE":
            raise invalid("localcloud rolls a failed update back; got DisableRollback")
        stack = self._stacks.get(found["StackId"])
        principal = self._requests.principal(request.access_key)
        self._start(found, stack, principal, params)
        with self._context.store.transaction():
            self.forget(stack["StackId"])
            executed = {**found, "ExecutionStatus": "EXECUTE_COMPLETE"}
            self._context.store.put(_KIND, found["ChangeSetId"], executed)
        self._begin(stack["StackId"])
        return {}

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteChangeSet. One that is not there is no error, if it is named by its ARN."""
        params = request.params
        name = params["ChangeSetName"]
        if name.startswith("arn:") and self._context.store.get(_KIND, name) is None:
            return {}
        found = self.find(name, params.get("StackName"))
        self._context.store.delete(_KIND, found["ChangeSetId"])
        return {}

    def list_sets(self, request: Request) -> dict[str, Any]:
        """ListChangeSets."""
        stack = self._stacks.find(request.params["StackName"])
        if stack is None:
            raise invalid(f"Stack [{request.params['StackName']}] does not exist")
        found, token = views.page(self._of(stack["StackId"]), request.params, lambda one: str(one["ChangeSetId"]))
        return {
            "Summaries": [{**{name: one.get(name) for name in _SHOWN}, "IncludeNestedStacks": False} for one in found],
            "NextToken": token,
        }

    def find(self, name: str, stack_name: str | None) -> Document:
        """A change set by its ARN, or by its name and its stack's. Raises ChangeSetNotFound."""
        if name.startswith("arn:"):
            found = self._context.store.get(_KIND, name)
        else:
            if not stack_name:
                raise invalid("StackName must be specified if ChangeSetName is not specified as an ARN.")
            stack = self._stacks.get(stack_name)
            found = next((one for one in self._of(stack["StackId"]) if one["ChangeSetName"] == name), None)
        if found is None:
            raise ServiceError("ChangeSetNotFound", f"ChangeSet [{name}] does not exist", 404)
        return found

    def forget(self, stack_id: str) -> None:
        """Delete the change sets of a stack that have not been executed."""
        for one in self._of(stack_id):
            if one["ExecutionStatus"] != "EXECUTE_COMPLETE":
                self._context.store.delete(_KIND, one["ChangeSetId"])

    def _start(self, found: Document, stack: Document, principal: str | None, params: Mapping[str, Any]) -> None:
        token, status = params.get("ClientRequestToken"), stack["StackStatus"]
        if found["Type"] == "UPDATE":
            members = {**found["Asked"], "ChangeSetId": found["ChangeSetId"]}
            self._requests.begin_update(stack, members, principal, token, found["RoleARN"])
            return
        if status != "REVIEW_IN_PROGRESS":
            raise invalid(f"Stack [{stack['StackId']}] is in {status} state and can not be created again")
        on_failure = "DO_NOTHING" if params.get("DisableRollback") else found.get("OnStackFailure") or "ROLLBACK"
        self._stacks.turn(
            stack["StackId"],
            status,
            "CREATE_IN_PROGRESS",
            "User Initiated",
            **found["Asked"],
            ChangeSetId=found["ChangeSetId"],
            RoleARN=found["RoleARN"],
            OnFailure=on_failure,
            Operation={"Token": token, "Principal": principal},
        )

    def _new_stack(self, name: str, known: Document | None) -> Document:
        """The stack that a change set is to create: one in review."""
        if known is not None:
            if known["StackStatus"] == "REVIEW_IN_PROGRESS":
                return known
            raise invalid(f"Stack [{name}] already exists and cannot be created again with the changeSet [CREATE].")
        return {
            "StackName": name,
            "StackId": self._stacks.new_id(name),
            "StackStatus": "REVIEW_IN_PROGRESS",
            "StackStatusReason": "User Initiated",
            "CreationTime": self._context.clock.now(),
        }

    def _of(self, stack_id: str) -> list[Document]:
        return [one for _, one in self._context.store.list(_KIND) if one["StackId"] == stack_id]


_SHOWN = (
    "ChangeSetId", "ChangeSetName", "CreationTime", "Description", "ExecutionStatus", "StackId", "StackName", "Status",
    "StatusReason",
)  # fmt: skip
