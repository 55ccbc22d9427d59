"""The errors that Firehose answers with, and why a record cannot be delivered where it belongs."""

from __future__ import annotations

from localcloud.errors import ServiceError

METADATA_EXTRACTION_FAILED = "metadata-extraction-failed"
"""The kind of error that a record has whose partition is not found, as `!{firehose:error-output-type}` says it."""


class PartitionError(Exception):
    """A record that has no partition. `code` is the one that Firehose notes beside it."""

    def __init__(self, message: str, code: str = "DynamicPartitioning.MetadataExtractionFailed") -> None:
        super().__init__(message)
        self.code = code


def invalid(message: str) -> ServiceError:
    """An argument that is not valid, or that localcloud has nothing for."""
    return ServiceError("InvalidArgumentException", message)


def missing(name: str, account_id: str) -> ServiceError:
    """There is no such stream."""
    return ServiceError("ResourceNotFoundException", f"Firehose {name} under account {account_id} not found.")
