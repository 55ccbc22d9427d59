"""Policies on their way in: what is none is refused, and what is longer than IAM takes.

Source: PutRolePolicy, CreatePolicy and CreateRole in the IAM API Reference, "IAM and AWS STS quotas" in the IAM User
Guide; PutBucketPolicy, PutKeyPolicy, SetQueueAttributes and SetTopicAttributes in their services' API references.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from localcloud.errors import ServiceError
from localcloud.iam.policy import MalformedPolicy, read

_MOST_MANAGED, _MOST_INLINE, _MOST_TRUST = 6_144, 10_240, 2_048
# The member that holds a policy, by service and operation, and whether it is one of a resource: a role, as far as it
# says who may assume it.
_MEMBERS: Mapping[tuple[str, str], tuple[str, bool]] = {
    ("iam", "CreatePolicy"): ("PolicyDocument", False),
    ("iam", "CreatePolicyVersion"): ("PolicyDocument", False),
    ("iam", "CreateRole"): ("AssumeRolePolicyDocument", True),
    ("iam", "PutRolePolicy"): ("PolicyDocument", False),
    ("iam", "UpdateAssumeRolePolicy"): ("PolicyDocument", True),
    ("kms", "CreateKey"): ("Policy", True),
    ("kms", "PutKeyPolicy"): ("Policy", True),
    ("sqs", "CreateQueue"): ("Policy", True),
    ("sqs", "SetQueueAttributes"): ("Policy", True),
}
_CODES: Mapping[str, tuple[str, str]] = {
    "iam": ("MalformedPolicyDocument", "{}"),
    "kms": ("MalformedPolicyDocumentException", "{}"),
    "s3": ("MalformedPolicy", "{}"),
    "sns": ("InvalidParameter", "Invalid parameter: Policy Error: {}"),
    "sqs": ("InvalidAttributeValue", "Invalid value for the parameter Policy. Reason: {}"),
}


def check(service: str, operation: str, params: Mapping[str, Any], body: bytes, iam: Callable[[], Any]) -> None:
    """Raise ServiceError for a call that would put a policy which is none, or too long.

    params: the members of the request, of a query request its fields; body: of one to S3. iam: gives the client that
    reads a role's other policies.
    """
    found = _policy(service, operation, params, body)
    if found is None:
        return
    text, of_resource = found
    try:
        read(text, "policy", of_resource=of_resource)
    except MalformedPolicy as error:
        code, form = _CODES[service]
        raise ServiceError(code, form.format(error)) from None
    if service == "iam":
        _check_length(operation, params, text, iam)


def _policy(service: str, operation: str, params: Mapping[str, Any], body: bytes) -> tuple[str, bool] | None:
    if (service, operation) == ("s3", "PutBucketPolicy"):
        return body.decode(errors="replace"), True
    if (service, operation) == ("sns", "SetTopicAttributes") and params.get("AttributeName") == "Policy":
        return str(params.get("AttributeValue", "")), True
    member = _MEMBERS.get((service, operation))
    if member is None:
        return None
    given = params.get("Attributes") if service == "sqs" else params
    text = given.get(member[0]) if isinstance(given, Mapping) else None
    # An empty one takes a queue's policy away.
    return (text, member[1]) if isinstance(text, str) and (text or service != "sqs") else None


def _check_length(operation: str, params: Mapping[str, Any], text: str, iam: Callable[[], Any]) -> None:
    length = _length(text)
    if operation in ("CreateRole", "UpdateAssumeRolePolicy"):
        if length > _MOST_TRUST:
            raise _too_long(f"Cannot exceed quota for ACLSizePerRole: {_MOST_TRUST}")
    elif operation != "PutRolePolicy":
        if length > _MOST_MANAGED:
            raise _too_long(f"Cannot exceed quota for PolicySize: {_MOST_MANAGED}")
    else:
        role = str(params.get("RoleName", ""))
        if length + _length_of_others(iam(), role, str(params.get("PolicyName", ""))) > _MOST_INLINE:
            raise _too_long(f"Maximum policy size of {_MOST_INLINE} bytes exceeded for role {role}")


def _length(text: str) -> int:
    """IAM does not count white space."""
    return len(re.sub(r"\s", "", text))


def _length_of_others(iam: Any, role: str, name: str) -> int:
    try:
        names = iam.list_role_policies(RoleName=role)["PolicyNames"]
        found = [iam.get_role_policy(RoleName=role, PolicyName=one)["PolicyDocument"] for one in names if one != name]
    except ClientError:
        # That there is no such role is for IAM to say.
        return 0
    return sum(_length(json.dumps(one)) for one in found)


def _too_long(message: str) -> ServiceError:
    return ServiceError("LimitExceeded", message, 409)
