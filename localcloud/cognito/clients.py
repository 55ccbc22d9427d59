"""Clients of a user pool: the applications that get tokens from it, and how long those live."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from localcloud.cognito.errors import Settings, invalid, missing, page, refuse
from localcloud.cognito.names import new_client_id, new_secret
from localcloud.cognito.pools import CLIENT, PLACE, Pools
from localcloud.cognito.resource_servers import ResourceServers
from localcloud.cognito.tokens import USER_SCOPE
from localcloud.context import Context, Request
from localcloud.errors import ServiceError

Document = dict[str, Any]

_NOT_HERE: Settings = {
    "ReadAttributes": ([],),
    "WriteAttributes": ([],),
    "SupportedIdentityProviders": ([], ["COGNITO"]),
    "CallbackURLs": ([],),
    "LogoutURLs": ([],),
    "DefaultRedirectURI": (),
    "AllowedOAuthFlows": ([], ["client_credentials"]),
    "AnalyticsConfiguration": ({},),
    "EnablePropagateAdditionalUserContextData": (False,),
    "RefreshTokenRotation.Feature": ("DISABLED",),
}
_KEPT = (
    "ClientName", "RefreshTokenValidity", "AccessTokenValidity", "IdTokenValidity", "TokenValidityUnits",
    "ExplicitAuthFlows", "SupportedIdentityProviders", "AllowedOAuthFlows", "AllowedOAuthScopes",
    "AllowedOAuthFlowsUserPoolClient", "PreventUserExistenceErrors", "EnableTokenRevocation", "AuthSessionValidity",
    "RefreshTokenRotation",
)  # fmt: skip
_DEFAULTS: Document = {
    "ExplicitAuthFlows": ["ALLOW_REFRESH_TOKEN_AUTH", "ALLOW_USER_SRP_AUTH", "ALLOW_CUSTOM_AUTH"],
    "AllowedOAuthFlowsUserPoolClient": False,
    "PreventUserExistenceErrors": "LEGACY",
    "EnableTokenRevocation": True,
    "EnablePropagateAdditionalUserContextData": False,
    "AuthSessionValidity": 3,
}
_SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86_400}
_UNITS = {"AccessToken": "hours", "IdToken": "hours", "RefreshToken": "days"}
_VALIDITY = {"AccessToken": 3600, "IdToken": 3600, "RefreshToken": 30 * 86_400}
_LIMITS = {"AccessToken": (300, 86_400), "IdToken": (300, 86_400), "RefreshToken": (3600, 3650 * 86_400)}
# Of people, and only with a page at which they agree; applications may ask for none of them.
_STANDARD_SCOPES = frozenset({"phone", "email", "openid", "profile", USER_SCOPE})


class Clients:
    """The operations on clients."""

    def __init__(self, context: Context, pools: Pools, servers: ResourceServers) -> None:
        self._context, self._pools, self._servers = context, pools, servers
        self._on_delete: list[Callable[[], None]] = []

    def on_delete(self, action: Callable[[], None]) -> None:
        """Call this when a client is gone."""
        self._on_delete.append(action)

    def find(self, client_id: str) -> Document | None:
        """The stored document of a client of any pool."""
        place = self._context.store.get(PLACE, client_id)
        return None if place is None else self._context.store.get(CLIENT, f"{place['UserPoolId']}/{client_id}")

    def has(self, pool_id: str, client_id: str) -> bool:
        """Whether a pool has a client."""
        return self._context.store.get(CLIENT, f"{pool_id}/{client_id}") is not None

    def called(self, client_id: str) -> Document:
        """The stored document of a client of any pool. Raises ResourceNotFoundException."""
        document = self.find(client_id)
        if document is None:
            raise _missing(client_id)
        return document

    def create(self, request: Request) -> dict[str, Any]:
        """CreateUserPoolClient."""
        params, now = request.params, self._context.clock.now()
        if "ClientSecret" in params:
            raise invalid(
                "localcloud's user pool clients have no ClientSecret but one of its making: set GenerateSecret"
            )
        pool_id, client_id = params["UserPoolId"], new_client_id()
        has_secret = bool(params.get("GenerateSecret"))
        document: Document = {
            **self._settings(params, has_secret),
            "UserPoolId": pool_id,
            "ClientId": client_id,
            **({"ClientSecret": new_secret()} if has_secret else {}),
            "CreationDate": now,
            "LastModifiedDate": now,
        }
        with self._context.store.transaction():
            self._pools.named(pool_id)
            self._check_scopes(pool_id, document)
            self._context.store.put(CLIENT, f"{pool_id}/{client_id}", document)
            self._context.store.put(PLACE, client_id, {"UserPoolId": pool_id})
        return {"UserPoolClient": document}

    def describe(self, request: Request) -> dict[str, Any]:
        """DescribeUserPoolClient: its secret, too."""
        return {"UserPoolClient": self._named(request)}

    def update(self, request: Request) -> dict[str, Any]:
        """UpdateUserPoolClient: what is not named goes back to what it is by default, as on AWS."""
        params = request.params
        with self._context.store.transaction():
            before = self._named(request)
            lasting = ("UserPoolId", "ClientId", "ClientSecret", "CreationDate")
            document: Document = {
                "ClientName": before["ClientName"],
                **self._settings(params, "ClientSecret" in before),
                **{member: before[member] for member in lasting if member in before},
                "LastModifiedDate": self._context.clock.now(),
            }
            self._check_scopes(before["UserPoolId"], document)
            self._context.store.put(CLIENT, f"{before['UserPoolId']}/{before['ClientId']}", document)
        return {"UserPoolClient": document}

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteUserPoolClient."""
        with self._context.store.transaction():
            document = self._named(request)
            self._context.store.delete(CLIENT, f"{document['UserPoolId']}/{document['ClientId']}")
            self._context.store.delete(PLACE, document["ClientId"])
        for action in self._on_delete:
            action()
        return {}

    def list(self, request: Request) -> dict[str, Any]:
        """ListUserPoolClients."""
        params = request.params
        self._pools.named(params["UserPoolId"])
        documents = [document for _, document in self._context.store.list(CLIENT, f"{params['UserPoolId']}/")]
        size = params.get("MaxResults", 60)
        found, token = page("ListUserPoolClients", documents, size, params.get("NextToken"), "ClientId")
        members = ("ClientId", "UserPoolId", "ClientName")
        return {"UserPoolClients": [{member: one[member] for member in members} for one in found], "NextToken": token}

    def _named(self, request: Request) -> Document:
        pool_id, client_id = request.params["UserPoolId"], request.params["ClientId"]
        self._pools.named(pool_id)
        document = self._context.store.get(CLIENT, f"{pool_id}/{client_id}")
        if document is None:
            raise _missing(client_id)
        return document

    def _settings(self, params: Mapping[str, Any], has_secret: bool) -> Document:
        refuse("user pool clients", params, _NOT_HERE)
        for flow in params.get("ExplicitAuthFlows", ()):
            if not flow.startswith("ALLOW_"):
                raise invalid(f"localcloud's user pool clients know ExplicitAuthFlows by ALLOW_…; got {flow!r}")
        settings = {**_DEFAULTS, **{member: params[member] for member in _KEPT if member in params}}
        if "client_credentials" in settings.get("AllowedOAuthFlows", ()) and not has_secret:
            raise ServiceError(
                "InvalidOAuthFlowException",
                "client_credentials flow can not be selected if client does not have a client secret.",
            )
        _check_validity(settings)
        # Cognito tells the default of this one only, in days.
        if not settings.get("RefreshTokenValidity") and "RefreshToken" not in settings.get("TokenValidityUnits", {}):
            settings["RefreshTokenValidity"] = 30
        return settings

    def _check_scopes(self, pool_id: str, document: Document) -> None:
        scopes, flows = document.get("AllowedOAuthScopes", ()), document.get("AllowedOAuthFlows", ())
        known = self._servers.scopes(pool_id) | _STANDARD_SCOPES
        for scope in scopes:
            if scope not in known:
                raise ServiceError("ScopeDoesNotExistException", f"Invalid scope requested: {scope}")
            if "client_credentials" in flows and scope in _STANDARD_SCOPES:
                raise ServiceError(
                    "InvalidOAuthFlowException",
                    f"{scope} is a scope of people; the client_credentials flow has custom scopes only.",
                )
        if document["AllowedOAuthFlowsUserPoolClient"] and not (scopes and flows):
            raise invalid(
                "AllowedOAuthFlows and AllowedOAuthScopes are required if user pool client is allowed to use OAuth"
                " flows."
            )


def seconds_of(document: Document, token: str) -> int:
    """How long a client's tokens live. token: `AccessToken`, `IdToken` or `RefreshToken`."""
    value = document.get(f"{token}Validity")
    # Zero asks for the default, as on AWS.
    if not value:
        return _VALIDITY[token]
    return int(value) * _SECONDS[document.get("TokenValidityUnits", {}).get(token, _UNITS[token])]


def _check_validity(settings: Document) -> None:
    for token, (least, most) in _LIMITS.items():
        if not least <= (seconds := seconds_of(settings, token)) <= most:
            raise invalid(
                f"Invalid range for token validity: {token}Validity is {seconds} seconds; expected {least} to {most}."
            )
    refresh = seconds_of(settings, "RefreshToken")
    for token in ("AccessToken", "IdToken"):
        if seconds_of(settings, token) > refresh:
            raise invalid(
                f"Invalid range for token validity: {token}Validity is {seconds_of(settings, token)} seconds; expected"
                f" no more than the RefreshTokenValidity of {refresh}."
            )


def _missing(client_id: str) -> ServiceError:
    return missing(f"User pool client {client_id} does not exist.")
