"""Whether policies, taken together, allow a call: a denial first, then what allows it, then what bounds it.

    root                 all but what a resource's own policy denies
    a role               denied by any policy: no
                         its policies allow it, and its boundary and its session's policies do, too: yes
                         the resource's policy names the role itself, or everybody: yes
                         else: no
    a key, a role        may be used by those only whom its own policy names, or whose account it names and whose
                         own policies allow it

Source: "Policy evaluation logic" and "Policy evaluation for requests within a single account" in the IAM User Guide,
"Key policies in AWS KMS" in the KMS Developer Guide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from localcloud.iam.patterns import Values
from localcloud.iam.policy import Actor, Statement

_MOST_KEPT = 4_096
_NONE: tuple[Statement, ...] = ()


@dataclass(frozen=True)
class Found:
    """Statements that are about a call and whose conditions hold."""

    allowing: tuple[Statement, ...] = _NONE
    denying: tuple[Statement, ...] = _NONE


_NOTHING = Found()


class Policies:
    """Statements of one kind that hold together: of a role, of its boundary, of a resource. Any thread may ask."""

    def __init__(self, statements: Sequence[Statement]) -> None:
        self.statements = tuple(statements)
        self._of_actions: dict[str, tuple[Statement, ...]] = {}
        self._decided: dict[tuple[str, str], Found] = {}

    def about(self, action: str, resource: str, values: Values) -> Found:
        """Those that are about an action on a resource. What does not depend on more is remembered."""
        kept = self._decided.get((action, resource))
        if kept is not None:
            return kept
        candidates = self._of_action(action)
        if not candidates:
            return _NOTHING
        depends = False
        found = []
        for one in candidates:
            if one.conditions:
                depends = True
                if one.is_of_resource(resource, values) and one.holds(values):
                    found.append(one)
            else:
                depends = depends or one.has_variables
                if one.is_of_resource(resource, values):
                    found.append(one)
        result = _found(found)
        if not depends:
            if len(self._decided) >= _MOST_KEPT:
                self._decided.clear()
            self._decided[action, resource] = result
        return result

    def about_actor(self, actor: Actor, action: str, resource: str, values: Values) -> Found:
        """Those that name an actor, too: of a resource's policy."""
        return _found(
            [
                one
                for one in self._of_action(action)
                if one.is_of_principal(actor) and one.is_of_resource(resource, values) and one.holds(values)
            ]
        )

    def _of_action(self, action: str) -> tuple[Statement, ...]:
        found = self._of_actions.get(action)
        if found is None:
            found = tuple(one for one in self.statements if one.is_of_action(action))
            if len(self._of_actions) >= _MOST_KEPT:
                self._of_actions.clear()
            self._of_actions[action] = found
        return found


def _found(statements: Sequence[Statement]) -> Found:
    if not statements:
        return _NOTHING
    if len(statements) == 1:
        return Found(tuple(statements)) if statements[0].allows else Found(denying=tuple(statements))
    return Found(tuple(one for one in statements if one.allows), tuple(one for one in statements if not one.allows))


@dataclass(frozen=True)
class Role:
    """A role, with all that bounds it."""

    arn: str
    identity: Policies
    trust: Policies
    boundary: Policies | None = None
    boundary_arn: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    role_id: str = ""

    @cached_property
    def name(self) -> str:
        return self.arn.rpartition("/")[2]


@dataclass(frozen=True)
class Decision:
    """Whether a call may be made."""

    allowed: bool
    by: tuple[str, ...] = ()
    """The statements that allow it, or deny it."""
    because: str = ""
    """Of a call that may not be made, as AWS words it: after `on resource: …`."""


def decide(
    action: str,
    resource: str,
    values: Values,
    *,
    actor: Actor,
    role: Role | None,
    session: Policies | None = None,
    own: Policies | None = None,
    own_rules: bool = False,
) -> Decision:
    """Whether an actor may do an action.

    role: that the actor is; None for the account's root. session: what the role's session was limited to. own: the
    policy of the resource. own_rules: whether that must allow it, whatever other policies say (KMS, STS).
    """
    of_resource = own.about_actor(actor, action, resource, values) if own is not None else _NOTHING
    if role is None:
        return _of_root(action, of_resource, own_rules and own is not None, actor)
    identity = role.identity.about(action, resource, values)
    limits = [
        (kind, limit.about(action, resource, values))
        for kind, limit in (("permissions boundary", role.boundary), ("session policy", session))
        if limit is not None
    ]
    for kind, found in (("identity-based policy", identity), *limits, ("resource-based policy", of_resource)):
        if found.denying:
            names = tuple(one.name for one in found.denying)
            article = "an" if kind.startswith("i") else "a"
            return Decision(False, names, f"with an explicit deny in {article} {kind}")
    itself = [one for one in of_resource.allowing if one.names_itself(actor)]
    if own_rules and own is not None and not of_resource.allowing:
        return Decision(False, (), f"because no resource-based policy allows the {action} action")
    if not itself and not identity.allowing:
        return Decision(False, (), f"because no identity-based policy allows the {action} action")
    for kind, found in limits:
        if not found.allowing:
            return Decision(False, (), f"because no {kind} allows the {action} action")
    return Decision(True, tuple(one.name for one in (*identity.allowing, *itself)))


def _of_root(action: str, of_resource: Found, must_be_named: bool, actor: Actor) -> Decision:
    if of_resource.denying:
        names = tuple(one.name for one in of_resource.denying)
        return Decision(False, names, "with an explicit deny in a resource-based policy")
    if must_be_named and not of_resource.allowing:
        return Decision(False, (), f"because no resource-based policy allows the {action} action")
    return Decision(True, tuple(one.name for one in of_resource.allowing))
