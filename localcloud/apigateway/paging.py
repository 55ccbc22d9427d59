"""Lists, a page at a time: API Gateway calls the token `position` and the size `limit`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from localcloud.apigateway.errors import bad_request
from localcloud.context import Request
from localcloud.errors import ServiceError
from localcloud.sagemaker.crud import paginate

Document = Mapping[str, Any]

_USUAL, _MOST = 25, 500


def page_of(request: Request, documents: Sequence[Document], key: str = "id") -> dict[str, Any]:
    """The answer of a Get…s operation, of whose items `key` tells one from another."""
    limit = request.params.get("limit") or _USUAL
    if not 1 <= limit <= _MOST:
        raise bad_request(f"Invalid limit specified: {limit}; expected a number from 1 to {_MOST}")
    params = {"MaxResults": limit}
    if request.params.get("position"):
        params["NextToken"] = request.params["position"]
    try:
        items, position = paginate(request.operation, documents, params, lambda document: str(document[key]))
    except ServiceError:
        raise bad_request("Invalid position parameter") from None
    return {"items": list(items), "position": position}
