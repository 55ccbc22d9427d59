"""AWS::CodePipeline::Pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localcloud.cloudformation.errors import ResourceFailed
from localcloud.cloudformation.resources.kind import Call, Properties, ResourceType, changed, exists, refuse_existing

_PIPELINE = ("ArtifactStore", "ExecutionMode", "PipelineType", "RoleArn", "Stages", "Triggers", "Variables")
_ACTION = (
    "ActionTypeId", "Configuration", "InputArtifacts", "Name", "Namespace", "OutputArtifacts.Name", "Region",
    "RoleArn", "RunOrder", "TimeoutInMinutes",
)  # fmt: skip
_DISABLED = "DisableInboundStageTransitions"
_RESTART = "RestartExecutionOnUpdate"
_CONFIGURATION = "Configuration"


class Pipeline(ResourceType):
    name = "AWS::CodePipeline::Pipeline"
    name_property = "Name"
    attributes = frozenset({"Version"})
    changing = frozenset({"Version"})
    honours = frozenset(
        {
            *(set(_PIPELINE) - {"Stages"}),
            "Stages.Name",
            *(f"Stages.Actions.{member}" for member in _ACTION),
            _DISABLED,
            _RESTART,
            "Name",
            "Tags",
        }
    )

    def create(self, call: Call, properties: Properties) -> str:
        pipelines = call.client("codepipeline")
        name = str(properties.get("Name") or call.new_name(100))
        if exists(lambda: pipelines.get_pipeline(name=name)):
            refuse_existing(self.name, name)
        tags = {"tags": _tags(call.tags)} if call.tags else {}
        pipelines.create_pipeline(pipeline=_declaration(name, properties), **tags)
        return name

    def finish(self, call: Call, physical_id: str, properties: Properties) -> None:
        _set_transitions(call, physical_id, {}, properties)

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        pipelines = call.client("codepipeline")
        if changed(before, after, *_PIPELINE):
            pipelines.update_pipeline(pipeline=_declaration(physical_id, after))
        _set_transitions(call, physical_id, before, after)
        arn = call.arn("codepipeline", physical_id)
        call.retag(
            lambda tags: pipelines.tag_resource(resourceArn=arn, tags=_tags(tags)),
            lambda keys: pipelines.untag_resource(resourceArn=arn, tagKeys=keys),
        )
        if after.get(_RESTART) and changed(before, after, *_PIPELINE):
            pipelines.start_pipeline_execution(name=physical_id)

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("codepipeline").delete_pipeline(name=physical_id)

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        found = call.client("codepipeline").get_pipeline(name=physical_id)
        return {"Version": str(found["pipeline"]["version"])}


def _declaration(name: str, properties: Properties) -> dict[str, Any]:
    """The pipeline as CodePipeline takes it, whose members begin in lower case."""
    return {
        "name": name,
        **{_lower(member): _lowered(properties[member]) for member in _PIPELINE if member in properties},
    }


def _lowered(value: Any) -> Any:
    if isinstance(value, list):
        return [_lowered(item) for item in value]
    if isinstance(value, Mapping):
        return {
            _lower(name): _texts(item) if name == _CONFIGURATION else _lowered(item) for name, item in value.items()
        }
    return value


def _texts(configuration: Any) -> dict[str, str]:
    """The configuration of an action, whose keys are the action type's own, and whose values are texts."""
    if not isinstance(configuration, Mapping):
        raise ResourceFailed(f"The Configuration of an action must be an object; got {configuration!r}")
    texts = {}
    for key, value in configuration.items():
        if isinstance(value, bool):
            texts[key] = str(value).lower()
        elif isinstance(value, str | int | float):
            texts[key] = str(value)
        else:
            raise ResourceFailed(f"{key} in the Configuration of an action must be a text; got {value!r}")
    return texts


def _lower(name: str) -> str:
    return f"{name[0].lower()}{name[1:]}"


def _set_transitions(call: Call, name: str, before: Properties, after: Properties) -> None:
    pipelines = call.client("codepipeline")
    was, wanted = ({one["StageName"]: one["Reason"] for one in given.get(_DISABLED) or ()} for given in (before, after))
    there = {stage["Name"] for stage in after["Stages"]}
    for stage in was.keys() - wanted.keys():
        if stage in there:
            pipelines.enable_stage_transition(pipelineName=name, stageName=stage, transitionType="Inbound")
    for stage, reason in wanted.items():
        if was.get(stage) != reason:
            pipelines.disable_stage_transition(
                pipelineName=name, stageName=stage, transitionType="Inbound", reason=reason
            )


def _tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]


TYPES = (Pipeline(),)
"""The resource types of CodePipeline."""
