"""Roles for tests that are not about roles: they may do what is asked for, by default everything, and whoever of the
services that take roles wants them, and the account itself, may assume them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

SERVICES = (
    "apigateway", "application-autoscaling", "cloudformation", "codebuild", "codepipeline", "ecs-tasks", "events",
    "kinesisanalytics", "lambda", "sagemaker", "scheduler", "servicecatalog",
)  # fmt: skip
EVERYTHING = ({"Effect": "Allow", "Action": "*", "Resource": "*"},)


def trust(account_id: str = "123456789012") -> str:
    """A trust policy that lets them."""
    principals = {
        "AWS": f"arn:aws:iam::{account_id}:root",
        "Service": [f"{service}.amazonaws.com" for service in SERVICES],
    }
    return policy([{"Effect": "Allow", "Principal": principals, "Action": "sts:AssumeRole"}])


def policy(statements: Sequence[Mapping[str, Any]]) -> str:
    """A policy document."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def make_role(iam: Any, name: str, may: Sequence[Mapping[str, Any]] = EVERYTHING, assumed_by: str | None = None) -> str:
    """Make a role, unless there is one of that name, with what it may; gives its ARN. assumed_by: a trust policy."""
    try:
        made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=assumed_by or trust())["Role"]
    except iam.exceptions.EntityAlreadyExistsException:
        made = iam.get_role(RoleName=name)["Role"]
    if may:
        iam.put_role_policy(RoleName=name, PolicyName="may", PolicyDocument=policy(may))
    return str(made["Arn"])
