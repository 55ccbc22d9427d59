"""AWS::Logs::LogGroup and AWS::Logs::LogStream."""

from __future__ import annotations

from typing import Any

from localcloud.cloudformation.resources.kind import Call, Properties, ResourceType, changed, pick


class LogGroup(ResourceType):
    name = "AWS::Logs::LogGroup"
    name_property = "LogGroupName"
    attributes = frozenset({"Arn"})
    honours = frozenset({"KmsKeyId", "LogGroupName", "RetentionInDays", "Tags"})

    def create(self, call: Call, properties: Properties) -> str:
        name = properties.get("LogGroupName") or call.new_name(512)
        key = {"kmsKeyId": properties["KmsKeyId"]} if "KmsKeyId" in properties else {}
        call.client("logs").create_log_group(
            logGroupName=name, **key, **({"tags": dict(call.tags)} if call.tags else {})
        )
        return str(name)

    def finish(self, call: Call, physical_id: str, properties: Properties) -> None:
        self._retention(call.client("logs"), physical_id, {}, properties)

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        logs = call.client("logs")
        self._retention(logs, physical_id, before, after)
        if changed(before, after, "KmsKeyId"):
            if "KmsKeyId" in after:
                logs.associate_kms_key(logGroupName=physical_id, kmsKeyId=after["KmsKeyId"])
            else:
                logs.disassociate_kms_key(logGroupName=physical_id)
        arn = call.arn("logs", f"log-group:{physical_id}")
        call.retag(
            lambda tags: logs.tag_resource(resourceArn=arn, tags=tags),
            lambda keys: logs.untag_resource(resourceArn=arn, tagKeys=keys),
        )

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("logs").delete_log_group(logGroupName=physical_id)

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        return {"Arn": call.arn("logs", f"log-group:{physical_id}:*")}

    def _retention(self, logs: Any, name: str, before: Properties, after: Properties) -> None:
        if not changed(before, after, "RetentionInDays"):
            return
        days = pick(after, "RetentionInDays")
        if days:
            logs.put_retention_policy(logGroupName=name, retentionInDays=days["RetentionInDays"])
        else:
            logs.delete_retention_policy(logGroupName=name)


class LogStream(ResourceType):
    name = "AWS::Logs::LogStream"
    name_property = "LogStreamName"
    honours = frozenset({"LogGroupName", "LogStreamName"})

    def create(self, call: Call, properties: Properties) -> str:
        name = properties.get("LogStreamName") or call.new_name(512)
        call.client("logs").create_log_stream(logGroupName=properties["LogGroupName"], logStreamName=name)
        return str(name)

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        raise AssertionError("every property of a log stream is one whose change makes a new one")

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("logs").delete_log_stream(logGroupName=properties["LogGroupName"], logStreamName=physical_id)


TYPES = (LogGroup(), LogStream())
