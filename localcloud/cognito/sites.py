"""What a user pool answers without AWS's protocol: its keys, its configuration, and the token endpoint of its domain.

The token endpoint is RFC 6749's, with the grants for which nobody has to look at a page: `client_credentials` and
`refresh_token`. All its errors have the status 400, as Cognito's have.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

from localcloud.cognito.authentication import is_secret
from localcloud.cognito.clients import Clients, Document
from localcloud.cognito.domains import Domains
from localcloud.cognito.grants import Granted, Grants
from localcloud.cognito.keys import Keys
from localcloud.cognito.pools import Pools
from localcloud.cognito.resource_servers import ResourceServers
from localcloud.cognito.tokens import Issuer
from localcloud.context import Context
from localcloud.errors import ServiceError
from localcloud.protocols.http import HttpRequest, HttpResponse

_JSON = "application/json;charset=UTF-8"
_FORM = "application/x-www-form-urlencoded"
_KEYS, _CONFIGURATION, _TOKEN = "/.well-known/jwks.json", "/.well-known/openid-configuration", "/oauth2/token"
_REDIRECTS = "authorization_code"
_LONGEST_FORM = 32_768


class OAuthError(Exception):
    """What the token endpoint answers instead of a token: RFC 6749's name of the error."""


class Sites:
    """The pages of all pools."""

    def __init__(
        self,
        context: Context,
        keys: Keys,
        issuer: Issuer,
        pools: Pools,
        domains: Domains,
        servers: ResourceServers,
        clients: Clients,
        grants: Grants,
    ) -> None:
        self._context, self._keys, self._issuer, self._pools = context, keys, issuer, pools
        self._domains, self._servers, self._clients, self._grants = domains, servers, clients, grants

    def pool(self, pool_id: str, request: HttpRequest) -> HttpResponse:
        """A request to a pool: for the keys that check its tokens, or for where its endpoints are."""
        key = self._keys.of(pool_id)
        if key is None or request.path not in (_KEYS, _CONFIGURATION):
            return _nothing(
                f"the user pool {pool_id}", request, f"{_KEYS} and {_CONFIGURATION} of pools that are there"
            )
        if request.method not in ("GET", "HEAD"):
            return _not_allowed("GET, HEAD")
        content = {"keys": [key.jwk()]} if request.path == _KEYS else self._configuration(pool_id)
        headers = [("Content-Type", _JSON), ("Cache-Control", "public, max-age=86400")]
        return HttpResponse(200, headers, json.dumps(content).encode())

    def domain(self, name: str, request: HttpRequest) -> HttpResponse:
        """A request to a domain: for a token."""
        pool_id = self._domains.pool_id(name)
        if pool_id is None or request.path != _TOKEN:
            return _nothing(f"the domain {name}", request, f"{_TOKEN} of domains that are there")
        if request.method != "POST":
            return _not_allowed("POST")
        try:
            granted = self._granted(pool_id, request)
        except OAuthError as error:
            return _answer(400, {"error": str(error)})
        tokens = {
            "id_token": granted.id_token,
            "access_token": granted.access_token,
            "expires_in": granted.seconds,
            "token_type": "Bearer",
        }
        return _answer(200, {name: value for name, value in tokens.items() if value is not None})

    def _configuration(self, pool_id: str) -> dict[str, Any]:
        issuer, domain = self._issuer.url(pool_id), self._pools.domain(pool_id)
        found: dict[str, Any] = {
            "id_token_signing_alg_values_supported": ["RS256"],
            "issuer": issuer,
            "jwks_uri": f"{issuer}{_KEYS}",
            "scopes_supported": sorted(self._servers.scopes(pool_id)),
            "subject_types_supported": ["public"],
        }
        if domain is not None:
            found["token_endpoint"] = f"{self._context.web.url('auth', domain)}{_TOKEN}"
            found["token_endpoint_auth_methods_supported"] = ["client_secret_basic", "client_secret_post"]
        return found

    def _granted(self, pool_id: str, request: HttpRequest) -> Granted:
        form = _form(request)
        grant = form.get("grant_type")
        if not grant:
            raise OAuthError("invalid_request")
        if grant not in ("client_credentials", "refresh_token", _REDIRECTS):
            raise OAuthError("unsupported_grant_type")
        client = self._authenticated(pool_id, form, request.headers.get("authorization"))
        if grant == _REDIRECTS:
            # No client here is allowed to use it.
            raise OAuthError("unauthorized_client")
        return self._of_application(client, form) if grant == "client_credentials" else self._of_user(client, form)

    def _of_application(self, client: Document, form: Mapping[str, str]) -> Granted:
        # A client that has no secret cannot tell itself from any other.
        if "ClientSecret" not in client or "client_credentials" not in client.get("AllowedOAuthFlows", ()):
            raise OAuthError("unauthorized_client")
        if not client["AllowedOAuthFlowsUserPoolClient"]:
            raise OAuthError("invalid_grant")
        known = self._servers.scopes(client["UserPoolId"])
        allowed = [scope for scope in client.get("AllowedOAuthScopes", ()) if scope in known]
        wanted = form.get("scope", "").split()
        if not allowed or not set(wanted) <= set(allowed):
            raise OAuthError("invalid_scope")
        return self._grants.to_application(client, dict.fromkeys(wanted or allowed))

    def _of_user(self, client: Document, form: Mapping[str, str]) -> Granted:
        if not form.get("refresh_token"):
            raise OAuthError("invalid_request")
        if "ALLOW_REFRESH_TOKEN_AUTH" not in client["ExplicitAuthFlows"]:
            raise OAuthError("unauthorized_client")
        try:
            return self._grants.refresh(client, form["refresh_token"])
        except ServiceError as error:
            raise OAuthError("invalid_grant") from error

    def _authenticated(self, pool_id: str, form: Mapping[str, str], authorization: str | None) -> Document:
        """The client that asks, by its id and, if it has one, its secret. Raises OAuthError."""
        client_id, secret = form.get("client_id"), form.get("client_secret")
        if authorization is not None:
            name, secret = _basic(authorization)
            if client_id not in (None, name):
                raise OAuthError("invalid_client")
            client_id = name
        client = self._clients.find(client_id) if client_id else None
        if client is None or client["UserPoolId"] != pool_id or not is_secret(client, secret or None):
            raise OAuthError("invalid_client")
        return client


