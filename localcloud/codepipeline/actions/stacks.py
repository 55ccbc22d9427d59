"""CloudFormation actions: a stack is made, changed or deleted, at once or by a change set.

Sources: "AWS CloudFormation deploy action reference" (AWS CodePipeline User Guide), "CloudFormation configuration
properties reference", "CloudFormation artifacts", "Using parameter override functions with CodePipeline pipelines" (AWS
CloudFormation User Guide).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from localcloud.codepipeline import actiontypes, artifacts
from localcloud.codepipeline.refusals import REFUSALS, failure
from localcloud.codepipeline.turn import CONFIGURATION, JOB_FAILED, ActionFailed, Outcome, Turn, location

_LOOK_SECONDS = 0.25
"""Of the machine, between two looks at a stack."""
_MOST_INLINE_BYTES = 51_200
_NOTHING_TO_DO = "No updates are to be performed"
_NO_CHANGES = ("didn't contain changes", "No updates are to be performed")
_ARTIFACT_ATTRIBUTES = ("BucketName", "ObjectKey", "URL")
_REVIEW = "REVIEW_IN_PROGRESS"
"""The status of a stack that is nothing but a change set yet."""
_SETTLED = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE"})


class CloudFormation:
    """Calls CloudFormation as the action's role; the stack is made with the role that the configuration names."""

    def run(self, turn: Turn) -> Outcome:
        """See `Kind`."""
        try:
            return {
                actiontypes.CREATE_UPDATE: _create_update,
                actiontypes.DELETE_ONLY: _delete,
                actiontypes.CHANGE_SET_REPLACE: _replace_change_set,
                actiontypes.CHANGE_SET_EXECUTE: _execute_change_set,
            }[turn.configuration["ActionMode"]](turn)
        except REFUSALS as error:
            mode, stack = turn.configuration["ActionMode"], turn.configuration["StackName"]
            raise failure(error, f"{mode} of the stack {stack}") from error


def _create_update(turn: Turn) -> Outcome:
    client = turn.client("cloudformation")
    name = turn.configuration["StackName"]
    stack_id = turn.progress.get("stackId")
    if stack_id is None:
        request = _request(turn)
        turn.check()
        stack = _stack(client, name)
        begun = turn.progress.get("begun", False)
        turn.note(begun=True)
        try:
            if begun and stack is not None and _is_under_way(stack["StackStatus"]):
                # Begun before a restart, which came before that could be noted.
                stack_id = stack["StackId"]
            elif stack is None or stack["StackStatus"] == _REVIEW:
                stack_id = client.create_stack(StackName=name, **request)["StackId"]
            else:
                stack_id = client.update_stack(StackName=name, **request)["StackId"]
        except ClientError as error:
            # A stack that is as it is to be is what the action is for.
            if stack is None or _NOTHING_TO_DO not in error.response["Error"]["Message"]:
                raise
            stack_id = stack["StackId"]
        turn.note(stackId=stack_id)
    return _settled(turn, client, stack_id)


def _delete(turn: Turn) -> Outcome:
    client = turn.client("cloudformation")
    name = turn.configuration["StackName"]
    stack_id = turn.progress.get("stackId")
    if stack_id is None:
        stack = _stack(client, name)
        if stack is None:
            return Outcome(summary=f"The stack {name} does not exist")
        turn.check()
        stack_id = stack["StackId"]
        client.delete_stack(StackName=stack_id, **_role(turn))
        turn.note(stackId=stack_id)
    found = _wait(turn, lambda: _stack(client, stack_id))
    # A deleted stack is described by its id only, and not for ever.
    if found is not None and found["StackStatus"] != "DELETE_COMPLETE":
        raise _failed(turn, client, found)
    return Outcome(summary=f"The stack {name} is deleted", external_id=stack_id, external_url=_url(turn, stack_id))


def _replace_change_set(turn: Turn) -> Outcome:
    client = turn.client("cloudformation")
    stack_name, name = turn.configuration["StackName"], turn.configuration["ChangeSetName"]
    change_set_id = turn.progress.get("changeSetId")
    if change_set_id is None:
        request = _request(turn)
        turn.check()
        stack = _stack(client, stack_name)
        new = stack is None or stack["StackStatus"] == _REVIEW
        if stack is not None and _change_set(client, stack_name, name) is not None:
            client.delete_change_set(StackName=stack_name, ChangeSetName=name)
        made = client.create_change_set(
            StackName=stack_name, ChangeSetName=name, ChangeSetType="CREATE" if new else "UPDATE", **request
        )
        change_set_id = made["Id"]
        turn.note(changeSetId=change_set_id)
    found = _wait(turn, lambda: _change_set(client, stack_name, change_set_id), "Status")
    if found is None:
        raise ActionFailed(JOB_FAILED, f"The change set {name} of the stack {stack_name} is gone")
    if found["Status"] == "FAILED" and not _is_without_changes(found):
        raise ActionFailed(JOB_FAILED, f"The change set {name}: {found.get('StatusReason', 'FAILED')}")
    summary = "There are no changes" if found["Status"] == "FAILED" else f"Change set {name} was created"
    return Outcome(summary=summary, external_id=change_set_id, external_url=_url(turn, found["StackId"]))


