"""The errors of kinesisanalyticsv2, by name."""

from __future__ import annotations

from localcloud.errors import ServiceError


def invalid(message: str) -> ServiceError:
    """A parameter is not one that fits."""
    return ServiceError("InvalidArgumentException", message)


def unfit(message: str) -> ServiceError:
    """The application's configuration cannot be run."""
    return ServiceError("InvalidApplicationConfigurationException", message)


def missing(what: str) -> ServiceError:
    """There is no such application, snapshot or code."""
    return ServiceError("ResourceNotFoundException", what)


def in_use(message: str) -> ServiceError:
    """The application is in a status in which this cannot be done."""
    return ServiceError("ResourceInUseException", message)


def refused(names: list[str], what: str) -> ServiceError:
    """The request has members that localcloud does not honour: it never pretends."""
    return invalid(f"localcloud runs no {what} with {', '.join(names)}; leave it out")
