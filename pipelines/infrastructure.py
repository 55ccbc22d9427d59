"""CloudFormation stacks, made and updated by change sets.

Whoever runs this needs the rights to make the stacks' resources, roles among them.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import ClientError, WaiterError

from pipelines import code_bucket
from pipelines.errors import ServiceError
from pipelines.names import Names, dns_suffix
from pipelines.session import client

__all__ = ["Wanted", "deploy", "outputs", "parameters", "under_the_boundary"]

_POLL_SECONDS, _MOST_POLLS = 1, 1800
_MOST_BYTES = 51_200  # of a template that is sent along
_UNFINISHED = "_IN_PROGRESS"
# For another's change to end: what was cut off is being rolled back, say.
_PATIENCE_SECONDS = 60.0
# A stack that has change sets only: whose is executed first makes it.
_BEGUN = "REVIEW_IN_PROGRESS"
_OVERTAKEN = ("AlreadyExistsException", "ChangeSetNotFound", "InvalidChangeSetStatus")
_TRIES = 5
# A stack whose creation was rolled back can only be deleted.
_UNUSABLE = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED")


@dataclass(frozen=True)
class Wanted:
    """What a stack is to be made of: a template's text, and values for its parameters."""

    template: str
    parameters: Mapping[str, str]


def deploy(
    session: boto3.Session,
    names: Names,
    name: str,
    wanted: Wanted,
    poll_seconds: float = _POLL_SECONDS,
) -> list[str]:
    """Make the stack of that name what is wanted; gives what was done, as `created S3::Bucket Bucket`.

    poll_seconds: how often CloudFormation is asked how far it is. Raises ServiceError when CloudFormation fails, with
    the reasons of the resources that failed.
    """
    content = wanted.template.encode()
    sent = {"TemplateBody": wanted.template}
    if len(content) > _MOST_BYTES:
        key = f"templates/{hashlib.sha256(content).hexdigest()[:32]}.yml"
        code_bucket.put(session, names, key, content)
        sent = {"TemplateURL": f"https://{names.code_bucket}.s3.{names.region}.{dns_suffix(names.region)}/{key}"}
    return _Stack(client(session, "cloudformation"), name, poll_seconds).deploy(sent, wanted.parameters)


def under_the_boundary(session: boto3.Session, names: Names, wanted: Wanted) -> Wanted:
    """The same, with roles under the permissions boundary that the project's own are under, if they are.

    CodePipeline gives it to the stacks that it makes; who makes one of them by hand must not take it away.
    """
    role = client(session, "iam").get_role(RoleName=names.role_name)["Role"]
    arn = role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn", "")
    return Wanted(wanted.template, {**wanted.parameters, "PermissionsBoundary": arn})


def outputs(session: boto3.Session, name: str) -> dict[str, str] | None:
    """What a stack gives out; None while there is none that was made whole."""
    stack = _described(session, name)
    return {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])} or None


def parameters(session: boto3.Session, name: str) -> dict[str, str]:
    """The parameters that a stack was deployed with; none while there is no stack."""
    return {one["ParameterKey"]: one["ParameterValue"] for one in _described(session, name).get("Parameters", [])}


def _described(session: boto3.Session, name: str) -> dict[str, Any]:
    """A stack as CloudFormation describes it; empty while there is none."""
    try:
        [stack] = client(session, "cloudformation").describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if "does not exist" in error.response["Error"]["Message"]:
            return {}
        raise
    described: dict[str, Any] = stack
    return described


