"""Carries out what a stack was asked for, and takes it back when it fails.

A deployment goes from status to status: each step does the work of one and ends with the next, which is on record with
all that was done, so that a later process can go on. What an update replaces or drops is deleted only when all else has
succeeded.

    CREATE_IN_PROGRESS -> CREATE_COMPLETE
                       -> ROLLBACK_IN_PROGRESS -> ROLLBACK_COMPLETE
    UPDATE_IN_PROGRESS -> UPDATE_COMPLETE_CLEANUP_IN_PROGRESS -> UPDATE_COMPLETE
                       -> UPDATE_ROLLBACK_IN_PROGRESS -> UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS
                                                      -> UPDATE_ROLLBACK_COMPLETE
    DELETE_IN_PROGRESS -> DELETE_COMPLETE
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from localcloud.cloudformation import parameters, plan, schemas
from localcloud.cloudformation import template as templates
from localcloud.cloudformation.answers import Answers
from localcloud.cloudformation.errors import Interrupted, ResourceFailed, TemplateError
from localcloud.cloudformation.plan import State
from localcloud.cloudformation.resources import kind_of
from localcloud.cloudformation.resources.kind import Call, code_of, is_missing
from localcloud.cloudformation.stacks import Stacks, Superseded
from localcloud.cloudformation.template import Resource, Template
from localcloud.cloudformation.values import Resolver, ResourceValue
from localcloud.context import Context
from localcloud.errors import ServiceError
from localcloud.store import Document

_LOG = logging.getLogger(__name__)
_LOOK_AGAIN_SECONDS = 0.02
_LONGEST_WAIT_SECONDS = 600.0
_REPLACES = "Requested update requires the creation of a new physical resource; hence creating one."
_GIVEN_UP = {
    "CREATE_IN_PROGRESS": "CREATE_FAILED",
    "ROLLBACK_IN_PROGRESS": "ROLLBACK_FAILED",
    "UPDATE_IN_PROGRESS": "UPDATE_ROLLBACK_FAILED",
    "UPDATE_ROLLBACK_IN_PROGRESS": "UPDATE_ROLLBACK_FAILED",
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS": "UPDATE_COMPLETE",
    "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS": "UPDATE_ROLLBACK_COMPLETE",
    "DELETE_IN_PROGRESS": "DELETE_FAILED",
}
_ASKED = (
    "Template",
    "Parameters",
    "Resolved",
    "Tags",
    "Capabilities",
    "Description",
    "Outputs",
    "Imports",
    "ChangeSetId",
)
"""What an update replaces in a stack's document, and its roll-back restores."""
CUT_OFF = "localcloud stopped while the stack was in {status}."
_CUT_OFF_RESOURCE = (
    "localcloud stopped while it was made: whether it is there is not known, so that it is not deleted with the stack"
)


class _Failed(Exception):
    """The work of a step failed; the message is the reason that its stack gets."""


class Surroundings:
    """What a template's values depend on beside the template: one stack, and the account."""

    def __init__(self, context: Context, stacks: Stacks, stack: Mapping[str, Any], role_arn: str | None) -> None:
        self._context, self._stacks, self._stack, self._role_arn = context, stacks, stack, role_arn

    def client(self, service: str) -> Any:
        """A client whose calls are the role's."""
        return self._context.clients.of(service, self._role_arn)

    def read_ssm(self, name: str) -> str | None:
        """The value of a parameter in SSM's store, or None."""
        try:
            return str(self.client("ssm").get_parameter(Name=name)["Parameter"]["Value"])
        except ClientError as error:
            if is_missing(error):
                return None
            raise TemplateError(f"Parameter {name} of the parameter store: {error}") from error

    def resolver(
        self, template: Template, values: Mapping[str, Any], resource: ResourceValue, imported: Callable[[str], Any]
    ) -> Resolver:
        """The values of a template in this stack."""
        pseudo = {
            "AWS::AccountId": self._context.account_id,
            "AWS::NotificationARNs": [],
            "AWS::Partition": "aws",
            "AWS::Region": self._context.region,
            "AWS::StackId": self._stack["StackId"],
            "AWS::StackName": self._stack["StackName"],
            "AWS::URLSuffix": "amazonaws.com",
        }
        return Resolver(template, values, pseudo, resource=resource, imported=imported, read_ssm=self.read_ssm)

    def imported(self, name: str) -> str:
        """The value of an export. Raises TemplateError."""
        found = self._stacks.exports().get(name)
        if found is None:
            raise TemplateError(f"No export named {name} found.")
        return found[1]


