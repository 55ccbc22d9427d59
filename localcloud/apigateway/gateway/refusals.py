"""The cases in which the gateway answers itself, by the names that API Gateway has for them (gateway responses)."""

from __future__ import annotations

from collections.abc import Mapping

INTERNAL = "Internal server error"

STATUSES: Mapping[str, int] = {
    "ACCESS_DENIED": 403,
    "API_CONFIGURATION_ERROR": 500,
    "AUTHORIZER_CONFIGURATION_ERROR": 500,
    "AUTHORIZER_FAILURE": 500,
    "BAD_REQUEST_BODY": 400,
    "BAD_REQUEST_PARAMETERS": 400,
    "EXPIRED_TOKEN": 403,
    "INTEGRATION_FAILURE": 504,
    "INTEGRATION_TIMEOUT": 504,
    "INVALID_API_KEY": 403,
    "INVALID_SIGNATURE": 403,
    "MISSING_AUTHENTICATION_TOKEN": 403,
    "QUOTA_EXCEEDED": 429,
    "REQUEST_TOO_LARGE": 413,
    "RESOURCE_NOT_FOUND": 404,
    "THROTTLED": 429,
    "UNAUTHORIZED": 401,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "WAF_FILTERED": 403,
    "DEFAULT_4XX": 400,
    "DEFAULT_5XX": 500,
}
"""Every case, and the status that is answered where the API says nothing else. Those that are not listed by name, a
function that fails among them, are DEFAULT_4XX or DEFAULT_5XX with a status of their own."""

# x-amzn-ErrorType, where it is not that of the status.
_ERROR_TYPES: Mapping[str, str] = {
    "ACCESS_DENIED": "AccessDeniedException",
    "INVALID_SIGNATURE": "IncompleteSignatureException",
    "MISSING_AUTHENTICATION_TOKEN": "MissingAuthenticationTokenException",
    "QUOTA_EXCEEDED": "LimitExceededException",
    "UNAUTHORIZED": "UnauthorizedException",
}
_ERROR_TYPES_BY_STATUS: Mapping[int, str] = {
    400: "BadRequestException",
    403: "ForbiddenException",
    404: "NotFoundException",
    413: "RequestTooLargeException",
    415: "UnsupportedMediaTypeException",
    429: "TooManyRequestsException",
}


class Refused(Exception):
    """The gateway answers by itself.

    type: one of STATUSES. message: for the caller. status: where it is not the type's own. detail: what is behind it,
    for the log alone. validation: what the validation of the body has found.
    """

    def __init__(
        self, type: str, message: str, *, status: int | None = None, detail: str = "", validation: str | None = None
    ) -> None:
        super().__init__(detail or message)
        self.type, self.message, self.detail, self.validation = type, message, detail, validation
        self.status = STATUSES[type] if status is None else status

    @property
    def error_type(self) -> str:
        """What x-amzn-ErrorType says."""
        return _ERROR_TYPES.get(self.type) or _ERROR_TYPES_BY_STATUS.get(self.status, "InternalServerErrorException")

    @property
    def fallback(self) -> str:
        """The type whose answer stands in where the API has none for this one."""
        return "DEFAULT_4XX" if self.status < 500 else "DEFAULT_5XX"
