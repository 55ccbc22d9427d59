"""AWS::Kinesis::Stream."""

from __future__ import annotations

from typing import Any

from localcloud.cloudformation.errors import ResourceFailed
from localcloud.cloudformation.resources.kind import Call, Properties, ResourceType, changed, exists, pick

_HOURS, _ENCRYPTION, _MODE, _RECORD = (
    "RetentionPeriodHours",
    "StreamEncryption",
    "StreamModeDetails",
    "MaxRecordSizeInKiB",
)
_DEFAULT_HOURS, _DEFAULT_RECORD_KIB = 24, 1_024
_PROVISIONED = {"StreamMode": "PROVISIONED"}


class Stream(ResourceType):
    name = "AWS::Kinesis::Stream"
    name_property = "Name"
    attributes = frozenset({"Arn"})
    honours = frozenset({"Name", "ShardCount", "Tags", _HOURS, _ENCRYPTION, _MODE, _RECORD})

    def create(self, call: Call, properties: Properties) -> str:
        name = properties.get("Name") or call.new_name(128)
        mode = properties.get(_MODE, _PROVISIONED)
        # One shard, as CloudFormation has it for a provisioned stream that names no number.
        shards = (
            {"ShardCount": properties.get("ShardCount", 1)} if mode == _PROVISIONED else pick(properties, "ShardCount")
        )
        call.client("kinesis").create_stream(
            StreamName=name,
            StreamModeDetails=mode,
            **shards,
            **pick(properties, _RECORD),
            **({"Tags": dict(call.tags)} if call.tags else {}),
        )
        return str(name)

    def finish(self, call: Call, physical_id: str, properties: Properties) -> None:
        self._wait(call, physical_id)
        self._settings(call, physical_id, {}, properties)

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        kinesis, arn = call.client("kinesis"), self._arn(call, physical_id)
        if changed(before, after, "ShardCount") and after.get(_MODE, _PROVISIONED) == _PROVISIONED:
            self._refuse_other_shards(kinesis, physical_id, after.get("ShardCount", 1))
        if before.get(_MODE, _PROVISIONED) != after.get(_MODE, _PROVISIONED):
            kinesis.update_stream_mode(StreamARN=arn, StreamModeDetails=after.get(_MODE, _PROVISIONED))
        if changed(before, after, _RECORD):
            kinesis.update_max_record_size(StreamARN=arn, MaxRecordSizeInKiB=after.get(_RECORD, _DEFAULT_RECORD_KIB))
        self._settings(call, physical_id, before, after)
        call.retag(
            lambda tags: kinesis.add_tags_to_stream(StreamName=physical_id, Tags=tags),
            lambda keys: kinesis.remove_tags_from_stream(StreamName=physical_id, TagKeys=keys),
        )

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        kinesis = call.client("kinesis")
        kinesis.delete_stream(StreamName=physical_id, EnforceConsumerDeletion=True)
        call.until(
            lambda: not exists(lambda: kinesis.describe_stream_summary(StreamName=physical_id)),
            f"the stream {physical_id} is deleted",
        )

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        return {"Arn": self._arn(call, physical_id)}

    def _arn(self, call: Call, name: str) -> str:
        return call.arn("kinesis", f"stream/{name}")

    def _settings(self, call: Call, name: str, before: Properties, after: Properties) -> None:
        kinesis = call.client("kinesis")
        was, wanted = (one.get(_HOURS, _DEFAULT_HOURS) for one in (before, after))
        if wanted > was:
            kinesis.increase_stream_retention_period(StreamName=name, RetentionPeriodHours=wanted)
        if wanted < was:
            kinesis.decrease_stream_retention_period(StreamName=name, RetentionPeriodHours=wanted)
        if changed(before, after, _ENCRYPTION):
            if _ENCRYPTION in after:
                kinesis.start_stream_encryption(StreamName=name, **after[_ENCRYPTION])
            else:
                kinesis.stop_stream_encryption(StreamName=name, **before[_ENCRYPTION])
        self._wait(call, name)

    def _refuse_other_shards(self, kinesis: Any, name: str, wanted: int) -> None:
        found = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["OpenShardCount"]
        if found != wanted:
            raise ResourceFailed(
                f"The number of shards of the stream {name} is not changed by a template here, from {found} to"
                f" {wanted}: use SplitShard and MergeShards."
            )

    def _wait(self, call: Call, name: str) -> None:
        def active() -> bool:
            found = call.client("kinesis").describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
            return bool(found["StreamStatus"] == "ACTIVE")

        call.until(active, f"the stream {name} is ACTIVE")


TYPES = (Stream(),)
