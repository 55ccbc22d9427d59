"""The errors of CodeBuild: those of its calls by name, and those that end a phase of a build."""

from __future__ import annotations

from collections.abc import Sequence

from localcloud.errors import ServiceError


class PhaseError(Exception):
    """A phase of a build fails. `code` and `message` are its context, as BatchGetBuilds shows it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


def invalid(message: str) -> ServiceError:
    """A parameter is not one that fits."""
    return ServiceError("InvalidInputException", message)


def missing(message: str) -> ServiceError:
    """There is no such project, build or report group."""
    return ServiceError("ResourceNotFoundException", message)


def exists(message: str) -> ServiceError:
    """There is one of that name."""
    return ServiceError("ResourceAlreadyExistsException", message)


def limited(message: str) -> ServiceError:
    """There are as many as there may be."""
    return ServiceError("AccountLimitExceededException", message)


def refused(names: Sequence[str], what: str) -> ServiceError:
    """The request has members that localcloud does not honour: it never pretends."""
    return invalid(f"localcloud has no {what} with {', '.join(names)}; leave it out")
