"""A policy document, read: statements that say whether they are about a call.

Source: "IAM JSON policy elements reference" in the IAM User Guide.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from localcloud.iam import conditions
from localcloud.iam.conditions import Condition
from localcloud.iam.patterns import Values, filled, has_variables, matches, matches_arn

_VERSIONS = ("2008-10-17", "2012-10-17")
_MEMBERS = frozenset({"Version", "Id", "Statement"})
_OF_STATEMENT = frozenset(
    {
        "Action", "Condition", "Effect", "NotAction", "NotPrincipal", "NotResource", "Principal", "Resource", "Sid",
    }
)  # fmt: skip
_PRINCIPALS = ("AWS", "CanonicalUser", "Federated", "Service")
_SID = re.compile(r"[A-Za-z0-9]*")
_ACTION = re.compile(r"[A-Za-z0-9-]+:[A-Za-z0-9*?-]+|\*")
_ACCOUNT = re.compile(r"\d{12}")


class MalformedPolicy(ValueError):
    """A document that is no policy; the message says what is wrong, and of several mistakes the first."""


@dataclass(frozen=True)
class Actor:
    """Who asks, as a resource's policy may name them."""

    names: frozenset[str]
    """ARNs, and for a service its principal (`events.amazonaws.com`)."""
    kind: str = "AWS"
    """AWS, Service or Federated."""
    account_id: str = ""
    """Of a role or a root; an account that a policy names stands for it."""


@dataclass(frozen=True)
class Statement:
    """One statement."""

    name: str
    """`policy/Sid`; the number of the statement where it has no Sid."""
    allows: bool
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()
    principals: Mapping[str, tuple[str, ...]] | None = None
    """By kind; None in a policy that belongs to a role."""
    not_actions: bool = False
    not_resources: bool = False
    not_principals: bool = False
    has_variables: bool = field(default=False)
    """Whether what it means depends on the call beyond action and resource: on conditions or on variables."""

    def is_of_action(self, action: str) -> bool:
        found = any(matches(pattern, action, ignore_case=True) for pattern in self.actions)
        return found is not self.not_actions

    def is_of_resource(self, resource: str, values: Values) -> bool:
        """Whether it names a resource: an ARN, or `*` for the action that has none."""
        patterns = (filled(pattern, values) for pattern in self.resources) if self.has_variables else self.resources
        found = any(pattern is not None and matches_arn(pattern, resource) for pattern in patterns)
        return found is not self.not_resources

    def is_of_principal(self, actor: Actor) -> bool:
        """Whether it names who asks, or the whole account that they are of."""
        if self.principals is None:
            return True
        return self._names(actor) is not self.not_principals

    def names_itself(self, actor: Actor) -> bool:
        """Whether it names who asks, and not only their account: what it grants needs no policy of theirs."""
        if self.principals is None or self.not_principals:
            return False
        given = self.principals.get(actor.kind, ())
        return "*" in self.principals.get("AWS", ()) or any(one in actor.names for one in given)

    def _names(self, actor: Actor) -> bool:
        if self.principals is None:
            return True
        given = self.principals.get(actor.kind, ())
        if any(one in actor.names for one in given) or "*" in self.principals.get("AWS", ()):
            return True
        root = f"arn:aws:iam::{actor.account_id}:root"
        return actor.kind == "AWS" and bool({actor.account_id, root} & set(given))

    def holds(self, values: Values) -> bool:
        """Whether its conditions do. One that localcloud does not know lets none hold, and is logged once."""
        if not self.conditions:
            return True
        for condition in self.conditions:
            if not condition.known:
                conditions.say_unknown(self.name, condition.key)
                return False
        return all(condition.holds(values) for condition in self.conditions)


def read(document: str | Mapping[str, Any], name: str, *, of_resource: bool = False) -> tuple[Statement, ...]:
    """The statements of a document. Raises MalformedPolicy.

    name: what the policy is called, where a statement of it is named. of_resource: whether it is a resource's, whose
    statements name principals; a role's trust policy is one whose statements have no resource.
    """
    if isinstance(document, str):
        try:
            document = json.loads(document)
        except ValueError as error:
            raise MalformedPolicy(f"This policy contains invalid Json: {error}") from None
    if not isinstance(document, Mapping):
        raise MalformedPolicy("Syntax errors in policy.")
    if unknown := sorted(document.keys() - _MEMBERS):
        raise MalformedPolicy(f"Syntax errors in policy: there is no element {unknown[0]}")
    version = document.get("Version", _VERSIONS[0])
    if version not in _VERSIONS:
        raise MalformedPolicy(f"Syntax errors in policy: the version is {version!r}, expected {_VERSIONS[1]}")
    statements = document.get("Statement", [])
    statements = statements if isinstance(statements, list) else [statements]
    return tuple(
        _statement(one, name, number, version == _VERSIONS[1], of_resource)
        for number, one in enumerate(statements, start=1)
    )


