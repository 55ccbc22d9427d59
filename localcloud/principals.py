"""Who makes a call: the role whose credentials sign it.

What runs under a role (a job, an endpoint's server, a function, a stack) gets an access key that stands for the role;
a call that is signed with it is the role's. So is one that is signed with a key which STS gave out for the role, until
that session ends. Everybody else is the account's root, who may do anything.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime

from localcloud.store import Store

_KIND = "principal"
_ACCESS_KEY = re.compile(r"LC[RS][0-9A-F]{17}")
# The session that a service has of a role, by name.
_OF_SERVICE = "localcloud"


@dataclass(frozen=True)
class Caller:
    """Who signs with an access key."""

    arn: str
    """The role's ARN, or the root's."""
    session_name: str = ""
    """Empty for the root."""
    policies: tuple[str, ...] = ()
    """What a session was limited to: a document, and the ARNs of managed policies."""
    ends_at: datetime | None = None
    """When the key is worth nothing any more."""

    @property
    def is_root(self) -> bool:
        return not self.session_name

    @property
    def shown(self) -> str:
        """The ARN that AWS shows of a caller: of a role the session's."""
        if self.is_root:
            return self.arn
        account, name = self.arn.split(":")[4], self.arn.rpartition("/")[2]
        return f"arn:aws:sts::{account}:assumed-role/{name}/{self.session_name}"


class Principals:
    """The access keys of roles. All methods may be called from any thread."""

    def __init__(self, store: Store, account_id: str) -> None:
        self._store = store
        self._root = Caller(f"arn:aws:iam::{account_id}:root")
        self._known: dict[str, Caller] = {}

    def access_key(self, role_arn: str) -> str:
        """The access key of a role, always the same."""
        key = f"LCR{hashlib.sha256(role_arn.encode()).hexdigest()[:17].upper()}"
        known = self._known.get(key)
        if known is None or known.is_root:
            self._store.put(_KIND, key, {"RoleArn": role_arn}, if_absent=True)
            self._known[key] = Caller(role_arn, _OF_SERVICE)
        return key

    def issue(self, access_key: str, caller: Caller) -> None:
        """Let an access key that STS gave out be a role's."""
        document = {
            "RoleArn": caller.arn,
            "SessionName": caller.session_name,
            "Policies": list(caller.policies),
            "EndsAt": caller.ends_at,
        }
        self._store.put(_KIND, access_key, document)
        self._known[access_key] = caller

    def of(self, access_key: str | None) -> str:
        """The ARN of who signs with an access key: a role's, or the root's."""
        return self.caller(access_key).arn

    def caller(self, access_key: str | None) -> Caller:
        """Who signs with an access key."""
        if access_key is None:
            return self._root
        found = self._known.get(access_key)
        if found is None:
            if not _ACCESS_KEY.fullmatch(access_key):
                return self._root
            found = self._known[access_key] = self._stored(access_key)
        return found

    def role(self, role_arn: str) -> Caller:
        """A role's caller, without a key: a service that does something for it."""
        return self._root if role_arn.endswith(":root") else Caller(role_arn, _OF_SERVICE)

    def _stored(self, access_key: str) -> Caller:
        found = self._store.get(_KIND, access_key)
        if found is None:
            return self._root
        policies = tuple(found.get("Policies") or ())
        return Caller(found["RoleArn"], found.get("SessionName", _OF_SERVICE), policies, found.get("EndsAt"))
