"""Pages of CodePipeline's lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from localcloud.codepipeline.errors import bad_token
from localcloud.errors import ServiceError
from localcloud.sagemaker.crud import paginate

_PAGE = 100


def page(
    operation: str, items: Sequence[Any], params: Mapping[str, Any], member: str, key: Callable[[Any], str]
) -> dict[str, Any]:
    """The answer of a List operation. Raises InvalidNextTokenException for a token of another list."""
    asked = {"NextToken": params.get("nextToken"), "MaxResults": params.get("maxResults") or _PAGE}
    try:
        found, token = paginate(operation, items, asked, key)
    except ServiceError as error:
        raise bad_token(error.message) from None
    return {member: list(found), "nextToken": token}
