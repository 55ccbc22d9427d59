"""How a change of an alarm's state is told: to EventBridge, to a Lambda function, and to an SNS topic.

Each of the three has a form of its own. An alarm here is its stored document, before and after the change.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from functools import cache
from typing import Any

from botocore.loaders import Loader

from localcloud.cloudwatch import moments
from localcloud.signals import Event

Alarm = Mapping[str, Any]
_SOURCE = "aws.cloudwatch"


def state_change(before: Alarm, after: Alarm) -> Event:
    """The event `CloudWatch Alarm State Change`."""
    return Event(
        source=_SOURCE,
        detail_type="CloudWatch Alarm State Change",
        detail=_change(before, after),
        time=after["StateUpdatedTimestamp"],
        resources=[after["AlarmArn"]],
    )


def configuration_change(alarm: Alarm, operation: str, before: Alarm | None = None) -> Event:
    """The event `CloudWatch Alarm Configuration Change`; the operation is `create`, `update` or `delete`."""
    detail = {
        "alarmName": alarm["AlarmName"],
        "operation": operation,
        "state": _state(alarm),
        "configuration": _whole_configuration(alarm),
    }
    if before is not None:
        detail["previousConfiguration"] = _whole_configuration(before)
    return Event(
        source=_SOURCE,
        detail_type="CloudWatch Alarm Configuration Change",
        detail=detail,
        time=alarm["AlarmConfigurationUpdatedTimestamp"],
        resources=[alarm["AlarmArn"]],
    )


def for_lambda(before: Alarm, after: Alarm, account_id: str, region: str) -> dict[str, Any]:
    """What a function gets whose ARN is an action of the alarm."""
    return {
        "source": _SOURCE,
        "alarmArn": after["AlarmArn"],
        "accountId": account_id,
        "time": moments.exact(after["StateUpdatedTimestamp"]),
        "region": region,
        "alarmData": _change(before, after),
    }


def for_topic(before: Alarm, after: Alarm, account_id: str, region: str) -> tuple[str, dict[str, Any]]:
    """The subject and the message that a topic gets."""
    long_region = _region_name(region)
    # SNS takes a subject of 100 characters at most.
    subject = f'{after["StateValue"]}: "{after["AlarmName"]}" in {long_region}'[:100]
    message = {
        "AlarmName": after["AlarmName"],
        "AlarmDescription": after.get("AlarmDescription"),
        "AWSAccountId": account_id,
        "AlarmConfigurationUpdatedTimestamp": moments.exact(after["AlarmConfigurationUpdatedTimestamp"]),
        "NewStateValue": after["StateValue"],
        "NewStateReason": after["StateReason"],
        "StateChangeTime": moments.exact(after["StateUpdatedTimestamp"]),
        "Region": long_region,
        "AlarmArn": after["AlarmArn"],
        "OldStateValue": before["StateValue"],
        "OKActions": after["OKActions"],
        "AlarmActions": after["AlarmActions"],
        "InsufficientDataActions": after["InsufficientDataActions"],
    }
    if "AlarmRule" in after:
        return subject, {**message, "AlarmRule": after["AlarmRule"]}
    return subject, {**message, "Trigger": _trigger(after)}


def _trigger(alarm: Alarm) -> dict[str, Any]:
    statistic = {"StatisticType": "Statistic", "Statistic": alarm.get("Statistic", "").upper()}
    if "ExtendedStatistic" in alarm:
        statistic = {"StatisticType": "ExtendedStatistic", "ExtendedStatistic": alarm["ExtendedStatistic"]}
    trigger = {
        "MetricName": alarm["MetricName"],
        "Namespace": alarm["Namespace"],
        **statistic,
        "Unit": alarm.get("Unit"),
        "Dimensions": [
            {"value": dimension["Value"], "name": dimension["Name"]} for dimension in alarm.get("Dimensions", ())
        ],
        "Period": alarm["Period"],
        "EvaluationPeriods": alarm["EvaluationPeriods"],
        "ComparisonOperator": alarm["ComparisonOperator"],
        "Threshold": alarm["Threshold"],
        "TreatMissingData": alarm.get("TreatMissingData", "missing"),
        "EvaluateLowSampleCountPercentile": alarm.get("EvaluateLowSampleCountPercentile", ""),
    }
    if "DatapointsToAlarm" in alarm:
        trigger["DatapointsToAlarm"] = alarm["DatapointsToAlarm"]
    return trigger


def _change(before: Alarm, after: Alarm) -> dict[str, Any]:
    return {
        "alarmName": after["AlarmName"],
        "state": _state(after),
        "previousState": _state(before),
        "configuration": _configuration(after),
    }


def _state(alarm: Alarm) -> dict[str, Any]:
    state = {
        "value": alarm["StateValue"],
        "reason": alarm["StateReason"],
        "timestamp": moments.exact(alarm["StateUpdatedTimestamp"]),
    }
    if alarm.get("StateReasonData"):
        state["reasonData"] = alarm["StateReasonData"]
    return state


def _configuration(alarm: Alarm) -> dict[str, Any]:
    configuration: dict[str, Any] = {}
    if alarm.get("AlarmDescription"):
        configuration["description"] = alarm["AlarmDescription"]
    if "AlarmRule" in alarm:
        return {**configuration, "alarmRule": alarm["AlarmRule"]}
    stat: dict[str, Any] = {
        "metric": {
            "namespace": alarm["Namespace"],
            "name": alarm["MetricName"],
            "dimensions": {dimension["Name"]: dimension["Value"] for dimension in alarm.get("Dimensions", ())},
        },
        "period": alarm["Period"],
        "stat": alarm.get("Statistic") or alarm["ExtendedStatistic"],
    }
    if "Unit" in alarm:
        stat["unit"] = alarm["Unit"]
    # An id of AWS's own making, which stays the same as long as the metric does.
    number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([alarm["AlarmArn"], stat], sort_keys=True))
    return {**configuration, "metrics": [{"id": str(number), "metricStat": stat, "returnData": True}]}


def _whole_configuration(alarm: Alarm) -> dict[str, Any]:
    whole = {
        **_configuration(alarm),
        "alarmName": alarm["AlarmName"],
        "actionsEnabled": alarm["ActionsEnabled"],
        "timestamp": moments.exact(alarm["AlarmConfigurationUpdatedTimestamp"]),
        "okActions": alarm["OKActions"],
        "alarmActions": alarm["AlarmActions"],
        "insufficientDataActions": alarm["InsufficientDataActions"],
    }
    for member in ("EvaluationPeriods", "DatapointsToAlarm", "Threshold", "ComparisonOperator", "TreatMissingData"):
        if member in alarm:
            whole[member[:1].lower() + member[1:]] = alarm[member]
    return whole


@cache
def _region_name(region: str) -> str:
    """`Europe (Ireland)` for eu-west-1."""
    for partition in Loader().load_data("endpoints")["partitions"]:
        if region in partition["regions"]:
            return str(partition["regions"][region]["description"])
    return region
