"""AddTags, ListTags and DeleteTags, for every taggable resource that is in the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from localcloud.context import Context, Request
from localcloud.errors import validation
from localcloud.sagemaker.arns import parse
from localcloud.sagemaker.crud import paginate

KIND = "sagemaker/tags"
_MOST = 50


class Tags:
    """Tags by ARN."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def add(self, request: Request) -> dict[str, Any]:
        """AddTags: a tag with a known key gets the new value."""
        arn = request.params["ResourceArn"]
        with self._context.store.transaction():
            self._check(arn)
            tags = {tag["Key"]: tag["Value"] for tag in self.of(arn)}
            tags.update({tag["Key"]: tag["Value"] for tag in request.params["Tags"]})
            if len(tags) > _MOST:
                raise validation(f"{arn} would have {len(tags)} tags; a resource has at most {_MOST}")
            return self._write(arn, tags)

    def list(self, request: Request) -> dict[str, Any]:
        """ListTags."""
        arn = request.params["ResourceArn"]
        self._check(arn)
        page, token = paginate(request.operation, self.of(arn), request.params, lambda tag: str(tag["Key"]))
        return {"Tags": page, "NextToken": token}

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteTags: keys that are not there are no error."""
        arn = request.params["ResourceArn"]
        with self._context.store.transaction():
            self._check(arn)
            gone = set(request.params["TagKeys"])
            self._write(arn, {tag["Key"]: tag["Value"] for tag in self.of(arn) if tag["Key"] not in gone})
        return {}

    def of(self, arn: str) -> Sequence[dict[str, str]]:
        """The resource's tags, in the order in which they were added."""
        document = self._context.store.get(KIND, arn)
        tags: Sequence[dict[str, str]] = document["Tags"] if document else ()
        return tags

    def _write(self, arn: str, tags: dict[str, str]) -> dict[str, Any]:
        document = {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
        self._context.store.put(KIND, arn, document)
        return document

    def _check(self, arn: str) -> None:
        resource, name = parse(arn)
        kind, key = f"sagemaker/{resource}", name
        if "/execution/" in name:
            kind, key = "sagemaker/pipeline-execution", arn
        if self._context.store.get(kind, key) is None:
            raise validation(f"Could not find the resource {arn!r} to tag")
