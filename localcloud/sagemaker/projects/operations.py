"""CreateProject, DescribeProject, ListProjects, UpdateProject and DeleteProject.

A project's state follows that of its infrastructure. What is under way is on record with the token that it was begun
with, so that a later process begins it again, or goes on to follow it:

    Pending -> CreateInProgress -> CreateCompleted | CreateFailed
               UpdateInProgress -> UpdateCompleted | UpdateFailed
               DeleteInProgress -> DeleteCompleted | DeleteFailed

A project that is deleted stays on record until another takes its name.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from localcloud.context import Context, Request
from localcloud.errors import ServiceError, validation
from localcloud.sagemaker import shapes
from localcloud.sagemaker.arns import Arns, random_id
from localcloud.sagemaker.crud import Document, Kind, Resources
from localcloud.sagemaker.projects.product import ProductProvider
from localcloud.sagemaker.projects.provider import Provider, Seen, one_line
from localcloud.sagemaker.projects.stack import StackProvider
from localcloud.sagemaker.tags import KIND as TAGS
from localcloud.signals import Event

KIND = Kind(
    noun="Project",
    resource="project",
    missing=lambda name, arn: validation(f"Project {arn} does not exist."),
    duplicate=lambda name, arn: validation(f"Project already exists: {arn}"),
    default_order="Ascending",
)
_LOG = logging.getLogger(__name__)
_ID_LENGTH = 12
_LOOK_AGAIN_SECONDS = 1.0
_UNDER_WAY = ("Pending", "CreateInProgress", "UpdateInProgress", "DeleteInProgress")
_MOST_TAGS = 50
_ENDS = {
    "Create": {"done": "CreateCompleted"},
    "Update": {"done": "UpdateCompleted"},
    "Delete": {"gone": "DeleteCompleted"},
}


class Projects:
    """The operations, and a thread for each project that is being made, changed or deleted."""

    def __init__(self, context: Context, arns: Arns) -> None:
        self._context = context
        self._resources = Resources(KIND, context, arns)
        self._stack, self._product = StackProvider(self._events_of), ProductProvider()
        self._threads: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()
        self._stirred = threading.Condition()
        self._stirrings = 0
        self._stopping = False
        context.signals.on_event(self._on_event)

    def recover(self) -> None:
        """Go on with what an earlier process left under way."""
        for name, project in self._context.store.list(KIND.store, members=("ProjectStatus",)):
            if project["ProjectStatus"] in _UNDER_WAY:
                self._begin(name)

    def close(self) -> None:
        """End the threads; the next start goes on from where they are."""
        with self._stirred:
            self._stopping = True
            self._stirred.notify_all()
        with self._lock:
            threads = list(self._threads.values())
        for thread in threads:
            thread.join()

    # --- operations ---------------------------------------------------------------------------------------------------

    def create(self, request: Request) -> dict[str, Any]:
        """CreateProject. Raises ValidationException unless exactly one provider is given; what is wrong with the
        template itself fails the project."""
        params = request.params
        providers = [name for name in ("TemplateProviders", "ServiceCatalogProvisioningDetails") if params.get(name)]
        if len(providers) != 1:
            raise validation(
                "Specify exactly one of ServiceCatalogProvisioningDetails and TemplateProviders;"
                f" got {' and '.join(providers) or 'neither'}"
            )
        members: Document = {}
        if params.get("TemplateProviders"):
            members["Template"] = _template(params["TemplateProviders"], params["ProjectName"])
        else:
            members["Product"] = params["ServiceCatalogProvisioningDetails"]
        project_id = f"p-{random_id(_ID_LENGTH)}"
        caller = self._context.principals.of(request.access_key)
        _check_tags(params.get("Tags") or [])
        members |= {name: params[name] for name in ("ProjectName", "ProjectDescription", "Tags") if name in params}
        with self._context.store.transaction():
            self._free(params["ProjectName"])
            project = self._resources.add(
                members,
                ProjectId=project_id,
                ProjectStatus="Pending",
                CreatedBy={"IamIdentity": {"Arn": caller}},
                Operation=_operation("Create", caller),
            )
        self._begin(params["ProjectName"])
        return {"ProjectArn": project["ProjectArn"], "ProjectId": project_id}

    def describe(self, request: Request) -> dict[str, Any]:
        """DescribeProject."""
        project = self._resources.get(request.params["ProjectName"])
        shown = shapes.project(project, shapes.output_shape("DescribeProject").name)
        return {**shown, **self._provider(project).details(project)}

    def list(self, request: Request) -> dict[str, Any]:
        """ListProjects, with those that are deleted and whose names nobody has taken since."""
        return self._resources.list(request)

    def update(self, request: Request) -> dict[str, Any]:
        """UpdateProject. Parameters that are given take the place of all that the project had; without them, these
        stay. Tags are added to the project's. Raises ConflictException while something is under way."""
        params = request.params
        name = params["ProjectName"]
        caller = self._context.principals.of(request.access_key)
        _check_tags(params.get("Tags") or [])
        if params.get("TemplateProvidersToUpdate") and params.get("ServiceCatalogProvisioningUpdateDetails"):
            raise validation(
                "Specify only one of ServiceCatalogProvisioningUpdateDetails and TemplateProvidersToUpdate; got both"
            )
        provides = any(
            name in params for name in ("Tags", "TemplateProvidersToUpdate", "ServiceCatalogProvisioningUpdateDetails")
        )

        def updated(project: Document) -> Document:
            self._check_free(project, "update")
            if project["ProjectStatus"] not in ("CreateCompleted", "UpdateCompleted", "UpdateFailed"):
                raise validation(f"Cannot update Project in {project['ProjectStatus']} status")
            project["LastModifiedBy"] = {"IamIdentity": {"Arn": caller}}
            if "ProjectDescription" in params:
                project["ProjectDescription"] = params["ProjectDescription"]
            if not provides:
                return project
            before = {member: project.get(member) for member in ("Template", "Product")}
            return {
                **project,
                **_changed(project, params),
                "ProjectStatus": "UpdateInProgress",
                "Message": None,
                "Before": before,
                "Operation": {**_operation("Update", caller), "Tags": bool(params.get("Tags"))},
            }

        with self._context.store.transaction():
            project = self._resources.change(name, updated)
            if params.get("Tags"):
                self._add_tags(project["ProjectArn"], params["Tags"])
        if provides:
            self._begin(name)
        return {"ProjectArn": project["ProjectArn"]}

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteProject: its infrastructure, too. Raises ConflictException while something is under way."""
        name = request.params["ProjectName"]
        caller = self._context.principals.of(request.access_key)

        def deleted(project: Document) -> Document:
            self._check_free(project, "delete")
            if project["ProjectStatus"] == "DeleteCompleted":
                raise validation("Cannot delete Project in DeleteCompleted status")
            return {
                **project,
                "ProjectStatus": "DeleteInProgress",
                "Operation": _operation("Delete", caller),
                "LastModifiedBy": {"IamIdentity": {"Arn": caller}},
            }

        self._resources.change(name, deleted)
        self._begin(name)
        return {}

    # --- what is under way --------------------------------------------------------------------------------------------

    def _begin(self, name: str) -> None:
        with self._lock:
            if name in self._threads or self._stopping:
                return
            thread = threading.Thread(target=self._work, args=(name,), name=f"project-{name}", daemon=True)
            self._threads[name] = thread
        thread.start()

    def _work(self, name: str) -> None:
        with self._context.timetable.working():
            while True:
                # Read under the lock: who begins something else looks there for somebody who is at it.
                with self._lock:
                    project = self._resources.get(name)
                    if project["ProjectStatus"] not in _UNDER_WAY or self._ending():
                        del self._threads[name]
                        return
                try:
                    self._step(project)
                except (ClientError, BotoCoreError) as error:
                    if self._ending():
                        continue
                    said = error.response["Error"]["Message"] if isinstance(error, ClientError) else str(error)
                    self._ended(name, Seen("failed", one_line(said)))
                except Exception as error:
                    _LOG.exception("a bug in localcloud, while it worked on the project %s", name)
                    self._ended(name, Seen("failed", f"A bug in localcloud, its log has the traceback: {error!r}"))

    def _step(self, project: Document) -> None:
        """Begin what is not begun, then follow it to its end, or to that of localcloud."""
        name, operation, provider = project["ProjectName"], project["Operation"], self._provider(project)
        caller = operation["Caller"]
        client = self._context.clients.of(provider.service, None if caller.endswith(":root") else caller)
        if not operation["Begun"]:
            if operation["Kind"] == "Delete":
                made = provider.delete(client, project)
            else:
                begin = provider.create if operation["Kind"] == "Create" else provider.update
                made = begin(client, project, self._tags(project))
            begun = {**operation, "Begun": True}
            status = f"{operation['Kind']}InProgress"
            project = self._change(name, **made, Operation=begun, ProjectStatus=status)
        while not self._ending():
            before = self._stirrings
            seen = provider.look(client, project)
            if seen.state != "working":
                self._ended(name, seen)
                return
            if project.get("Message") != seen.message:
                project = self._change(name, Message=seen.message)
            self._wait(before)

    def _wait(self, stirrings: int) -> None:
        """Until some stack's state has changed since, and for a second at most."""
        with self._stirred:
            self._stirred.wait_for(lambda: self._stopping or self._stirrings > stirrings, _LOOK_AGAIN_SECONDS)

    def _ending(self) -> bool:
        return self._stopping

    def _ended(self, name: str, seen: Seen) -> None:
        def ended(project: Document) -> Document:
            kind = project["Operation"]["Kind"]
            status = _ENDS[kind].get(seen.state, f"{kind}Failed")
            # The infrastructure of an update that failed is what it was before.
            restored = project.get("Before") or {} if status == "UpdateFailed" else {}
            return {**project, **restored, "ProjectStatus": status, "Message": seen.message, "Before": None}

        self._resources.change(name, ended)

    def _change(self, name: str, **members: Any) -> Document:
        return self._resources.change(name, lambda project: {**project, **members})

    def _on_event(self, event: Event) -> None:
        if event.source == "aws.cloudformation" and "Stack" in event.detail_type:
            with self._stirred:
                self._stirrings += 1
                self._stirred.notify_all()

    # --- small things -------------------------------------------------------------------------------------------------

    def _provider(self, project: Mapping[str, Any]) -> Provider:
        return self._stack if project.get("Template") else self._product

    def _events_of(self, stack_id: str) -> Sequence[Mapping[str, Any]]:
        pages = self._context.clients.of("cloudformation").get_paginator("describe_stack_events")
        return [event for page in pages.paginate(StackName=stack_id) for event in page["StackEvents"]]

    def _tags(self, project: Mapping[str, Any]) -> Sequence[dict[str, str]]:
        """What the infrastructure is tagged with: the project's own tags, and whose it is."""
        found = self._context.store.get(TAGS, project["ProjectArn"]) or {"Tags": []}
        tags = {tag["Key"]: tag["Value"] for tag in found["Tags"]}
        tags |= {
            "sagemaker:project-name": project["ProjectName"],
            "sagemaker:project-id": project["ProjectId"],
            "sagemaker:project-arn": project["ProjectArn"],
        }
        return [{"Key": key, "Value": value} for key, value in tags.items()]

    def _add_tags(self, arn: str, tags: Sequence[Mapping[str, str]]) -> None:
        found = self._context.store.get(TAGS, arn) or {"Tags": []}
        merged = {tag["Key"]: tag["Value"] for tag in (*found["Tags"], *tags)}
        _check_tags([{"Key": key} for key in merged])
        self._context.store.put(TAGS, arn, {"Tags": [{"Key": key, "Value": value} for key, value in merged.items()]})

    def _free(self, name: str) -> None:
        """Make way for a project of a name that a deleted one had."""
        known = self._context.store.get(KIND.store, name)
        if known is not None and known["ProjectStatus"] == "DeleteCompleted":
            self._resources.remove(name)

    def _check_free(self, project: Mapping[str, Any], verb: str) -> None:
        if project["ProjectStatus"] in _UNDER_WAY:
            raise ServiceError(
                "ConflictException", f"Cannot {verb} Project in {project['ProjectStatus']} status: wait for its end"
            )


