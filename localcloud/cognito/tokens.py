"""Tokens of a user pool: made, signed and checked.

An access token and an ID token say everything themselves: whoever has the pool's public key can check one, and nobody
asks the pool. That is what API Gateway does, so that a token which was revoked, or whose user was disabled or deleted,
opens an API until it expires; only Cognito's own operations look further (`sessions`).
"""

from __future__ import annotations

import base64
import binascii
import json
import threading
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import jwt

from localcloud.cognito.keys import Key, Keys
from localcloud.context import Context

USER_SCOPE = "aws.cognito.signin.user.admin"
"""The scope of tokens that users get by signing in with InitiateAuth."""

_ALGORITHM = "RS256"
_LONGEST = 16_384
_MOST_KNOWN = 4096
_EXPIRED, _UNAUTHORIZED = "The incoming token has expired", "Unauthorized"
# The signature alone: the moment is the clock's matter, and who issued it for whom is looked at below.
_SIGNATURE_ONLY: Any = {
    "verify_signature": True,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}

Claims = dict[str, Any]


class TokenRefused(Exception):
    """A token that does not count. The message is API Gateway's, which tells a caller no more than whether it is only
    old (`expired`); `reason` says what is wrong, for a log."""

    def __init__(self, message: str, *, expired: bool = False, reason: str = "") -> None:
        super().__init__(message)
        self.expired = expired
        self.reason = reason or message


class Issuer:
    """Makes tokens and signs them with their pool's key."""

    def __init__(self, context: Context, keys: Keys) -> None:
        self._context, self._keys = context, keys

    def url(self, pool_id: str) -> str:
        """Who a pool's tokens say has issued them. Below it are the pool's key set and its configuration."""
        return self._context.web.url("cognito-idp", pool_id)

    def sign(self, pool_id: str, claims: Mapping[str, Any], seconds: int) -> str:
        """A token with these claims, and those that every token has; it is valid for so many seconds.

        Raises LookupError if the pool is gone.
        """
        key = self._keys.of(pool_id)
        if key is None:
            raise LookupError(f"the user pool {pool_id} is not there")
        now = int(self._context.clock.now().timestamp())
        content = {"iss": self.url(pool_id), "iat": now, "exp": now + seconds, **claims}
        # Cognito's headers have no `typ`.
        return jwt.encode(content, key.private, _ALGORITHM, headers={"kid": key.kid, "typ": ""})


def new_id() -> str:
    """An identifier for `jti`, `event_id` and the like."""
    return str(uuid.uuid4())


class Verifier:
    """Checks tokens, as somebody does who has no more than the pool's public key. What was found in order is
    remembered, since to check a signature takes longer than all the rest; the time is looked at with every check."""

    def __init__(self, context: Context, keys: Keys, issuer: Issuer, has_client: Callable[[str, str], bool]) -> None:
        """has_client: whether a pool has a client, by their ids."""
        self._context, self._keys, self._issuer, self._has_client = context, keys, issuer, has_client
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], Claims] = {}
        self._generation = 0

    def forget(self) -> None:
        """Check everything anew: a pool or a client is gone."""
        with self._lock:
            self._known.clear()
            self._generation += 1

    def verify(self, pool_id: str, token: str) -> Claims:
        """The claims of a token that the pool has signed for a client that it still has, and that is valid now.

        Raises TokenRefused.
        """
        claims = self._known.get((pool_id, token))
        if claims is None:
            generation = self._generation
            claims = self._signed(pool_id, token)
            self._remember(pool_id, token, claims, generation)
        now = self._context.clock.now().timestamp()
        if claims["exp"] <= now:
            raise TokenRefused(_EXPIRED, expired=True)
        if claims.get("nbf", now) > now:
            raise _refused("it is not valid yet")
        return dict(claims)

    def _remember(self, pool_id: str, token: str, claims: Claims, generation: int) -> None:
        with self._lock:
            # What was checked before something was deleted says nothing any more.
            if generation != self._generation:
                return
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[pool_id, token] = claims

    def _signed(self, pool_id: str, token: str) -> Claims:
        key = self._keys.of(pool_id)
        if key is None:
            raise _refused(f"the user pool {pool_id} is not there")
        claims = _decoded(token, key)
        if claims.get("iss") != self._issuer.url(pool_id):
            raise _refused(f"it was issued by {claims.get('iss')!r}, expected {self._issuer.url(pool_id)!r}")
        use = claims.get("token_use")
        client = claims.get("client_id" if use == "access" else "aud")
        moments = (claims.get("exp"), claims.get("nbf", 0))
        if use not in ("access", "id") or not isinstance(client, str) or {type(one) for one in moments} != {int}:
            raise _refused("its claims are not those of an access token or an ID token")
        if not self._has_client(pool_id, client):
            raise _refused(f"the client {client} is not there")
        return claims


def unverified_pool_id(token: str) -> str:
    """The pool that a token says it comes from, which is not checked; empty for what is no token."""
    parts = token.split(".")
    try:
        claims = json.loads(_part(parts[1])) if len(token) <= _LONGEST and len(parts) == 3 else None
    except (ValueError, RecursionError):
        return ""
    return str(claims.get("iss", "")).rpartition("/")[2] if isinstance(claims, dict) else ""


def _decoded(token: str, key: Key) -> Claims:
    """The payload of a token with the key's signature, made by the one algorithm that the pool uses."""
    if len(token) > _LONGEST:
        raise _refused(f"it has {len(token)} characters, expected {_LONGEST} at most")
    parts = token.split(".")
    if len(parts) != 3:
        raise _refused(f"it has {len(parts)} parts, expected 3")
    try:
        header = json.loads(_part(parts[0]))
        _part(parts[1])
        _part(parts[2])
        # Nothing that the token says of itself chooses how it is checked.
        if not isinstance(header, dict) or header.get("alg") != _ALGORITHM or header.get("kid") != key.kid:
            raise _refused("its header names another key or another algorithm than the pool's")
        claims: Claims = jwt.decode(token, key.public, algorithms=[_ALGORITHM], options=_SIGNATURE_ONLY)
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise _refused(f"it cannot be read: {type(error).__name__}") from error
    return claims


def _part(text: str) -> bytes:
    """A part's bytes. Raises ValueError unless it is base64url as RFC 7515 wants it: without padding, and of several
    texts that mean the same bytes the right one, so that no change to a token goes unnoticed."""
    try:
        content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
    if base64.urlsafe_b64encode(content).rstrip(b"=").decode() != text:
        raise ValueError("it is not written as base64url is")
    return content


def _refused(reason: str) -> TokenRefused:
    return TokenRefused(_UNAUTHORIZED, reason=reason)
