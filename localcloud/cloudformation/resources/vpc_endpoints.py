"""AWS::EC2::VPCEndpoint."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from localcloud.cloudformation.resources.kind import (
    Call,
    Properties,
    ResourceType,
    changed,
    code_of,
    document,
    pick,
    tag_list,
)

_FIXED = ("PrivateDnsEnabled", "ServiceName", "VpcEndpointType", "VpcId")
_LISTS = ("RouteTableIds", "SecurityGroupIds", "SubnetIds")


class VpcEndpoint(ResourceType):
    name = "AWS::EC2::VPCEndpoint"
    attributes = frozenset({"CreationTimestamp", "DnsEntries", "Id", "NetworkInterfaceIds"})
    # AWS changes it in place; the leaf's ModifyVpcEndpoint passes over it.
    replaced_by = frozenset({"PrivateDnsEnabled"})
    honours = frozenset({*_FIXED, *_LISTS, "PolicyDocument", "Tags"})

    def create(self, call: Call, properties: Properties) -> str:
        tags = [{"ResourceType": "vpc-endpoint", "Tags": tag_list(call.tags)}] if call.tags else []
        policy = {"PolicyDocument": document(properties["PolicyDocument"])} if "PolicyDocument" in properties else {}
        answer = call.client("ec2").create_vpc_endpoint(
            # The default is AWS's; the leaf cannot delete an endpoint that was made without one.
            **{"VpcEndpointType": "Gateway", **pick(properties, *_FIXED, *_LISTS)},
            **policy,
            **({"TagSpecifications": tags} if tags else {}),
        )
        return str(answer["VpcEndpoint"]["VpcEndpointId"])

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        ec2 = call.client("ec2")
        changes: dict[str, Any] = {}
        for name in _LISTS:
            old, new = before.get(name) or [], after.get(name) or []
            if added := [one for one in new if one not in old]:
                changes[f"Add{name}"] = added
            if gone := [one for one in old if one not in new]:
                changes[f"Remove{name}"] = gone
        if changed(before, after, "PolicyDocument"):
            changes |= (
                {"PolicyDocument": document(after["PolicyDocument"])}
                if "PolicyDocument" in after
                else {"ResetPolicy": True}
            )
        if changes:
            ec2.modify_vpc_endpoint(VpcEndpointId=physical_id, **changes)
        call.retag(
            lambda tags: ec2.create_tags(Resources=[physical_id], Tags=tag_list(tags)),
            lambda keys: ec2.delete_tags(Resources=[physical_id], Tags=[{"Key": key} for key in keys]),
        )

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        try:
            call.client("ec2").delete_vpc_endpoints(VpcEndpointIds=[physical_id])
        except ClientError as error:
            # EC2's way to say that it is gone.
            if code_of(error) != "InvalidVpcEndpointId.NotFound":
                raise

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        (found,) = call.client("ec2").describe_vpc_endpoints(VpcEndpointIds=[physical_id])["VpcEndpoints"]
        return {
            "CreationTimestamp": found["CreationTimestamp"].isoformat(),
            "DnsEntries": [f"{one.get('HostedZoneId')}:{one.get('DnsName')}" for one in found.get("DnsEntries") or ()],
            "Id": physical_id,
            "NetworkInterfaceIds": found.get("NetworkInterfaceIds") or [],
        }


TYPES = (VpcEndpoint(),)