class Deployment:
    """One run over one stack. `stopping` is set when localcloud stops: the work ends soon, to be taken up later."""

    def __init__(
        self, context: Context, stacks: Stacks, stack_id: str, stopping: threading.Event, answers: Answers
    ) -> None:
        self._context, self._stacks, self._stack_id, self._stopping = context, stacks, stack_id, stopping
        self._answers = answers
        self._steps = {
            "CREATE_IN_PROGRESS": self._create,
            "ROLLBACK_IN_PROGRESS": self._roll_back_creation,
            "UPDATE_IN_PROGRESS": self._update,
            "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS": self._clean_up,
            "UPDATE_ROLLBACK_IN_PROGRESS": self._roll_back_update,
            "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS": self._clean_up,
            "DELETE_IN_PROGRESS": self._delete,
        }

    def has_work(self) -> bool:
        """Whether the stack is in a status that asks for something to be done."""
        return self._stacks.get(self._stack_id)["StackStatus"] in self._steps

    def step(self) -> None:
        """Do the work of the stack's present status. Raises Interrupted when localcloud stops."""
        stack = self._stacks.get(self._stack_id)
        try:
            self._steps[stack["StackStatus"]](stack)
        except Superseded:
            return

    def give_up(self, error: Exception) -> None:
        """A bug in localcloud ended the work: the stack must not look as if somebody were at it."""
        stack = self._stacks.get(self._stack_id)
        failed = _GIVEN_UP.get(stack["StackStatus"])
        if failed is not None:
            reason = f"A bug in localcloud, its log has the traceback: {type(error).__name__}: {error}"
            self._stacks.turn(self._stack_id, stack["StackStatus"], failed, reason)

    def cut_off(self) -> None:
        """What an earlier process left in the middle is not gone on with, but taken back; a roll-back, a clean-up or a
        deletion is gone on with."""
        stack = self._stacks.get(self._stack_id)
        status = stack["StackStatus"]
        for record in self._stacks.resources(self._stack_id).values():
            if record["ResourceStatus"] == "CREATE_IN_PROGRESS" and not record.get("PhysicalResourceId"):
                self._stacks.tell_resource(stack, record, "CREATE_FAILED", _CUT_OFF_RESOURCE)
        if status == "CREATE_IN_PROGRESS":
            self._creation_failed(stack, CUT_OFF.format(status=status))
        elif status == "UPDATE_IN_PROGRESS":
            self._stacks.turn(self._stack_id, status, "UPDATE_ROLLBACK_IN_PROGRESS", CUT_OFF.format(status=status))

    # --- steps --------------------------------------------------------------------------------------------------------

    def _create(self, stack: Document) -> None:
        try:
            outputs = self._provision(stack)
        except _Failed as failure:
            self._creation_failed(stack, str(failure))
            return
        self._turn(stack, "CREATE_COMPLETE", Outputs=outputs)

    def _creation_failed(self, stack: Document, reason: str) -> None:
        on_failure = stack.get("OnFailure", "ROLLBACK")
        if on_failure == "DO_NOTHING":
            self._turn(stack, "CREATE_FAILED", reason)
        elif on_failure == "DELETE":
            self._turn(stack, "DELETE_IN_PROGRESS", f"{reason} Delete requested by user.")
        else:
            self._turn(stack, "ROLLBACK_IN_PROGRESS", f"{reason} Rollback requested by user.")

    def _roll_back_creation(self, stack: Document) -> None:
        failed = self._delete_all(stack, self._stacks.resources(self._stack_id), creation=True)
        if failed:
            self._turn(stack, "ROLLBACK_FAILED", f"The following resource(s) failed to delete: [{', '.join(failed)}]. ")
        else:
            self._turn(stack, "ROLLBACK_COMPLETE", Outputs=[], Imports=[])

    def _update(self, stack: Document) -> None:
        try:
            outputs = self._provision(stack)
        except _Failed as failure:
            self._turn(stack, "UPDATE_ROLLBACK_IN_PROGRESS", str(failure))
            return
        template = templates.read(stack["Template"], self._context.region)
        wanted = self._there(stack, template)
        kept, obsolete = [], []
        for name, record in self._stacks.resources(self._stack_id).items():
            previous = record.get("Previous")
            if name not in wanted:
                obsolete.append(record)
                continue
            kept.append(record)
            if record.get("Change") == "Replaced" and previous is not None:
                # A resource that makes way for another follows the policy that its update came with.
                obsolete.append({**previous, "DeletionPolicy": record["UpdateReplacePolicy"]})
        self._stacks.settle(stack, kept, obsolete, "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", Outputs=outputs, Before=None)

    def _roll_back_update(self, stack: Document) -> None:
        records = self._stacks.resources(self._stack_id)
        failed: list[str] = []
        replaced: list[Document] = []
        for name in _order(records):
            record = records[name]
            if record.get("Change") != "Updated":
                continue
            self._go_on(stack)
            try:
                made = record["PhysicalResourceId"]
                self._change(stack, record, State.of(record["Previous"]), taking_back=True)
                if record["PhysicalResourceId"] != made:
                    # Taken back by a new thing: the one that was changed goes.
                    replaced.append({**record, "PhysicalResourceId": made})
                    record["Previous"] |= {member: record[member] for member in ("PhysicalResourceId", "Attributes")}
                records[name] = record
            except ResourceFailed as failure:
                self._stacks.tell_resource(stack, record, "UPDATE_FAILED", str(failure))
                failed.append(name)
        if failed:
            reason = f"The following resource(s) failed to update: [{', '.join(failed)}]. "
            self._turn(stack, "UPDATE_ROLLBACK_FAILED", reason)
            return
        kept, obsolete = [], replaced
        for record in records.values():
            previous = record.get("Previous")
            if previous is not None:
                kept.append(previous)
            elif not record.get("Change"):
                kept.append(record)
            if record.get("Change") in ("Added", "Replaced"):
                obsolete.append({**record, "DeletionPolicy": self._policy(stack, record, creation=True)})
        before = stack.get("Before") or {}
        self._stacks.settle(
            stack, kept, obsolete, "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", **before, Before=None
        )

    def _clean_up(self, stack: Document) -> None:
        obsolete = self._stacks.obsolete(self._stack_id)
        for record in _dependents_first(obsolete):
            self._go_on(stack)
            if record["DeletionPolicy"] in ("Retain", "RetainExceptOnCreate"):
                self._stacks.tell_resource(stack, record, "DELETE_SKIPPED", keep=False)
            else:
                try:
                    self._delete_one(stack, record, keep=False)
                except ResourceFailed as failure:
                    # As on AWS, the update has succeeded all the same, and the thing is nobody's from now on.
                    self._stacks.tell_resource(stack, record, "DELETE_FAILED", str(failure), keep=False)
            self._stacks.forget_obsolete(stack, record)
        self._turn(stack, stack["StackStatus"].removesuffix("_CLEANUP_IN_PROGRESS"))

    def _delete(self, stack: Document) -> None:
        for output in stack.get("Outputs") or ():
            export = output.get("ExportName")
            users = [name for name in self._stacks.importers(export) if name != stack["StackName"]] if export else []
            if users:
                reason = f"Delete canceled. Cannot delete export {export} as it is in use by {', '.join(users)}."
                self._turn(stack, "DELETE_FAILED", reason)
                return
        try:
            self._clear_update(stack)
        except ResourceFailed as failure:
            self._turn(stack, "DELETE_FAILED", str(failure))
            return
        failed = self._delete_all(stack, self._stacks.resources(self._stack_id), creation=False)
        if failed:
            self._turn(stack, "DELETE_FAILED", f"The following resource(s) failed to delete: [{', '.join(failed)}]. ")
        else:
            self._turn(stack, "DELETE_COMPLETE", Outputs=[], Imports=[])

    def _clear_update(self, stack: Document) -> None:
        """Delete what a failed update has left beside the stack's resources."""
        for record in self._stacks.resources(self._stack_id).values():
            if record.get("Change") == "Replaced" and record.get("Previous"):
                self._delete_one(stack, dict(record["Previous"]), keep=False)
                self._stacks.put_resource(stack, {**record, "Change": "Added", "Previous": None})
        for record in _dependents_first(self._stacks.obsolete(self._stack_id)):
            self._delete_one(stack, record, keep=False)
            self._stacks.forget_obsolete(stack, record)

    # --- resources ----------------------------------------------------------------------------------------------------

    def _provision(self, stack: Document) -> list[Document]:
        """Make and change what the template asks for; gives the outputs. Raises _Failed."""
        verb = "create" if stack["StackStatus"] == "CREATE_IN_PROGRESS" else "update"
        try:
            template = templates.read(stack["Template"], self._context.region)
            resolver = self._resolver(stack, template)
            order = plan.active(template, resolver)
        except ServiceError as error:
            raise _Failed(error.message) from error
        for name, declared in order.items():
            self._go_on(stack)
            record = self._stacks.resource(self._stack_id, name)
            try:
                self._one(stack, declared, record, resolver, plan.needs(declared, resolver, order))
            except ResourceFailed as failure:
                record = self._stacks.resource(self._stack_id, name)
                if record is not None:
                    failed = f"{record['ResourceStatus'].partition('_')[0]}_FAILED"
                    self._stacks.tell_resource(stack, record, failed, str(failure))
                raise _Failed(f"The following resource(s) failed to {verb}: [{name}].") from failure
            finally:
                if resolver.imports:
                    self._stacks.change(self._stack_id, Imports=sorted(resolver.imports))
        try:
            outputs = _outputs(template, resolver)
        except ServiceError as error:
            raise _Failed(error.message) from error
        self._stacks.change(self._stack_id, Imports=sorted(resolver.imports))
        self._check_exports(stack, outputs)
        return outputs

    def _one(
        self, stack: Document, declared: Resource, record: Document | None, resolver: Resolver, needed: list[str]
    ) -> None:
        region = self._context.region
        if record is None:
            # On record before its properties have values: what cannot be resolved fails this resource.
            record = _new_record(declared, needed, "Added" if stack["StackStatus"] == "UPDATE_IN_PROGRESS" else None)
            self._stacks.tell_resource(stack, record, "CREATE_IN_PROGRESS")
            self._make(stack, declared, record, self._wanted(stack, declared, resolver))
            return
        before = State.of(record)
        with _reported(declared):
            after = plan.wanted(declared, resolver, stack_tags(stack), region)
        differences = plan.differences(declared.type_name, before, after, region)
        if "Always" in differences.values():
            self._replace(stack, declared, record, after, needed)
        elif differences or before.tags != after.tags:
            record |= {"Change": "Updated", "Previous": dict(record)}
            self._stacks.put_resource(stack, record)
            plan.check(declared, after, region)
            self._change(stack, record, after, depends_on=needed)
        elif before != after or record["DependsOn"] != needed:
            # Nothing to be called for; the roll-back restores it with the rest.
            previous = dict(record)
            self._stacks.put_resource(
                stack, {**record, **_members(after), "DependsOn": needed, "Change": "Noted", "Previous": previous}
            )

    def _wanted(self, stack: Document, declared: Resource, resolver: Resolver) -> State:
        with _reported(declared):
            state = plan.wanted(declared, resolver, stack_tags(stack), self._context.region)
        plan.check(declared, state, self._context.region)
        return state

    def _make(self, stack: Document, declared: Resource, record: Document, state: State) -> None:
        kind, call = kind_of(declared.type_name), self._call(stack, record, state.tags, {})
        record |= _members(state)
        with self._handled(kind.name):
            record["PhysicalResourceId"] = kind.create(call, state.properties)
        status = record["ResourceStatus"]
        self._stacks.tell_resource(
            stack, record, status, record["ResourceStatusReason"] or "Resource creation Initiated"
        )
        with self._handled(kind.name):
            kind.finish(call, record["PhysicalResourceId"], state.properties)
            record["Attributes"] = kind.values(call, record["PhysicalResourceId"], state.properties)
        self._stacks.tell_resource(stack, record, status.replace("IN_PROGRESS", "COMPLETE"))

    def _replace(self, stack: Document, declared: Resource, record: Document, after: State, needed: list[str]) -> None:
        kind = kind_of(declared.type_name)
        made = _new_record(declared, needed, "Replaced", previous=record)
        self._stacks.tell_resource(stack, made, "UPDATE_IN_PROGRESS", _REPLACES)
        name = kind.name_property
        if name and name in after.properties and record["Properties"].get(name) == after.properties[name]:
            raise ResourceFailed(
                "CloudFormation cannot update a stack when a custom-named resource requires replacing. Rename"
                f" {after.properties[name]} and update the stack again."
            )
        plan.check(declared, after, self._context.region)
        self._make(stack, declared, made, after)

    def _change(
        self,
        stack: Document,
        record: Document,
        after: State,
        *,
        depends_on: list[str] | None = None,
        taking_back: bool = False,
    ) -> None:
        """Change a resource in place. Its record is then what it is."""
        kind, before = kind_of(record["ResourceType"]), State.of(record)
        physical_id = record["PhysicalResourceId"]
        self._stacks.tell_resource(stack, record, "UPDATE_IN_PROGRESS")
        call = self._call(stack, record, after.tags, before.tags, taking_back)
        if not taking_back:
            # From here on it may be either. On record is what the update has in mind, until a roll-back has succeeded:
            # so that it changes, and changes again if it fails, all that may have been changed.
            record |= _members(after)
            self._stacks.put_resource(stack, record)
        with self._handled(kind.name):
            made = kind.update(call, physical_id, before.properties, after.properties) or physical_id
            record["Attributes"] = kind.values(call, made, after.properties)
        record |= _members(after)
        if made != physical_id:
            # The old thing goes when the update has succeeded, and the new one when it is taken back.
            record |= {"PhysicalResourceId": made} | ({} if taking_back else {"Change": "Replaced"})
        if depends_on is not None:
            record["DependsOn"] = depends_on
        self._stacks.tell_resource(stack, record, "UPDATE_COMPLETE")

    def _delete_all(self, stack: Document, records: Mapping[str, Document], *, creation: bool) -> list[str]:
        """Delete a stack's resources, those first that others do not need; gives those that could not be deleted."""
        failed: list[str] = []
        needed: set[str] = set()
        operation = stack.get("Operation") or {}
        for record in _dependents_first(list(records.values())):
            self._go_on(stack)
            name = record["LogicalResourceId"]
            retained = name in (operation.get("RetainResources") or ()) and not creation
            if name in needed:
                # Something that could not be deleted still needs it.
                needed |= set(record["DependsOn"])
                continue
            if not record.get("PhysicalResourceId"):
                self._stacks.tell_resource(stack, record, "DELETE_COMPLETE")
            elif retained or self._policy(stack, record, creation=creation) == "Retain":
                self._stacks.tell_resource(stack, record, "DELETE_SKIPPED")
            else:
                try:
                    self._delete_one(stack, record)
                except ResourceFailed as failure:
                    self._stacks.tell_resource(stack, record, "DELETE_FAILED", str(failure))
                    if operation.get("Force") and not creation:
                        self._stacks.tell_resource(stack, record, "DELETE_SKIPPED", str(failure))
                        continue
                    failed.append(name)
                    needed |= set(record["DependsOn"])
        return sorted(failed)

    def _policy(self, stack: Document, record: Document, *, creation: bool) -> str:
        """`Retain` or `Delete`. What a failed creation made is kept by a plain Retain only."""
        policy = str(record["DeletionPolicy"])
        if policy == "RetainExceptOnCreate":
            return "Delete" if creation else "Retain"
        return "Delete" if creation and stack.get("RetainExceptOnCreate") else policy

    def _delete_one(self, stack: Document, record: Document, *, keep: bool = True) -> None:
        kind = kind_of(record["ResourceType"])
        call = self._call(stack, record, {}, record["Tags"])
        self._stacks.tell_resource(stack, record, "DELETE_IN_PROGRESS", keep=keep)
        with self._handled(kind.name):
            try:
                kind.delete(call, record["PhysicalResourceId"], record["Properties"])
            except ClientError as error:
                if not is_missing(error):
                    raise
        self._stacks.tell_resource(stack, record, "DELETE_COMPLETE", keep=keep)

    # --- surroundings -------------------------------------------------------------------------------------------------

    def _role(self, stack: Document) -> str | None:
        operation = stack.get("Operation") or {}
        return stack.get("RoleARN") or operation.get("Principal")

    def _resolver(self, stack: Document, template: Template) -> Resolver:
        around = Surroundings(self._context, self._stacks, stack, self._role(stack))
        # What the parameters in SSM's store were when the call was made: not what they are by now.
        known = {stack["Parameters"][name]: value for name, value in (stack.get("Resolved") or {}).items()}
        values, _ = parameters.resolved_values(
            template.parameters,
            stack["Parameters"],
            lambda name: known[name] if name in known else around.read_ssm(name),
        )

        def value(name: str, attribute: str | None) -> Any:
            record = self._stacks.resource(self._stack_id, name)
            if record is None:
                raise KeyError(f"the stack {self._stack_id} has no resource {name}")
            if attribute is None:
                return record["PhysicalResourceId"]
            if attribute not in record["Attributes"]:
                raise TemplateError(
                    f"CustomResource attribute error: Vendor response doesn't contain {attribute} attribute in object"
                    f" {record['PhysicalResourceId']}"
                )
            return record["Attributes"][attribute]

        return around.resolver(template, values, value, around.imported)

    def _there(self, stack: Document, template: Template) -> dict[str, Resource]:
        return plan.active(template, self._resolver(stack, template))

    def _call(
        self,
        stack: Document,
        record: Document,
        tags: Mapping[str, str],
        tags_before: Mapping[str, str],
        taking_back: bool = False,
    ) -> Call:
        return Call(
            stack_name=stack["StackName"],
            stack_id=stack["StackId"],
            logical_id=record["LogicalResourceId"],
            type_name=record["ResourceType"],
            answers=self._answers,
            region=self._context.region,
            account_id=self._context.account_id,
            endpoint_url=self._context.endpoint_url,
            client=Surroundings(self._context, self._stacks, stack, self._role(stack)).client,
            until=partial(self._until, stack),
            tags=tags,
            tags_before=tags_before,
            taking_back=taking_back,
        )

    def _until(
        self, stack: Document, ask: Callable[[], bool], what: str, longest_seconds: float = _LONGEST_WAIT_SECONDS
    ) -> None:
        deadline = time.monotonic() + longest_seconds
        while not ask():
            if time.monotonic() > deadline:
                raise ResourceFailed(f"Exceeded attempts to wait: after {longest_seconds:.0f} s still not: {what}")
            if self._stopping.wait(_LOOK_AGAIN_SECONDS):
                raise Interrupted
            if self._stacks.get(self._stack_id)["StackStatus"] != stack["StackStatus"]:
                # The stack is to be deleted. What was waited for is there, to be deleted with it.
                raise ResourceFailed("Resource creation cancelled")

    @contextmanager
    def _handled(self, type_name: str) -> Iterator[None]:
        """What a service answers with an error, as the reason of a resource's failure."""
        try:
            yield
        except ClientError as error:
            if self._stopping.is_set():
                raise Interrupted from error
            raise ResourceFailed(_reason(error, type_name)) from error
        except BotoCoreError as error:
            raise ResourceFailed(_handler_message(str(error), "InvalidRequest")) from error
        except (ResourceFailed, Interrupted):
            raise
        except Exception as error:
            _LOG.exception("a bug in localcloud, in the resource type %s", type_name)
            raise ResourceFailed(_handler_message(f"a bug in localcloud: {error!r}", "InternalFailure")) from error

    def _go_on(self, stack: Document) -> None:
        """Raise Interrupted when localcloud stops, Superseded when the stack is to be something else."""
        if self._stopping.is_set():
            raise Interrupted
        if self._stacks.get(self._stack_id)["StackStatus"] != stack["StackStatus"]:
            raise Superseded(self._stack_id)

    def _turn(self, stack: Document, status: str, reason: str | None = None, **members: Any) -> None:
        self._stacks.turn(self._stack_id, stack["StackStatus"], status, reason, **members)

    def _check_exports(self, stack: Document, outputs: Sequence[Document]) -> None:
        there = self._stacks.exports()
        new = {output["ExportName"]: output["OutputValue"] for output in outputs if output.get("ExportName")}
        for name in new:
            if name in there and there[name][0]["StackId"] != self._stack_id:
                raise _Failed(f"Export with name {name} is already exported by stack {there[name][0]['StackName']}.")
        for name, (owner, value) in there.items():
            if owner["StackId"] != self._stack_id or new.get(name) == value:
                continue
            if users := self._stacks.importers(name):
                verb = "update" if name in new else "delete"
                raise _Failed(f"Cannot {verb} export {name} as it is in use by {', '.join(users)}.")


