"""Cognito's errors, and the refusal of settings that would have no effect here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from localcloud.errors import ServiceError
from localcloud.sagemaker.crud import paginate

Settings = Mapping[str, tuple[Any, ...]]
"""Paths (`Policies.SignInPolicy`) of settings that are not here, each with the values that ask for nothing."""


def invalid(message: str) -> ServiceError:
    """The request is not one that Cognito accepts."""
    return ServiceError("InvalidParameterException", message)


def not_authorized(message: str) -> ServiceError:
    """Whoever asks may not."""
    return ServiceError("NotAuthorizedException", message)


def missing(message: str) -> ServiceError:
    """What the request names is not there."""
    return ServiceError("ResourceNotFoundException", message)


def refuse(things: str, params: Mapping[str, Any], settings: Settings) -> None:
    """Raise InvalidParameterException if the request asks for a setting that `things` do not have here."""
    for path, harmless in settings.items():
        value = _at(params, path)
        if value is None or any(value == one and type(value) is type(one) for one in harmless):
            continue
        known = f" other than {' or '.join(map(repr, harmless))}" if any(harmless) else ""
        raise invalid(f"localcloud's {things} have no {path}{known}; got {value!r}")


def page(
    operation: str, items: Sequence[dict[str, Any]], size: int, token: str | None, key: str
) -> tuple[Sequence[dict[str, Any]], str | None]:
    """One page of a list, and the token of the next. Raises InvalidParameterException for a wrong token."""
    try:
        return paginate(operation, items, {"MaxResults": size, "NextToken": token}, lambda item: str(item[key]))
    except ServiceError as error:
        raise invalid(error.message) from None


def _at(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
