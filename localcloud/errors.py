"""The errors that a service answers with.

    ServiceError           an answer of the service itself: code, message, HTTP status (raised by handlers)
    LocalcloudError        localcloud cannot do what its user asked at the command line (one line, exit status 1)

Anything else that leaves a handler is a bug: the dispatcher logs its traceback and answers InternalFailure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class LocalcloudError(Exception):
    """A mistake or a conflict that the person at the terminal can resolve; the message says how."""


class ServiceError(Exception):
    """An error answer in the calling service's own protocol.

    `code` is the name that clients see in `error.response["Error"]["Code"]`, `status` the HTTP status.
    `fields` are further members of a modelled error shape (for example `OriginalStatusCode` of `ModelError`).
    """

    def __init__(self, code: str, message: str, status: int = 400, *, fields: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.fields: dict[str, Any] = dict(fields or {})


def validation(message: str) -> ServiceError:
    """The request is not one that the service accepts."""
    return ServiceError("ValidationException", message, 400)


def not_found(message: str) -> ServiceError:
    """What the request names does not exist (SageMaker's spelling: `ResourceNotFound`, status 400)."""
    return ServiceError("ResourceNotFound", message, 400)
