"""AWS::EC2::SecurityGroup, ::SecurityGroupIngress and ::SecurityGroupEgress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from localcloud.cloudformation.resources.kind import Call, Properties, ResourceType, code_of, pick, tag_list

_RULE = ("CidrIp", "CidrIpv6", "Description", "FromPort", "IpProtocol", "ToPort")
# What a new group lets out, unless it is told otherwise.
_EVERYTHING = {"IpProtocol": "-1", "CidrIp": "0.0.0.0/0"}

Rule = Mapping[str, Any]


class SecurityGroup(ResourceType):
    name = "AWS::EC2::SecurityGroup"
    name_property = "GroupName"
    attributes = frozenset({"GroupId", "Id", "VpcId"})
    honours = frozenset(
        {
            "GroupDescription",
            "GroupName",
            *(f"SecurityGroupEgress.{name}" for name in (*_RULE, "DestinationSecurityGroupId")),
            *(f"SecurityGroupIngress.{name}" for name in (*_RULE, "SourceSecurityGroupId")),
            "Tags",
            "VpcId",
        }
    )

    def create(self, call: Call, properties: Properties) -> str:
        tags = [{"ResourceType": "security-group", "Tags": tag_list(call.tags)}] if call.tags else []
        answer = call.client("ec2").create_security_group(
            GroupName=properties.get("GroupName") or call.new_name(255),
            Description=properties["GroupDescription"],
            **pick(properties, "VpcId"),
            **({"TagSpecifications": tags} if tags else {}),
        )
        return str(answer["GroupId"])

    def finish(self, call: Call, physical_id: str, properties: Properties) -> None:
        self._rules(call, physical_id, {}, properties)

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        ec2 = call.client("ec2")
        self._rules(call, physical_id, before, after)
        call.retag(
            lambda tags: ec2.create_tags(Resources=[physical_id], Tags=tag_list(tags)),
            lambda keys: ec2.delete_tags(Resources=[physical_id], Tags=[{"Key": key} for key in keys]),
        )

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        try:
            call.client("ec2").delete_security_group(GroupId=physical_id)
        except ClientError as error:
            # EC2's way to say that it is gone.
            if code_of(error) != "InvalidGroup.NotFound":
                raise

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        (found,) = call.client("ec2").describe_security_groups(GroupIds=[physical_id])["SecurityGroups"]
        return {"GroupId": physical_id, "Id": physical_id, "VpcId": found["VpcId"]}

    def _rules(self, call: Call, group: str, before: Properties, after: Properties) -> None:
        ec2 = call.client("ec2")
        _change(
            before.get("SecurityGroupIngress") or [],
            after.get("SecurityGroupIngress") or [],
            lambda rules: ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=rules),
            lambda rules: ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=rules),
        )
        _change(
            before.get("SecurityGroupEgress") or [_EVERYTHING],
            after.get("SecurityGroupEgress") or [_EVERYTHING],
            lambda rules: ec2.authorize_security_group_egress(GroupId=group, IpPermissions=rules),
            lambda rules: ec2.revoke_security_group_egress(GroupId=group, IpPermissions=rules),
        )


def _change(before: Sequence[Rule], after: Sequence[Rule], add: Any, remove: Any) -> None:
    """Let rules be those of `after`: the two calls are made where they have something to do."""
    gone = [_permission(rule) for rule in before if rule not in after]
    new = [_permission(rule) for rule in after if rule not in before]
    if gone:
        remove(gone)
    if new:
        add(new)


def _permission(rule: Rule) -> dict[str, Any]:
    """A rule as EC2's calls take it."""
    described = pick(rule, "Description")
    found = pick(rule, "IpProtocol", "FromPort", "ToPort")
    for member, ranges in (("CidrIp", "IpRanges"), ("CidrIpv6", "Ipv6Ranges")):
        if member in rule:
            found[ranges] = [{member: rule[member], **described}]
    group = rule.get("SourceSecurityGroupId") or rule.get("DestinationSecurityGroupId")
    if group:
        found["UserIdGroupPairs"] = [{"GroupId": group, **described}]
    return found


class _Rule(ResourceType):
    """A rule of its own: for groups that refer to each other. EC2 changes none but its description."""

    attributes = frozenset({"Id"})
    replaced_by = frozenset({"Description"})
    way: ClassVar[str]
    """`ingress` or `egress`."""

    def create(self, call: Call, properties: Properties) -> str:
        authorize = getattr(call.client("ec2"), f"authorize_security_group_{self.way}")
        answer = authorize(GroupId=properties["GroupId"], IpPermissions=[_permission(properties)])
        return str(answer["SecurityGroupRules"][0]["SecurityGroupRuleId"])

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        raise AssertionError("every property of a rule is one whose change makes a new one")

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        revoke = getattr(call.client("ec2"), f"revoke_security_group_{self.way}")
        try:
            revoke(GroupId=properties["GroupId"], SecurityGroupRuleIds=[physical_id])
        except ClientError as error:
            if code_of(error) not in ("InvalidGroup.NotFound", "InvalidSecurityGroupRuleId.NotFound"):
                raise

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        return {"Id": physical_id}


class SecurityGroupIngress(_Rule):
    name = "AWS::EC2::SecurityGroupIngress"
    honours = frozenset({*_RULE, "GroupId", "SourceSecurityGroupId"})
    way = "ingress"


class SecurityGroupEgress(_Rule):
    name = "AWS::EC2::SecurityGroupEgress"
    honours = frozenset({*_RULE, "DestinationSecurityGroupId", "GroupId"})
    way = "egress"


TYPES = (SecurityGroup(), SecurityGroupIngress(), SecurityGroupEgress())
