"""Sessions of users: one begins with each sign-in, and its refresh token gets new tokens until it ends.

A refresh token names its session and proves with random bytes that it is the one that was given for it; the store has
but their digest. A session that was revoked stays on record until its time is over, so that its tokens can be told
from those that never were any.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import uuid
from datetime import timedelta
from typing import Any

from localcloud.cognito.clients import seconds_of
from localcloud.cognito.errors import not_authorized
from localcloud.cognito.pools import SESSION
from localcloud.context import Context

Document = dict[str, Any]

_ID_BYTES, _PROOF_BYTES = 16, 48


class Sessions:
    """The sessions of all pools."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def open(self, client: Document, user: Document) -> tuple[Document, str]:
        """Begin one; gives its document and its refresh token."""
        now, origin, proof = self._context.clock.now(), uuid.uuid4(), secrets.token_bytes(_PROOF_BYTES)
        document: Document = {
            "UserPoolId": client["UserPoolId"],
            "ClientId": client["ClientId"],
            "Username": user["Username"],
            "Sub": user["Sub"],
            "OriginJti": str(origin),
            "EventId": str(uuid.uuid4()),
            "AuthTime": int(now.timestamp()),
            "ExpiresAt": now + timedelta(seconds=seconds_of(client, "RefreshToken")),
            "Digest": hashlib.sha256(proof).digest(),
            "Revoked": False,
        }
        self._context.store.put(SESSION, _key(document), document)
        return document, _token(uuid.UUID(user["Sub"]).bytes + origin.bytes + proof)

    def find(self, client: Document, refresh_token: str) -> Document:
        """The session of a client's refresh token. Raises NotAuthorizedException unless it goes on."""
        document = self.of_token(client, refresh_token)
        if document is None:
            raise not_authorized("Invalid Refresh Token")
        if document["Revoked"]:
            raise not_authorized("Refresh Token has been revoked")
        if document["ExpiresAt"] <= self._context.clock.now():
            raise not_authorized("Refresh Token has expired")
        return document

    def of_token(self, client: Document, refresh_token: str) -> Document | None:
        """The session of a client's refresh token, ended or not; None if there is none."""
        content = _bytes(refresh_token)
        if len(content) != 2 * _ID_BYTES + _PROOF_BYTES:
            return None
        sub, origin = (str(uuid.UUID(bytes=content[at : at + _ID_BYTES])) for at in (0, _ID_BYTES))
        document = self._context.store.get(SESSION, f"{client['UserPoolId']}/{sub}/{origin}")
        digest = hashlib.sha256(content[2 * _ID_BYTES :]).digest()
        if document is None or not hmac.compare_digest(document["Digest"], digest):
            return None
        return document if document["ClientId"] == client["ClientId"] else None

    def is_revoked(self, pool_id: str, sub: str, origin_jti: str) -> bool:
        """Whether a session that has begun was revoked."""
        document = self._context.store.get(SESSION, f"{pool_id}/{sub}/{origin_jti}")
        return document is None or bool(document["Revoked"])

    def revoke(self, document: Document) -> None:
        """End one."""
        key = _key(document)
        with self._context.store.transaction():
            if self._context.store.get(SESSION, key) is not None:
                self._context.store.put(SESSION, key, {**document, "Revoked": True})

    def revoke_all(self, pool_id: str, sub: str) -> None:
        """End all of a user's."""
        with self._context.store.transaction():
            for key, document in self._context.store.list(SESSION, f"{pool_id}/{sub}/"):
                self._context.store.put(SESSION, key, {**document, "Revoked": True})

    def prune(self) -> None:
        """Forget those whose time is over: nobody can tell any more whether they were revoked."""
        now = self._context.clock.now()
        for key, document in self._context.store.list(SESSION, members=("ExpiresAt",)):
            if document["ExpiresAt"] <= now:
                self._context.store.delete(SESSION, key)


def _key(document: Document) -> str:
    return f"{document['UserPoolId']}/{document['Sub']}/{document['OriginJti']}"


def _token(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode()


def _bytes(token: str) -> bytes:
    try:
        content = base64.b64decode(token, altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        return b""
    return content if _token(content) == token else b""
