"""The tags of pipelines, which are kept with them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from localcloud.codepipeline.pages import page
from localcloud.codepipeline.records import PIPELINE, Document, Records
from localcloud.context import Context, Request
from localcloud.errors import ServiceError

_MOST = 50
_ARN = re.compile(r"arn:aws:codepipeline:[^:]+:\d{12}:(?P<name>[A-Za-z0-9.@_-]+)")


class Tags:
    """TagResource, UntagResource and ListTagsForResource."""

    def __init__(self, context: Context, records: Records) -> None:
        self._store, self._records = context.store, records

    def tag(self, request: Request) -> dict[str, Any]:
        """TagResource."""
        name = self._name(request)
        added = checked(request.params["tags"])

        def changed(document: Document) -> Document:
            tags = {**document["Tags"], **added}
            _check_count(tags)
            return {**document, "Tags": tags}

        self._store.update(PIPELINE, name, changed)
        return {}

    def untag(self, request: Request) -> dict[str, Any]:
        """UntagResource."""
        name, gone = self._name(request), set(request.params["tagKeys"])

        def changed(document: Document) -> Document:
            return {**document, "Tags": {key: value for key, value in document["Tags"].items() if key not in gone}}

        self._store.update(PIPELINE, name, changed)
        return {}

    def list(self, request: Request) -> dict[str, Any]:
        """ListTagsForResource."""
        tags = shown(self._records.pipeline(self._name(request))["Tags"])
        return page(request.operation, tags, request.params, "tags", lambda tag: str(tag["key"]))

    def _name(self, request: Request) -> str:
        arn = request.params["resourceArn"]
        found = _ARN.fullmatch(arn)
        if found is None:
            raise ServiceError("InvalidArnException", f"The ARN {arn} is no pipeline's")
        if arn != self._records.arn(found["name"]) or self._store.get(PIPELINE, found["name"]) is None:
            raise ServiceError("ResourceNotFoundException", f"The resource {arn} does not exist")
        return found["name"]


def checked(tags: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Tags by their keys. Raises InvalidTagsException and TooManyTagsException."""
    found = {tag["key"]: tag["value"] for tag in tags}
    if len(found) < len(tags):
        raise ServiceError("InvalidTagsException", "A tag key is given more than once")
    # Those of CloudFormation are what it marks its resources with.
    reserved = [key for key in found if key.startswith("aws:") and not key.startswith("aws:cloudformation:")]
    if reserved:
        raise ServiceError("InvalidTagsException", f"Tag keys that begin with aws: are reserved; got {reserved[0]}")
    _check_count(found)
    return found


def shown(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as CodePipeline gives them."""
    return [{"key": key, "value": value} for key, value in tags.items()]


def _check_count(tags: Mapping[str, str]) -> None:
    if len(tags) > _MOST:
        raise ServiceError("TooManyTagsException", f"A pipeline has {_MOST} tags at most; it would have {len(tags)}")
