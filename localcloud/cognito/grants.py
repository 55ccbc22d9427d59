"""What tokens say, and who gets which: an application one for itself, a user two for each session."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from localcloud.cognito.clients import Document, seconds_of
from localcloud.cognito.errors import not_authorized
from localcloud.cognito.sessions import Sessions
from localcloud.cognito.tokens import USER_SCOPE, Issuer, new_id
from localcloud.cognito.users import Users
from localcloud.context import Context

_FLAGS = ("email_verified", "phone_number_verified")


@dataclass(frozen=True)
class Granted:
    """Tokens, and for how many seconds the access token is valid."""

    access_token: str
    seconds: int
    id_token: str | None = None
    refresh_token: str | None = None


class Grants:
    """Gives tokens out."""

    def __init__(self, context: Context, issuer: Issuer, users: Users, sessions: Sessions) -> None:
        self._context, self._issuer, self._users, self._sessions = context, issuer, users, sessions

    def to_application(self, client: Document, scopes: Iterable[str]) -> Granted:
        """An access token for a client itself."""
        seconds = seconds_of(client, "AccessToken")
        claims = {
            "sub": client["ClientId"],
            "token_use": "access",
            "scope": " ".join(scopes),
            "auth_time": int(self._context.clock.now().timestamp()),
            "version": 2,
            "jti": new_id(),
            "client_id": client["ClientId"],
        }
        return Granted(self._issuer.sign(client["UserPoolId"], claims, seconds), seconds)

    def to_user(self, client: Document, user: Document) -> Granted:
        """The tokens of a user who has signed in: of a new session."""
        session, refresh_token = self._sessions.open(client, user)
        granted = self._of_session(client, user, session)
        return Granted(granted.access_token, granted.seconds, granted.id_token, refresh_token)

    def refresh(self, client: Document, refresh_token: str) -> Granted:
        """New tokens of a session that goes on. Raises NotAuthorizedException."""
        session = self._sessions.find(client, refresh_token)
        user = self._users.find(client["UserPoolId"], session["Username"])
        if user is None or user["Sub"] != session["Sub"]:
            raise not_authorized("Invalid Refresh Token")
        if not user["Enabled"]:
            raise not_authorized("User is disabled.")
        return self._of_session(client, user, session)

    def _of_session(self, client: Document, user: Document, session: Document) -> Granted:
        pool_id, seconds = client["UserPoolId"], seconds_of(client, "AccessToken")
        shared: dict[str, Any] = {
            "sub": user["Sub"],
            "event_id": session["EventId"],
            "auth_time": session["AuthTime"],
        }
        # Without revocation a token need not tell its session.
        revocable = client["EnableTokenRevocation"]
        if revocable:
            shared["origin_jti"] = session["OriginJti"]
        access = {
            **shared,
            "client_id": client["ClientId"],
            "token_use": "access",
            "scope": USER_SCOPE,
            "jti": new_id(),
            "username": user["Username"],
        }
        identity = {
            **_attributes(user),
            **shared,
            "cognito:username": user["Username"],
            "aud": client["ClientId"],
            "token_use": "id",
            **({"jti": new_id()} if revocable else {}),
        }
        return Granted(
            self._issuer.sign(pool_id, access, seconds),
            seconds,
            self._issuer.sign(pool_id, identity, seconds_of(client, "IdToken")),
        )


def _attributes(user: Document) -> dict[str, Any]:
    """A user's attributes as an ID token has them: an address is an object, whether one is verified a boolean."""
    found: dict[str, Any] = dict(user["Attributes"])
    for name in _FLAGS:
        if name in found:
            found[name] = found[name] == "true"
    if "address" in found:
        found["address"] = {"formatted": found["address"]}
    return found


def user_attributes(user: Document) -> str:
    """A user's attributes as a challenge tells them."""
    return json.dumps(user["Attributes"])