class _Stack:
    """One stack, over CloudFormation's client."""

    def __init__(self, cloudformation: Any, name: str, poll_seconds: float) -> None:
        self._cloudformation, self._name = cloudformation, name
        self._poll_seconds = poll_seconds
        self._polling = {"Delay": poll_seconds, "MaxAttempts": int(_MOST_POLLS / poll_seconds)}

    def deploy(self, template: dict[str, str], parameters: Mapping[str, str]) -> list[str]:
        """`template`: TemplateBody or TemplateURL."""
        for _ in range(_TRIES):
            try:
                return self._deploy(template, parameters)
            except ClientError as error:
                if not _is_overtaken(error):
                    raise
        raise ServiceError(f"somebody else changes the stack `{self._name}` all the time; try again afterwards")

    def _deploy(self, template: dict[str, str], parameters: Mapping[str, str]) -> list[str]:
        status = self._settled()
        if status in _UNUSABLE:
            self._cloudformation.delete_stack(StackName=self._name)
            self._wait("stack_delete_complete")
            status = None
        kind = "CREATE" if status in (None, _BEGUN) else "UPDATE"
        arn = self._cloudformation.create_change_set(
            StackName=self._name,
            ChangeSetName=f"mlops-{uuid.uuid4().hex}",
            ChangeSetType=kind,
            **template,
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )["Id"]
        changes = self._changes(arn)
        if changes is None:
            return []
        since = self._newest_event()
        self._cloudformation.execute_change_set(ChangeSetName=arn)
        self._wait(f"stack_{kind.lower()}_complete", since)
        return changes

    def _changes(self, arn: str) -> list[str] | None:
        """What a change set would do, or None if that is nothing."""
        try:
            self._cloudformation.get_waiter("change_set_create_complete").wait(
                ChangeSetName=arn, WaiterConfig=self._polling
            )
        except WaiterError:
            described = self._cloudformation.describe_change_set(ChangeSetName=arn)
            self._cloudformation.delete_change_set(ChangeSetName=arn)
            reason = described.get("StatusReason", "")
            if "didn't contain changes" in reason or "No updates are to be performed" in reason:
                return None
            raise ServiceError(f"CloudFormation refuses the template of `{self._name}`: {reason}") from None
        found: list[str] = []
        arguments = {"ChangeSetName": arn}
        while True:
            page = self._cloudformation.describe_change_set(**arguments)
            found += [_told(change["ResourceChange"]) for change in page["Changes"]]
            if not page.get("NextToken"):
                return found
            arguments["NextToken"] = page["NextToken"]

    def _wait(self, waiter: str, since: str | None = None) -> None:
        try:
            self._cloudformation.get_waiter(waiter).wait(StackName=self._name, WaiterConfig=self._polling)
        except WaiterError as error:
            reasons = "\n".join(f"  {reason}" for reason in self._failures(since)) or f"  {error}"
            raise ServiceError(f"the stack `{self._name}` is {self._status()}:\n{reasons}") from None

    def _settled(self) -> str | None:
        """Its status once nobody changes it. Raises ServiceError when somebody does for long."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            status = self._status()
            if status is None or status == _BEGUN or not status.endswith(_UNFINISHED):
                return status
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"the stack `{self._name}` is {status}: somebody else changes it; try again afterwards"
                )
            time.sleep(self._poll_seconds)

    def _status(self) -> str | None:
        try:
            return str(self._cloudformation.describe_stacks(StackName=self._name)["Stacks"][0]["StackStatus"])
        except ClientError as error:
            if "does not exist" in error.response["Error"]["Message"]:
                return None
            raise

    def _events(self) -> list[dict[str, Any]]:
        try:
            events: list[dict[str, Any]] = self._cloudformation.describe_stack_events(StackName=self._name)[
                "StackEvents"
            ]
        except ClientError:
            return []
        return events

    def _newest_event(self) -> str | None:
        events = self._events()
        return events[0]["EventId"] if events else None

    def _failures(self, since: str | None) -> list[str]:
        """The reasons of the resources that failed after an event, the first failure first."""
        found = []
        for event in self._events():
            if event["EventId"] == since:
                break
            if event["ResourceStatus"].endswith("_FAILED") and "cancelled" not in event.get("ResourceStatusReason", ""):
                found.append(f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', 'no reason given')}")
        return found[::-1]


def _is_overtaken(error: ClientError) -> bool:
    """Whether somebody else has changed the stack between two of our calls."""
    said = error.response["Error"]
    return said["Code"] in _OVERTAKEN or f"{_UNFINISHED} state" in said["Message"]


def _told(change: dict[str, Any]) -> str:
    verb = {"Add": "created", "Modify": "updated", "Remove": "deleted"}.get(change["Action"], change["Action"].lower())
    return f"{verb} {change['ResourceType'].removeprefix('AWS::')} {change['LogicalResourceId']}"
