"""The operations on scaling policies. A policy is followed by two alarms that it makes: above its target for three
minutes, and a tenth below it for fifteen."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from localcloud.autoscaling.resources import (
    DIMENSION,
    NAMESPACE,
    Variant,
    check_scope,
    described,
    object_not_found,
    read,
    variant_of,
)
from localcloud.autoscaling.scaler import POLICIES, Document
from localcloud.autoscaling.targets import cut
from localcloud.context import Context, Request
from localcloud.errors import validation

_TYPE, _CONFIGURATION = "TargetTrackingScaling", "TargetTrackingScalingPolicyConfiguration"
_PREDEFINED, _CUSTOMIZED = "PredefinedMetricSpecification", "CustomizedMetricSpecification"
_INVOCATIONS = "SageMakerVariantInvocationsPerInstance"
_HIGH_MINUTES, _LOW_MINUTES = 3, 15
_LOW_SHARE = 0.9
_OTHER_CONFIGURATIONS = ("StepScalingPolicyConfiguration", "PredictiveScalingPolicyConfiguration")


class Policies:
    """`check_target` raises for a variant that is not registered."""

    def __init__(self, context: Context, role_arn: str, check_target: Callable[[Variant], Any]) -> None:
        self._context, self._role_arn, self._check_target = context, role_arn, check_target

    def put(self, request: Request) -> dict[str, Any]:
        """PutScalingPolicy, a new one or another configuration for one that is there; its alarms are there when it
        returns. Raises ValidationException or ObjectNotFoundException."""
        params = request.params
        variant = variant_of(params)
        self._check_target(variant)
        configuration = _read_configuration(params)
        key = _key(variant, params["PolicyName"])
        before = self._context.store.get(POLICIES, key)
        policy = {**(before or self._new(variant, params["PolicyName"])), _CONFIGURATION: configuration}
        old_alarms = policy["Alarms"]
        wanted = self._alarms(policy, variant)
        policy["Alarms"] = [{"AlarmName": name, "AlarmARN": self._alarm_arn(name)} for name in wanted]
        # The policy first: its alarms may act at once.
        self._context.store.put(POLICIES, key, policy)
        for name, alarm in wanted.items():
            self._cloudwatch().put_metric_alarm(AlarmName=name, **alarm)
        self._delete_alarms([alarm for alarm in old_alarms if alarm["AlarmName"] not in wanted])
        return {"PolicyARN": policy["PolicyARN"], "Alarms": policy["Alarms"]}

    def describe(self, request: Request) -> dict[str, Any]:
        """DescribeScalingPolicies."""
        params = request.params
        check_scope(params)
        names, resource_id = params.get("PolicyNames"), params.get("ResourceId")
        found = [
            {member: value for member, value in policy.items() if member != "Number"}
            for _, policy in self._context.store.list(POLICIES)
            if (not names or policy["PolicyName"] in names or policy["PolicyARN"] in names)
            and resource_id in (None, policy["ResourceId"])
        ]
        page, token = cut(request.operation, found, params, "PolicyARN")
        return {"ScalingPolicies": page, "NextToken": token}

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteScalingPolicy, and its alarms. Raises ObjectNotFoundException."""
        variant, name = variant_of(request.params), request.params["PolicyName"]
        policy = self._context.store.get(POLICIES, _key(variant, name))
        if policy is None:
            raise object_not_found(f"No scaling policy found for {described(variant)}, policy name: {name}")
        self._delete(policy)
        return {}

    def delete_all(self, variant: Variant) -> None:
        """Delete the policies of a variant, and their alarms."""
        for _, policy in self._context.store.list(POLICIES, f"{variant.resource_id}\n"):
            self._delete(policy)

    def _delete(self, policy: Document) -> None:
        self._delete_alarms(policy["Alarms"])
        self._context.store.delete(POLICIES, _key(read(policy["ResourceId"]), policy["PolicyName"]))

    def _delete_alarms(self, alarms: list[Document]) -> None:
        cloudwatch = self._cloudwatch()
        names = [alarm["AlarmName"] for alarm in alarms]
        if not names:
            return
        # A user may have deleted one.
        there = [alarm["AlarmName"] for alarm in cloudwatch.describe_alarms(AlarmNames=names)["MetricAlarms"]]
        if there:
            cloudwatch.delete_alarms(AlarmNames=there)

    def _new(self, variant: Variant, name: str) -> Document:
        number = str(uuid.uuid4())
        region, account_id = self._context.region, self._context.account_id
        return {
            "PolicyARN": f"arn:aws:autoscaling:{region}:{account_id}:scalingPolicy:{number}:resource/{NAMESPACE}/"
            f"{variant.resource_id}:policyName/{name}",
            "PolicyName": name,
            "ServiceNamespace": NAMESPACE,
            "ResourceId": variant.resource_id,
            "ScalableDimension": DIMENSION,
            "PolicyType": _TYPE,
            "Alarms": [],
            "CreationTime": self._context.clock.now(),
            "Number": number,
        }

    def _alarms(self, policy: Document, variant: Variant) -> dict[str, dict[str, Any]]:
        """The alarms that a policy needs, by name, as PutMetricAlarm takes them."""
        configuration = policy[_CONFIGURATION]
        target = configuration["TargetValue"]
        common = {
            **_metric(configuration, variant),
            "Period": 60,
            "AlarmActions": [policy["PolicyARN"]],
            "AlarmDescription": f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {policy['PolicyARN']}.",
        }
        name = f"TargetTracking-{variant.resource_id}"
        alarms = {
            f"{name}-AlarmHigh-{policy['Number']}": {
                **common,
                "EvaluationPeriods": _HIGH_MINUTES,
                "ComparisonOperator": "GreaterThanThreshold",
                "Threshold": target,
            }
        }
        if not configuration.get("DisableScaleIn"):
            alarms[f"{name}-AlarmLow-{policy['Number']}"] = {
                **common,
                "EvaluationPeriods": _LOW_MINUTES,
                "ComparisonOperator": "LessThanThreshold",
                "Threshold": target * _LOW_SHARE,
            }
        return alarms

    def _alarm_arn(self, name: str) -> str:
        return f"arn:aws:cloudwatch:{self._context.region}:{self._context.account_id}:alarm:{name}"

    def _cloudwatch(self) -> Any:
        return self._context.clients.of("cloudwatch", self._role_arn)


