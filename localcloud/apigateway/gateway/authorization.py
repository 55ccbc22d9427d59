"""Cognito authorizers: whose token counts, and for what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from localcloud.apigateway.deployed import Authorizer, Method
from localcloud.apigateway.gateway.moments import claim_time
from localcloud.apigateway.gateway.refusals import Refused
from localcloud.cognito.tokens import TokenRefused

Verify = Callable[[str, str], Mapping[str, Any]]
# The claims that API Gateway writes as dates.
_DATES = frozenset({"exp", "iat"})


def authorize(method: Method, authorizer: Authorizer, header: str | None, verify: Verify) -> dict[str, str]:
    """The claims of the token in a header, as text, as the integration gets them.

    A method with scopes asks for an access token that has one of them, one without for an identity token. Raises
    Refused: UNAUTHORIZED without a token that counts, ACCESS_DENIED without the scope.
    """
    token = (header or "").strip()
    if token[:7].lower() == "bearer ":
        token = token[7:].strip()
    if not token:
        raise _unauthorized("the request has no token")
    claims = _verified(authorizer, token, verify)
    wanted = "access" if method.scopes else "id"
    if claims.get("token_use") != wanted:
        raise _unauthorized(f"the method asks for an {wanted} token; the token is for {claims.get('token_use')!r}")
    if method.scopes and not set(str(claims.get("scope", "")).split()) & set(method.scopes):
        raise Refused(
            "ACCESS_DENIED",
            "User is not authorized to access this resource",
            detail=f"the token's scopes are {claims.get('scope')!r}; the method asks for one of"
            f" {', '.join(method.scopes)}",
        )
    return {name: _text(name, value) for name, value in claims.items()}


def _verified(authorizer: Authorizer, token: str, verify: Verify) -> Mapping[str, Any]:
    refusals = []
    for pool_arn in authorizer.provider_arns:
        try:
            return verify(pool_arn, token)
        except TokenRefused as error:
            refusals.append(error)
    detail = "; ".join(refusal.reason for refusal in refusals)
    if any(refusal.expired for refusal in refusals):
        raise Refused("UNAUTHORIZED", "The incoming token has expired", detail=detail)
    raise _unauthorized(detail)


def _unauthorized(detail: str) -> Refused:
    return Refused("UNAUTHORIZED", "Unauthorized", detail=detail)


def _text(name: str, value: Any) -> str:
    if name in _DATES and isinstance(value, int | float):
        return claim_time(datetime.fromtimestamp(value, UTC))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(str(one) for one in value)
    return str(value)
