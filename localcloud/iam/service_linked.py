"""Roles that belong to AWS's services, which are there without anybody's doing, and whose policies are AWS's.

Source: "Service-linked roles for Application Auto Scaling" in its User Guide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from localcloud.iam.evaluation import Policies, Role
from localcloud.iam.policy import read

_PATH = ":role/aws-service-role/"
# By the end of the ARN: what they may, on everything.
_MAY: Mapping[str, Sequence[str]] = {
    "sagemaker.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint": (
        "cloudwatch:DeleteAlarms",
        "cloudwatch:DescribeAlarms",
        "cloudwatch:PutMetricAlarm",
        "sagemaker:DescribeEndpoint",
        "sagemaker:DescribeEndpointConfig",
        "sagemaker:UpdateEndpointWeightsAndCapacities",
    ),
}


def find(arn: str) -> Role | None:
    """The role of that ARN; None if it is not one that localcloud's services have."""
    may = _MAY.get(arn.partition(_PATH)[2])
    if may is None:
        return None
    service, _, name = arn.partition(_PATH)[2].partition("/")
    statement = {"Effect": "Allow", "Action": list(may), "Resource": "*"}
    trusted = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return Role(
        arn,
        Policies(read({"Version": "2012-10-17", "Statement": statement}, name)),
        Policies(read({"Version": "2012-10-17", "Statement": trusted}, "trust", of_resource=True)),
    )
