"""Passwords: what a pool asks of them, and how they are kept, which is hashed and salted."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
from collections.abc import Mapping
from typing import Any

from localcloud.errors import ServiceError

_SYMBOLS = "^$*.[]{}()?\"!@#%&/\\,><':;|_~`=+-"
_KINDS = {
    "RequireLowercase": (string.ascii_lowercase, "lowercase"),
    "RequireUppercase": (string.ascii_uppercase, "uppercase"),
    "RequireNumbers": (string.digits, "numeric"),
    "RequireSymbols": (_SYMBOLS, "symbol"),
}
COST = 2**14
"""Of one hash, in scrypt's unit: some 50 ms."""
_BLOCK, _LANES, _SALT_BYTES = 8, 1, 16
_GENERATED = 16
Hashed = dict[str, Any]


def check(policy: Mapping[str, Any], password: str) -> None:
    """Raise InvalidPasswordException unless a password is one that the pool's policy allows."""
    complaints = [] if len(password) >= policy.get("MinimumLength", 0) else ["Password not long enough"]
    for requirement, (alphabet, kind) in _KINDS.items():
        if policy.get(requirement) and set(alphabet).isdisjoint(password):
            complaints.append(f"Password must have {kind} characters")
    if complaints:
        raise ServiceError("InvalidPasswordException", f"Password did not conform with policy: {complaints[0]}")


def generate(policy: Mapping[str, Any]) -> str:
    """A password that meets any policy."""
    length = max(_GENERATED, policy.get("MinimumLength", 0))
    alphabets = [alphabet for alphabet, _ in _KINDS.values()]
    characters = [secrets.choice(alphabets[index % len(alphabets)]) for index in range(length)]
    secrets.SystemRandom().shuffle(characters)
    return "".join(characters)


def hashed(password: str, cost: int) -> Hashed:
    """A password as it is kept."""
    salt = secrets.token_bytes(_SALT_BYTES)
    return {"Salt": salt, "Cost": cost, "Digest": _digest(password, salt, cost)}


def matches(password: str, kept: Hashed | None, cost: int) -> bool:
    """Whether a password is the one that is kept. It takes as long where none is kept, so that the time that an answer
    takes does not tell who is a user."""
    salt, cost = (kept["Salt"], kept["Cost"]) if kept else (bytes(_SALT_BYTES), cost)
    digest = _digest(password, salt, cost)
    return kept is not None and hmac.compare_digest(digest, kept["Digest"])


def _digest(password: str, salt: bytes, cost: int) -> bytes:
    # A lone surrogate is no text in UTF-8, but may come in JSON.
    content = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(content, salt=salt, n=cost, r=_BLOCK, p=_LANES)
