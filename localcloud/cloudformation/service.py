"""The service cloudformation: stacks that are made, changed and deleted on threads of their own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any

from localcloud.cloudformation import plan, views
from localcloud.cloudformation import template as templates
from localcloud.cloudformation.answers import Answers
from localcloud.cloudformation.change_sets import ChangeSets
from localcloud.cloudformation.deployment import Deployment
from localcloud.cloudformation.errors import Interrupted, invalid
from localcloud.cloudformation.requests import Requests, check_updatable, refuse
from localcloud.cloudformation.stacks import Stacks, Superseded
from localcloud.context import Context, Request
from localcloud.errors import ServiceError
from localcloud.service import Handler
from localcloud.store import Document

_LOG = logging.getLogger(__name__)


class CloudFormation:
    """The service."""

    name = "cloudformation"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._stacks = Stacks(context)
        self._answers = Answers(context.web)
        self._requests = Requests(context, self._stacks)
        self._change_sets = ChangeSets(context, self._stacks, self._requests, self._begin)
        self._threads: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._operations: dict[str, Handler] = {
            "CreateStack": self.create,
            "UpdateStack": self.update,
            "DeleteStack": self.delete,
            "ContinueUpdateRollback": self.continue_rollback,
            "UpdateTerminationProtection": self.protect,
            "DescribeStacks": self.describe,
            "ListStacks": self.list_stacks,
            "DescribeStackEvents": self.events,
            "DescribeStackResource": self.describe_resource,
            "DescribeStackResources": self.describe_resources,
            "ListStackResources": self.list_resources,
            "GetTemplate": self.get_template,
            "GetTemplateSummary": self.summarize,
            "ValidateTemplate": self.validate,
            "ListExports": self.list_exports,
            "ListImports": self.list_imports,
            "CreateChangeSet": self._change_sets.create,
            "DescribeChangeSet": self._change_sets.describe,
            "ExecuteChangeSet": self._change_sets.execute,
            "DeleteChangeSet": self._change_sets.delete,
            "ListChangeSets": self._change_sets.list_sets,
        }

    @property
    def operations(self) -> Mapping[str, Handler]:
        """What is implemented, by name."""
        return self._operations

    def start(self) -> None:
        """Take back, or go on with, what an earlier process left in the middle. The threads wait for the leaf."""
        for stack in self._stacks.live():
            deployment = self._deployment(stack["StackId"])
            if deployment.has_work():
                deployment.cut_off()
                self._begin(stack["StackId"])

    def stop(self) -> None:
        """Stop between two resources; the next start goes on from there."""
        self._stopping.set()
        with self._lock:
            threads = list(self._threads.values())
        for thread in threads:
            thread.join()

    # --- changes ------------------------------------------------------------------------------------------------------

    def create(self, request: Request) -> dict[str, Any]:
        """CreateStack. Raises ValidationError, InsufficientCapabilitiesException and AlreadyExistsException."""
        params = request.params
        refuse(params, "NotificationARNs", "ResourceTypes", "RollbackConfiguration", "StackPolicyBody")
        refuse(params, "StackPolicyURL", "TimeoutInMinutes", "DeploymentConfig")
        if "OnFailure" in params and "DisableRollback" in params:
            raise invalid("Cannot specify both OnFailure and DisableRollback")
        name, token = params["StackName"], params.get("ClientRequestToken")
        known = self._stacks.find(name)
        if known is not None:
            if token and (known.get("Operation") or {}).get("Token") == token:
                return {"StackId": known["StackId"]}
            raise ServiceError("AlreadyExistsException", f"Stack [{name}] already exists")
        document: Document = {"StackName": name, "StackId": self._stacks.new_id(name)}
        asked = self._requests.read(params, document, request.access_key)
        self._requests.changes(asked, document)
        on_failure = params.get("OnFailure") or ("DO_NOTHING" if params.get("DisableRollback") else "ROLLBACK")
        document |= {
            **asked.members,
            "StackStatus": "CREATE_IN_PROGRESS",
            "StackStatusReason": "User Initiated",
            "CreationTime": self._context.clock.now(),
            "RoleARN": params.get("RoleARN"),
            "OnFailure": on_failure,
            "RetainExceptOnCreate": bool(params.get("RetainExceptOnCreate")),
            "EnableTerminationProtection": bool(params.get("EnableTerminationProtection")),
            "Operation": {"Token": token, "Principal": asked.principal},
        }
        self._stacks.add(document)
        self._begin(document["StackId"])
        return {"StackId": document["StackId"]}

    def update(self, request: Request) -> dict[str, Any]:
        """UpdateStack. Raises ValidationError, with `No updates are to be performed.` where there is nothing to do."""
        params = request.params
        refuse(params, "NotificationARNs", "ResourceTypes", "RollbackConfiguration", "StackPolicyBody")
        refuse(params, "StackPolicyURL", "StackPolicyDuringUpdateBody", "StackPolicyDuringUpdateURL")
        refuse(params, "DeploymentConfig", "DisableRollback", "RetainExceptOnCreate")
        stack = self._stacks.find(params["StackName"])
        if stack is None or stack["StackStatus"] == "DELETE_COMPLETE":
            raise invalid(f"Stack [{params['StackName']}] does not exist")
        if (
            params.get("ClientRequestToken")
            and (stack.get("Operation") or {}).get("Token") == params["ClientRequestToken"]
        ):
            return {"StackId": stack["StackId"]}
        asked = self._requests.read(params, stack, request.access_key)
        check_updatable(stack)
        if not self._requests.changes(asked, stack).any:
            raise invalid("No updates are to be performed.")
        self._requests.begin_update(
            stack, asked.members, asked.principal, params.get("ClientRequestToken"), params.get("RoleARN")
        )
        self._begin(stack["StackId"])
        return {"StackId": stack["StackId"]}

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteStack. A stack that is not there is no error."""
        refuse(request.params, "DeploymentConfig")
        while True:
            try:
                self._begin_deletion(request)
                return {}
            except Superseded:
                # Its deployment has just got on: look again.
                continue

    def _begin_deletion(self, request: Request) -> None:
        params = request.params
        stack = self._stacks.find(params["StackName"])
        if stack is None or stack["StackStatus"] in ("DELETE_COMPLETE", "DELETE_IN_PROGRESS"):
            return
        status = stack["StackStatus"]
        if stack.get("EnableTerminationProtection"):
            raise invalid(f"Stack [{stack['StackName']}] cannot be deleted while TerminationProtection is enabled")
        if status.endswith("_IN_PROGRESS") and status not in ("CREATE_IN_PROGRESS", "REVIEW_IN_PROGRESS"):
            raise invalid(f"Stack [{stack['StackId']}] cannot be deleted while in status {status}")
        retained = params.get("RetainResources") or []
        force = params.get("DeletionMode") == "FORCE_DELETE_STACK"
        if (retained or force) and status != "DELETE_FAILED":
            raise invalid(
                f"Invalid operation on stack [{stack['StackId']}]. When deleting a stack in {status} state, neither"
                " RetainResources nor FORCE_DELETE_STACK can be specified; expected DELETE_FAILED"
            )
        operation = {
            "Token": params.get("ClientRequestToken"),
            "Principal": self._requests.principal(request.access_key),
            "RetainResources": retained,
            "Force": force,
        }
        role = params.get("RoleARN") or stack.get("RoleARN")
        self._stacks.turn(
            stack["StackId"], status, "DELETE_IN_PROGRESS", "User Initiated", Operation=operation, RoleARN=role
        )
        self._change_sets.forget(stack["StackId"])
        self._begin(stack["StackId"])

    def continue_rollback(self, request: Request) -> dict[str, Any]:
        """ContinueUpdateRollback: try again what could not be taken back."""
        params = request.params
        refuse(params, "ResourcesToSkip")
        stack = self._stacks.get(params["StackName"])
        status = stack["StackStatus"]
        if status != "UPDATE_ROLLBACK_FAILED":
            raise invalid(
                f"Stack [{stack['StackId']}] is in {status} state and can not continue the rollback of an update"
            )
        self._stacks.turn(stack["StackId"], status, "UPDATE_ROLLBACK_IN_PROGRESS", "User Initiated")
        self._begin(stack["StackId"])
        return {}

    def protect(self, request: Request) -> dict[str, Any]:
        """UpdateTerminationProtection."""
        stack = self._stacks.get(request.params["StackName"])
        protected = request.params["EnableTerminationProtection"]
        self._stacks.change(stack["StackId"], EnableTerminationProtection=protected)
        return {"StackId": stack["StackId"]}

    # --- what there is ------------------------------------------------------------------------------------------------

    def describe(self, request: Request) -> dict[str, Any]:
        """DescribeStacks."""
        name = request.params.get("StackName")
        stacks = [self._stacks.get(name)] if name else self._stacks.live()
        found, token = views.page(stacks, request.params, _stack_id)
        return {"Stacks": [views.stack(stack, self._template_of(stack)) for stack in found], "NextToken": token}

    def list_stacks(self, request: Request) -> dict[str, Any]:
        """ListStacks, with those that were deleted."""
        wanted = request.params.get("StackStatusFilter")
        stacks = [stack for stack in self._stacks.everything() if not wanted or stack["StackStatus"] in wanted]
        found, token = views.page(stacks, request.params, _stack_id)
        return {"StackSummaries": [views.summary(stack) for stack in found], "NextToken": token}

    def events(self, request: Request) -> dict[str, Any]:
        """DescribeStackEvents, the latest first."""
        stack = self._found(request, "Stack [{}] does not exist")
        found, token = views.page(
            self._stacks.events(stack["StackId"]), request.params, lambda event: str(event["EventId"])
        )
        return {"StackEvents": found, "NextToken": token}

    def describe_resource(self, request: Request) -> dict[str, Any]:
        """DescribeStackResource."""
        stack = self._found(request, "Stack '{}' does not exist")
        name = request.params["LogicalResourceId"]
        for record in self._stacks.all_resources(stack["StackId"]):
            if record["LogicalResourceId"] == name:
                shown = views.resource(stack, record, time="LastUpdatedTimestamp")
                metadata = record.get("Metadata")
                return {
                    "StackResourceDetail": {
                        **shown,
                        "Metadata": plan.shown(metadata) if metadata is not None else "{}",
                    }
                }
        raise invalid(f"Resource {name} does not exist for stack {stack['StackName']}")

    def describe_resources(self, request: Request) -> dict[str, Any]:
        """DescribeStackResources: of a stack, or of the stack that a physical resource belongs to."""
        params = request.params
        if bool(params.get("StackName")) == bool(params.get("PhysicalResourceId")):
            raise invalid("Specify one of StackName and PhysicalResourceId")
        if physical := params.get("PhysicalResourceId"):
            stack = self._owner(physical)
        else:
            stack = self._found(request, "Stack with id {} does not exist")
        name = params.get("LogicalResourceId")
        records = self._stacks.all_resources(stack["StackId"])
        return {
            "StackResources": [
                views.resource(stack, record, time="Timestamp")
                for record in records
                if name is None or record["LogicalResourceId"] == name
            ]
        }

    def list_resources(self, request: Request) -> dict[str, Any]:
        """ListStackResources."""
        stack = self._stacks.get(request.params["StackName"])
        found, token = views.page(
            self._stacks.all_resources(stack["StackId"]),
            request.params,
            lambda record: str(record["LogicalResourceId"]),
        )
        shown = [views.resource(stack, record, time="LastUpdatedTimestamp", named=False) for record in found]
        return {"StackResourceSummaries": shown, "NextToken": token}

    def get_template(self, request: Request) -> dict[str, Any]:
        """GetTemplate: the text as it was given, of a stack or of a change set."""
        params = request.params
        if params.get("ChangeSetName"):
            text = self._change_sets.find(params["ChangeSetName"], params.get("StackName"))["Asked"]["Template"]
        elif params.get("StackName"):
            text = self._stacks.get(params["StackName"]).get("Template", "")
        else:
            raise invalid("Specify StackName or ChangeSetName")
        return {"TemplateBody": text, "StagesAvailable": ["Original", "Processed"]}

    def summarize(self, request: Request) -> dict[str, Any]:
        """GetTemplateSummary."""
        params = request.params
        refuse(params, "StackSetName", "CallAs", "TemplateSummaryConfig")
        if params.get("StackName"):
            template = templates.read(self._stacks.get(params["StackName"])["Template"], self._context.region)
        else:
            template = self._requests.template(params, self._requests.principal(request.access_key))
        metadata = template.metadata
        return {
            "Parameters": views.declarations(template, whole=True),
            "Description": template.description,
            **views.capabilities(template),
            "ResourceTypes": sorted({resource.type_name for resource in template.resources.values()}),
            "Version": "2010-09-09",
            "Metadata": plan.shown(metadata) if metadata is not None else None,
        }

    def validate(self, request: Request) -> dict[str, Any]:
        """ValidateTemplate."""
        template = self._requests.template(request.params, self._requests.principal(request.access_key))
        return {
            "Parameters": views.declarations(template, whole=False),
            "Description": template.description,
            **views.capabilities(template),
        }

    def list_exports(self, request: Request) -> dict[str, Any]:
        """ListExports."""
        exports = [
            {"ExportingStackId": stack["StackId"], "Name": name, "Value": value}
            for name, (stack, value) in sorted(self._stacks.exports().items())
        ]
        found, token = views.page(exports, request.params, lambda export: str(export["Name"]))
        return {"Exports": found, "NextToken": token}

    def list_imports(self, request: Request) -> dict[str, Any]:
        """ListImports: the stacks that use an export."""
        name = request.params["ExportName"]
        importers = self._stacks.importers(name)
        if not importers:
            raise invalid(f"Export '{name}' is not imported by any stack.")
        found, token = views.page(importers, request.params, str)
        return {"Imports": found, "NextToken": token}

    # --- threads ------------------------------------------------------------------------------------------------------

    def _begin(self, stack_id: str) -> None:
        """See to it that somebody works on a stack. Who does looks at its status again before it stops."""
        with self._lock:
            if stack_id in self._threads or self._stopping.is_set():
                return
            thread = threading.Thread(target=self._work, args=(stack_id,), name=f"stack-{stack_id}", daemon=True)
            self._threads[stack_id] = thread
        thread.start()

    def _work(self, stack_id: str) -> None:
        deployment = self._deployment(stack_id)
        try:
            with self._context.timetable.working():
                while True:
                    with self._lock:
                        if not deployment.has_work():
                            del self._threads[stack_id]
                            return
                    deployment.step()
        except Interrupted:
            pass
        except Exception as error:
            _LOG.exception("a bug in localcloud, while it worked on the stack %s", stack_id)
            deployment.give_up(error)
        with self._lock:
            self._threads.pop(stack_id, None)

    def _deployment(self, stack_id: str) -> Deployment:
        return Deployment(self._context, self._stacks, stack_id, self._stopping, self._answers)

    # --- small things -------------------------------------------------------------------------------------------------

    def _found(self, request: Request, otherwise: str) -> Document:
        name = request.params.get("StackName")
        if not name:
            raise invalid("StackName is required: localcloud does not show all stacks' events in one list")
        stack = self._stacks.find(name)
        if stack is None:
            raise invalid(otherwise.format(name))
        return stack

    def _owner(self, physical_id: str) -> Document:
        for stack in self._stacks.live():
            for record in self._stacks.resources(stack["StackId"]).values():
                if record.get("PhysicalResourceId") == physical_id:
                    return stack
        raise invalid(f"Stack for {physical_id} does not exist")

    def _template_of(self, stack: Document) -> templates.Template | None:
        text = stack.get("Template")
        return templates.read(text, self._context.region) if text else None


def _stack_id(stack: Document) -> str:
    return str(stack["StackId"])
