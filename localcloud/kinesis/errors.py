"""The errors that Kinesis answers with, in its own words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localcloud.errors import ServiceError


def invalid(message: str) -> ServiceError:
    """An argument that is not valid, or not valid now."""
    return ServiceError("InvalidArgumentException", message)


def lacking(params: Mapping[str, Any], *members: str) -> None:
    """Raise for what AWS has, and localcloud has not."""
    for member in members:
        if params.get(member):
            raise invalid(f"localcloud's streams have no {member}; got {params[member]!r}")


def no_shard(shard_id: str, stream: str, account: str) -> ServiceError:
    """The stream has no such shard."""
    return ServiceError(
        "ResourceNotFoundException", f"Could not find shard {shard_id} in stream {stream} under account {account}."
    )


def rate_exceeded(shard_id: str, stream: str, account: str) -> ServiceError:
    """More than the shard's share of a second."""
    return ServiceError(
        "ProvisionedThroughputExceededException",
        f"Rate exceeded for shard {shard_id} in stream {stream} under account {account}.",
    )
