"""AWS::IAM::Role, AWS::IAM::Policy, AWS::IAM::ManagedPolicy and AWS::IAM::OIDCProvider."""

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


class ManagedPolicy(ResourceType):
    name = "AWS::IAM::ManagedPolicy"
    name_property = "ManagedPolicyName"
    attributes = frozenset({"PolicyArn"})
    # Groups and users have no part in what localcloud runs.
    honours = frozenset({"Description", "ManagedPolicyName", "Path", "PolicyDocument", "Roles"})

    def create(self, call: Call, properties: Properties) -> str:
        answer = call.client("iam").create_policy(
            PolicyName=properties.get("ManagedPolicyName") or call.new_name(128),
            PolicyDocument=document(properties["PolicyDocument"]),
            **pick(properties, "Description", "Path"),
        )
        return str(answer["Policy"]["Arn"])

    def finish(self, call: Call, physical_id: str, properties: Properties) -> None:
        self._attach(call.client("iam"), physical_id, {}, properties)

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        iam = call.client("iam")
        if changed(before, after, "PolicyDocument"):
            self._forget_versions(iam, physical_id)
            iam.create_policy_version(
                PolicyArn=physical_id, PolicyDocument=document(after["PolicyDocument"]), SetAsDefault=True
            )
        self._attach(iam, physical_id, before, after)

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        iam = call.client("iam")
        if exists(lambda: iam.get_policy(PolicyArn=physical_id)):
            self._attach(iam, physical_id, properties, {})
            self._forget_versions(iam, physical_id)
        iam.delete_policy(PolicyArn=physical_id)

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        return {"PolicyArn": physical_id}

    def _attach(self, iam: Any, arn: str, before: Properties, after: Properties) -> None:
        had, wanted = (list(one.get("Roles") or ()) for one in (before, after))
        for role in had:
            if role not in wanted and exists(lambda role=role: iam.get_role(RoleName=role)):  # type: ignore[misc]
                iam.detach_role_policy(RoleName=role, PolicyArn=arn)
        for role in wanted:
            if role not in had:
                iam.attach_role_policy(RoleName=role, PolicyArn=arn)

    def _forget_versions(self, iam: Any, arn: str) -> None:
        """Those before the one that holds: IAM keeps five, and deletes no policy that has some."""
        for version in iam.list_policy_versions(PolicyArn=arn)["Versions"]:
            if not version["IsDefaultVersion"]:
                iam.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])


class OidcProvider(ResourceType):
    name = "AWS::IAM::OIDCProvider"
    attributes = frozenset({"Arn"})
    honours = frozenset({"ClientIdList", "Tags", "ThumbprintList", "Url"})

    def create(self, call: Call, properties: Properties) -> str:
        answer = call.client("iam").create_open_id_connect_provider(
            Url=properties["Url"],
            ClientIDList=properties.get("ClientIdList", []),
            # AWS finds it by itself where it is left away, and does not look at it where it knows the authority.
            ThumbprintList=properties.get("ThumbprintList") or ["0" * 40],
            **({"Tags": tag_list(call.tags)} if call.tags else {}),
        )
        return str(answer["OpenIDConnectProviderArn"])

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        iam, provider = call.client("iam"), {"OpenIDConnectProviderArn": physical_id}
        if changed(before, after, "ThumbprintList") and after.get("ThumbprintList"):
            iam.update_open_id_connect_provider_thumbprint(**provider, ThumbprintList=after["ThumbprintList"])
        had, wanted = (set(one.get("ClientIdList") or ()) for one in (before, after))
        for client in sorted(had - wanted):
            iam.remove_client_id_from_open_id_connect_provider(**provider, ClientID=client)
        for client in sorted(wanted - had):
            iam.add_client_id_to_open_id_connect_provider(**provider, ClientID=client)
        call.retag(
            lambda tags: iam.tag_open_id_connect_provider(**provider, Tags=tag_list(tags)),
            lambda keys: iam.untag_open_id_connect_provider(**provider, TagKeys=keys),
        )

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("iam").delete_open_id_connect_provider(OpenIDConnectProviderArn=physical_id)

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        return {"Arn": physical_id}


def _inline(properties: Mapping[str, Any]) -> dict[str, str]:
    return {policy["PolicyName"]: document(policy["PolicyDocument"]) for policy in properties.get("Policies") or ()}


TYPES = (Role(), Policy(), ManagedPolicy(), OidcProvider())
