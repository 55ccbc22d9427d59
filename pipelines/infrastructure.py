"""The project's CloudFormation stack, made and updated from template/project.yml by change sets.

What the stack needs and cannot hold is put there before: the functions' code, in a bucket of its own. Whoever runs this
needs the rights to make the stack's resources, roles among them.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError, WaiterError

from pipelines import functions
from pipelines.errors import ServiceError
from pipelines.names import Names
from pipelines.session import client

__all__ = ["deploy"]

_POLL_SECONDS, _MOST_POLLS = 1, 1800
_UNFINISHED = "_IN_PROGRESS"
# For another's change to end: what was cut off is being rolled back, say.
_PATIENCE_SECONDS = 60.0
# A stack whose creation was rolled back can only be deleted.
_UNUSABLE = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED", "REVIEW_IN_PROGRESS")


def deploy(
    session: boto3.Session,
    names: Names,
    root: Path,
    template: Path,
    *,
    tracking_uri: str,
    poll_seconds: float = _POLL_SECONDS,
    tell: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Make the stack what the template says; gives what was done to its resources, as `created bucket Bucket`.

    root: the working copy that the functions' code is packed from. tracking_uri: MLflow's. tell: called with what is
    under way. Raises ServiceError when CloudFormation fails, with the reasons of the resources that failed.
    """
    tell("packing the functions")
    code = functions.pack(root)
    _ensure_bucket(client(session, "s3"), names)
    key = functions.upload(session, names, code)
    parameters = {
        "SageMakerProjectName": names.project,
        "CodeBucket": names.code_bucket,
        "CodeKey": key,
        "MlflowTrackingUri": tracking_uri,
    }
    tell(f"deploying the stack {names.stack}")
    stack = _Stack(client(session, "cloudformation"), names.stack, poll_seconds)
    return stack.deploy(template.read_text(encoding="utf-8"), parameters)


class _Stack:
    """One stack, over CloudFormation's client."""

    def __init__(self, cloudformation: Any, name: str, poll_seconds: float) -> None:
        self._cloudformation, self._name = cloudformation, name
        self._poll_seconds = poll_seconds
        self._polling = {"Delay": poll_seconds, "MaxAttempts": int(_MOST_POLLS / poll_seconds)}

    def deploy(self, template: str, parameters: dict[str, str]) -> list[str]:
        status = self._settled()
        if status in _UNUSABLE:
            self._cloudformation.delete_stack(StackName=self._name)
            self._wait("stack_delete_complete")
            status = None
        kind = "CREATE" if status is None else "UPDATE"
        arn = self._cloudformation.create_change_set(
            StackName=self._name,
            ChangeSetName=f"mlops-{uuid.uuid4().hex}",
            ChangeSetType=kind,
            TemplateBody=template,
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
            if status is None or status == "REVIEW_IN_PROGRESS" or not status.endswith(_UNFINISHED):
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


def _told(change: dict[str, Any]) -> str:
    verb = {"Add": "created", "Modify": "updated", "Remove": "deleted"}.get(change["Action"], change["Action"].lower())
    return f"{verb} {change['ResourceType'].removeprefix('AWS::')} {change['LogicalResourceId']}"


def _ensure_bucket(s3: Any, names: Names) -> None:
    """The bucket of the functions' code, made when it is missing: a stack cannot hold the code that it needs."""
    try:
        s3.head_bucket(Bucket=names.code_bucket)
        return
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
    # us-east-1 is S3's default and refuses to be named.
    place = {} if names.region == "us-east-1" else {"LocationConstraint": names.region}
    s3.create_bucket(Bucket=names.code_bucket, **({"CreateBucketConfiguration": place} if place else {}))
    s3.put_public_access_block(
        Bucket=names.code_bucket,
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": True,
            "BlockPublicPolicy": True,
            "IgnorePublicAcls": True,
            "RestrictPublicBuckets": True,
        },
    )
