"""AWS::Scheduler::Schedule and AWS::Scheduler::ScheduleGroup."""

from __future__ import annotations

from typing import Any

from localcloud.cloudformation.resources.kind import (
    Call,
    Properties,
    ResourceType,
    exists,
    pick,
    refuse_existing,
    tag_list,
)

_TIMING = (
    "Description", "EndDate", "FlexibleTimeWindow", "ScheduleExpression", "ScheduleExpressionTimezone", "StartDate",
    "State",
)  # fmt: skip
_TARGET = (
    "Arn", "DeadLetterConfig", "EcsParameters", "EventBridgeParameters", "Input", "RetryPolicy", "RoleArn",
    "SageMakerPipelineParameters", "SqsParameters",
)  # fmt: skip
_DEFAULT_GROUP = "default"


class Schedule(ResourceType):
    name = "AWS::Scheduler::Schedule"
    name_property = "Name"
    attributes = frozenset({"Arn"})
    honours = frozenset({*_TIMING, *(f"Target.{member}" for member in _TARGET), "GroupName", "Name"})
    replaced_by = frozenset({"GroupName"})

    def create(self, call: Call, properties: Properties) -> str:
        scheduler = call.client("scheduler")
        name = properties.get("Name") or call.new_name(64)
        group = pick(properties, "GroupName")
        # A stack does not take over what is there, and its own token would let it.
        if exists(lambda: scheduler.get_schedule(Name=name, **group)):
            refuse_existing(self.name, name)
        scheduler.create_schedule(Name=name, **group, **pick(properties, *_TIMING), Target=_target(properties))
        return str(name)

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        # What is not named is taken away.
        group = pick(after, "GroupName")
        members = pick(after, *_TIMING)
        call.client("scheduler").update_schedule(Name=physical_id, **group, **members, Target=_target(after))

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("scheduler").delete_schedule(Name=physical_id, **pick(properties, "GroupName"))

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        group = properties.get("GroupName", _DEFAULT_GROUP)
        return {"Arn": call.arn("scheduler", f"schedule/{group}/{physical_id}")}


class ScheduleGroup(ResourceType):
    name = "AWS::Scheduler::ScheduleGroup"
    name_property = "Name"
    attributes = frozenset({"Arn", "CreationDate", "LastModificationDate", "State"})
    honours = frozenset({"Name", "Tags"})

    def create(self, call: Call, properties: Properties) -> str:
        scheduler = call.client("scheduler")
        name = properties.get("Name") or call.new_name(64)
        if exists(lambda: scheduler.get_schedule_group(Name=name)):
            refuse_existing(self.name, name)
        scheduler.create_schedule_group(Name=name, **({"Tags": tag_list(call.tags)} if call.tags else {}))
        return str(name)

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        scheduler, arn = call.client("scheduler"), self._arn(call, physical_id)
        call.retag(
            lambda tags: scheduler.tag_resource(ResourceArn=arn, Tags=tag_list(tags)),
            lambda keys: scheduler.untag_resource(ResourceArn=arn, TagKeys=keys),
        )

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("scheduler").delete_schedule_group(Name=physical_id)

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        found = call.client("scheduler").get_schedule_group(Name=physical_id)
        moments = {name: f"{found[name]:%Y-%m-%dT%H:%M:%SZ}" for name in ("CreationDate", "LastModificationDate")}
        return {"Arn": found["Arn"], "State": found["State"], **moments}

    def _arn(self, call: Call, physical_id: str) -> str:
        return call.arn("scheduler", f"schedule-group/{physical_id}")


def _target(properties: Properties) -> dict[str, Any]:
    """The target. What CloudFormation writes with a capital below EcsParameters, Scheduler's own interface writes as
    ECS does."""
    target = dict(properties["Target"])
    if "EcsParameters" not in target:
        return target
    found = dict(target["EcsParameters"])
    for member in ("CapacityProviderStrategy", "PlacementConstraints", "PlacementStrategy"):
        if member in found:
            found[member] = [{_small(name): value for name, value in item.items()} for item in found[member]]
    if "NetworkConfiguration" in found:
        network = found["NetworkConfiguration"]
        found["NetworkConfiguration"] = {_small(name): value for name, value in network.items()}
    return {**target, "EcsParameters": found}


def _small(name: str) -> str:
    return f"{name[0].lower()}{name[1:]}"


TYPES = (Schedule(), ScheduleGroup())
"""The resource types of EventBridge Scheduler."""
