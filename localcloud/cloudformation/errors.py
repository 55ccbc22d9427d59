"""The errors of CloudFormation, as its service words them."""

from __future__ import annotations

from localcloud.errors import ServiceError


def invalid(message: str) -> ServiceError:
    """The request, or its template, is not one that CloudFormation accepts."""
    return ServiceError("ValidationError", message, 400)


def no_stack(name: str) -> ServiceError:
    """There is no such stack."""
    return invalid(f"Stack with id {name} does not exist")


class TemplateError(ServiceError):
    """A template, or a value in it, cannot be. Before anything is made it is the answer of the call; later, the reason
    why a resource failed."""

    def __init__(self, message: str) -> None:
        super().__init__("ValidationError", message, 400)


class ResourceFailed(Exception):
    """A resource could not be made, changed or deleted; the message is its ResourceStatusReason."""


class Interrupted(Exception):
    """localcloud stops, or the stack is to be deleted: the deployment goes no further."""
