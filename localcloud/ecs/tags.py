"""Tags of clusters, task definitions, services and tasks, by ARN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from localcloud.context import Context, Request
from localcloud.ecs.errors import invalid

_KIND = "ecs/tags"
_MOST = 50
Tag = dict[str, str]


class Tags:
    """TagResource, UntagResource, ListTagsForResource, and what the other operations do with tags."""

    def __init__(self, context: Context) -> None:
        self._store = context.store

    def put(self, arn: str, tags: Sequence[Tag]) -> None:
        """The tags of a new resource; within the caller's transaction. From here on it can be tagged."""
        self._check(tags)
        self._store.put(_KIND, arn, {"tags": list(tags)})

    def of(self, arn: str) -> list[Tag]:
        """A resource's tags."""
        found = self._store.get(_KIND, arn)
        return list(found["tags"]) if found else []

    def drop(self, arn: str) -> None:
        """Forget those of a resource that is gone."""
        self._store.delete(_KIND, arn)

    def tag(self, request: Request) -> dict[str, Any]:
        """TagResource."""
        arn = request.params["resourceArn"]
        with self._store.transaction():
            self.put(arn, merged(self._known(arn), request.params["tags"]))
        return {}

    def untag(self, request: Request) -> dict[str, Any]:
        """UntagResource."""
        arn, gone = request.params["resourceArn"], set(request.params["tagKeys"])
        with self._store.transaction():
            self.put(arn, [tag for tag in self._known(arn) if tag["key"] not in gone])
        return {}

    def list(self, request: Request) -> dict[str, Any]:
        """ListTagsForResource."""
        return {"tags": self._known(request.params["resourceArn"])}

    def _known(self, arn: str) -> Sequence[Tag]:
        if self._store.get(_KIND, arn) is None:
            raise invalid(f"The specified resource is not there to be tagged: {arn}")
        return self.of(arn)

    def _check(self, tags: Sequence[Tag]) -> None:
        if len({tag["key"] for tag in tags}) != len(tags):
            raise invalid("Tags contain a key more than once.")
        if len(tags) > _MOST:
            raise invalid(f"A resource has {_MOST} tags at most; it would have {len(tags)}")


def merged(*lists: Sequence[Tag]) -> list[Tag]:
    """Tags of several lists; a later one's value counts."""
    found = {tag["key"]: tag.get("value", "") for tags in lists for tag in tags}
    return [{"key": key, "value": value} for key, value in found.items()]
