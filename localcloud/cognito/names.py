"""Names that Cognito makes: of pools, of clients, and their secrets."""

from __future__ import annotations

import secrets
import string

_LOWER = string.ascii_lowercase + string.digits
_ANY = string.ascii_letters + string.digits
_POOL_LENGTH, _CLIENT_LENGTH, _SECRET_LENGTH = 9, 26, 51


def new_pool_id(region: str) -> str:
    """The id of a new user pool."""
    return f"{region}_{_random(_ANY, _POOL_LENGTH)}"


def new_client_id() -> str:
    """The id of a new client."""
    return _random(_LOWER, _CLIENT_LENGTH)


def new_secret() -> str:
    """A client's secret."""
    return _random(_LOWER, _SECRET_LENGTH)


def _random(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))
