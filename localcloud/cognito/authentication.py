"""What users do themselves: sign in, choose a password, sign out. These calls bear no signature."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from localcloud.cognito.attempts import Attempts
from localcloud.cognito.clients import Clients
from localcloud.cognito.errors import Settings, invalid, not_authorized, refuse
from localcloud.cognito.grants import Granted, Grants, user_attributes
from localcloud.cognito.pools import CHALLENGE
from localcloud.cognito.sessions import Sessions
from localcloud.cognito.tokens import USER_SCOPE, TokenRefused, Verifier, unverified_pool_id
from localcloud.cognito.users import FORCE_CHANGE_PASSWORD, Users, missing_user
from localcloud.context import Context, Request
from localcloud.errors import ServiceError

Document = dict[str, Any]

_NOT_HERE: Settings = {"AnalyticsMetadata": ({},), "UserContextData": ({},), "ClientMetadata": ({},)}
_NEW_PASSWORD = "NEW_PASSWORD_REQUIRED"
_PASSWORD_FLOW, _REFRESH_FLOW = "USER_PASSWORD_AUTH", "REFRESH_TOKEN_AUTH"
_FLOWS = {_PASSWORD_FLOW: _PASSWORD_FLOW, _REFRESH_FLOW: _REFRESH_FLOW, "REFRESH_TOKEN": _REFRESH_FLOW}
_PARAMETERS = {
    _PASSWORD_FLOW: ("USERNAME", "PASSWORD", "SECRET_HASH"),
    _REFRESH_FLOW: ("REFRESH_TOKEN", "SECRET_HASH"),
    _NEW_PASSWORD: ("USERNAME", "NEW_PASSWORD", "SECRET_HASH"),
}
_OPTIONAL = ("SECRET_HASH",)
_SESSION_BYTES = 96


class Authentication:
    """The operations of those who sign in."""

    def __init__(
        self,
        context: Context,
        clients: Clients,
        users: Users,
        sessions: Sessions,
        grants: Grants,
        verifier: Verifier,
    ) -> None:
        self._context, self._clients, self._users = context, clients, users
        self._sessions, self._grants, self._verifier = sessions, grants, verifier
        self._attempts = Attempts(context)

    def initiate(self, request: Request) -> dict[str, Any]:
        """InitiateAuth: by password, or by refresh token."""
        params = request.params
        refuse("sign-ins", params, {**_NOT_HERE, "Session": ()})
        client, given = self._clients.called(params["ClientId"]), params.get("AuthParameters", {})
        flow = _FLOWS.get(params["AuthFlow"])
        if flow is None:
            raise invalid(f"localcloud's sign-ins have the AuthFlow {' or '.join(_FLOWS)}; got {params['AuthFlow']!r}")
        if f"ALLOW_{flow}" not in client["ExplicitAuthFlows"]:
            raise invalid(f"{flow} flow not enabled for this client")
        _check_parameters(flow, given)
        if flow == _PASSWORD_FLOW:
            return self._by_password(client, given)
        # Whose hash it must be is known when it is known whose token it is.
        session = self._sessions.find(client, given["REFRESH_TOKEN"])
        _check_secret_hash(client, given, session["Username"], session["Sub"])
        return _result(self._grants.refresh(client, given["REFRESH_TOKEN"]))

    def respond(self, request: Request) -> dict[str, Any]:
        """RespondToAuthChallenge: with the password that a user has chosen."""
        params = request.params
        refuse("challenges", params, _NOT_HERE)
        client, given = self._clients.called(params["ClientId"]), params.get("ChallengeResponses", {})
        if params["ChallengeName"] != _NEW_PASSWORD:
            raise invalid(f"localcloud has no challenge but {_NEW_PASSWORD}; got {params['ChallengeName']!r}")
        if not params.get("Session"):
            raise invalid("Missing required parameter Session")
        _check_parameters(_NEW_PASSWORD, given)
        _check_secret_hash(client, given, given["USERNAME"])
        key = _digest(params["Session"])
        user = self._challenged(client, given["USERNAME"], key)
        self._users.check_password(client["UserPoolId"], given["NEW_PASSWORD"])
        # Of two answers at once, one finds it gone.
        if not self._context.store.delete(CHALLENGE, key):
            raise not_authorized("Invalid session for the user.")
        user = self._users.set_permanent(client["UserPoolId"], user["Username"], given["NEW_PASSWORD"])
        return _result(self._grants.to_user(client, user))

    def revoke(self, request: Request) -> dict[str, Any]:
        """RevokeToken: a refresh token, and with it what it has got. To do so twice is no error."""
        params = request.params
        client = self._clients.find(params["ClientId"])
        if client is None or not is_secret(client, params.get("ClientSecret")):
            raise ServiceError("UnauthorizedException", "Invalid client id or client secret.", 401)
        if not client["EnableTokenRevocation"]:
            raise ServiceError("UnsupportedOperationException", "Token revocation is not enabled for this client.")
        if params["Token"].count(".") == 2:
            raise ServiceError("UnsupportedTokenTypeException", "Only refresh tokens can be revoked.")
        session = self._sessions.of_token(client, params["Token"])
        if session is None:
            raise invalid("Invalid Refresh Token")
        self._sessions.revoke(session)
        return {}

    def sign_out(self, request: Request) -> dict[str, Any]:
        """GlobalSignOut: end all sessions of the user whose access token it is."""
        claims = self._own(request.params["AccessToken"])
        self._sessions.revoke_all(claims["UserPoolId"], claims["sub"])
        return {}

    def prune(self) -> None:
        """Forget challenges that can no longer be answered."""
        now = self._context.clock.now()
        for key, document in self._context.store.list(CHALLENGE, members=("ExpiresAt",)):
            if document["ExpiresAt"] <= now:
                self._context.store.delete(CHALLENGE, key)

    def _by_password(self, client: Document, given: Mapping[str, str]) -> dict[str, Any]:
        _check_secret_hash(client, given, given["USERNAME"])
        pool_id, now = client["UserPoolId"], self._context.clock.now()
        key = self._users.key(pool_id, given["USERNAME"])
        with self._attempts.one(key):
            user = self._users.find(pool_id, given["USERNAME"])
            if not self._users.has_password(user, given["PASSWORD"]):
                if user is None and client["PreventUserExistenceErrors"] == "LEGACY":
                    raise missing_user()
                if user is not None:
                    self._attempts.failed(key)
                raise not_authorized("Incorrect username or password.")
            self._attempts.succeeded(key)
        assert user is not None
        if not user["Enabled"]:
            raise not_authorized("User is disabled.")
        if user["Status"] != FORCE_CHANGE_PASSWORD:
            return _result(self._grants.to_user(client, user))
        if user["TemporaryUntil"] <= now:
            raise not_authorized("Temporary password has expired and must be reset by an administrator.")
        return self._challenge(client, user)

    def _challenge(self, client: Document, user: Document) -> dict[str, Any]:
        session = secrets.token_urlsafe(_SESSION_BYTES)
        minutes = client["AuthSessionValidity"]
        document = {
            "ClientId": client["ClientId"],
            "Sub": user["Sub"],
            "PasswordSalt": user["Password"]["Salt"],
            "ExpiresAt": self._context.clock.now() + timedelta(minutes=minutes),
        }
        self._context.store.put(CHALLENGE, _digest(session), document)
        return {
            "ChallengeName": _NEW_PASSWORD,
            "Session": session,
            "ChallengeParameters": {
                "USER_ID_FOR_SRP": user["Username"],
                "requiredAttributes": "[]",
                "userAttributes": user_attributes(user),
            },
        }

    def _challenged(self, client: Document, username: str, key: str) -> Document:
        """The user to whom a challenge was put. Raises NotAuthorizedException."""
        challenge = self._context.store.get(CHALLENGE, key)
        if challenge is None or challenge["ClientId"] != client["ClientId"]:
            raise not_authorized("Invalid session for the user.")
        if challenge["ExpiresAt"] <= self._context.clock.now():
            raise not_authorized("Invalid session for the user, session is expired.")
        user = self._users.find(client["UserPoolId"], username)
        # A password that was set since then has made it void.
        if user is None or user["Sub"] != challenge["Sub"] or user["Password"]["Salt"] != challenge["PasswordSalt"]:
            raise not_authorized("Invalid session for the user.")
        if not user["Enabled"]:
            raise not_authorized("User is disabled.")
        return user

    def _own(self, token: str) -> dict[str, Any]:
        """The claims of a user's access token that was not revoked. Raises NotAuthorizedException."""
        pool_id = unverified_pool_id(token)
        try:
            claims = self._verifier.verify(pool_id, token)
        except TokenRefused as error:
            raise not_authorized("Access Token has expired" if error.expired else "Invalid Access Token") from None
        if claims["token_use"] != "access":
            raise not_authorized("Invalid Access Token")
        if USER_SCOPE not in claims["scope"].split():
            raise not_authorized("Access Token does not have required scopes")
        origin = claims.get("origin_jti")
        if origin is not None and self._sessions.is_revoked(pool_id, claims["sub"], origin):
            raise not_authorized("Access Token has been revoked")
        return {**claims, "UserPoolId": pool_id}


