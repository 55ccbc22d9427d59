"""Where tasks run: on which capacity, and in which network. Both are checked as AWS does; all run on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from localcloud.context import Context
from localcloud.ecs.clusters import check_strategy
from localcloud.ecs.errors import invalid

Params = Mapping[str, Any]
PLATFORM_VERSION = "1.4.0"
"""What LATEST stands for."""
_PLATFORMS = ("LATEST", "1.4.0", "1.3.0")


def capacity(params: Params, cluster: Params) -> dict[str, Any]:
    """`launchType`, or `capacityProviderStrategy`: what is asked for, or else the cluster's own.

    Raises InvalidParameterException for capacity that the cluster does not have; localcloud has Fargate's.
    """
    launch, strategy = params.get("launchType"), params.get("capacityProviderStrategy")
    if launch and strategy:
        raise invalid("Specifying both a launch type and capacity provider strategy is not supported.")
    if launch:
        if launch != "FARGATE":
            raise invalid(f"localcloud runs tasks with the launch type FARGATE; got {launch}")
        return {"launchType": launch}
    strategy = strategy or cluster["defaultCapacityProviderStrategy"]
    if not strategy:
        raise invalid(
            "No Container Instances were found in your cluster. Name launchType FARGATE or a capacityProviderStrategy."
        )
    check_strategy(strategy, cluster["capacityProviders"])
    return {"capacityProviderStrategy": [{"weight": 0, "base": 0, **item} for item in strategy]}


def platform(params: Params) -> str:
    """The platform version that is asked for. Raises InvalidParameterException."""
    version = str(params.get("platformVersion") or "LATEST")
    if version not in _PLATFORMS:
        raise invalid(f"The platform version {version!r} is unknown; expected one of {', '.join(_PLATFORMS)}")
    return version


def assign(strategy: Sequence[Params], running: Mapping[str, int]) -> str:
    """The capacity provider of the next task: a base is filled first, then shares go by weight.

    running: how many tasks each provider has.
    """
    for item in strategy:
        if running.get(item["capacityProvider"], 0) < item["base"]:
            return str(item["capacityProvider"])
    weighted = [item for item in strategy if item["weight"]] or list(strategy)

    def share(item: Params) -> float:
        beyond = running.get(item["capacityProvider"], 0) - int(item["base"])
        return (max(beyond, 0) + 1) / max(int(item["weight"]), 1)

    return str(min(weighted, key=share)["capacityProvider"])


class Networks:
    """Checks network configurations against the account's subnets and security groups."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def check(self, params: Params) -> dict[str, Any]:
        """The network configuration, which a Fargate task must have. Raises InvalidParameterException."""
        found = (params.get("networkConfiguration") or {}).get("awsvpcConfiguration")
        if not found:
            raise invalid("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
        subnets, groups = list(found["subnets"]), list(found.get("securityGroups") or ())
        if not subnets:
            raise invalid("subnets can not be empty.")
        ec2 = self._context.leaf.client("ec2")
        try:
            networks = {subnet["VpcId"] for subnet in ec2.describe_subnets(SubnetIds=subnets)["Subnets"]}
            if groups:
                described = ec2.describe_security_groups(GroupIds=groups)["SecurityGroups"]
                networks |= {group["VpcId"] for group in described}
        except ClientError as error:
            raise invalid(
                f"Error retrieving subnet or security group information: {error.response['Error']['Message']}"
                f" (ErrorCode: {error.response['Error']['Code']})"
            ) from error
        if len(networks) > 1:
            raise invalid(f"Security Group and Subnets must be in the same VPC; they are in {sorted(networks)}")
        return {"awsvpcConfiguration": {"assignPublicIp": "DISABLED", "securityGroups": [], **found}}