def _key(variant: Variant, name: str) -> str:
    return f"{variant.resource_id}\n{name}"


def _read_configuration(params: Mapping[str, Any]) -> Document:
    # Where it is not named, AWS takes it for step scaling.
    policy_type = params.get("PolicyType", "StepScaling")
    if policy_type != _TYPE:
        raise validation(f"localcloud has policies of the type {_TYPE}; got PolicyType {policy_type}")
    for member in _OTHER_CONFIGURATIONS:
        if member in params:
            raise validation(f"{member} does not go with PolicyType {_TYPE}")
    if _CONFIGURATION not in params:
        raise validation(f"{_CONFIGURATION} is required for PolicyType {_TYPE}")
    configuration: Document = dict(params[_CONFIGURATION])
    if not configuration["TargetValue"] > 0:
        raise validation(f"TargetValue must be greater than 0; it is {configuration['TargetValue']}")
    if (_PREDEFINED in configuration) == (_CUSTOMIZED in configuration):
        raise validation(f"Specify exactly one of {_PREDEFINED} and {_CUSTOMIZED}")
    if _PREDEFINED in configuration:
        _check_predefined(configuration[_PREDEFINED])
    else:
        _check_customized(configuration[_CUSTOMIZED])
    for member in ("ScaleInCooldown", "ScaleOutCooldown"):
        if configuration.get(member, 0) < 0:
            raise validation(f"{member} must be 0 or more; it is {configuration[member]}")
    return {**configuration, "TargetValue": float(configuration["TargetValue"])}


def _check_predefined(specification: Mapping[str, Any]) -> None:
    if specification["PredefinedMetricType"] != _INVOCATIONS:
        raise validation(
            f"localcloud has the predefined metric {_INVOCATIONS}; got PredefinedMetricType"
            f" {specification['PredefinedMetricType']}"
        )
    if "ResourceLabel" in specification:
        raise validation(f"ResourceLabel does not go with {_INVOCATIONS}")


def _check_customized(specification: Mapping[str, Any]) -> None:
    if "Metrics" in specification:
        raise validation("localcloud has customized metrics of one metric; got Metrics, which is metric math")
    for member in ("MetricName", "Namespace", "Statistic"):
        if member not in specification:
            raise validation(f"{_CUSTOMIZED}.{member} is required")


def _metric(configuration: Mapping[str, Any], variant: Variant) -> dict[str, Any]:
    if _CUSTOMIZED in configuration:
        return dict(configuration[_CUSTOMIZED])
    return {
        "Namespace": "AWS/SageMaker",
        "MetricName": "InvocationsPerInstance",
        "Dimensions": [
            {"Name": "EndpointName", "Value": variant.endpoint},
            {"Name": "VariantName", "Value": variant.name},
        ],
        "Statistic": "Sum",
    }
