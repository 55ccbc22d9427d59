"""Who makes a call: the role whose credentials sign it.

What runs under a role (a job, an endpoint's server, a function, a stack) gets an access key that stands for the role;
a call that is signed with it is the role's. Everybody else is the account's root, who may do anything.
"""

from __future__ import annotations

import hashlib
import re

from localcloud.store import Store

_KIND = "principal"
_ACCESS_KEY = re.compile(r"LCR[0-9A-F]{17}")


class Principals:
    """The access keys of roles. All methods may be called from any thread."""

    def __init__(self, store: Store, account_id: str) -> None:
        self._store, self._root = store, f"arn:aws:iam::{account_id}:root"
        self._known: dict[str, str] = {}

    def access_key(self, role_arn: str) -> str:
        """The access key of a role, always the same."""
        key = f"LCR{hashlib.sha256(role_arn.encode()).hexdigest()[:17].upper()}"
        if key not in self._known:
            self._store.put(_KIND, key, {"RoleArn": role_arn}, if_absent=True)
            self._known[key] = role_arn
        return key

    def of(self, access_key: str | None) -> str:
        """The ARN of who signs with an access key."""
        if access_key is None or not _ACCESS_KEY.fullmatch(access_key):
            return self._root
        if access_key not in self._known:
            found = self._store.get(_KIND, access_key)
            self._known[access_key] = found["RoleArn"] if found else self._root
        return self._known[access_key]
