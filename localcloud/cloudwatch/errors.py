"""CloudWatch's errors, by the names that clients see."""

from __future__ import annotations

from localcloud.errors import ServiceError


def invalid(message: str) -> ServiceError:
    """A value that the service does not take (of the operations on metrics)."""
    return ServiceError("InvalidParameterValue", message)


def combination(message: str) -> ServiceError:
    """Parameters that exclude each other."""
    return ServiceError("InvalidParameterCombination", message)


def missing(message: str) -> ServiceError:
    """A parameter that is not there and must be."""
    return ServiceError("MissingParameter", message)


def refused(message: str) -> ServiceError:
    """A value that the service does not take (of the operations on alarms)."""
    return ServiceError("ValidationError", message)


def unsupported(what: str, found: object) -> ServiceError:
    """A part of CloudWatch that localcloud has not: said by its name, never dropped."""
    return ServiceError("ValidationError", f"localcloud {what}; got {found}")
