"""AWS::SSM::Parameter."""

from __future__ import annotations

from typing import Any

from localcloud.cloudformation.resources.kind import Call, Properties, ResourceType, changed, pick, tag_list

_MEMBERS = ("AllowedPattern", "DataType", "Description", "Tier", "Type", "Value")


class Parameter(ResourceType):
    name = "AWS::SSM::Parameter"
    name_property = "Name"
    attributes = frozenset({"Arn", "Type", "Value"})
    changing = frozenset({"Type", "Value"})
    honours = frozenset({*_MEMBERS, "Name", "Tags"})

    def create(self, call: Call, properties: Properties) -> str:
        name = properties.get("Name") or f"CFN-{call.new_name(200)}"
        call.client("ssm").put_parameter(
            Name=name, **pick(properties, *_MEMBERS), **({"Tags": tag_list(call.tags)} if call.tags else {})
        )
        return str(name)

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        ssm = call.client("ssm")
        if changed(before, after, *_MEMBERS):
            # Overwriting keeps a description that is not named: an empty one takes it away.
            cleared = {"Description": ""} if "Description" in before else {}
            ssm.put_parameter(Name=physical_id, Overwrite=True, **cleared | pick(after, *_MEMBERS))
        call.retag(
            lambda tags: ssm.add_tags_to_resource(
                ResourceType="Parameter", ResourceId=physical_id, Tags=tag_list(tags)
            ),
            lambda keys: ssm.remove_tags_from_resource(ResourceType="Parameter", ResourceId=physical_id, TagKeys=keys),
        )

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("ssm").delete_parameter(Name=physical_id)

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        return {
            "Arn": call.arn("ssm", f"parameter/{physical_id.removeprefix('/')}"),
            "Type": properties["Type"],
            "Value": properties["Value"],
        }


TYPES = (Parameter(),)
