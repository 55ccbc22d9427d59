"""AWS::KinesisFirehose::DeliveryStream."""

from __future__ import annotations

from typing import Any

from localcloud.cloudformation.errors import ResourceFailed
from localcloud.cloudformation.resources.kind import Call, Properties, ResourceType, changed, pick, tag_list

_CREATED_BY = (
    "DeliveryStreamEncryptionConfigurationInput", "DeliveryStreamType", "ExtendedS3DestinationConfiguration",
    "KinesisStreamSourceConfiguration",
)  # fmt: skip
_DESTINATION = "ExtendedS3DestinationConfiguration"


class DeliveryStream(ResourceType):
    name = "AWS::KinesisFirehose::DeliveryStream"
    name_property = "DeliveryStreamName"
    attributes = frozenset({"Arn"})
    honours = frozenset({*_CREATED_BY, "DeliveryStreamName", "Tags"})
    # On AWS it changes in place.
    replaced_by = frozenset({"DeliveryStreamEncryptionConfigurationInput"})

    def create(self, call: Call, properties: Properties) -> str:
        name = properties.get("DeliveryStreamName") or call.new_name(64)
        call.client("firehose").create_delivery_stream(
            DeliveryStreamName=name,
            **pick(properties, *_CREATED_BY),
            **({"Tags": tag_list(call.tags)} if call.tags else {}),
        )
        return str(name)

    def finish(self, call: Call, physical_id: str, properties: Properties) -> None:
        def active() -> bool:
            found = self._described(call, physical_id)
            if found["DeliveryStreamStatus"] == "CREATING_FAILED":
                raise ResourceFailed(f"The stream {physical_id} failed: {found.get('FailureDescription', {})}")
            return bool(found["DeliveryStreamStatus"] == "ACTIVE")

        call.until(active, f"the Firehose stream {physical_id} is ACTIVE")

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        firehose = call.client("firehose")
        if changed(before, after, _DESTINATION):
            found = self._described(call, physical_id)
            firehose.update_destination(
                DeliveryStreamName=physical_id,
                CurrentDeliveryStreamVersionId=found["VersionId"],
                DestinationId=found["Destinations"][0]["DestinationId"],
                ExtendedS3DestinationUpdate=after[_DESTINATION],
            )
        call.retag(
            lambda tags: firehose.tag_delivery_stream(DeliveryStreamName=physical_id, Tags=tag_list(tags)),
            lambda keys: firehose.untag_delivery_stream(DeliveryStreamName=physical_id, TagKeys=keys),
        )

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("firehose").delete_delivery_stream(DeliveryStreamName=physical_id)

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        return {"Arn": call.arn("firehose", f"deliverystream/{physical_id}")}

    def _described(self, call: Call, name: str) -> dict[str, Any]:
        answer = call.client("firehose").describe_delivery_stream(DeliveryStreamName=name)
        found: dict[str, Any] = answer["DeliveryStreamDescription"]
        return found


TYPES = (DeliveryStream(),)
