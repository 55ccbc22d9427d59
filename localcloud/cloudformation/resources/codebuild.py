"""AWS::CodeBuild::Project and AWS::CodeBuild::ReportGroup."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localcloud.cloudformation.resources.kind import Call, Properties, ResourceType, refuse_existing

_PROJECT = (
    "Artifacts", "Cache", "ConcurrentBuildLimit", "Description", "EncryptionKey", "Environment", "LogsConfig",
    "QueuedTimeoutInMinutes", "SecondaryArtifacts", "SecondarySourceVersions", "SecondarySources", "ServiceRole",
    "Source", "SourceVersion", "TimeoutInMinutes", "VpcConfig",
)  # fmt: skip
# What an update gives in place of a property that the template has no more: as the project was without it.
_EMPTY: Mapping[str, Any] = {
    "Cache": {"Type": "NO_CACHE"},
    "ConcurrentBuildLimit": -1,
    "Description": "",
    "LogsConfig": {},
    "QueuedTimeoutInMinutes": 480,
    "SecondaryArtifacts": [],
    "SecondarySourceVersions": [],
    "SecondarySources": [],
    "SourceVersion": "",
    "TimeoutInMinutes": 60,
    "VpcConfig": {},
}
_NAMES = {"BuildSpec": "buildspec"}


class Project(ResourceType):
    name = "AWS::CodeBuild::Project"
    name_property = "Name"
    attributes = frozenset({"Arn"})
    honours = frozenset({*_PROJECT, "Name", "Tags"})

    def create(self, call: Call, properties: Properties) -> str:
        codebuild = call.client("codebuild")
        name = properties.get("Name") or call.new_name(150)
        given = {member: properties[member] for member in _PROJECT if member in properties}
        try:
            codebuild.create_project(name=name, tags=_tags(call), **_members(given))
        except codebuild.exceptions.ResourceAlreadyExistsException:
            refuse_existing(self.name, name)
        return str(name)

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        gone = {member: _EMPTY[member] for member in _EMPTY if member in before and member not in after}
        if "EncryptionKey" in before and "EncryptionKey" not in after:
            gone["EncryptionKey"] = call.arn("kms", "alias/aws/s3")
        given = {member: after[member] for member in _PROJECT if member in after}
        call.client("codebuild").update_project(name=physical_id, tags=_tags(call), **_members({**gone, **given}))

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("codebuild").delete_project(name=physical_id)

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        return {"Arn": call.arn("codebuild", f"project/{physical_id}")}


class ReportGroup(ResourceType):
    name = "AWS::CodeBuild::ReportGroup"
    name_property = "Name"
    attributes = frozenset({"Arn"})
    honours = frozenset({"DeleteReports", "ExportConfig", "Name", "Tags", "Type"})

    def create(self, call: Call, properties: Properties) -> str:
        codebuild = call.client("codebuild")
        name = properties.get("Name") or call.new_name(128)
        export = _members(properties["ExportConfig"])
        try:
            answer = codebuild.create_report_group(
                name=name, type=properties["Type"], exportConfig=export, tags=_tags(call)
            )
        except codebuild.exceptions.ResourceAlreadyExistsException:
            refuse_existing(self.name, name)
        return str(answer["reportGroup"]["arn"])

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        export = _members(after["ExportConfig"])
        call.client("codebuild").update_report_group(arn=physical_id, exportConfig=export, tags=_tags(call))

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        delete_reports = bool(properties.get("DeleteReports"))
        call.client("codebuild").delete_report_group(arn=physical_id, deleteReports=delete_reports)

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        return {"Arn": physical_id}


def _tags(call: Call) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in call.tags.items()]


def _members(value: Any) -> Any:
    """Properties as the members of a call, whose names begin in lower case."""
    if isinstance(value, list):
        return [_members(one) for one in value]
    if not isinstance(value, Mapping):
        return value
    return {_NAMES.get(name, name[:1].lower() + name[1:]): _members(one) for name, one in value.items()}


TYPES = (Project(), ReportGroup())
"""The resource types of CodeBuild."""
