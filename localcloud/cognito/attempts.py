"""Attempts to sign in: who has failed too often waits, and twice as long after each further failure.

Amazon Cognito documents: after five failures a user is locked out for a second, and for 2^(n-5) seconds after n, up to
about 15 minutes. Attempts in the meantime are refused and do not count. A success sets the count back, and so do 15
minutes without any attempt.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Lock
from typing import Any

from localcloud.cognito.errors import not_authorized
from localcloud.cognito.pools import ATTEMPTS
from localcloud.context import Context

_ALLOWED = 5
_LONGEST = timedelta(minutes=15)
_STRIPES = 64


class Attempts:
    """The failures of all users, by their keys."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._locks = [Lock() for _ in range(_STRIPES)]

    @contextmanager
    def one(self, key: str) -> Iterator[None]:
        """One at a time for each user, so that many at once are no way around the count.

        Raises NotAuthorizedException while the user is locked out.
        """
        with self._locks[hash(key) % _STRIPES]:
            now = self._context.clock.now()
            document = self._read(key)
            if document is not None:
                self._context.store.put(ATTEMPTS, key, {**document, "Last": now})
                if now < document["Until"]:
                    raise not_authorized("Password attempts exceeded")
            yield

    def failed(self, key: str) -> None:
        """Count a failure; within `one`."""
        now = self._context.clock.now()
        document = self._read(key)
        count = (document["Count"] if document is not None else 0) + 1
        until = now
        if count >= _ALLOWED:
            until += min(timedelta(seconds=2 ** min(count - _ALLOWED, 10)), _LONGEST)
        self._context.store.put(ATTEMPTS, key, {"Count": count, "Until": until, "Last": now})

    def succeeded(self, key: str) -> None:
        """Forget the failures."""
        self._context.store.delete(ATTEMPTS, key)

    def _read(self, key: str) -> dict[str, Any] | None:
        document = self._context.store.get(ATTEMPTS, key)
        if document is not None and self._context.clock.now() - document["Last"] >= _LONGEST:
            return None
        return document
