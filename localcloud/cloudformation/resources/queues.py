"""AWS::SQS::Queue and AWS::SQS::QueuePolicy."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from localcloud.cloudformation.resources.kind import (
    Call,
    Properties,
    ResourceType,
    document,
    exists,
    is_missing,
    refuse_existing,
)
from localcloud.cloudformation.schemas import text_of

# With the value that takes a setting back; None where an empty text does.
_DEFAULTS = {
    "ContentBasedDeduplication": "false",
    "DeduplicationScope": "queue",
    "DelaySeconds": "0",
    "FifoThroughputLimit": "perQueue",
    "KmsDataKeyReusePeriodSeconds": "300",
    "KmsMasterKeyId": "",
    "MaximumMessageSize": "1048576",
    "MessageRetentionPeriod": "345600",
    "ReceiveMessageWaitTimeSeconds": "0",
    "RedriveAllowPolicy": "",
    "RedrivePolicy": "",
    "SqsManagedSseEnabled": "true",
    "VisibilityTimeout": "30",
}


class Queue(ResourceType):
    name = "AWS::SQS::Queue"
    name_property = "QueueName"
    attributes = frozenset({"Arn", "QueueName", "QueueUrl"})
    honours = frozenset({*_DEFAULTS, "FifoQueue", "QueueName", "Tags"})

    def create(self, call: Call, properties: Properties) -> str:
        sqs = call.client("sqs")
        fifo = bool(properties.get("FifoQueue"))
        name = properties.get("QueueName") or call.new_name(80, suffix=".fifo" if fifo else "")
        # CreateQueue gives a queue that is there; a stack does not take it over.
        if exists(lambda: sqs.get_queue_url(QueueName=name)):
            refuse_existing(self.name, name)
        attributes = {key: _text(properties[key]) for key in _DEFAULTS if key in properties}
        if fifo:
            attributes["FifoQueue"] = "true"
        sqs.create_queue(QueueName=name, Attributes=attributes, **({"tags": dict(call.tags)} if call.tags else {}))
        # The leaf's own answer has the address that it was called at, which is none from within localcloud.
        return f"{call.endpoint_url}/{call.account_id}/{name}"

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        sqs = call.client("sqs")
        attributes = {
            key: _text(after[key]) if key in after else default
            for key, default in _DEFAULTS.items()
            if before.get(key) != after.get(key)
        }
        if attributes:
            sqs.set_queue_attributes(QueueUrl=physical_id, Attributes=attributes)
        call.retag(
            lambda tags: sqs.tag_queue(QueueUrl=physical_id, Tags=tags),
            lambda keys: sqs.untag_queue(QueueUrl=physical_id, TagKeys=keys),
        )

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("sqs").delete_queue(QueueUrl=physical_id)

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        name = physical_id.rpartition("/")[2]
        return {"Arn": call.arn("sqs", name), "QueueName": name, "QueueUrl": physical_id}


class QueuePolicy(ResourceType):
    name = "AWS::SQS::QueuePolicy"
    honours = frozenset({"PolicyDocument", "Queues"})
    attributes = frozenset({"Id"})

    def create(self, call: Call, properties: Properties) -> str:
        return call.new_name(128)

    def finish(self, call: Call, physical_id: str, properties: Properties) -> None:
        self.update(call, physical_id, {}, properties)

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        policy = document(after["PolicyDocument"])
        for url in after["Queues"]:
            call.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        self._clear(call, set(before.get("Queues") or ()) - set(after["Queues"]))

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        self._clear(call, set(properties["Queues"]))

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        return {"Id": physical_id}

    def _clear(self, call: Call, urls: set[str]) -> None:
        for url in sorted(urls):
            try:
                call.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": ""})
            except ClientError as error:
                if not is_missing(error):
                    raise


def _text(value: Any) -> str:
    return document(value) if isinstance(value, dict) else text_of(value)


TYPES = (Queue(), QueuePolicy())
