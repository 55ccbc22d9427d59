"""Ids, pages and errors of Service Catalog."""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping, Sequence
from typing import Any

from localcloud.errors import ServiceError

_ALPHABET = string.ascii_lowercase + string.digits
_ID_LENGTH = 13
_PAGE = 20


def new_id(prefix: str) -> str:
    """For example `port-2s6abcdq5wdh4`."""
    return f"{prefix}-{''.join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))}"


def missing(what: str, name: str) -> ServiceError:
    """There is no such thing."""
    return ServiceError("ResourceNotFoundException", f"{what} {name} not found.")


def invalid(message: str) -> ServiceError:
    """The request is not one that the service accepts."""
    return ServiceError("InvalidParametersException", message)


def in_use(message: str) -> ServiceError:
    """It cannot be deleted while something belongs to it."""
    return ServiceError("ResourceInUseException", message)


def page(items: Sequence[Any], params: Mapping[str, Any]) -> tuple[list[Any], str | None]:
    """One page, and the token of the next."""
    token = params.get("PageToken") or "0"
    if not token.isdigit():
        raise invalid(f"The PageToken {token!r} is not one that an earlier call gave")
    start = int(token)
    end = start + (params.get("PageSize") or _PAGE)
    return list(items[start:end]), str(end) if end < len(items) else None


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as the service shows them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tag_map(tags: Sequence[Mapping[str, str]] | None) -> dict[str, str]:
    """Tags as they are kept."""
    return {tag["Key"]: tag["Value"] for tag in tags or ()}


def refuse(params: Mapping[str, Any], *members: str) -> None:
    """Raise InvalidParametersException for what localcloud could only ignore."""
    for member in members:
        if params.get(member):
            raise invalid(f"localcloud's Service Catalog has no {member}; got {params[member]!r}"[:500])
