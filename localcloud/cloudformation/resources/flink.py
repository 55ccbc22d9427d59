"""AWS::KinesisAnalyticsV2::Application and ::ApplicationCloudWatchLoggingOption. A stack starts no application."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localcloud.cloudformation.resources.kind import (
    Call,
    Properties,
    ResourceType,
    changed,
    pick,
    refuse_existing,
    tag_list,
)

_APPLICATION = (
    "ApplicationConfiguration", "ApplicationDescription", "ApplicationMode", "ApplicationName", "RuntimeEnvironment",
    "ServiceExecutionRole",
)  # fmt: skip
# Members that bear another name in an update.
_SAME = frozenset({"PropertyGroups"})


class Application(ResourceType):
    name = "AWS::KinesisAnalyticsV2::Application"
    name_property = "ApplicationName"
    honours = frozenset({*_APPLICATION, "Tags"})
    # On AWS some of them are changed in place; here an application has one runtime and mode for its life.
    replaced_by = frozenset({"ApplicationDescription", "RuntimeEnvironment", "ApplicationMode"})

    def create(self, call: Call, properties: Properties) -> str:
        flink = call.client("kinesisanalyticsv2")
        name = properties.get("ApplicationName") or call.new_name(128)
        try:
            flink.create_application(
                **{**pick(properties, *_APPLICATION), "ApplicationName": name},
                **({"Tags": tag_list(call.tags)} if call.tags else {}),
            )
        except flink.exceptions.ResourceInUseException:
            refuse_existing(self.name, name)
        return str(name)

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        flink = call.client("kinesisanalyticsv2")
        found = flink.describe_application(ApplicationName=physical_id)["ApplicationDetail"]
        if changed(before, after, "ApplicationConfiguration", "ServiceExecutionRole"):
            flink.update_application(
                ApplicationName=physical_id,
                CurrentApplicationVersionId=found["ApplicationVersionId"],
                ApplicationConfigurationUpdate=_update(after.get("ApplicationConfiguration") or {}),
                ServiceExecutionRoleUpdate=after["ServiceExecutionRole"],
            )

            def settled() -> bool:
                now = flink.describe_application(ApplicationName=physical_id)["ApplicationDetail"]
                return now["ApplicationStatus"] in ("READY", "RUNNING")

            call.until(settled, f"the application {physical_id} is READY or RUNNING")
        arn = found["ApplicationARN"]
        call.retag(
            lambda tags: flink.tag_resource(ResourceARN=arn, Tags=tag_list(tags)),
            lambda keys: flink.untag_resource(ResourceARN=arn, TagKeys=keys),
        )

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        flink = call.client("kinesisanalyticsv2")
        found = flink.describe_application(ApplicationName=physical_id)["ApplicationDetail"]
        if found["ApplicationStatus"] != "READY":
            flink.stop_application(ApplicationName=physical_id, Force=True)

            def ready() -> bool:
                now = flink.describe_application(ApplicationName=physical_id)["ApplicationDetail"]
                return bool(now["ApplicationStatus"] == "READY")

            call.until(ready, f"the application {physical_id} is READY")
        flink.delete_application(ApplicationName=physical_id, CreateTimestamp=found["CreateTimestamp"])


class LoggingOption(ResourceType):
    name = "AWS::KinesisAnalyticsV2::ApplicationCloudWatchLoggingOption"
    honours = frozenset({"ApplicationName", "CloudWatchLoggingOption"})

    def create(self, call: Call, properties: Properties) -> str:
        answer = call.client("kinesisanalyticsv2").add_application_cloud_watch_logging_option(
            **pick(properties, "ApplicationName", "CloudWatchLoggingOption")
        )
        (option,) = answer["CloudWatchLoggingOptionDescriptions"]
        return f"{properties['ApplicationName']}|{option['CloudWatchLoggingOptionId']}"

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        name, _, option = physical_id.partition("|")
        flink = call.client("kinesisanalyticsv2")
        found = flink.describe_application(ApplicationName=name)["ApplicationDetail"]
        stream = after["CloudWatchLoggingOption"]["LogStreamARN"]
        flink.update_application(
            ApplicationName=name,
            CurrentApplicationVersionId=found["ApplicationVersionId"],
            CloudWatchLoggingOptionUpdates=[{"CloudWatchLoggingOptionId": option, "LogStreamARNUpdate": stream}],
        )

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        name, _, option = physical_id.partition("|")
        call.client("kinesisanalyticsv2").delete_application_cloud_watch_logging_option(
            ApplicationName=name, CloudWatchLoggingOptionId=option
        )


def _update(value: Any) -> Any:
    """An ApplicationConfiguration as an ApplicationConfigurationUpdate: the names of its members end in Update."""
    if not isinstance(value, Mapping):
        return value
    found: dict[str, Any] = {}
    for name, item in value.items():
        if name in _SAME:
            found[name] = item
        elif name == "EnvironmentProperties":
            found["EnvironmentPropertyUpdates"] = _update(item)
        else:
            found[f"{name}Update"] = _update(item)
    return found


TYPES = (Application(), LoggingOption())
"""The resource types of Managed Service for Apache Flink."""
