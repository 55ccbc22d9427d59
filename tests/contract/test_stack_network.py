"""What a stack makes of a network: endpoints of AWS's services in a VPC, and the rules of its groups."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.sagemaker_account import Account
from tests.contract.stacks import Stacks, template


@pytest.fixture(scope="module")
def account(cloud: Any) -> Account:
    """The account under test."""
    return Account.of(cloud)


def body(vpc: str, subnets: list[str], tables: list[str], region: str) -> dict[str, Any]:
    group = {"Fn::GetAtt": ["Group", "GroupId"]}
    return template(
        Group=("AWS::EC2::SecurityGroup", {"GroupDescription": "endpoints", "VpcId": vpc}),
        FromWithin=(
            "AWS::EC2::SecurityGroupIngress",
            {"GroupId": group, "IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "SourceSecurityGroupId": group},
        ),
        Api=(
            "AWS::EC2::VPCEndpoint",
            {
                "VpcId": vpc,
                "ServiceName": f"com.amazonaws.{region}.sagemaker.api",
                "VpcEndpointType": "Interface",
                "PrivateDnsEnabled": True,
                "SubnetIds": subnets,
                "SecurityGroupIds": [group],
                "Tags": [{"Key": "a", "Value": "b"}],
            },
        ),
        Objects=(
            "AWS::EC2::VPCEndpoint",
            {"VpcId": vpc, "ServiceName": f"com.amazonaws.{region}.s3", "RouteTableIds": tables},
        ),
    )


def test_endpoints_are_made_changed_and_deleted(account: Account, stacks: Stacks) -> None:
    ec2 = account.client("ec2")
    vpc = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
    of_vpc = [{"Name": "vpc-id", "Values": [vpc]}]
    subnets = [one["SubnetId"] for one in ec2.describe_subnets(Filters=of_vpc)["Subnets"]]
    tables = [one["RouteTableId"] for one in ec2.describe_route_tables(Filters=of_vpc)["RouteTables"]]
    stack_id = stacks.made(body(vpc, subnets[:1], tables, account.region))
    api = stacks.physical(stack_id, "Api")

    def endpoint() -> dict[str, Any]:
        (found,) = ec2.describe_vpc_endpoints(VpcEndpointIds=[api])["VpcEndpoints"]
        shown: dict[str, Any] = found
        return shown

    group = stacks.physical(stack_id, "Group")
    assert endpoint()["SubnetIds"] == subnets[:1]
    assert {"Key": "a", "Value": "b"} in endpoint()["Tags"]
    (found,) = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    (rule,) = found["IpPermissions"]
    assert (rule["FromPort"], rule["UserIdGroupPairs"][0]["GroupId"]) == (443, group)

    stack = stacks.update(stack_id, body(vpc, subnets[:2], tables, account.region))
    assert stack["StackStatus"] == "UPDATE_COMPLETE", stacks.reasons(stack_id)
    assert sorted(endpoint()["SubnetIds"]) == sorted(subnets[:2])
    assert stacks.delete(stack_id)["StackStatus"] == "DELETE_COMPLETE", stacks.reasons(stack_id)
    left = ec2.describe_vpc_endpoints(Filters=of_vpc)["VpcEndpoints"]
    assert [one for one in left if one["VpcEndpointId"] == api and one["State"] != "deleted"] == []
