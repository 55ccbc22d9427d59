"""AWS::IAM::Role and AWS::IAM::Policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localcloud.cloudformation.resources.kind import (
    Call,
    Properties,
    ResourceType,
    changed,
    document,
    exists,
    pick,
    tag_list,
)


class Role(ResourceType):
    name = "AWS::IAM::Role"
    name_property = "RoleName"
    attributes = frozenset({"Arn", "RoleId"})
    honours = frozenset(
        {
            "AssumeRolePolicyDocument", "Description", "ManagedPolicyArns", "MaxSessionDuration", "Path",
            "PermissionsBoundary", "Policies", "RoleName", "Tags",
        }
    )  # fmt: skip

    def create(self, call: Call, properties: Properties) -> str:
        name = properties.get("RoleName") or call.new_name(64)
        call.client("iam").create_role(
            RoleName=name,
            AssumeRolePolicyDocument=document(properties["AssumeRolePolicyDocument"]),
            **pick(properties, "Description", "MaxSessionDuration", "Path", "PermissionsBoundary"),
            **({"Tags": tag_list(call.tags)} if call.tags else {}),
        )
        return str(name)

    def finish(self, call: Call, physical_id: str, properties: Properties) -> None:
        self._policies(call.client("iam"), physical_id, {}, properties)

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        iam = call.client("iam")
        if changed(before, after, "AssumeRolePolicyDocument"):
            iam.update_assume_role_policy(
                RoleName=physical_id, PolicyDocument=document(after["AssumeRolePolicyDocument"])
            )
        if changed(before, after, "Description", "MaxSessionDuration"):
            iam.update_role(
                RoleName=physical_id,
                Description=after.get("Description", ""),
                MaxSessionDuration=after.get("MaxSessionDuration", 3600),
            )
        if changed(before, after, "PermissionsBoundary"):
            if "PermissionsBoundary" in after:
                iam.put_role_permissions_boundary(
                    RoleName=physical_id, PermissionsBoundary=after["PermissionsBoundary"]
                )
            else:
                iam.delete_role_permissions_boundary(RoleName=physical_id)
        self._policies(iam, physical_id, before, after)
        call.retag(
            lambda tags: iam.tag_role(RoleName=physical_id, Tags=tag_list(tags)),
            lambda keys: iam.untag_role(RoleName=physical_id, TagKeys=keys),
        )

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        iam = call.client("iam")
        # Only what the stack put on it: a role to which somebody else attached a policy is not deleted, as on AWS.
        if exists(lambda: iam.get_role(RoleName=physical_id)):
            self._policies(iam, physical_id, properties, {})
        iam.delete_role(RoleName=physical_id)

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        role = call.client("iam").get_role(RoleName=physical_id)["Role"]
        return {"Arn": role["Arn"], "RoleId": role["RoleId"]}

    def _policies(self, iam: Any, role: str, before: Properties, after: Properties) -> None:
        inline_before, inline_after = _inline(before), _inline(after)
        attached_before, attached_after = (list(one.get("ManagedPolicyArns") or ()) for one in (before, after))
        there = {policy["PolicyArn"] for policy in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]}
        for arn in attached_before:
            if arn not in attached_after and arn in there:
                iam.detach_role_policy(RoleName=role, PolicyArn=arn)
        for arn in attached_after:
            if arn not in there:
                iam.attach_role_policy(RoleName=role, PolicyArn=arn)
        names = set(iam.list_role_policies(RoleName=role)["PolicyNames"])
        for name in inline_before.keys() - inline_after.keys():
            if name in names:
                iam.delete_role_policy(RoleName=role, PolicyName=name)
        for name, policy in inline_after.items():
            iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=policy)


class Policy(ResourceType):
    name = "AWS::IAM::Policy"
    # Groups and users have no part in what localcloud runs.
    honours = frozenset({"PolicyDocument", "PolicyName", "Roles"})
    attributes = frozenset({"Id"})

    def create(self, call: Call, properties: Properties) -> str:
        return call.new_name(128)

    def finish(self, call: Call, physical_id: str, properties: Properties) -> None:
        self.update(call, physical_id, {}, properties)

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        iam = call.client("iam")
        policy = document(after["PolicyDocument"])
        for role in after.get("Roles") or ():
            iam.put_role_policy(RoleName=role, PolicyName=after["PolicyName"], PolicyDocument=policy)
        wanted = {(role, after["PolicyName"]) for role in after.get("Roles") or ()}
        self._remove(iam, {(role, before["PolicyName"]) for role in before.get("Roles") or ()} - wanted)

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        self._remove(call.client("iam"), {(role, properties["PolicyName"]) for role in properties.get("Roles") or ()})

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        return {"Id": physical_id}

    def _remove(self, iam: Any, placed: set[tuple[str, str]]) -> None:
        for role, name in sorted(placed):
            if exists(lambda role=role, name=name: iam.get_role_policy(RoleName=role, PolicyName=name)):  # type: ignore[misc]
                iam.delete_role_policy(RoleName=role, PolicyName=name)


def _inline(properties: Mapping[str, Any]) -> dict[str, str]:
    return {policy["PolicyName"]: document(policy["PolicyDocument"]) for policy in properties.get("Policies") or ()}


TYPES = (Role(), Policy())
