"""What conditions ask that no request tells: of a key its aliases, of a resource its tags, of a role its boundary."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from localcloud.iam.facts import CallFacts
from localcloud.iam.roles import Roles

Tags = Mapping[str, str]

# Whose own key of a resource's tags is the global one by another name.
_TAGS = ("aws:resourcetag/", "iam:resourcetag/", "sagemaker:resourcetag/", "codebuild:resourcetag/",
         "codepipeline:resourcetag/")  # fmt: skip
# Of the object that an action of S3 is about.
_OBJECT_TAGS = "s3:existingobjecttag/"


class Beyond:
    """Looks up the value of a key. Any thread may ask; it may wait for moto."""

    def __init__(
        self,
        leaf: Callable[[str], Any],
        owned: Callable[[str], Any],
        roles: Roles,
        documents: Callable[[str, str], Mapping[str, Any] | None],
    ) -> None:
        """leaf, owned: give clients, of what moto stores and of the others. documents: what the store has, by kind and
        key."""
        self._leaf, self._owned, self._roles, self._documents = leaf, owned, roles, documents

    def __call__(self, facts: CallFacts, key: str) -> Sequence[str] | None:
        lower = key.lower()
        if lower.startswith(_TAGS):
            found = self._tags(facts.resource).get(key.partition("/")[2])
            return None if found is None else [found]
        if lower.startswith(_OBJECT_TAGS):
            found = self._object_tags(facts.resource).get(key.partition("/")[2])
            return None if found is None else [found]
        reader = _READERS.get(lower)
        if reader is None:
            return None
        try:
            return reader(self, facts)
        except (ClientError, BotoCoreError):
            return None

    def aliases(self, facts: CallFacts) -> Sequence[str] | None:
        """Of a key, by its ARN."""
        kms = self._leaf("kms")
        found = [
            alias["AliasName"]
            for page in kms.get_paginator("list_aliases").paginate(KeyId=facts.resource)
            for alias in page["Aliases"]
        ]
        return found or None

    def function(self, facts: CallFacts) -> Sequence[str] | None:
        """The function of an event source mapping: the one that is to be made, or that is there."""
        named = facts.asked.params.get("FunctionName")
        if named is None and (identifier := facts.asked.params.get("UUID")):
            mapping = self._documents("lambda/event-source-mapping", str(identifier)) or {}
            named = mapping.get("FunctionArn")
        if named is None:
            return None
        name = str(named).rpartition(":function:")[2]
        return [f"arn:aws:lambda:{facts.region}:{facts.account_id}:function:{name}"]

    def cluster(self, facts: CallFacts) -> Sequence[str] | None:
        """The cluster in which a task is to run."""
        name = str(facts.asked.params.get("cluster") or "default").rpartition("/")[2]
        return [f"arn:aws:ecs:{facts.region}:{facts.account_id}:cluster/{name}"]

    def boundary(self, facts: CallFacts) -> Sequence[str] | None:
        """Of the role that a call changes."""
        role = self._roles.get(facts.resource)
        return [role.boundary_arn] if role is not None and role.boundary_arn else None

    def _object_tags(self, arn: str) -> Tags:
        bucket, _, key = arn.rpartition(":")[2].partition("/")
        try:
            return _pairs(self._leaf("s3").get_object_tagging(Bucket=bucket, Key=key)["TagSet"])
        except (ClientError, BotoCoreError):
            return {}

    def _tags(self, arn: str) -> Tags:
        prefix = arn.split(":")[2] if arn.startswith("arn:") else ""
        try:
            if prefix == "iam":
                role = self._roles.get(arn)
                return role.tags if role is not None else {}
            if prefix == "sagemaker":
                return _pairs((self._documents("sagemaker/tags", arn) or {}).get("Tags"))
            if prefix == "lambda":
                return dict((self._documents("lambda/function", arn.rpartition(":")[2]) or {}).get("Tags") or {})
            if prefix in _TAGS_OF_LEAF:
                return _TAGS_OF_LEAF[prefix](self._leaf(prefix), arn)
            if prefix in _TAGS_OF_OWNED:
                service, member = _TAGS_OF_OWNED[prefix]
                answer = self._owned(service).list_tags_for_resource(**{member: arn})
                return _pairs(answer.get("Tags", answer.get("tags")))
        except (ClientError, BotoCoreError, KeyError):
            return {}
        return {}


def _pairs(tags: Any) -> dict[str, str]:
    if isinstance(tags, Mapping):
        return {str(key): str(value) for key, value in tags.items()}
    return {
        str(one.get("Key", one.get("key", one.get("TagKey")))): str(
            one.get("Value", one.get("value", one.get("TagValue", "")))
        )
        for one in tags or ()
    }


def _of_queue(sqs: Any, arn: str) -> Tags:
    url = sqs.get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"]
    return _pairs(sqs.list_queue_tags(QueueUrl=url).get("Tags"))


_TAGS_OF_LEAF: Mapping[str, Callable[[Any, str], Tags]] = {
    "dynamodb": lambda client, arn: _pairs(client.list_tags_of_resource(ResourceArn=arn)["Tags"]),
    "ecr": lambda client, arn: _pairs(client.list_tags_for_resource(resourceArn=arn)["tags"]),
    "kms": lambda client, arn: _pairs(client.list_resource_tags(KeyId=arn)["Tags"]),
    "logs": lambda client, arn: _pairs(
        client.list_tags_for_resource(resourceArn=arn.partition(":log-stream:")[0])["tags"]
    ),
    "secretsmanager": lambda client, arn: _pairs(client.describe_secret(SecretId=arn).get("Tags")),
    "sns": lambda client, arn: _pairs(client.list_tags_for_resource(ResourceArn=arn)["Tags"]),
    "sqs": _of_queue,
    "ssm": lambda client, arn: _pairs(
        client.list_tags_for_resource(ResourceType="Parameter", ResourceId=arn.partition(":parameter")[2])["TagList"]
    ),
}
# The service by botocore's name, and the member that names a resource.
_TAGS_OF_OWNED: Mapping[str, tuple[str, str]] = {
    "cloudwatch": ("cloudwatch", "ResourceARN"),
    "codecommit": ("codecommit", "resourceArn"),
    "codepipeline": ("codepipeline", "resourceArn"),
    "ecs": ("ecs", "resourceArn"),
    "events": ("events", "ResourceARN"),
    "scheduler": ("scheduler", "ResourceArn"),
}
_READERS: Mapping[str, Callable[[Beyond, CallFacts], Sequence[str] | None]] = {
    "ecs:cluster": Beyond.cluster,
    "iam:permissionsboundary": Beyond.boundary,
    "kms:resourcealiases": Beyond.aliases,
    "lambda:functionarn": Beyond.function,
}
