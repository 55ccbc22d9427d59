"""What CodeBuild's lists and batches have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from localcloud.codebuild.errors import invalid
from localcloud.errors import ServiceError
from localcloud.sagemaker.crud import paginate

_MOMENTS = {"CREATED_TIME": "created", "LAST_MODIFIED_TIME": "lastModified"}


def page(
    operation: str,
    items: Sequence[Any],
    params: Mapping[str, Any],
    member: str,
    key: Callable[[Any], str] = str,
) -> dict[str, Any]:
    """The answer of a list. `key` tells the items apart. Raises InvalidInputException for a token of another list."""
    asked = {"NextToken": params.get("nextToken"), "MaxResults": params.get("maxResults") or 100}
    try:
        found, token = paginate(operation, items, asked, key)
    except ServiceError as error:
        raise invalid(error.message) from None
    return {member: list(found), "nextToken": token}


def batch(asked: Sequence[str], find: Callable[[str], Any], found: str, missing: str) -> dict[str, Any]:
    """The answer of a BatchGet: what is there under `found`, and the names of what is not under `missing`."""
    documents = {name: find(name) for name in dict.fromkeys(asked)}
    return {
        found: [document for document in documents.values() if document is not None],
        missing: [name for name, document in documents.items() if document is None],
    }


def in_order(documents: Sequence[Mapping[str, Any]], params: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Projects or report groups as a list is to have them: by name if nothing else is asked for."""
    by = _MOMENTS.get(params.get("sortBy", "NAME"), "name")
    return sorted(documents, key=lambda one: one[by], reverse=params.get("sortOrder") == "DESCENDING")