def _execute_change_set(turn: Turn) -> Outcome:
    client = turn.client("cloudformation")
    stack_name, name = turn.configuration["StackName"], turn.configuration["ChangeSetName"]
    stack_id = turn.progress.get("stackId")
    if stack_id is None:
        found = _change_set(client, stack_name, name)
        if found is None:
            raise ActionFailed(CONFIGURATION, f"The stack {stack_name} has no change set {name}")
        turn.check()
        stack_id = found["StackId"]
        if not (found["Status"] == "FAILED" and _is_without_changes(found)):
            client.execute_change_set(StackName=stack_name, ChangeSetName=name)
        turn.note(stackId=stack_id)
    return _settled(turn, client, stack_id)


def _settled(turn: Turn, client: Any, stack_id: str) -> Outcome:
    """The outcome when nothing is under way with the stack: its outputs are the action's variables."""
    stack = _wait(turn, lambda: _stack(client, stack_id))
    if stack is None or stack["StackStatus"] not in _SETTLED:
        raise _failed(turn, client, stack or {"StackId": stack_id, "StackStatus": "gone"})
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    if turn.action.outputs:
        content = json.dumps(outputs, indent=2).encode()
        artifacts.put(turn, turn.action.outputs[0], artifacts.zipped(turn.configuration["OutputFileName"], content))
    return Outcome(
        summary=f"Stack {stack['StackName']} is {stack['StackStatus']}",
        external_id=stack_id,
        external_url=_url(turn, stack_id),
        variables=outputs,
    )


def _wait(
    turn: Turn, ask: Callable[[], Mapping[str, Any] | None], member: str = "StackStatus"
) -> Mapping[str, Any] | None:
    """What is asked for when nothing is under way with it; None when it is gone."""
    while True:
        found = ask()
        if found is None or not _is_under_way(found[member]):
            return found
        turn.pause(_LOOK_SECONDS)


def _is_under_way(status: str) -> bool:
    return status.endswith(("_IN_PROGRESS", "_PENDING")) and status != _REVIEW


def _stack(client: Any, name: str) -> Mapping[str, Any] | None:
    try:
        stack: Mapping[str, Any] = client.describe_stacks(StackName=name)["Stacks"][0]
        return stack
    except ClientError as error:
        if "does not exist" in error.response["Error"]["Message"]:
            return None
        raise


def _change_set(client: Any, stack: str, name: str) -> Mapping[str, Any] | None:
    try:
        found: Mapping[str, Any] = client.describe_change_set(StackName=stack, ChangeSetName=name)
        return found
    except ClientError as error:
        if error.response["Error"]["Code"] in ("ChangeSetNotFound", "ChangeSetNotFoundException"):
            return None
        raise


def _is_without_changes(change_set: Mapping[str, Any]) -> bool:
    return any(text in change_set.get("StatusReason", "") for text in _NO_CHANGES)


def _failed(turn: Turn, client: Any, stack: Mapping[str, Any]) -> ActionFailed:
    """The failure of a stack: the first resource that failed, if the role may ask for it."""
    stack_id = stack["StackId"]
    reason = f"Stack {turn.configuration['StackName']} is {stack['StackStatus']}"
    try:
        events = client.describe_stack_events(StackName=stack_id)["StackEvents"]
    except REFUSALS:
        events = []
    first = None
    for event in events:
        # The latest first; what was done before this deployment began is none of its.
        if event["PhysicalResourceId"] == stack_id and event["ResourceStatus"] in (
            "CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS",
        ):  # fmt: skip
            break
        if event["ResourceStatus"].endswith("_FAILED") and event["PhysicalResourceId"] != stack_id:
            first = event
    if first is not None:
        told = first.get("ResourceStatusReason", "")
        reason += f". First failed resource {first['LogicalResourceId']} ({first['ResourceType']}): {told}"
    elif stack.get("StackStatusReason"):
        reason += f": {stack['StackStatusReason']}"
    return ActionFailed(JOB_FAILED, reason, external_id=stack_id, external_url=_url(turn, stack_id))


