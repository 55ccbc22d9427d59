"""What is said of a part of the stream that is not there."""

from __future__ import annotations

from pipelines.errors import ServiceError
from pipelines.names import Names

__all__ = ["missing"]


def missing(names: Names, what: str) -> ServiceError:
    """The error that there is no such thing, as `queue `a-queue``, and what makes it."""
    return ServiceError(
        f"there is no {what}: the stream's stack `{names.ingestion_stack}` makes it, on this machine `mlops up` does"
    )
