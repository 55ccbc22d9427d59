"""The errors of Amazon ECS, by name."""

from __future__ import annotations

from localcloud.errors import ServiceError


def client_error(message: str) -> ServiceError:
    """The request asks for what cannot be."""
    return ServiceError("ClientException", message)


def invalid(message: str) -> ServiceError:
    """A parameter is not one that fits."""
    return ServiceError("InvalidParameterException", message)


def no_cluster() -> ServiceError:
    """There is no such cluster. AWS does not say which."""
    return ServiceError("ClusterNotFoundException", "Cluster not found.")


def no_service() -> ServiceError:
    """There is no such service."""
    return ServiceError("ServiceNotFoundException", "Service not found.")


def service_not_active() -> ServiceError:
    """The service is being deleted, or was."""
    return ServiceError("ServiceNotActiveException", "Service was not ACTIVE.")


def no_definition() -> ServiceError:
    """There is no such task definition."""
    return client_error("Unable to describe task definition.")


def refused(names: list[str], what: str) -> ServiceError:
    """The request has members that localcloud does not honour: it never pretends."""
    return invalid(f"localcloud runs no {what} with {', '.join(names)}; leave it out")
