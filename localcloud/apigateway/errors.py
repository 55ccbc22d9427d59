"""The errors of the service `apigateway`, and the ids that it gives."""

from __future__ import annotations

import secrets
import string

from localcloud.errors import ServiceError

_ALPHABET = string.ascii_lowercase + string.digits


def bad_request(message: str) -> ServiceError:
    """The request is not one that the service accepts."""
    return ServiceError("BadRequestException", message, 400)


def missing(what: str) -> ServiceError:
    """What the request names is not there; AWS says of which kind, and no more."""
    return ServiceError("NotFoundException", f"Invalid {what} identifier specified", 404)


def missing_stage(api_id: str, stage: str) -> ServiceError:
    """A usage plan names a stage that is not there, or that it has not."""
    return ServiceError("NotFoundException", f"API Stage not found: {api_id}:{stage}", 404)


def conflict(message: str) -> ServiceError:
    """What the request makes is there already, or in the way of something else."""
    return ServiceError("ConflictException", message, 409)


def new_id(length: int, alphabet: str = _ALPHABET) -> str:
    """A new id, of lower-case letters and digits unless told otherwise."""
    return "".join(secrets.choice(alphabet) for _ in range(length))
