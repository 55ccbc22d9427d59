"""The service application-autoscaling: scalable targets, target tracking policies, and the activities they lead to."""

from __future__ import annotations

from collections.abc import Mapping

from localcloud.autoscaling.policies import Policies
from localcloud.autoscaling.scaler import Scaler
from localcloud.autoscaling.targets import Targets
from localcloud.cloudwatch.actions import RunPolicy
from localcloud.context import Context
from localcloud.service import Handler

_ROLE = "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"


class ApplicationAutoScaling:
    """The service. `run_policy` is for CloudWatch, whose alarms have policies as their actions."""

    name = "application-autoscaling"

    def __init__(self, context: Context) -> None:
        role_arn = (
            f"arn:aws:iam::{context.account_id}:role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com"
            f"/{_ROLE}"
        )
        self._scaler = Scaler(context, role_arn)
        policies = Policies(context, role_arn, lambda variant: targets.get(variant))
        targets = Targets(context, self._scaler, role_arn, policies.delete_all)
        self._operations: dict[str, Handler] = {
            "RegisterScalableTarget": targets.register,
            "DescribeScalableTargets": targets.describe,
            "DeregisterScalableTarget": targets.deregister,
            "PutScalingPolicy": policies.put,
            "DescribeScalingPolicies": policies.describe,
            "DeleteScalingPolicy": policies.delete,
            "DescribeScalingActivities": targets.describe_activities,
            "TagResource": targets.tag,
            "UntagResource": targets.untag,
            "ListTagsForResource": targets.list_tags,
        }

    @property
    def operations(self) -> Mapping[str, Handler]:
        """What is implemented, by name."""
        return self._operations

    @property
    def run_policy(self) -> RunPolicy:
        """Runs a policy whose alarm is in ALARM."""
        return self._scaler.run_policy

    def start(self) -> None:
        """Take up the activities that were in progress."""
        self._scaler.start()

    def stop(self) -> None:
        """End; what is in progress is taken up at the next start."""
        self._scaler.stop()
