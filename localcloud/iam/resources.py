"""The policies that resources have themselves: of buckets, keys, queues, topics and functions."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from localcloud.bucket_policies import restored
from localcloud.iam.evaluation import Policies
from localcloud.iam.policy import MalformedPolicy, read

_LOG = logging.getLogger(__name__)

Leaf = Callable[[str], Any]
"""Gives the client of a service that moto stores."""
PolicyOf = Callable[[str], str | None]
"""The policy of the resource of a name or ARN, as JSON; None where it has none, or where it does not exist."""

# After one of these a policy may be another. Operations are few, and reading a policy again is cheap.
_CHANGING: Mapping[str, tuple[str, ...]] = {
    "s3": ("PutBucketPolicy", "DeleteBucketPolicy", "DeleteBucket", "CreateBucket"),
    "kms": ("PutKeyPolicy", "CreateKey", "CreateAlias", "UpdateAlias", "DeleteAlias"),
    "sqs": ("SetQueueAttributes", "CreateQueue", "DeleteQueue", "AddPermission", "RemovePermission"),
    "sns": ("SetTopicAttributes", "CreateTopic", "DeleteTopic", "AddPermission", "RemovePermission"),
    "lambda": ("AddPermission", "RemovePermission", "CreateFunction", "DeleteFunction"),
}


class ResourcePolicies:
    """Reads each when it is first needed, and again after it may have changed. Any thread may ask."""

    def __init__(self, leaf: Leaf, others: Mapping[str, PolicyOf]) -> None:
        """others: of services that are not moto's, by their prefix in IAM."""
        self._readers: dict[str, PolicyOf] = {
            "s3": lambda arn: _of_bucket(leaf("s3"), arn),
            "kms": lambda arn: _of_key(leaf("kms"), arn),
            "sqs": lambda arn: _of_queue(leaf("sqs"), arn),
            "sns": lambda arn: _of_topic(leaf("sns"), arn),
            **others,
        }
        self._known: dict[str, Policies | None] = {}
        self._changes = 0
        self._lock = threading.Lock()

    def of(self, prefix: str, resource: str) -> Policies | None:
        """The policy of a resource of a service, if such have policies and it has one. May wait for moto."""
        reader = self._readers.get(prefix)
        if reader is None or not resource.startswith("arn:"):
            return None
        arn = resource.partition("/")[0] if prefix == "s3" else resource
        try:
            return self._known[arn]
        except KeyError:
            pass
        changes = self._changes
        text = reader(arn)
        found = _parsed(text, arn) if text else None
        with self._lock:
            if self._changes == changes:
                self._known[arn] = found
        return found

    def called(self, service: str, operation: str) -> None:
        """An operation was done, which may have changed policies."""
        if operation in _CHANGING.get(service, ()):
            with self._lock:
                self._changes += 1
                begins = f"arn:aws:{service}:"
                self._known = {arn: one for arn, one in self._known.items() if not arn.startswith(begins)}


def _parsed(text: str, arn: str) -> Policies | None:
    try:
        return Policies(read(text, arn.rpartition(":")[2], of_resource=True))
    except MalformedPolicy as error:
        _LOG.error("the policy of %s has no effect: %s", arn, error)
        return None


def _of_bucket(s3: Any, arn: str) -> str | None:
    text = _asked(lambda: s3.get_bucket_policy(Bucket=arn.rpartition(":")[2])["Policy"])
    return restored(text) if text else None


def _of_key(kms: Any, arn: str) -> str | None:
    return _asked(lambda: kms.get_key_policy(KeyId=arn, PolicyName="default")["Policy"])


def _of_queue(sqs: Any, arn: str) -> str | None:
    def ask() -> str | None:
        url = sqs.get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"]
        found: str | None = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"]
        return found

    return _asked(ask)


def _of_topic(sns: Any, arn: str) -> str | None:
    # A subscription's ARN is its topic's, and an id.
    topic = ":".join(arn.split(":")[:6])
    return _asked(lambda: sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"])


def _asked(ask: Callable[[], str | None]) -> str | None:
    """What is asked for; None where there is no such resource, or it has no policy, as the service will say itself."""
    try:
        return ask()
    except (ClientError, BotoCoreError, KeyError):
        return None
