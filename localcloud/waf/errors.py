# ruff: noqa: RUF001, AWS writes its apostrophes so
"""The errors that WAF answers with, in its own words."""

from __future__ import annotations

from typing import Any

from localcloud.errors import ServiceError

_COULD_NOT = "AWS WAF couldn’t perform the operation because"


def invalid(reason: str, field: str, parameter: Any) -> ServiceError:
    """A parameter that is not valid; `field` is one of the names that the model has for parts of a request."""
    return ServiceError(
        "WAFInvalidParameterException",
        f"Error reason: {reason}, field: {field}, parameter: {parameter}",
        fields={"Field": field, "Parameter": str(parameter), "Reason": reason},
    )


def lacking(what: str, field: str, parameter: Any) -> ServiceError:
    """What AWS has, and localcloud has not."""
    return invalid(f"localcloud's web ACLs have no {what}.", field, parameter)


def nonexistent(what: str) -> ServiceError:
    """What the request names is not there."""
    return ServiceError("WAFNonexistentItemException", f"{_COULD_NOT} your resource doesn’t exist: {what}.")


def unavailable(arn: str) -> ServiceError:
    """The resource that a web ACL shall be associated with is not there."""
    return ServiceError(
        "WAFUnavailableEntityException", f"AWS WAF couldn’t retrieve the resource that you requested: {arn}."
    )


def duplicate(what: str) -> ServiceError:
    """Something of a name, or of a priority, that there is already."""
    return ServiceError(
        "WAFDuplicateItemException",
        f"{_COULD_NOT} some resource in your request is a duplicate of an existing one: {what}.",
    )


def locked() -> ServiceError:
    """The lock token is not the last one."""
    return ServiceError(
        "WAFOptimisticLockException",
        "AWS WAF couldn’t save your changes because someone else changed the resource after you started to edit it."
        " Reapply your changes.",
    )


def associated(arns: list[str]) -> ServiceError:
    """A web ACL that resources still have."""
    return ServiceError(
        "WAFAssociatedItemException",
        f"{_COULD_NOT} your resource is being used by another resource or it’s associated with another resource:"
        f" {', '.join(arns)}.",
    )


def over_limit(what: str) -> ServiceError:
    """More than a web ACL may have."""
    return ServiceError("WAFLimitsExceededException", f"{_COULD_NOT} you exceeded your resource limit: {what}.")
