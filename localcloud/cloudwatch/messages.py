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
from localcloud.cloudwatch.evaluation import period_of
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
    if "Metrics" in alarm:
        return {
            "Period": period_of(alarm["Metrics"]),
            **_evaluated(alarm),
            "Metrics": [_query_for_topic(query) for query in alarm["Metrics"]],
        }
    statistic = {"StatisticType": "Statistic", "Statistic": alarm.get("Statistic", "").upper()}
    if "ExtendedStatistic" in alarm:
        statistic = {"StatisticType": "ExtendedStatistic", "ExtendedStatistic": alarm["ExtendedStatistic"]}
    return {
        "MetricName": alarm["MetricName"],
        "Namespace": alarm["Namespace"],
        **statistic,
        "Unit": alarm.get("Unit"),
        "Dimensions": [
            {"value": dimension["Value"], "name": dimension["Name"]} for dimension in alarm.get("Dimensions", ())
        ],
        "Period": alarm["Period"],
        **_evaluated(alarm),
    }


def _evaluated(alarm: Alarm) -> dict[str, Any]:
    found = {
        "EvaluationPeriods": alarm["EvaluationPeriods"],
        "ComparisonOperator": alarm["ComparisonOperator"],
        "Threshold": alarm["Threshold"],
        "TreatMissingData": alarm.get("TreatMissingData", "missing"),
        "EvaluateLowSampleCountPercentile": alarm.get("EvaluateLowSampleCountPercentile", ""),
    }
    if "DatapointsToAlarm" in alarm:
        found["DatapointsToAlarm"] = alarm["DatapointsToAlarm"]
    return found


def _query_for_topic(query: Mapping[str, Any]) -> dict[str, Any]:
    """A query as PutMetricAlarm takes it, but for the names of dimensions and their values."""
    found = {"Id": query["Id"], **{member: query[member] for member in ("Label", "Expression") if member in query}}
    if "MetricStat" in query:
        metric = query["MetricStat"]["Metric"]
        dimensions = [{"value": item["Value"], "name": item["Name"]} for item in metric.get("Dimensions", ())]
        found["MetricStat"] = {**query["MetricStat"], "Metric": {**metric, "Dimensions": dimensions}}
    return {**found, "ReturnData": query.get("ReturnData", True)}


def _query_for_event(query: Mapping[str, Any]) -> dict[str, Any]:
    """A query in the form of events: names begin with small letters, dimensions are a map."""
    found: dict[str, Any] = {"id": query["Id"], "returnData": query.get("ReturnData", True)}
    for member in ("Expression", "Label"):
        if member in query:
            found[member.lower()] = query[member]
    if "MetricStat" in query:
        stat = query["MetricStat"]
        metric = stat["Metric"]
        found["metricStat"] = {
            "metric": {
                "namespace": metric["Namespace"],
                "name": metric["MetricName"],
                "dimensions": {item["Name"]: item["Value"] for item in metric.get("Dimensions", ())},
            },
            "period": stat["Period"],
            "stat": stat["Stat"],
            **({"unit": stat["Unit"]} if "Unit" in stat else {}),
        }
    return found


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
    if "Metrics" in alarm:
        return {**configuration, "metrics": [_query_for_event(query) for query in alarm["Metrics"]]}
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
