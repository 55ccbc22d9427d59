"""AWS::KMS::Key and AWS::KMS::Alias."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from localcloud.cloudformation.errors import ResourceFailed
from localcloud.cloudformation.resources.kind import (
    Call,
    Properties,
    ResourceType,
    Tags,
    changed,
    code_of,
    document,
    pick,
)

_FIXED = ("KeySpec", "KeyUsage", "MultiRegion")
_PENDING_DAYS = 30


class Key(ResourceType):
    name = "AWS::KMS::Key"
    attributes = frozenset({"Arn", "KeyId"})
    honours = frozenset(
        {
            *_FIXED, "Description", "EnableKeyRotation", "Enabled", "KeyPolicy", "PendingWindowInDays",
            "RotationPeriodInDays", "Tags",
        }
    )  # fmt: skip

    def create(self, call: Call, properties: Properties) -> str:
        policy = {"Policy": document(properties["KeyPolicy"])} if "KeyPolicy" in properties else {}
        tags = {"Tags": _tags(call.tags)} if call.tags else {}
        answer = call.client("kms").create_key(**pick(properties, *_FIXED, "Description"), **policy, **tags)
        return str(answer["KeyMetadata"]["KeyId"])

    def finish(self, call: Call, physical_id: str, properties: Properties) -> None:
        self._settings(call, physical_id, {}, properties)

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        kms = call.client("kms")
        for name in _FIXED:
            if changed(before, after, name) and not call.taking_back:
                raise ResourceFailed(f"You cannot change the {name} of an existing KMS key")
        if changed(before, after, "Description"):
            kms.update_key_description(KeyId=physical_id, Description=after.get("Description", ""))
        if changed(before, after, "KeyPolicy") and "KeyPolicy" in after:
            kms.put_key_policy(KeyId=physical_id, PolicyName="default", Policy=document(after["KeyPolicy"]))
        self._settings(call, physical_id, before, after)
        call.retag(
            lambda tags: kms.tag_resource(KeyId=physical_id, Tags=_tags(tags)),
            lambda keys: kms.untag_resource(KeyId=physical_id, TagKeys=keys),
        )

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        """It is gone when its days of waiting are over."""
        days = properties.get("PendingWindowInDays", _PENDING_DAYS)
        try:
            call.client("kms").schedule_key_deletion(KeyId=physical_id, PendingWindowInDays=days)
        except ClientError as error:
            # It waits for its deletion already.
            if code_of(error) != "KMSInvalidStateException":
                raise

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        return {"Arn": call.arn("kms", f"key/{physical_id}"), "KeyId": physical_id}

    def _settings(self, call: Call, key: str, before: Properties, after: Properties) -> None:
        kms = call.client("kms")
        if changed(before, after, "EnableKeyRotation", "RotationPeriodInDays"):
            if after.get("EnableKeyRotation"):
                kms.enable_key_rotation(KeyId=key, **pick(after, "RotationPeriodInDays"))
            elif before.get("EnableKeyRotation"):
                kms.disable_key_rotation(KeyId=key)
        if before.get("Enabled", True) != after.get("Enabled", True):
            (kms.enable_key if after.get("Enabled", True) else kms.disable_key)(KeyId=key)


class Alias(ResourceType):
    name = "AWS::KMS::Alias"
    name_property = "AliasName"
    honours = frozenset({"AliasName", "TargetKeyId"})

    def create(self, call: Call, properties: Properties) -> str:
        call.client("kms").create_alias(**pick(properties, "AliasName", "TargetKeyId"))
        return str(properties["AliasName"])

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        if changed(before, after, "TargetKeyId"):
            call.client("kms").update_alias(AliasName=physical_id, TargetKeyId=after["TargetKeyId"])

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("kms").delete_alias(AliasName=physical_id)


def _tags(tags: Tags) -> list[dict[str, str]]:
    return [{"TagKey": key, "TagValue": value} for key, value in tags.items()]


TYPES = (Key(), Alias())