def _request(turn: Turn) -> dict[str, Any]:
    """What a stack or a change set is to be made of."""
    given = turn.configuration
    read = _Artifacts(turn)
    configuration: dict[str, Any] = {}
    if "TemplateConfiguration" in given:
        reference = given["TemplateConfiguration"]
        configuration = artifacts.json_object(read.file(reference), f"The template configuration {reference}")
        if unknown := sorted(configuration.keys() - {"Parameters", "Tags"}):
            raise ActionFailed(
                CONFIGURATION,
                f"The template configuration {reference} has {', '.join(unknown)}; localcloud honours Parameters and"
                " Tags",
            )
    parameters = {**configuration.get("Parameters", {}), **_overrides(turn, read)}
    request: dict[str, Any] = {
        **_template(turn, read.file(given["TemplatePath"])),
        **_role(turn),
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    }
    if "Capabilities" in given:
        request["Capabilities"] = [capability.strip() for capability in given["Capabilities"].split(",")]
    if configuration.get("Tags"):
        request["Tags"] = [{"Key": key, "Value": value} for key, value in configuration["Tags"].items()]
    return request


def _template(turn: Turn, content: bytes) -> dict[str, str]:
    """The template as it is, or a place where it lies: longer ones do not fit into a request."""
    if len(content) <= _MOST_INLINE_BYTES:
        try:
            return {"TemplateBody": content.decode()}
        except UnicodeDecodeError:
            raise ActionFailed(
                CONFIGURATION, f"The template {turn.configuration['TemplatePath']} is no UTF-8 text"
            ) from None
    place = location(turn.pipeline, turn.action.name, ".template")
    artifacts.write(turn, place["bucket"], place["key"], content)
    return {"TemplateURL": f"https://{place['bucket']}.s3.{turn.context.region}.amazonaws.com/{place['key']}"}


def _role(turn: Turn) -> dict[str, str]:
    role = turn.configuration.get("RoleArn")
    return {"RoleARN": role} if role else {}


class _Artifacts:
    """The action's input artifacts, each fetched once."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._fetched: dict[str, bytes] = {}

    def file(self, reference: str) -> bytes:
        """A file, by `artifact::path`."""
        name, _, path = reference.partition("::")
        return self.member(name, path)

    def member(self, name: str, path: str) -> bytes:
        """A file of an artifact."""
        if name not in self._turn.inputs:
            there = ", ".join(self._turn.inputs) or "none"
            raise ActionFailed(CONFIGURATION, f"{name} is not among the action's input artifacts; there are {there}")
        if name not in self._fetched:
            self._fetched[name] = artifacts.fetch(self._turn, name)
        return artifacts.member(self._fetched[name], name, path)


def _overrides(turn: Turn, read: _Artifacts) -> dict[str, str]:
    """ParameterOverrides, with their functions resolved."""
    text = turn.configuration.get("ParameterOverrides")
    if text is None:
        return {}
    found = artifacts.json_object(text, "ParameterOverrides")
    return {name: _value(turn, read, name, value) for name, value in found.items()}


def _value(turn: Turn, read: _Artifacts, name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and len(value) == 1:
        ((function, arguments),) = value.items()
        fits = isinstance(arguments, list) and all(isinstance(one, str) for one in arguments)
        if function == "Fn::GetArtifactAtt" and fits and len(arguments) == 2 and arguments[1] in _ARTIFACT_ATTRIBUTES:
            return _attribute(turn, *arguments)
        if function == "Fn::GetParam" and fits and len(arguments) == 3:
            return _parameter(read, *arguments)
    raise ActionFailed(
        CONFIGURATION,
        f"The parameter {name} in ParameterOverrides must be a text, Fn::GetArtifactAtt with an artifact and"
        f" {', '.join(_ARTIFACT_ATTRIBUTES)}, or Fn::GetParam with an artifact, a JSON file and a key; got"
        f" {json.dumps(value)[:200]}",
    )


def _attribute(turn: Turn, artifact: str, attribute: str) -> str:
    place = turn.inputs.get(artifact)
    if place is None:
        there = ", ".join(turn.inputs) or "none"
        raise ActionFailed(CONFIGURATION, f"{artifact} is not among the action's input artifacts; there are {there}")
    url = f"https://{place['bucket']}.s3.{turn.context.region}.amazonaws.com/{place['key']}"
    return {"BucketName": str(place["bucket"]), "ObjectKey": str(place["key"]), "URL": url}[attribute]


def _parameter(read: _Artifacts, artifact: str, path: str, key: str) -> str:
    found = artifacts.json_object(read.member(artifact, path), f"The file {path} of the artifact {artifact}")
    if key not in found:
        there = ", ".join(sorted(found)) or "none"
        raise ActionFailed(CONFIGURATION, f"The file {path} of the artifact {artifact} has no {key}; there are {there}")
    value = found[key]
    return value if isinstance(value, str) else json.dumps(value)


def _url(turn: Turn, stack_id: str) -> str:
    return (
        f"https://console.aws.amazon.com/cloudformation/home?region={turn.context.region}#/stacks/stackinfo"
        f"?stackId={stack_id}"
    )
