"""AWS::CloudFormation::CustomResource, and Custom::* of any name: a function makes, changes and deletes the thing.

Sources: "Custom resource request objects" and "Custom resource response objects" in the CloudFormation User Guide.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from localcloud.cloudformation.errors import ResourceFailed
from localcloud.cloudformation.resources.kind import Call, Properties, ResourceType
from localcloud.cloudformation.schemas import text_of

_LONGEST_SECONDS = 3600
_ECHOED = ("LogicalResourceId", "RequestId", "StackId")


class CustomResource(ResourceType):
    name = "AWS::CloudFormation::CustomResource"
    honours = frozenset({"ServiceTimeout", "ServiceToken"})
    is_open = True

    def create(self, call: Call, properties: Properties) -> str:
        """What was made is not known if this fails: it is deleted all the same, under the id that the function gave,
        or, where it gave none, under a new one."""
        try:
            answer = _ask(call, "Create", properties)
        except _Refused as refused:
            call.notes["Failed"] = str(refused)
            return refused.physical_id or call.new_name(128)
        call.notes["Data"] = answer.get("Data") or {}
        return str(answer["PhysicalResourceId"])

    def finish(self, call: Call, physical_id: str, properties: Properties) -> None:
        if failed := call.notes.get("Failed"):
            raise ResourceFailed(failed)

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> str:
        if before.get("ServiceToken") != after.get("ServiceToken") and not call.taking_back:
            raise ResourceFailed("Modifying service token is not allowed.")
        old = {"PhysicalResourceId": physical_id, "OldResourceProperties": _texts(before)}
        try:
            answer = _ask(call, "Update", after, **old)
        except _Refused as refused:
            raise ResourceFailed(str(refused)) from refused
        call.notes["Data"] = answer.get("Data") or {}
        return str(answer["PhysicalResourceId"])

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        try:
            _ask(call, "Delete", properties, PhysicalResourceId=physical_id)
        except _Refused as refused:
            raise ResourceFailed(str(refused)) from refused

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        return dict(call.notes.get("Data") or {})


class _Refused(Exception):
    """The function did not do it; the message says why. It may have named what it made."""

    def __init__(self, message: str, physical_id: str | None = None) -> None:
        super().__init__(message)
        self.physical_id = physical_id


def _ask(call: Call, kind: str, properties: Properties, **more: Any) -> Mapping[str, Any]:
    """Invoke the function, and wait for its answer, a successful one. Raises ResourceFailed if it could not be invoked
    at all, _Refused otherwise."""
    token = str(properties["ServiceToken"])
    if ":lambda:" not in token:
        raise ResourceFailed(f"localcloud's custom resources are functions; got the ServiceToken {token}")
    assert call.answers is not None, "a deployment knows where custom resources answer"
    name, url = call.answers.expect()
    request = {
        "RequestType": kind,
        "ServiceToken": token,
        "ResponseURL": url,
        "StackId": call.stack_id,
        "RequestId": str(uuid.uuid4()),
        "LogicalResourceId": call.logical_id,
        "ResourceType": call.type_name,
        **more,
        "ResourceProperties": _texts(properties),
    }
    try:
        _invoke(call, token, request)
        seconds = int(properties.get("ServiceTimeout", _LONGEST_SECONDS))
        return _checked(request, _awaited(call, name, request, seconds))
    finally:
        call.answers.forget(name)


def _invoke(call: Call, token: str, request: Mapping[str, Any]) -> None:
    try:
        call.client("lambda").invoke(FunctionName=token, InvocationType="Event", Payload=json.dumps(request).encode())
    except ClientError as error:
        # That the function is gone does not say that what it made is, too.
        message = error.response.get("Error", {}).get("Message")
        raise ResourceFailed(f"The function {token} of the custom resource could not be invoked: {message}") from error


def _awaited(call: Call, name: str, request: Mapping[str, Any], seconds: int) -> Mapping[str, Any]:
    answers = call.answers
    assert answers is not None
    deadline = time.monotonic() + seconds
    try:
        call.until(lambda: answers.of(name) is not None, f"the answer of {request['ServiceToken']}", seconds)
    except ResourceFailed as failure:
        if time.monotonic() < deadline:
            raise _Refused(str(failure)) from failure
        raise _Refused(
            "CloudFormation did not receive a response from your Custom Resource. Please check your logs for requestId"
            f" [{request['RequestId']}]. The resource waits for {seconds} s (ServiceTimeout)."
        ) from failure
    return answers.of(name) or {}


def _checked(request: Mapping[str, Any], answer: Mapping[str, Any]) -> Mapping[str, Any]:
    physical_id = answer.get("PhysicalResourceId")
    given = physical_id if isinstance(physical_id, str) and physical_id else None
    if answer.get("Status") != "SUCCESS":
        raise _Refused(
            f"Received response status [{answer.get('Status')}] from custom resource. Message returned:"
            f" {answer.get('Reason') or 'none'} (RequestId: {request['RequestId']})",
            given,
        )
    if given is None:
        raise _Refused("Invalid response object: Vendor response doesn't contain PhysicalResourceId key in object.")
    for member in _ECHOED:
        if answer.get(member) != request[member]:
            raise _Refused(
                f"Invalid response object: its {member} is {answer.get(member)!r}; expected {request[member]!r}", given
            )
    if not isinstance(answer.get("Data") or {}, dict):
        raise _Refused("Invalid response object: its Data is no object of names and values.", given)
    return answer


def _texts(value: Any) -> Any:
    """Properties as a function gets them: every scalar is text."""
    if isinstance(value, Mapping):
        return {key: _texts(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_texts(item) for item in value]
    return text_of(value) if isinstance(value, bool | int | float) else value


TYPES = (CustomResource(),)
