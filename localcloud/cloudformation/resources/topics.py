"""AWS::SNS::Topic, AWS::SNS::TopicPolicy and AWS::SNS::Subscription."""

from __future__ import annotations

from typing import Any

from localcloud.cloudformation.resources.kind import (
    Call,
    Properties,
    ResourceType,
    document,
    exists,
    pick,
    refuse_existing,
    tag_list,
)
from localcloud.cloudformation.schemas import text_of

_TOPIC = {"ContentBasedDeduplication": "false", "DisplayName": "", "KmsMasterKeyId": ""}
_SUBSCRIPTION = ("DeliveryPolicy", "FilterPolicy", "FilterPolicyScope", "RawMessageDelivery", "RedrivePolicy")
_SCOPE = "MessageAttributes"


class Topic(ResourceType):
    name = "AWS::SNS::Topic"
    name_property = "TopicName"
    attributes = frozenset({"TopicArn", "TopicName"})
    honours = frozenset({*_TOPIC, "FifoTopic", "Subscription", "Tags", "TopicName"})

    def create(self, call: Call, properties: Properties) -> str:
        sns = call.client("sns")
        fifo = bool(properties.get("FifoTopic"))
        name = properties.get("TopicName") or call.new_name(256, suffix=".fifo" if fifo else "")
        # CreateTopic gives a topic that is there; a stack does not take it over.
        if exists(lambda: sns.get_topic_attributes(TopicArn=call.arn("sns", name))):
            refuse_existing(self.name, call.arn("sns", name))
        attributes = {key: text_of(properties[key]) for key in _TOPIC if key in properties}
        if fifo:
            attributes["FifoTopic"] = "true"
        return str(sns.create_topic(Name=name, Attributes=attributes, Tags=tag_list(call.tags))["TopicArn"])

    def finish(self, call: Call, physical_id: str, properties: Properties) -> None:
        self._subscriptions(call, physical_id, {}, properties)

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        sns = call.client("sns")
        for key, default in _TOPIC.items():
            if before.get(key) != after.get(key):
                sns.set_topic_attributes(
                    TopicArn=physical_id, AttributeName=key, AttributeValue=text_of(after.get(key, default))
                )
        self._subscriptions(call, physical_id, before, after)
        call.retag(
            lambda tags: sns.tag_resource(ResourceArn=physical_id, Tags=tag_list(tags)),
            lambda keys: sns.untag_resource(ResourceArn=physical_id, TagKeys=keys),
        )

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        sns = call.client("sns")
        # SNS deletes a topic's subscriptions with it; the leaf leaves them behind.
        if exists(lambda: sns.get_topic_attributes(TopicArn=physical_id)):
            self._subscriptions(call, physical_id, properties, {})
        sns.delete_topic(TopicArn=physical_id)

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        return {"TopicArn": physical_id, "TopicName": physical_id.rpartition(":")[2]}

    def _subscriptions(self, call: Call, topic: str, before: Properties, after: Properties) -> None:
        sns = call.client("sns")
        was, wanted = (
            {(one["Protocol"], one["Endpoint"]) for one in properties.get("Subscription") or ()}
            for properties in (before, after)
        )
        for protocol, endpoint in sorted(wanted - was):
            sns.subscribe(TopicArn=topic, Protocol=protocol, Endpoint=endpoint)
        if was - wanted:
            for page in sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic):
                for found in page["Subscriptions"]:
                    # One that nobody has confirmed has no ARN by which it could be ended: it goes with the topic.
                    pending = found["SubscriptionArn"] == "PendingConfirmation"
                    if (found["Protocol"], found["Endpoint"]) in was - wanted and not pending:
                        sns.unsubscribe(SubscriptionArn=found["SubscriptionArn"])


class TopicPolicy(ResourceType):
    name = "AWS::SNS::TopicPolicy"
    honours = frozenset({"PolicyDocument", "Topics"})
    attributes = frozenset({"Id"})

    def create(self, call: Call, properties: Properties) -> str:
        return call.new_name(128)

    def finish(self, call: Call, physical_id: str, properties: Properties) -> None:
        self.update(call, physical_id, {}, properties)

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        for topic in after["Topics"]:
            self._set(call, topic, document(after["PolicyDocument"]))
        self._reset(call, set(before.get("Topics") or ()) - set(after["Topics"]))

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        self._reset(call, set(properties["Topics"]))

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        return {"Id": physical_id}

    def _set(self, call: Call, topic: str, policy: str) -> None:
        call.client("sns").set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)

    def _reset(self, call: Call, topics: set[str]) -> None:
        """A topic always has a policy: without another one, that its owner may do everything."""
        sns = call.client("sns")
        for topic in sorted(topics):
            if exists(lambda topic=topic: sns.get_topic_attributes(TopicArn=topic)):  # type: ignore[misc]
                self._set(call, topic, document(_owners_policy(topic, call.account_id)))


class Subscription(ResourceType):
    name = "AWS::SNS::Subscription"
    attributes = frozenset({"Arn"})
    honours = frozenset({*_SUBSCRIPTION, "Endpoint", "Protocol", "TopicArn"})

    def create(self, call: Call, properties: Properties) -> str:
        answer = call.client("sns").subscribe(
            TopicArn=properties["TopicArn"],
            Protocol=properties["Protocol"],
            ReturnSubscriptionArn=True,
            Attributes={key: _text(properties[key]) for key in _SUBSCRIPTION if key in properties},
            **pick(properties, "Endpoint"),
        )
        return str(answer["SubscriptionArn"])

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        defaults = {"RawMessageDelivery": "false", "FilterPolicyScope": _SCOPE, "FilterPolicy": "{}"}
        for key in _SUBSCRIPTION:
            if before.get(key) != after.get(key):
                value = _text(after[key]) if key in after else defaults.get(key, "")
                call.client("sns").set_subscription_attributes(
                    SubscriptionArn=physical_id, AttributeName=key, AttributeValue=value
                )

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("sns").unsubscribe(SubscriptionArn=physical_id)

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        return {"Arn": physical_id}


def _text(value: Any) -> str:
    return document(value) if isinstance(value, dict) else text_of(value)


def _owners_policy(topic: str, account_id: str) -> dict[str, Any]:
    actions = (
        "GetTopicAttributes", "SetTopicAttributes", "AddPermission", "RemovePermission", "DeleteTopic", "Subscribe",
        "ListSubscriptionsByTopic", "Publish",
    )  # fmt: skip
    return {
        "Version": "2008-10-17",
        "Id": "__default_policy_ID",
        "Statement": [
            {
                "Sid": "__default_statement_ID",
                "Effect": "Allow",
                "Principal": {"AWS": "*"},
                "Action": [f"SNS:{action}" for action in actions],
                "Resource": topic,
                "Condition": {"StringEquals": {"AWS:SourceOwner": account_id}},
            }
        ],
    }


TYPES = (Topic(), TopicPolicy(), Subscription())