def is_secret(client: Document, secret: str | None) -> bool:
    """Whether that is a client's secret; None is that of a client without one."""
    kept = client.get("ClientSecret")
    if kept is None or secret is None:
        return kept is None and secret is None
    return hmac.compare_digest(kept.encode(), secret.encode("utf-8", "surrogatepass"))


def _check_parameters(flow: str, given: Mapping[str, str]) -> None:
    for name in _PARAMETERS[flow]:
        if not given.get(name) and name not in _OPTIONAL:
            raise invalid(f"Missing required parameter {name}")
    if unknown := sorted(given.keys() - set(_PARAMETERS[flow])):
        raise invalid(
            f"localcloud's {flow} has the parameters {', '.join(_PARAMETERS[flow])}; got {', '.join(unknown)}"
        )


def _check_secret_hash(client: Document, given: Mapping[str, str], *names: str) -> None:
    """Raise NotAuthorizedException unless whoever asks knows the client's secret. names: of the user, any will do."""
    client_id, secret, received = client["ClientId"], client.get("ClientSecret"), given.get("SECRET_HASH")
    if secret is None:
        if received is not None:
            raise not_authorized(f"Client {client_id} is not configured with secret but SECRET_HASH was received")
        return
    if received is None:
        raise not_authorized(f"Client {client_id} is configured with secret but SECRET_HASH was not received")
    expected = [_secret_hash(secret, name, client_id) for name in names]
    if not any(hmac.compare_digest(one, received.encode("utf-8", "surrogatepass")) for one in expected):
        raise not_authorized(f"Unable to verify secret hash for client {client_id}")


def _secret_hash(secret: str, username: str, client_id: str) -> bytes:
    content = (username + client_id).encode("utf-8", "surrogatepass")
    return base64.b64encode(hmac.digest(secret.encode(), content, "sha256"))


def _digest(session: str) -> str:
    return hashlib.sha256(session.encode("utf-8", "surrogatepass")).hexdigest()


def _result(granted: Granted) -> dict[str, Any]:
    return {
        "ChallengeParameters": {},
        "AuthenticationResult": {
            "AccessToken": granted.access_token,
            "IdToken": granted.id_token,
            "RefreshToken": granted.refresh_token,
            "ExpiresIn": granted.seconds,
            "TokenType": "Bearer",
        },
    }
