"""Target tracking: from a metric over alarms to the number of instances, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.signals import Measurement
from tests.localcloud.cloudwatch.account import Account

SCOPE = {"ServiceNamespace": "sagemaker", "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}
VARIANT = {**SCOPE, "ResourceId": "endpoint/e/variant/AllTraffic"}
DIMENSIONS = {"EndpointName": "e", "VariantName": "AllTraffic"}
INVOCATIONS = {"PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}}


@pytest.fixture
def scaling(account: Account) -> Any:
    client = account.client("application-autoscaling")
    client.register_scalable_target(**VARIANT, MinCapacity=1, MaxCapacity=8)
    account.advance()
    return client


def put_policy(client: Any, name: str = "p", **configuration: Any) -> dict[str, Any]:
    wanted = {"TargetValue": 100, **INVOCATIONS, **configuration}
    answer: dict[str, Any] = client.put_scaling_policy(
        **VARIANT,
        PolicyName=name,
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration=wanted,
    )
    return answer


def minutes(account: Account, *each: float) -> None:
    """Minutes with so many invocations per instance."""
    for value in each:
        account.advance(30)
        account.context.signals.measurements(
            [Measurement("AWS/SageMaker", "InvocationsPerInstance", value, "None", account.clock.now(), DIMENSIONS)]
        )
        account.advance(30)


def activities(client: Any) -> list[tuple[str, str]]:
    found = client.describe_scaling_activities(ServiceNamespace="sagemaker")["ScalingActivities"]
    return [(activity["StatusCode"], activity["StatusMessage"]) for activity in found]


def test_a_policy_makes_its_two_alarms_and_takes_them_along(account: Account, scaling: Any) -> None:
    answer = put_policy(scaling, TargetValue=70)
    names = [alarm["AlarmName"] for alarm in answer["Alarms"]]
    high, low = account.client("cloudwatch").describe_alarms(AlarmNames=names)["MetricAlarms"]
    assert high["AlarmName"].startswith("TargetTracking-endpoint/e/variant/AllTraffic-AlarmHigh-")
    assert (high["Threshold"], high["EvaluationPeriods"], high["Period"]) == (70, 3, 60)
    assert (low["Threshold"], low["EvaluationPeriods"], low["ComparisonOperator"]) == (63, 15, "LessThanThreshold")
    assert high["AlarmActions"] == low["AlarmActions"] == [answer["PolicyARN"]]
    assert (high["Namespace"], high["MetricName"], high["Statistic"]) == (
        "AWS/SageMaker",
        "InvocationsPerInstance",
        "Sum",
    )
    again = put_policy(scaling, TargetValue=50, DisableScaleIn=True)
    assert again["PolicyARN"] == answer["PolicyARN"]
    assert [alarm["AlarmName"] for alarm in again["Alarms"]] == names[:1]
    (only,) = account.client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert only["Threshold"] == 50
    (policy,) = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    assert policy["Alarms"] == again["Alarms"]
    scaling.deregister_scalable_target(**VARIANT)
    assert scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"] == []
    assert scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"] == []
    assert account.client("cloudwatch").describe_alarms()["MetricAlarms"] == []


def test_a_variant_follows_its_target_out_and_in(account: Account, scaling: Any) -> None:
    put_policy(scaling)
    minutes(account, 250, 250)
    assert account.endpoints.calls == []
    minutes(account, 250)
    assert account.endpoints.calls == [3]
    # Fifteen minutes below nine tenths of the target, less what the cooldown asks.
    minutes(account, *[30] * 16)
    assert account.endpoints.calls == [3, 1]
    assert activities(scaling) == [
        ("Successful", "Successfully set desired instance count to 1. Change successfully fulfilled by sagemaker."),
        ("Successful", "Successfully set desired instance count to 3. Change successfully fulfilled by sagemaker."),
    ]
    (_, first) = scaling.describe_scaling_activities(ServiceNamespace="sagemaker")["ScalingActivities"]
    assert first["Description"] == "Setting desired instance count to 3."
    assert first["Cause"].startswith("monitor alarm TargetTracking-endpoint/e/variant/AllTraffic-AlarmHigh-")
    assert first["Cause"].endswith(" in state ALARM triggered policy p")


def test_within_the_cooldown_what_was_added_counts(account: Account, scaling: Any) -> None:
    put_policy(scaling, ScaleOutCooldown=300)
    minutes(account, 250, 250, 250)
    assert account.endpoints.calls == [3]
    # One instance with 250 asked for three. The metric is as high still: three are enough for it.
    minutes(account, 250, 250)
    assert account.endpoints.calls == [3]
    # It is higher: one instance with 500 asks for five.
    minutes(account, 500)
    assert account.endpoints.calls == [3, 5]


def test_after_the_cooldown_an_alarm_that_lasts_scales_again(account: Account, scaling: Any) -> None:
    put_policy(scaling, ScaleOutCooldown=0)
    minutes(account, 150, 150, 150)
    assert account.endpoints.calls == [2]
    minutes(account, 150)
    assert account.endpoints.calls == [2, 3]
    minutes(account, 900)
    assert account.endpoints.calls == [2, 3, 8]
    minutes(account, 900, 900)
    assert account.endpoints.calls == [2, 3, 8]


def test_an_endpoint_that_is_being_changed_is_left_alone(account: Account, scaling: Any) -> None:
    put_policy(scaling, ScaleOutCooldown=0)
    account.endpoints.at_once = False
    minutes(account, 150, 150, 150)
    assert activities(scaling) == [
        ("InProgress", "Successfully set desired instance count to 2. Waiting for change to be fulfilled by sagemaker.")
    ]
    minutes(account, 150, 150)
    assert account.endpoints.calls == [2]
    account.endpoints.finish()
    account.advance()
    assert [status for status, _ in activities(scaling)] == ["Successful"]
    minutes(account, 150)
    assert account.endpoints.calls == [2, 3]


def test_an_activity_in_progress_outlives_localcloud(tmp_path: Path) -> None:
    account = Account(tmp_path)
    account.endpoints.at_once = False
    client = account.client("application-autoscaling")
    client.register_scalable_target(**VARIANT, MinCapacity=2, MaxCapacity=8)
    account.advance()
    assert [status for status, _ in activities(client)] == ["InProgress"]
    again = account.restart()
    again.endpoints.counts["AllTraffic"] = 2
    again.endpoints.finish()
    again.advance()
    assert [status for status, _ in activities(again.client("application-autoscaling"))] == ["Successful"]
    again.stop()


def test_bounds_that_were_not_seen_to_are_so_at_the_next_start(tmp_path: Path) -> None:
    account = Account(tmp_path)
    account.endpoints.status = "Updating"
    client = account.client("application-autoscaling")
    client.register_scalable_target(**VARIANT, MinCapacity=2, MaxCapacity=8)
    account.advance()
    assert account.endpoints.calls == []
    again = account.restart()
    again.advance()
    assert again.endpoints.calls == [2]
    again.stop()


def test_a_variant_is_brought_within_its_bounds(account: Account) -> None:
    client = account.client("application-autoscaling")
    client.register_scalable_target(**VARIANT, MinCapacity=2, MaxCapacity=4)
    account.advance()
    assert account.endpoints.calls == [2]
    account.endpoints.status = "Updating"
    client.register_scalable_target(**VARIANT, MinCapacity=1, MaxCapacity=1)
    account.advance()
    assert account.endpoints.calls == [2]
    account.endpoints.finish()
    account.advance()
    assert account.endpoints.calls == [2, 1]
    causes = [
        activity["Cause"]
        for activity in client.describe_scaling_activities(ServiceNamespace="sagemaker")["ScalingActivities"]
    ]
    assert causes == ["maximum capacity was set to 1", "minimum capacity was set to 2"]
    (target,) = client.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 1)
    assert target["RoleARN"].endswith("/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint")


def test_what_is_not_there_cannot_be_registered(account: Account, scaling: Any) -> None:
    account.endpoints.counts = {"Other": 1}
    with pytest.raises(ClientError, match="doesn't exist: endpoint/e/variant/AllTraffic"):
        scaling.register_scalable_target(**VARIANT, MinCapacity=1, MaxCapacity=2)


def test_the_policy_that_asks_for_most_wins(account: Account, scaling: Any) -> None:
    put_policy(scaling)
    busy = {"MetricName": "Busy", "Namespace": "Demo", "Statistic": "Average"}
    scaling.put_scaling_policy(
        **VARIANT,
        PolicyName="busy",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={"TargetValue": 50, "CustomizedMetricSpecification": busy},
    )
    account.endpoints.counts["AllTraffic"] = 4
    for _ in range(18):
        account.put(49, "Busy")
        minutes(account, 10)
    assert account.endpoints.calls == []
    for _ in range(16):
        account.put(10, "Busy")
        minutes(account, 10)
    assert account.endpoints.calls == [1]


def test_suspended_scaling_does_nothing(account: Account, scaling: Any) -> None:
    put_policy(scaling)
    scaling.register_scalable_target(**VARIANT, SuspendedState={"DynamicScalingOutSuspended": True})
    minutes(account, 250, 250, 250, 250)
    assert account.endpoints.calls == []
    scaling.register_scalable_target(**VARIANT, SuspendedState={"DynamicScalingOutSuspended": False})
    minutes(account, 250)
    assert account.endpoints.calls == [3]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            {"PolicyType": "StepScaling"},
            "localcloud has policies of the type TargetTrackingScaling; got PolicyType StepScaling",
        ),
        ({"ServiceNamespace": "ecs"}, "localcloud scales the namespace sagemaker; got ServiceNamespace ecs"),
        ({"ResourceId": "endpoint/e"}, "is endpoint/NAME/variant/NAME; got 'endpoint/e'"),
        (
            {"ResourceId": "endpoint/e/variant/other"},
            "No scalable target registered for service namespace: sagemaker, resource ID: endpoint/e/variant/other,"
            " scalable dimension: sagemaker:variant:DesiredInstanceCount",
        ),
        (
            {"TargetTrackingScalingPolicyConfiguration": {"TargetValue": 0, **INVOCATIONS}},
            "TargetValue must be greater than 0",
        ),
        ({"TargetTrackingScalingPolicyConfiguration": {"TargetValue": 1}}, "Specify exactly one of Predefined"),
        (
            {
                "TargetTrackingScalingPolicyConfiguration": {
                    "TargetValue": 1,
                    "PredefinedMetricSpecification": {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"},
                }
            },
            "got PredefinedMetricType ECSServiceAverageCPUUtilization",
        ),
    ],
)
def test_what_is_not_supported_is_refused_by_name(scaling: Any, members: dict[str, Any], message: str) -> None:
    wanted = {
        **VARIANT,
        "PolicyName": "p",
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {"TargetValue": 1, **INVOCATIONS},
        **members,
    }
    with pytest.raises(ClientError) as error:
        scaling.put_scaling_policy(**wanted)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"MinCapacity": 0}, "MinCapacity must be 1 or more"),
        ({"MinCapacity": 3, "MaxCapacity": 2}, "Maximum capacity cannot be less than minimum capacity"),
    ],
)
def test_bounds_must_be_ones(scaling: Any, bounds: dict[str, int], message: str) -> None:
    with pytest.raises(ClientError, match=message):
        scaling.register_scalable_target(**VARIANT, **bounds)