def before_update(stack: Document) -> Document:
    """What a roll-back of an update restores."""
    return {member: stack.get(member) for member in _ASKED}


def stack_tags(stack: Mapping[str, Any]) -> dict[str, str]:
    """The stack's own tags, which its resources get."""
    return {tag["Key"]: tag["Value"] for tag in stack.get("Tags") or ()}


def _new_record(
    declared: Resource, needed: list[str], change: str | None, previous: Document | None = None
) -> Document:
    return {
        "LogicalResourceId": declared.logical_id,
        "ResourceType": declared.type_name,
        "PhysicalResourceId": None,
        "DependsOn": needed,
        "Change": change,
        "Previous": previous,
        "Attributes": {},
        "Properties": {},
        "Tags": {},
        "Metadata": None,
        "DeletionPolicy": declared.deletion_policy,
        "UpdateReplacePolicy": declared.update_replace_policy,
    }


def _members(state: State) -> Document:
    return {
        "Properties": dict(state.properties),
        "Tags": dict(state.tags),
        "Metadata": state.metadata,
        "DeletionPolicy": state.deletion_policy,
        "UpdateReplacePolicy": state.update_replace_policy,
    }


@contextmanager
def _reported(declared: Resource) -> Iterator[None]:
    """A value that cannot be computed fails its resource."""
    try:
        yield
    except ServiceError as error:
        raise ResourceFailed(error.message) from error


