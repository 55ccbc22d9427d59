"""AWS::DynamoDB::Table."""

from __future__ import annotations

from typing import Any

from localcloud.cloudformation.resources.kind import Call, Properties, ResourceType, changed, pick, tag_list

_TABLE = (
    "AttributeDefinitions", "BillingMode", "DeletionProtectionEnabled", "GlobalSecondaryIndexes", "KeySchema",
    "LocalSecondaryIndexes", "ProvisionedThroughput",
)  # fmt: skip
_POINT_IN_TIME = "PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled"


class Table(ResourceType):
    name = "AWS::DynamoDB::Table"
    name_property = "TableName"
    attributes = frozenset({"Arn"})
    honours = frozenset({*_TABLE, _POINT_IN_TIME, "TableName", "Tags", "TimeToLiveSpecification"})
    # On AWS some changes of the indexes are made in place, one at a time. Here they ask for a new table.
    replaced_by = frozenset({"AttributeDefinitions", "GlobalSecondaryIndexes", "LocalSecondaryIndexes"})

    def create(self, call: Call, properties: Properties) -> str:
        name = properties.get("TableName") or call.new_name(255)
        call.client("dynamodb").create_table(
            TableName=name,
            **{"BillingMode": "PROVISIONED"} | pick(properties, *_TABLE),
            **({"Tags": tag_list(call.tags)} if call.tags else {}),
        )
        return str(name)

    def finish(self, call: Call, physical_id: str, properties: Properties) -> None:
        self._wait(call, physical_id)
        self._settings(call, physical_id, {}, properties)

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        dynamodb = call.client("dynamodb")
        if changed(before, after, "BillingMode", "ProvisionedThroughput"):
            dynamodb.update_table(
                TableName=physical_id,
                BillingMode=after.get("BillingMode", "PROVISIONED"),
                **pick(after, "ProvisionedThroughput"),
            )
            self._wait(call, physical_id)
        if changed(before, after, "DeletionProtectionEnabled"):
            dynamodb.update_table(
                TableName=physical_id, DeletionProtectionEnabled=after.get("DeletionProtectionEnabled", False)
            )
        self._settings(call, physical_id, before, after)
        arn = call.arn("dynamodb", f"table/{physical_id}")
        call.retag(
            lambda tags: dynamodb.tag_resource(ResourceArn=arn, Tags=tag_list(tags)),
            lambda keys: dynamodb.untag_resource(ResourceArn=arn, TagKeys=keys),
        )

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("dynamodb").delete_table(TableName=physical_id)

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        return {"Arn": call.arn("dynamodb", f"table/{physical_id}")}

    def _settings(self, call: Call, name: str, before: Properties, after: Properties) -> None:
        dynamodb = call.client("dynamodb")
        if changed(before, after, "TimeToLiveSpecification"):
            was, wanted = (one.get("TimeToLiveSpecification") or {} for one in (before, after))
            # One attribute at a time has it: the old one is switched off under its own name.
            if was.get("Enabled") and was.get("AttributeName") != wanted.get("AttributeName"):
                dynamodb.update_time_to_live(
                    TableName=name, TimeToLiveSpecification={"Enabled": False, "AttributeName": was["AttributeName"]}
                )
            if wanted.get("Enabled") or was.get("AttributeName") == wanted.get("AttributeName", ""):
                dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=wanted)
        if changed(before, after, "PointInTimeRecoverySpecification"):
            wanted = after.get("PointInTimeRecoverySpecification") or {}
            dynamodb.update_continuous_backups(
                TableName=name,
                PointInTimeRecoverySpecification={
                    "PointInTimeRecoveryEnabled": bool(wanted.get("PointInTimeRecoveryEnabled", False))
                },
            )

    def _wait(self, call: Call, name: str) -> None:
        def active() -> bool:
            table = call.client("dynamodb").describe_table(TableName=name)["Table"]
            return bool(table["TableStatus"] == "ACTIVE")

        call.until(active, f"the table {name} is ACTIVE")


TYPES = (Table(),)
