"""What the refusal of a service that an action calls says of the action."""

from __future__ import annotations

from botocore.exceptions import BotoCoreError, ClientError

from localcloud.codepipeline.turn import CONFIGURATION, PERMISSION, SYSTEM, ActionFailed
from localcloud.errors import ServiceError

REFUSALS = (ClientError, BotoCoreError, ServiceError)
_NOT_NOW = frozenset({"InternalFailure", "InternalError", "ServiceUnavailable"})


def failure(error: Exception, what: str) -> ActionFailed:
    """The failure of an action whose call was refused; `what` says what was called, and on what."""
    code, message = _told(error)
    if "AccessDenied" in code or code in ("403", "Forbidden"):
        return ActionFailed(
            PERMISSION,
            f"The provided role does not have sufficient permissions: {what}. Underlying error: {code}: {message}",
        )
    return ActionFailed(SYSTEM if code in _NOT_NOW else CONFIGURATION, f"{what}: {code}: {message}")


def _told(error: Exception) -> tuple[str, str]:
    if isinstance(error, ClientError):
        found = error.response.get("Error", {})
        return str(found.get("Code", "")), str(found.get("Message", ""))
    if isinstance(error, ServiceError):
        return error.code, error.message
    return type(error).__name__, str(error)
