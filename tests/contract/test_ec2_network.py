"""The little of EC2 that containers need: the default VPC, and security groups."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contract.sagemaker_account import Account
from tests.contract.stacks import Stacks, template

_GROUP = "AWS::EC2::SecurityGroup"


@pytest.fixture(scope="module")
def account(cloud: Any) -> Account:
    return Account.of(cloud)


def _default_vpc(ec2: Any) -> str:
    (found,) = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    return str(found["VpcId"])


def test_the_default_vpc_has_subnets(account: Account) -> None:
    ec2 = account.client("ec2")
    vpc = _default_vpc(ec2)
    subnets = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
    assert len({subnet["AvailabilityZone"] for subnet in subnets}) >= 2
    assert all(subnet["MapPublicIpOnLaunch"] for subnet in subnets)


def test_a_security_group_lets_through_what_the_stack_says(account: Account, stacks: Stacks) -> None:
    ec2 = account.client("ec2")
    https = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": "0.0.0.0/0", "Description": "AWS"}
    properties: dict[str, Any] = {
        "GroupDescription": "HTTPS out",
        "VpcId": _default_vpc(ec2),
        "SecurityGroupEgress": [https],
    }
    stack_id = stacks.made(template(Group=(_GROUP, properties)), Tags=[{"Key": "project", "Value": "test"}])
    identifier = stacks.physical(stack_id, "Group")

    def group() -> dict[str, Any]:
        (found,) = ec2.describe_security_groups(GroupIds=[identifier])["SecurityGroups"]
        return dict(found)

    def rules(side: str) -> list[tuple[Any, ...]]:
        return [(one["IpProtocol"], one.get("ToPort"), one["IpRanges"][0]["CidrIp"]) for one in group()[side]]

    assert identifier.startswith("sg-")
    assert rules("IpPermissionsEgress") == [("tcp", 443, "0.0.0.0/0")]
    assert rules("IpPermissions") == []
    assert {"Key": "project", "Value": "test"} in group()["Tags"]
    inward = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "CidrIp": "10.0.0.0/8"}
    properties.update(SecurityGroupIngress=[inward], SecurityGroupEgress=[])
    stack = stacks.update(stack_id, template(Group=(_GROUP, properties)))
    assert stack["StackStatus"] == "UPDATE_COMPLETE", stacks.reasons(stack_id)
    assert stacks.physical(stack_id, "Group") == identifier
    assert rules("IpPermissionsEgress") == [("-1", None, "0.0.0.0/0")]
    assert rules("IpPermissions") == [("tcp", 80, "10.0.0.0/8")]
    assert stacks.delete(stack_id)["StackStatus"] == "DELETE_COMPLETE"
    with pytest.raises(ec2.exceptions.ClientError, match=r"InvalidGroup\.NotFound"):
        group()


@pytest.mark.slow
def test_the_network_is_the_same_after_a_restart(
    start_localcloud: Callable[[Path], Any], client_of: Callable[..., Any], tmp_path: Path
) -> None:
    running = start_localcloud(tmp_path / "state")
    client_of(running, "sqs").create_queue(QueueName="before")
    ec2 = client_of(running, "ec2")
    vpc = _default_vpc(ec2)
    subnets = {subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]}
    group = ec2.create_security_group(GroupName="g", Description="d", VpcId=vpc)["GroupId"]
    running.kill()
    ec2 = client_of(start_localcloud(tmp_path / "state"), "ec2")
    assert _default_vpc(ec2) == vpc
    assert {subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]} == subnets
    assert ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["VpcId"] == vpc
