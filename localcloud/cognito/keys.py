"""The keys with which user pools sign: an own one for each pool, made with it and kept in the store.

Amazon Cognito has two for each pool, one for ID tokens and one for access tokens. A client finds a token's key by its
`kid` in either case.
"""

from __future__ import annotations

import base64
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key

from localcloud.store import Store

KIND = "cognito/key"
_BITS, _EXPONENT, _ID_BYTES = 2048, 65537, 32


@dataclass(frozen=True)
class Key:
    """One pool's key pair."""

    kid: str
    private: RSAPrivateKey
    public: RSAPublicKey

    def jwk(self) -> dict[str, str]:
        """The public half, as it stands in the pool's key set."""
        numbers = self.public.public_numbers()
        return {
            "alg": "RS256",
            "e": _number(numbers.e),
            "kid": self.kid,
            "kty": "RSA",
            "n": _number(numbers.n),
            "use": "sig",
        }


def new_key() -> RSAPrivateKey:
    """A key pair as Cognito has them; to make one takes some 100 ms."""
    return generate_private_key(_EXPONENT, _BITS)


class Keys:
    """The keys of all pools. Those in use are kept in memory: to read one takes longer than to sign with it."""

    def __init__(self, store: Store, new: Callable[[], RSAPrivateKey]) -> None:
        self._store, self._new = store, new
        self._lock = threading.Lock()
        self._keys: dict[str, Key] = {}

    def create(self, pool_id: str) -> None:
        """Make the key of a new pool."""
        private = self._new()
        text = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        kid = base64.b64encode(secrets.token_bytes(_ID_BYTES)).decode()
        self._store.put(KIND, pool_id, {"Kid": kid, "PrivateKey": text.decode()})

    def of(self, pool_id: str) -> Key | None:
        """A pool's key; None if there is no such pool."""
        # All of it under the lock, so that no key is taken up again after it was forgotten.
        with self._lock:
            key = self._keys.get(pool_id)
            if key is None and (document := self._store.get(KIND, pool_id)) is not None:
                key = self._keys[pool_id] = _read(document)
            return key

    def forget(self, pool_id: str) -> None:
        """Give up the key of a pool whose key is no longer in the store."""
        with self._lock:
            self._keys.pop(pool_id, None)


def _read(document: dict[str, Any]) -> Key:
    private = serialization.load_pem_private_key(document["PrivateKey"].encode(), password=None)
    if not isinstance(private, RSAPrivateKey):
        raise TypeError(f"the key {document['Kid']} is a {type(private).__name__}, expected an RSA key")
    return Key(document["Kid"], private, private.public_key())


def _number(value: int) -> str:
    """A number as key sets write it: big-endian bytes in base64url, without padding."""
    content = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