def _form(request: HttpRequest) -> dict[str, str]:
    """The fields of a form. Raises OAuthError for what is no form, or has a field twice."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _FORM or len(request.body) > _LONGEST_FORM:
        raise OAuthError("invalid_request")
    try:
        fields = parse_qsl(request.body.decode(), keep_blank_values=True, errors="strict")
    except ValueError as error:
        raise OAuthError("invalid_request") from error
    if len(dict(fields)) != len(fields):
        raise OAuthError("invalid_request")
    return dict(fields)


def _basic(authorization: str) -> tuple[str, str]:
    """Id and secret in an Authorization header. Raises OAuthError."""
    scheme, _, text = authorization.partition(" ")
    try:
        content = base64.b64decode(text.strip(), validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise OAuthError("invalid_client") from error
    client_id, colon, secret = content.partition(":")
    if scheme.lower() != "basic" or not colon:
        raise OAuthError("invalid_client")
    # RFC 6749 has both form-encoded first; for Cognito's own ids and secrets that changes nothing.
    return unquote_plus(client_id), unquote_plus(secret)


def _answer(status: int, content: Mapping[str, Any]) -> HttpResponse:
    headers = [("Content-Type", _JSON), ("Cache-Control", "no-store"), ("Pragma", "no-cache")]
    return HttpResponse(status, headers, json.dumps(content).encode())


def _not_allowed(methods: str) -> HttpResponse:
    return HttpResponse(405, [("Allow", methods), ("Content-Type", _JSON)])


def _nothing(whose: str, request: HttpRequest, known: str) -> HttpResponse:
    text = f"localcloud has nothing at {request.path or '/'} of {whose}; it has {known}"
    return HttpResponse(404, [("Content-Type", _JSON)], json.dumps({"message": text}).encode())
