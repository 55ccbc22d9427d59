"""Application Auto Scaling of an endpoint: registered, followed, and left alone again."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.conftest import Cloud
from tests.contract.sagemaker_account import INSTANCE, Account, error_of, until

SCOPE = {"ServiceNamespace": "sagemaker", "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}
INVOCATIONS = {"PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}}


@pytest.fixture(scope="module")
def account(cloud: Any) -> Account:
    """The account under test."""
    return Account.of(cloud)


@pytest.fixture
def endpoint(account: Account) -> Iterator[str]:
    """An endpoint in service; it is deleted after the test."""
    name = serve(account)
    yield name
    account.sagemaker.delete_endpoint(EndpointName=name)


def serve(account: Account) -> str:
    """An endpoint with one instance, in service."""
    name, sagemaker = account.name("scaled"), account.sagemaker
    sagemaker.create_model(ModelName=name, PrimaryContainer={"Image": account.image}, ExecutionRoleArn=account.role)
    variant = {"VariantName": "AllTraffic", "ModelName": name, "InstanceType": INSTANCE, "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    settled(account, name)
    return name


def settled(account: Account, name: str) -> int:
    """How many instances the endpoint has, once it is in service."""

    def there() -> Any:
        found = account.sagemaker.describe_endpoint(EndpointName=name)
        assert found["EndpointStatus"] != "Failed", found["FailureReason"]
        return found if found["EndpointStatus"] == "InService" else None

    (variant,) = until(there, f"{name} is in service")["ProductionVariants"]
    return int(variant["CurrentInstanceCount"])


def policy_of(variant: dict[str, Any], target: float, **configuration: Any) -> dict[str, Any]:
    return {
        **variant,
        "PolicyName": "invocations",
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {"TargetValue": target, **INVOCATIONS, **configuration},
    }


def test_a_target_and_its_policy(account: Account, endpoint: str) -> None:
    scaling, cloudwatch = account.client("application-autoscaling"), account.client("cloudwatch")
    resource_id = f"endpoint/{endpoint}/variant/AllTraffic"
    variant = {**SCOPE, "ResourceId": resource_id}
    arn = scaling.register_scalable_target(**variant, MinCapacity=1, MaxCapacity=2, Tags={"project": "demo"})[
        "ScalableTargetARN"
    ]
    found = scaling.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[resource_id])
    (target,) = found["ScalableTargets"]
    assert (target["ScalableTargetARN"], target["MinCapacity"], target["MaxCapacity"]) == (arn, 1, 2)
    assert scaling.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"project": "demo"}
    answer = scaling.put_scaling_policy(**policy_of(variant, 50))
    assert f":resource/sagemaker/{resource_id}:policyName/invocations" in answer["PolicyARN"]
    names = [alarm["AlarmName"] for alarm in answer["Alarms"]]
    alarms = cloudwatch.describe_alarms(AlarmNames=names)["MetricAlarms"]
    assert sorted((alarm["Threshold"], alarm["EvaluationPeriods"]) for alarm in alarms) == [(45, 15), (50, 3)]
    (policy,) = scaling.describe_scaling_policies(ServiceNamespace="sagemaker", ResourceId=resource_id)[
        "ScalingPolicies"
    ]
    assert policy["TargetTrackingScalingPolicyConfiguration"] == {"TargetValue": 50, **INVOCATIONS}
    scaling.delete_scaling_policy(**variant, PolicyName="invocations")
    assert cloudwatch.describe_alarms(AlarmNames=names)["MetricAlarms"] == []
    scaling.deregister_scalable_target(**variant)
    code, message = error_of(scaling.deregister_scalable_target, **variant)
    assert code == "ObjectNotFoundException"
    assert message.endswith(
        f"for service namespace: sagemaker, resource ID: {resource_id}, scalable dimension:"
        " sagemaker:variant:DesiredInstanceCount"
    )


def test_an_endpoint_follows_its_invocations(
    cloud: Cloud, account: Account, endpoint: str, localcloud_only: None
) -> None:
    scaling, resource_id = account.client("application-autoscaling"), f"endpoint/{endpoint}/variant/AllTraffic"
    variant = {**SCOPE, "ResourceId": resource_id}
    scaling.register_scalable_target(**variant, MinCapacity=1, MaxCapacity=2)
    scaling.put_scaling_policy(**policy_of(variant, 3, ScaleInCooldown=60, ScaleOutCooldown=60))
    runtime = account.client("sagemaker-runtime")

    def minute(requests: int) -> None:
        for _ in range(requests):
            runtime.invoke_endpoint(EndpointName=endpoint, Body=b"a")
        advance(cloud, 60)

    for _ in range(4):
        minute(5)
    assert settled(account, endpoint) == 2
    for _ in range(17):
        minute(1)
    assert settled(account, endpoint) == 1

    def ended() -> Any:
        found = scaling.describe_scaling_activities(ServiceNamespace="sagemaker", ResourceId=resource_id)[
            "ScalingActivities"
        ]
        return found if {activity["StatusCode"] for activity in found} == {"Successful"} else None

    activities = until(ended, "the activities are over")
    assert [activity["Description"] for activity in activities] == [
        "Setting desired instance count to 1.",
        "Setting desired instance count to 2.",
    ]
    assert "-AlarmLow-" in activities[0]["Cause"]
    assert "-AlarmHigh-" in activities[1]["Cause"]


def advance(cloud: Cloud, seconds: float) -> None:
    address = f"{cloud.endpoint_url}/_localcloud/advance"
    request = urllib.request.Request(address, data=str(seconds).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 200
