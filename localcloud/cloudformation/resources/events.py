"""AWS::Events::EventBus, and AWS::Events::Rule with its targets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from localcloud.cloudformation.errors import ResourceFailed
from localcloud.cloudformation.resources.kind import (
    Call,
    Properties,
    ResourceType,
    changed,
    document,
    exists,
    pick,
    refuse_existing,
    tag_list,
)

_TARGET = (
    "Arn", "DeadLetterConfig", "Id", "Input", "InputPath", "InputTransformer", "RetryPolicy", "RoleArn",
    "SageMakerPipelineParameters", "SqsParameters",
)  # fmt: skip
_RULE = ("Description", "EventPattern", "RoleArn", "ScheduleExpression", "State")
_MOST_IN_A_CALL = 10
_DEFAULT_BUS = "default"


class EventBus(ResourceType):
    name = "AWS::Events::EventBus"
    name_property = "Name"
    attributes = frozenset({"Arn", "Name"})
    honours = frozenset({"Name", "Tags"})

    def create(self, call: Call, properties: Properties) -> str:
        tags = {"Tags": tag_list(call.tags)} if call.tags else {}
        call.client("events").create_event_bus(Name=properties["Name"], **tags)
        return str(properties["Name"])

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        events, arn = call.client("events"), self._arn(call, physical_id)
        call.retag(
            lambda tags: events.tag_resource(ResourceARN=arn, Tags=tag_list(tags)),
            lambda keys: events.untag_resource(ResourceARN=arn, TagKeys=keys),
        )

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("events").delete_event_bus(Name=physical_id)

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        return {"Arn": self._arn(call, physical_id), "Name": physical_id}

    def _arn(self, call: Call, physical_id: str) -> str:
        return call.arn("events", f"event-bus/{physical_id}")


class Rule(ResourceType):
    name = "AWS::Events::Rule"
    name_property = "Name"
    attributes = frozenset({"Arn"})
    honours = frozenset({*_RULE, *(f"Targets.{member}" for member in _TARGET), "EventBusName", "Name", "Tags"})

    def create(self, call: Call, properties: Properties) -> str:
        events = call.client("events")
        name = properties.get("Name") or call.new_name(64)
        bus = pick(properties, "EventBusName")
        # PutRule changes a rule that is there; a stack does not take it over.
        if exists(lambda: events.describe_rule(Name=name, **bus)):
            refuse_existing(self.name, name)
        events.put_rule(Name=name, **bus, **_rule(properties), **({"Tags": tag_list(call.tags)} if call.tags else {}))
        return str(name) if _is_default(properties) else f"{properties['EventBusName']}|{name}"

    def finish(self, call: Call, physical_id: str, properties: Properties) -> None:
        self._targets(call, physical_id, {}, properties)

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        events = call.client("events")
        name, bus = _name(physical_id), pick(after, "EventBusName")
        if changed(before, after, *_RULE):
            # What is not named is taken away.
            events.put_rule(Name=name, **bus, **_rule(after))
        self._targets(call, physical_id, before, after)
        arn = self._arn(call, physical_id, after)
        call.retag(
            lambda tags: events.tag_resource(ResourceARN=arn, Tags=tag_list(tags)),
            lambda keys: events.untag_resource(ResourceARN=arn, TagKeys=keys),
        )

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        events = call.client("events")
        name, bus = _name(physical_id), pick(properties, "EventBusName")
        if exists(lambda: events.describe_rule(Name=name, **bus)):
            there = {
                target["Id"]
                for page in events.get_paginator("list_targets_by_rule").paginate(Rule=name, **bus)
                for target in page.get("Targets", ())
            }
            # A rule with targets of somebody else's is not deleted, as on AWS.
            ours = [target["Id"] for target in properties.get("Targets") or () if target["Id"] in there]
            self._remove(events, name, bus, ours)
        events.delete_rule(Name=name, **bus)

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        return {"Arn": self._arn(call, physical_id, properties)}

    def _arn(self, call: Call, physical_id: str, properties: Properties) -> str:
        name = _name(physical_id)
        path = name if _is_default(properties) else f"{properties['EventBusName'].rpartition('/')[2]}/{name}"
        return call.arn("events", f"rule/{path}")

    def _targets(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        events = call.client("events")
        name, bus = _name(physical_id), pick(after, "EventBusName")
        was, wanted = ({target["Id"]: target for target in one.get("Targets") or ()} for one in (before, after))
        self._remove(events, name, bus, [key for key in was if key not in wanted])
        put = [target for key, target in wanted.items() if was.get(key) != target]
        for some in _batches(put):
            _check(events.put_targets(Rule=name, **bus, Targets=[pick(target, *_TARGET) for target in some]))

    def _remove(self, events: Any, name: str, bus: Mapping[str, Any], ids: list[str]) -> None:
        for some in _batches(ids):
            _check(events.remove_targets(Rule=name, **bus, Ids=some))


def _rule(properties: Properties) -> dict[str, Any]:
    found = pick(properties, *_RULE)
    if "EventPattern" in found:
        found["EventPattern"] = document(found["EventPattern"])
    return found


def _name(physical_id: str) -> str:
    return physical_id.rpartition("|")[2]


def _is_default(properties: Properties) -> bool:
    return str(properties.get("EventBusName", _DEFAULT_BUS)).rpartition("/")[2] == _DEFAULT_BUS


def _batches(items: list[Any]) -> Iterable[list[Any]]:
    return (items[start : start + _MOST_IN_A_CALL] for start in range(0, len(items), _MOST_IN_A_CALL))


def _check(answer: Mapping[str, Any]) -> None:
    """PutTargets and RemoveTargets succeed although entries fail."""
    for entry in answer.get("FailedEntries") or ():
        raise ResourceFailed(
            f"The target {entry.get('TargetId')}: {entry.get('ErrorCode')}: {entry.get('ErrorMessage')}"
        )


TYPES = (EventBus(), Rule())
