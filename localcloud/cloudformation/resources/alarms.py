"""AWS::CloudWatch::Alarm and AWS::CloudWatch::CompositeAlarm."""

from __future__ import annotations

from typing import Any, ClassVar

from localcloud.cloudformation.resources.kind import (
    Call,
    Properties,
    ResourceType,
    changed,
    pick,
    refuse_existing,
    tag_list,
)

_ACTIONS = ("ActionsEnabled", "AlarmActions", "AlarmDescription", "InsufficientDataActions", "OKActions")
_METRIC = (
    "ComparisonOperator", "DatapointsToAlarm", "Dimensions", "EvaluateLowSampleCountPercentile", "EvaluationPeriods",
    "ExtendedStatistic", "MetricName", "Metrics", "Namespace", "Period", "Statistic", "Threshold", "TreatMissingData",
    "Unit",
)  # fmt: skip


class _AnyAlarm(ResourceType):
    """What both kinds have in common: one call makes the alarm, and changes it."""

    name_property = "AlarmName"
    attributes = frozenset({"Arn"})
    members: ClassVar[tuple[str, ...]]
    put: ClassVar[str]

    def create(self, call: Call, properties: Properties) -> str:
        cloudwatch = call.client("cloudwatch")
        name = properties.get("AlarmName") or call.new_name(255)
        found = cloudwatch.describe_alarms(AlarmNames=[name], AlarmTypes=["MetricAlarm", "CompositeAlarm"])
        # The call changes an alarm that is there; a stack does not take it over.
        if found["MetricAlarms"] or found["CompositeAlarms"]:
            refuse_existing(self.name, name)
        self._put(call, name, properties, **({"Tags": tag_list(call.tags)} if call.tags else {}))
        return str(name)

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        if changed(before, after, *self.members):
            self._put(call, physical_id, after)
        cloudwatch, arn = call.client("cloudwatch"), call.arn("cloudwatch", f"alarm:{physical_id}")
        call.retag(
            lambda tags: cloudwatch.tag_resource(ResourceARN=arn, Tags=tag_list(tags)),
            lambda keys: cloudwatch.untag_resource(ResourceARN=arn, TagKeys=keys),
        )

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("cloudwatch").delete_alarms(AlarmNames=[physical_id])

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        return {"Arn": call.arn("cloudwatch", f"alarm:{physical_id}")}

    def _put(self, call: Call, name: str, properties: Properties, **more: Any) -> None:
        put = getattr(call.client("cloudwatch"), self.put)
        put(AlarmName=name, **pick(properties, *self.members), **more)


class Alarm(_AnyAlarm):
    name = "AWS::CloudWatch::Alarm"
    members = (*_ACTIONS, *_METRIC)
    honours = frozenset({*members, "AlarmName", "Tags"})
    put = "put_metric_alarm"


class CompositeAlarm(_AnyAlarm):
    name = "AWS::CloudWatch::CompositeAlarm"
    members = (*_ACTIONS, "AlarmRule")
    honours = frozenset({*members, "AlarmName", "Tags"})
    put = "put_composite_alarm"


TYPES = (Alarm(), CompositeAlarm())
