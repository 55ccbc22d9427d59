"""Pages of ECS's lists, whose members begin in lower case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from localcloud.ecs.errors import invalid
from localcloud.errors import ServiceError
from localcloud.sagemaker.crud import paginate


def page(operation: str, arns: Sequence[str], params: Mapping[str, Any], member: str) -> dict[str, Any]:
    """The answer of a List operation. Raises InvalidParameterException for a token of another list."""
    asked = {"NextToken": params.get("nextToken"), "MaxResults": params.get("maxResults") or 100}
    try:
        found, token = paginate(operation, arns, asked, str)
    except ServiceError as error:
        raise invalid(error.message) from None
    return {member: list(found), "nextToken": token}
