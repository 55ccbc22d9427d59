"""Tags of APIs, stages, keys and usage plans, by their ARNs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from localcloud.apigateway.apis import API
from localcloud.apigateway.errors import bad_request
from localcloud.apigateway.keys import KEY
from localcloud.apigateway.plans import PLAN
from localcloud.apigateway.stages import STAGE
from localcloud.context import Context, Request
from localcloud.errors import ServiceError

_PATHS = (
    (re.compile(r"/restapis/([^/]+)"), API),
    (re.compile(r"/restapis/([^/]+)/stages/([^/]+)"), STAGE),
    (re.compile(r"/apikeys/([^/]+)"), KEY),
    (re.compile(r"/usageplans/([^/]+)"), PLAN),
)
_MOST = 50


class Tags:
    """The operations on tags."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def tag(self, request: Request) -> dict[str, Any]:
        """TagResource: a tag with a known key gets the new value."""
        given = request.params["tags"]
        for key in given:
            if not 1 <= len(key) <= 128 or key.startswith("aws:"):
                raise bad_request(f"Invalid tag key: {key!r}; expected 1 to 128 characters that do not begin with aws:")
        self._change(request, lambda tags: {**tags, **given})
        return {}

    def untag(self, request: Request) -> dict[str, Any]:
        """UntagResource: keys that are not there are no error."""
        gone = request.params["tagKeys"]
        self._change(request, lambda tags: {key: value for key, value in tags.items() if key not in gone})
        return {}

    def get(self, request: Request) -> dict[str, Any]:
        """GetTags."""
        kind, key = self._place(request)
        document = self._context.store.get(kind, key)
        if document is None:
            raise _not_found(request)
        return {"tags": document.get("tags") or {}}

    def _change(self, request: Request, function: Callable[[dict[str, str]], dict[str, str]]) -> None:
        def changed(document: dict[str, Any]) -> dict[str, Any]:
            tags = function(document.get("tags") or {})
            if len(tags) > _MOST:
                raise bad_request(f"A resource has at most {_MOST} tags; it would have {len(tags)}")
            return {**document, "tags": tags}

        kind, key = self._place(request)
        try:
            self._context.store.update(kind, key, changed)
        except KeyError:
            raise _not_found(request) from None

    def _place(self, request: Request) -> tuple[str, str]:
        arn = unquote(request.params["resourceArn"])
        prefix = f"arn:aws:apigateway:{self._context.region}::"
        for pattern, kind in _PATHS:
            if found := pattern.fullmatch(arn.removeprefix(prefix)):
                return kind, "/".join(found.groups())
        raise bad_request(
            f"Invalid ARN specified in the request: {arn!r} is not that of an API, a stage, a key or a plan"
        )


def _not_found(request: Request) -> ServiceError:
    return ServiceError("NotFoundException", f"Resource not found: {unquote(request.params['resourceArn'])}", 404)
