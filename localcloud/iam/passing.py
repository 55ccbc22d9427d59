"""The roles that a call passes on, and the service to which it does: `iam:PassRole` and `iam:PassedToService`.

Source: "Grant a user permissions to pass a role to an AWS service" in the IAM User Guide.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_SERVICES: Mapping[str, str] = {
    "apigateway": "apigateway.amazonaws.com",
    "application-autoscaling": "application-autoscaling.amazonaws.com",
    "cloudformation": "cloudformation.amazonaws.com",
    "codebuild": "codebuild.amazonaws.com",
    "codepipeline": "codepipeline.amazonaws.com",
    "ecs": "ecs-tasks.amazonaws.com",
    "events": "events.amazonaws.com",
    "firehose": "firehose.amazonaws.com",
    "kinesisanalytics": "kinesisanalytics.amazonaws.com",
    "lambda": "lambda.amazonaws.com",
    "sagemaker": "sagemaker.amazonaws.com",
    "scheduler": "scheduler.amazonaws.com",
    "servicecatalog": "servicecatalog.amazonaws.com",
}
# A project's template is deployed by CloudFormation in the role that is given for it.
_OPERATIONS: Mapping[tuple[str, str], str] = {
    ("sagemaker", "CreateProject"): "cloudformation.amazonaws.com",
    ("sagemaker", "UpdateProject"): "cloudformation.amazonaws.com",
}
_PASSING = re.compile(r"(Create|Update|Put|Start|Execute|Register|Provision)")
# Long, frequent, and without a role.
_OFTEN = frozenset({"PutEvents", "PutRecord", "PutRecordBatch"})
_MEMBERS = frozenset(
    {
        "ExecutionRoleArn", "Role", "RoleARN", "RoleArn", "ServiceExecutionRole", "executionRoleArn", "roleArn",
        "serviceRole", "taskRoleArn",
    }
)  # fmt: skip


def passed_to(service: str, operation: str) -> str | None:
    """The service's principal; None for a service to which no role is passed. service: as in an action."""
    return _OPERATIONS.get((service, operation)) or _SERVICES.get(service)


def roles(service: str, operation: str, params: Mapping[str, Any]) -> Sequence[str]:
    """The ARNs of the roles that a call passes on, wherever its request names them, each once."""
    if operation in _OFTEN or service not in _SERVICES or not _PASSING.match(operation):
        return ()
    return tuple(dict.fromkeys(_named(params, service)))


def _named(value: Any, service: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, member in value.items():
            if name in _MEMBERS and isinstance(member, str) and ":role/" in member:
                yield member
            # What an action of a pipeline is configured with is passed on by the pipeline, when it comes to that.
            elif isinstance(member, Mapping | list) and not (service == "codepipeline" and name == "configuration"):
                yield from _named(member, service)
    elif isinstance(value, list):
        for one in value:
            yield from _named(one, service)