def _outputs(template: Template, resolver: Resolver) -> list[Document]:
    found = []
    for output in template.outputs.values():
        if not resolver.condition(output.condition):
            continue
        value, export = resolver.value(output.value), resolver.value(output.export)
        if not isinstance(value, str | bool | int | float):
            raise TemplateError(f"Template format error: Output {output.name} is malformed. Its Value is no string.")
        found.append(
            {
                "OutputKey": output.name,
                "OutputValue": schemas.text_of(value),
                "Description": output.description,
                "ExportName": export,
            }
        )
    return found


def _order(records: Mapping[str, Document]) -> list[str]:
    return templates.order(
        {name: [one for one in record["DependsOn"] if one in records] for name, record in records.items()}
    )


def _dependents_first(records: Sequence[Document]) -> list[Document]:
    """For their deletion. There may be two of one logical id: what an update replaced, and what it dropped."""
    by_name: dict[str, list[Document]] = {}
    for record in records:
        by_name.setdefault(record["LogicalResourceId"], []).append(record)
    first = {name: found[0] for name, found in by_name.items()}
    return [record for name in reversed(_order(first)) for record in by_name[name]]


def _reason(error: ClientError, type_name: str) -> str:
    said, meta = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
    where = (
        f"(Service: {type_name.split('::')[1]}, Status Code: {meta.get('HTTPStatusCode')},"
        f" Request ID: {meta.get('RequestId')})"
    )
    return _handler_message(f"{said.get('Message')} {where}", _handler_code(error))


def _handler_code(error: ClientError) -> str:
    code = code_of(error)
    if is_missing(error):
        return "NotFound"
    for word, found in (
        ("AlreadyExist", "AlreadyExists"),
        ("AlreadyOwned", "AlreadyExists"),
        ("InUse", "ResourceConflict"),
        ("Conflict", "ResourceConflict"),
        ("AccessDenied", "AccessDenied"),
        ("Throttl", "Throttling"),
        ("LimitExceeded", "ServiceLimitExceeded"),
        ("Validation", "InvalidRequest"),
        ("Invalid", "InvalidRequest"),
    ):
        if word in code:
            return found
    return "GeneralServiceException"


def _handler_message(message: str, code: str) -> str:
    return f'Resource handler returned message: "{message}" (RequestToken: {uuid.uuid4()}, HandlerErrorCode: {code})'