def _statement(given: Any, policy: str, number: int, fills: bool, of_resource: bool) -> Statement:
    if not isinstance(given, Mapping):
        raise MalformedPolicy("Syntax errors in policy: a statement is no object")
    if unknown := sorted(given.keys() - _OF_STATEMENT):
        raise MalformedPolicy(f"Syntax errors in policy: there is no element {unknown[0]} of a statement")
    sid = given.get("Sid") or ""
    if given.get("Effect") not in ("Allow", "Deny"):
        raise MalformedPolicy(f"Syntax errors in policy: the effect is {given.get('Effect')!r}, expected Allow or Deny")
    if not isinstance(sid, str) or (not of_resource and not _SID.fullmatch(sid)):
        raise MalformedPolicy("Statement IDs (SID) in a single policy must be alpha numeric.")
    not_actions, actions = _either(given, "Action")
    if not actions:
        raise MalformedPolicy("Policy statement must contain actions.")
    if wrong := [one for one in actions if not _ACTION.fullmatch(one)]:
        raise MalformedPolicy(
            f"Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.: {wrong[0]!r}"
        )
    not_resources, resources = _either(given, "Resource")
    if not resources:
        if not of_resource:
            raise MalformedPolicy("Policy statement must contain resources.")
        resources = ("*",)
    if not of_resource and (wrong := [one for one in resources if not _is_resource(one)]):
        raise MalformedPolicy(f'Resource {wrong[0]} must be in ARN format or "*".')
    principals, not_principals = _principals(given, of_resource)
    try:
        read = conditions.read(given.get("Condition") or {})
    except ValueError as error:
        raise MalformedPolicy(f"Syntax errors in policy: {error}") from None
    return Statement(
        name=f"{policy}/{sid or number}",
        allows=given["Effect"] == "Allow",
        actions=actions,
        resources=resources,
        conditions=read,
        principals=principals,
        not_actions=not_actions,
        not_resources=not_resources,
        not_principals=not_principals,
        has_variables=fills and any(has_variables(one) for one in resources),
    )


def _is_resource(pattern: str) -> bool:
    return pattern == "*" or (pattern.startswith(("arn:", "arn*")) and pattern.count(":") >= 5)


def _either(given: Mapping[str, Any], name: str) -> tuple[bool, tuple[str, ...]]:
    """An element, or the one that is its opposite: whether it is that, and what it lists."""
    if name in given and f"Not{name}" in given:
        raise MalformedPolicy(f"Syntax errors in policy: a statement has {name} and Not{name}")
    negated = f"Not{name}" in given
    return negated, _texts(given.get(f"Not{name}" if negated else name), name)


def _principals(given: Mapping[str, Any], of_resource: bool) -> tuple[Mapping[str, tuple[str, ...]] | None, bool]:
    negated = "NotPrincipal" in given
    found = given.get("NotPrincipal" if negated else "Principal")
    if not of_resource:
        if found is not None:
            raise MalformedPolicy("Policy document should not specify a principal.")
        return None, False
    if found is None:
        raise MalformedPolicy("Syntax errors in policy: a statement of a resource's policy names no principal")
    if found == "*":
        return {"AWS": ("*",)}, negated
    if not isinstance(found, Mapping) or (set(found) - set(_PRINCIPALS)):
        raise MalformedPolicy(f"Invalid principal in policy: {json.dumps(found)}")
    return {kind: _texts(names, "Principal") for kind, names in found.items()}, negated


def _texts(value: Any, name: str) -> tuple[str, ...]:
    found: Sequence[Any] = value if isinstance(value, list) else [] if value is None else [value]
    if wrong := [one for one in found if not isinstance(one, str)]:
        raise MalformedPolicy(f"Syntax errors in policy: {name} lists {wrong[0]!r}, expected a text")
    return tuple(found)
