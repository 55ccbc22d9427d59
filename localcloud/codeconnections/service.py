"""CodeConnections, and the same by its former name, CodeStar Connections.

On AWS a person completes a connection in the provider's own pages. Here it is available at once, and the provider's
repositories are localcloud's: `/_aws/connections/{owner}/{name}.git` (`localcloud.codecommit.http`), each made by the
first push to it.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from localcloud.codecommit.pages import page
from localcloud.context import Context, Request
from localcloud.errors import ServiceError, validation
from localcloud.service import Handler

NAMES = ("codeconnections", "codestar-connections")
"""The service's names, by botocore. A connection made by the one is the other's, too, and its ARN keeps the name."""

_CONNECTION = "codeconnections/connection"
_PAGE = 100
_MOST_TAGS = 200

Document = dict[str, Any]


class CodeConnections:
    """The service by one of its names."""

    def __init__(self, context: Context, name: str) -> None:
        self.name = name
        self._context = context
        services = "|".join(NAMES)
        self._arn = re.compile(
            rf"arn:aws:(?:{services}):{context.region}:{context.account_id}:connection/([0-9a-f-]{{36}})"
        )
        self._operations: dict[str, Handler] = {
            "CreateConnection": self.create,
            "GetConnection": self.get,
            "ListConnections": self.list,
            "DeleteConnection": self.delete,
            "TagResource": self.tag,
            "UntagResource": self.untag,
            "ListTagsForResource": self.tags,
        }

    @property
    def operations(self) -> Mapping[str, Handler]:
        """What is implemented, by name."""
        return self._operations

    def start(self) -> None:
        """There is nothing under way."""

    def stop(self) -> None:
        """There is nothing under way."""

    def create(self, request: Request) -> dict[str, Any]:
        """CreateConnection."""
        params = request.params
        if "HostArn" in params:
            raise _not_found(f"Host not found: {params['HostArn']} (localcloud has no hosts; name a ProviderType)")
        if "ProviderType" not in params:
            raise validation("Either ProviderType or HostArn must be specified")
        identifier, tags = str(uuid.uuid4()), params.get("Tags", [])
        document = {
            "ConnectionName": params["ConnectionName"],
            "ConnectionArn": self._arn_of(identifier),
            "ProviderType": params["ProviderType"],
            "OwnerAccountId": self._context.account_id,
            "ConnectionStatus": "AVAILABLE",
            "Tags": {tag["Key"]: tag["Value"] for tag in tags},
        }
        self._context.store.put(_CONNECTION, identifier, document)
        return {"ConnectionArn": document["ConnectionArn"], "Tags": tags}

    def get(self, request: Request) -> dict[str, Any]:
        """GetConnection."""
        return {"Connection": _shown(self._found(request.params["ConnectionArn"])[1])}

    def list(self, request: Request) -> dict[str, Any]:
        """ListConnections."""
        params = request.params
        provider, most = params.get("ProviderTypeFilter"), params.get("MaxResults") or _PAGE
        found = [
            _shown(document)
            for _, document in self._context.store.list(_CONNECTION)
            if provider in (None, document["ProviderType"]) and "HostArnFilter" not in params
        ]
        shown, token = page(f"connections {provider}", found, params.get("NextToken"), most)
        return {"Connections": list(shown), "NextToken": token}

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteConnection. What it led to stays: that is the provider's."""
        identifier, _ = self._found(request.params["ConnectionArn"])
        self._context.store.delete(_CONNECTION, identifier)
        return {}

    def tag(self, request: Request) -> dict[str, Any]:
        """TagResource."""
        added = {tag["Key"]: tag["Value"] for tag in request.params["Tags"]}
        self._retag(request, lambda tags: {**tags, **added})
        return {}

    def untag(self, request: Request) -> dict[str, Any]:
        """UntagResource."""
        gone = request.params["TagKeys"]
        self._retag(request, lambda tags: {key: value for key, value in tags.items() if key not in gone})
        return {}

    def tags(self, request: Request) -> dict[str, Any]:
        """ListTagsForResource."""
        tags = self._found(request.params["ResourceArn"])[1]["Tags"]
        return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}

    def _retag(self, request: Request, change: Callable[[dict[str, str]], dict[str, str]]) -> None:
        with self._context.store.transaction():
            identifier, document = self._found(request.params["ResourceArn"])
            tags = change(document["Tags"])
            if len(tags) > _MOST_TAGS:
                raise ServiceError("LimitExceededException", f"A connection may have {_MOST_TAGS} tags.")
            self._context.store.put(_CONNECTION, identifier, {**document, "Tags": tags})

    def _found(self, arn: str) -> tuple[str, Document]:
        named = self._arn.fullmatch(arn)
        document = self._context.store.get(_CONNECTION, named[1]) if named is not None else None
        if named is None or document is None:
            raise _not_found(f"Connection not found: {arn}")
        return named[1], document

    def _arn_of(self, identifier: str) -> str:
        return f"arn:aws:{self.name}:{self._context.region}:{self._context.account_id}:connection/{identifier}"


def _not_found(message: str) -> ServiceError:
    return ServiceError("ResourceNotFoundException", message)


def _shown(document: Document) -> Document:
    return {name: value for name, value in document.items() if name != "Tags"}
