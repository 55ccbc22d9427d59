"""The provider of projects whose template lies in S3: one stack each, `SP-{project}-{id}`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from localcloud.sagemaker.projects.provider import Client, Seen, one_line
from localcloud.store import Document

CAPABILITIES = ("CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND")
_UNCHANGED = "No updates are to be performed."
_DONE = ("CREATE_COMPLETE", "UPDATE_COMPLETE")


class StackProvider:
    """Makes stacks with the role that the project names, or else with its caller's own rights.

    events: the events of a stack, the latest first, for the reason of a failure: who looks at a project need not be
    allowed to read them.
    """

    service = "cloudformation"

    def __init__(self, events: Callable[[str], Sequence[Mapping[str, Any]]]) -> None:
        self._events = events

    def create(self, client: Client, project: Mapping[str, Any], tags: Sequence[Mapping[str, str]]) -> Document:
        template = project["Template"]
        role = {"RoleARN": template["RoleARN"]} if template.get("RoleARN") else {}
        answer = client.create_stack(StackName=_name(project), **_asked(project, tags), **role)
        return {"StackId": answer["StackId"]}

    def update(self, client: Client, project: Mapping[str, Any], tags: Sequence[Mapping[str, str]]) -> Document:
        if not project.get("StackId"):
            return self.create(client, project, tags)
        try:
            client.update_stack(StackName=project["StackId"], **_asked(project, tags))
        except ClientError as error:
            # The project is what it was asked to be.
            if error.response["Error"].get("Message") != _UNCHANGED:
                raise
            return {"UnchangedBy": project["Operation"]["Token"]}
        return {}

    def delete(self, client: Client, project: Mapping[str, Any]) -> Document:
        if project.get("StackId"):
            token = project["Operation"]["Token"]
            client.delete_stack(StackName=project["StackId"], ClientRequestToken=token)
        return {}

    def look(self, client: Client, project: Mapping[str, Any]) -> Seen:
        if not project.get("StackId"):
            return Seen("gone", project.get("Message") or "There is no stack.")
        status, message = self._status(client, project["StackId"])
        if status.endswith("_IN_PROGRESS"):
            return Seen("working", status)
        if status == "DELETE_COMPLETE":
            return Seen("gone", status)
        # A stack that had nothing to change is what it was asked to be, whatever came of the update before.
        if status in _DONE or project.get("UnchangedBy") == project["Operation"]["Token"]:
            return Seen("done", status)
        return Seen("failed", one_line(f"{status}: {self._first_reason(project['StackId']) or message}"))

    def details(self, project: Mapping[str, Any]) -> Document:
        template = project["Template"]
        detail = {
            "Name": _name(project) if project.get("StackId") else None,
            "Id": project.get("StackId"),
            "StatusMessage": project.get("Message") or project["ProjectStatus"],
        }
        return {"TemplateProviderDetails": [{"CfnTemplateProviderDetail": {**template, "StackDetail": detail}}]}

    def _status(self, client: Client, stack_id: str) -> tuple[str, str]:
        (stack,) = client.describe_stacks(StackName=stack_id)["Stacks"]
        return stack["StackStatus"], stack.get("StackStatusReason") or ""

    def _first_reason(self, stack_id: str) -> str | None:
        """What failed first since the stack was last asked for something; if no resource did, what the stack tells."""
        failed = told = None
        for event in self._events(stack_id):
            reason = event.get("ResourceStatusReason")
            if event["ResourceType"] == "AWS::CloudFormation::Stack":
                if reason == "User Initiated":
                    break
                told = reason or told
            elif event["ResourceStatus"].endswith("_FAILED") and reason:
                failed = f"{event['LogicalResourceId']}: {reason}"
        return failed or told


def _name(project: Mapping[str, Any]) -> str:
    return f"SP-{project['ProjectName']}-{project['ProjectId']}"


def _asked(project: Mapping[str, Any], tags: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    template = project["Template"]
    given = {one["Key"]: one.get("Value", "") for one in template.get("Parameters") or ()}
    own = {"SageMakerProjectName": project["ProjectName"], "SageMakerProjectId": project["ProjectId"]}
    return {
        "TemplateURL": template["TemplateURL"],
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in {**given, **own}.items()],
        "Capabilities": list(CAPABILITIES),
        "Tags": list(tags),
        "ClientRequestToken": project["Operation"]["Token"],
    }