def _operation(kind: str, caller: str) -> Document:
    return {"Kind": kind, "Token": str(uuid.uuid4()), "Caller": caller, "Begun": False}


def _template(providers: Sequence[Mapping[str, Any]], project: str) -> Document:
    """The one template of CreateProject or UpdateProject."""
    (provider,) = providers
    template: Document | None = provider.get("CfnTemplateProvider")
    if not template:
        raise validation("TemplateProviders: the one provider needs a CfnTemplateProvider")
    given = template.get("Parameters") or ()
    keys = [one["Key"] for one in given]
    if repeated := sorted({key for key in keys if keys.count(key) > 1}):
        raise validation(f"CfnTemplateProvider.Parameters: {', '.join(repeated)} given more than once")
    for one in given:
        # SageMaker gives both itself. A form may carry the name once more.
        if one["Key"] == "SageMakerProjectId" or (one["Key"] == "SageMakerProjectName" and one.get("Value") != project):
            raise validation(f"CfnTemplateProvider.Parameters: SageMaker gives {one['Key']} itself; leave it out")
    return template


def _changed(project: Mapping[str, Any], params: Mapping[str, Any]) -> Document:
    """What an update asks of the infrastructure."""
    if params.get("TemplateProvidersToUpdate"):
        asked = _template(params["TemplateProvidersToUpdate"], project["ProjectName"])
        known = project.get("Template")
        if not known:
            raise validation(
                f"The project {project['ProjectName']} is made from a product of Service Catalog: change it by"
                " ServiceCatalogProvisioningUpdateDetails"
            )
        if asked["TemplateName"] != known["TemplateName"]:
            raise validation(
                f"The project {project['ProjectName']} has no template {asked['TemplateName']}; it has"
                f" {known['TemplateName']}"
            )
        return {"Template": {**known, **asked}}
    if details := params.get("ServiceCatalogProvisioningUpdateDetails"):
        known = project.get("Product")
        if not known:
            raise validation(
                f"The project {project['ProjectName']} is made from a template in S3: change it by"
                " TemplateProvidersToUpdate"
            )
        # Without a version named, it is the product's latest.
        return {"Product": {**known, "ProvisioningArtifactId": None, **details}}
    return {}


def _check_tags(tags: Sequence[Mapping[str, str]]) -> None:
    keys = [tag["Key"] for tag in tags]
    if repeated := sorted({key for key in keys if keys.count(key) > 1}):
        raise validation(f"Tags: {', '.join(repeated)} given more than once")
    if len(keys) > _MOST_TAGS:
        raise validation(f"A project has at most {_MOST_TAGS} tags; this one would have {len(keys)}")
