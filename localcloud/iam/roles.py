"""The account's roles as IAM has them, read when they are first needed and again after IAM was changed."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from botocore.exceptions import ClientError

from localcloud.iam import service_linked
from localcloud.iam.evaluation import Policies, Role
from localcloud.iam.policy import MalformedPolicy, Statement, read

_LOG = logging.getLogger(__name__)
_ARN = re.compile(r"arn:aws:iam::\d{12}:role/(?:[\x21-\x7e]+/)?(?P<name>[\w+=,.@-]+)")


class Roles(Protocol):
    """What the authority asks for roles."""

    def get(self, arn: str) -> Role | None:
        """The role of that ARN, or None; may wait."""
        ...

    def is_at_hand(self, arn: str) -> bool:
        """Whether `get` answers at once."""
        ...

    def changed(self, role_name: str | None) -> None:
        """A role, or without a name any of them, is no longer what it was."""
        ...


class StoredRoles:
    """The roles that moto keeps. All methods may be called from any thread; `get` waits for moto where it must."""

    def __init__(self, iam: Callable[[], Any]) -> None:
        """iam: gives the client that reads; it is not asked for before a role is."""
        self._iam = iam
        self._known: dict[str, Role | None] = {}
        self._changes = 0
        self._lock = threading.Lock()

    def is_at_hand(self, arn: str) -> bool:
        return arn in self._known

    def get(self, arn: str) -> Role | None:
        try:
            return self._known[arn]
        except KeyError:
            pass
        changes = self._changes
        found = self._read(arn)
        with self._lock:
            # What was read before a change is not what is there now.
            if self._changes == changes:
                self._known[arn] = found
        return found

    def changed(self, role_name: str | None) -> None:
        with self._lock:
            self._changes += 1
            if role_name is None:
                self._known = {}
            else:
                self._known = {arn: role for arn, role in self._known.items() if arn.rpartition("/")[2] != role_name}

    def _read(self, arn: str) -> Role | None:
        match = _ARN.fullmatch(arn)
        if match is None:
            return None
        if (linked := service_linked.find(arn)) is not None:
            return linked
        iam, name = self._iam(), match["name"]
        try:
            role = iam.get_role(RoleName=name)["Role"]
            if role["Arn"] != arn:
                return None
            identity = [*self._inline(iam, name), *self._attached(iam, name)]
            boundary_arn = role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
            return Role(
                arn=arn,
                identity=Policies(identity),
                trust=Policies(_statements(role["AssumeRolePolicyDocument"], "trust", of_resource=True)),
                boundary=Policies(_managed(iam, boundary_arn)) if boundary_arn else None,
                boundary_arn=boundary_arn,
                tags={tag["Key"]: tag["Value"] for tag in role.get("Tags", [])},
                role_id=role["RoleId"],
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchEntity":
                raise
            return None

    def _inline(self, iam: Any, name: str) -> list[Statement]:
        found: list[Statement] = []
        for page in iam.get_paginator("list_role_policies").paginate(RoleName=name):
            for policy in page["PolicyNames"]:
                document = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
                found += _statements(document, policy)
        return found

    def _attached(self, iam: Any, name: str) -> list[Statement]:
        found: list[Statement] = []
        for page in iam.get_paginator("list_attached_role_policies").paginate(RoleName=name):
            for policy in page["AttachedPolicies"]:
                found += _managed(iam, policy["PolicyArn"])
        return found


def _managed(iam: Any, arn: str) -> list[Statement]:
    """The statements of a managed policy, in the version that is its default."""
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    return _statements(document, arn.rpartition("/")[2])


def _statements(document: str | Mapping[str, Any], name: str, *, of_resource: bool = False) -> list[Statement]:
    try:
        return list(read(document, name, of_resource=of_resource))
    except MalformedPolicy as error:
        # It was taken before policies were looked at; what nobody can read allows nothing.
        _LOG.error("the policy %s allows nothing: %s", name, error)
        return []
