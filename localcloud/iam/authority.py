"""Asks the policies, for every call that is signed as a role's, and for what services do for a role without a call.

The account's root may do everything that no resource's own policy denies. A role that IAM does not have may nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from localcloud.calls import Call, Calls
from localcloud.errors import ServiceError
from localcloud.iam.denials import denied
from localcloud.iam.evaluation import Decision, Policies, Role, decide
from localcloud.iam.facts import Asked, Beyond, CallFacts, Found
from localcloud.iam.naming import Naming
from localcloud.iam.policy import Actor, MalformedPolicy, read
from localcloud.iam.resources import ResourcePolicies
from localcloud.iam.roles import Roles
from localcloud.principals import Caller, Principals
from localcloud.protocols import models

Facts = Mapping[str, str | list[str]]
"""Condition keys, as `kms:ViaService`, and what they have for this call."""

Pair = tuple[str, str]
"""An action and the resource that it is on."""

_NO_FACTS: Facts = MappingProxyType({})
_NO_KEYS: Found = MappingProxyType({})
# Whoever has credentials may ask who they are: "No permissions are required to perform this operation".
_FREE = frozenset({"sts:GetCallerIdentity", "sts:GetSessionToken"})
_READS = re.compile(r"Get|List|Simulate")
_ALLOWED = Decision(True)
_ROOTS_OWN = frozenset({"s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"})


@dataclass(frozen=True)
class Surroundings:
    """What conditions are asked about beyond the call."""

    region: str
    account_id: str
    now: Callable[[], datetime]
    beyond: Beyond


class Authority:
    """Says whether callers may do what they, or services for them, are about to do. Any thread may ask."""

    def __init__(
        self,
        calls: Calls,
        principals: Principals,
        roles: Roles,
        resources: ResourcePolicies | None,
        around: Surroundings,
        naming: Naming | None = None,
    ) -> None:
        """resources: the policies that resources have themselves. naming: what finds a resource's ARN. Neither is
        there where there are no resources."""
        self._calls, self._principals, self._naming = calls, principals, naming
        self.roles, self.resources, self._around = roles, resources, around
        self.account_id, self.now = around.account_id, around.now

    def check(self, principal_arn: str, action: str, resource: str, facts: Facts = _NO_FACTS) -> None:
        """Record what a service does for a role, and raise ServiceError (AccessDeniedException) if the role may not.

        principal_arn: the role's ARN; the account's root may do everything. action and resource: as in a policy.
        """
        caller = self._principals.role(principal_arn)
        given = {key.lower(): [value] if isinstance(value, str) else list(value) for key, value in facts.items()}
        service, _, operation = action.partition(":")
        decision = self.decide(caller, Asked(service, operation), action, resource, given)
        if decision.allowed:
            self._calls.add(Call(caller.arn, action, resource, statements=decision.by))
            return
        refused = self._refused(caller, service, models.REST_JSON, action, resource, decision)
        refused.code = "AccessDeniedException"
        self._calls.add(Call(caller.arn, action, resource, refused.code, decision.by))
        raise refused

    def authorise(
        self,
        caller: Caller,
        service: str,
        protocol: str,
        asked: Asked,
        pairs: Iterable[Pair],
        given: Found = _NO_KEYS,
    ) -> Sequence[Call]:
        """A call by its actions, as it is to be recorded when it has been made. If one of them is not allowed it is
        recorded here, and raised as the service says it (ServiceError)."""
        if caller.ends_at is not None:
            self.check_session(caller, service)
        found = []
        for action, named in pairs:
            resource = named if caller.is_root or self._naming is None else self._naming.resolved(named, asked.params)
            decision = self.decide(caller, asked, action, resource, given)
            if not decision.allowed:
                refused = self._refused(caller, service, protocol, action, resource, decision)
                self._calls.add(Call(caller.arn, action, resource, refused.code, decision.by))
                raise refused
            found.append(Call(caller.arn, action, resource, statements=decision.by))
        return found

    def called(self, service: str, operation: str, params: Mapping[str, Any]) -> None:
        """A call was made, which may have changed what anybody may do."""
        if self.resources is not None:
            self.resources.called(service, operation)
        if service == "iam" and not _READS.match(operation):
            role = params.get("RoleName")
            self.roles.changed(str(role) if role else None)

    def decide(self, caller: Caller, asked: Asked, action: str, resource: str, given: Found = _NO_KEYS) -> Decision:
        """Whether a caller may do an action; neither records nor raises."""
        if action in _FREE:
            return _ALLOWED
        prefix = action.partition(":")[0]
        own = self.resources.of(prefix, resource) if self.resources is not None else None
        if caller.is_root:
            if own is None or action in _ROOTS_OWN:
                return _ALLOWED
            facts = self._facts(asked, action, resource, _actor(caller.arn, ""), None, given)
            return decide(action, resource, facts, actor=facts.actor, role=None, own=own)
        role = self.roles.get(caller.arn)
        if role is None:
            return Decision(False, (), f"because no identity-based policy allows the {action} action")
        facts = self._facts(asked, action, resource, _actor(caller.arn, caller.session_name), role, given)
        return decide(
            action,
            resource,
            facts,
            actor=facts.actor,
            role=role,
            session=self._session(caller),
            own=own,
            own_rules=prefix == "kms",
        )

    def assume(
        self,
        caller: Caller | None,
        asked: Asked,
        action: str,
        role: Role,
        federated: Actor | None = None,
        given: Found = _NO_KEYS,
    ) -> Decision:
        """Whether a role may be assumed: by a caller, or by whom a token speaks of. Recorded."""
        who = caller.arn if caller is not None else sorted(federated.names)[0] if federated is not None else ""
        actor = federated or _actor(who, caller.session_name if caller is not None else "")
        by = self.roles.get(caller.arn) if caller is not None and not caller.is_root else None
        facts = self._facts(asked, action, role.arn, actor, by, given)
        session = self._session(caller) if caller is not None else None
        decision = decide(
            action, role.arn, facts, actor=actor, role=by, session=session, own=role.trust, own_rules=True
        )
        self._calls.add(Call(who, action, role.arn, "" if decision.allowed else "AccessDenied", decision.by))
        return decision

    def may_assume(self, service: str, role_arn: str, source_arn: str = "") -> bool:
        """Whether there is a role that a service (`lambda.amazonaws.com`) may take on, for what it does at an ARN."""
        role = self.roles.get(role_arn)
        if role is None:
            return False
        given = {"aws:sourceaccount": [self.account_id], "aws:sourcearn": [source_arn]}
        actor = Actor(frozenset({service}), "Service")
        facts = self._facts(Asked("sts", "AssumeRole"), "sts:AssumeRole", role.arn, actor, None, given)
        found = decide("sts:AssumeRole", role.arn, facts, actor=actor, role=None, own=role.trust, own_rules=True)
        return found.allowed

    def lets_in(self, service: str, action: str, resource: str, source_arn: str) -> bool:
        """Whether a resource's own policy lets a service (`events.amazonaws.com`) do an action on it for source_arn."""
        if self.resources is None:
            return True
        prefix, _, operation = action.partition(":")
        own = self.resources.of(prefix, resource)
        if own is None:
            return False
        account = [self.account_id]
        given = {"aws:sourceaccount": account, "aws:sourcearn": [source_arn]}
        if service == "cloudwatch.amazonaws.com":
            # By it alone alarms come to topics whose policy nobody has set.
            given["aws:sourceowner"] = account
        actor = Actor(frozenset({service}), "Service")
        facts = self._facts(Asked(prefix, operation), action, resource, actor, None, given)
        return decide(action, resource, facts, actor=actor, role=None, own=own, own_rules=True).allowed

    def check_session(self, caller: Caller, service: str) -> None:
        """Raise ServiceError if a caller's session has ended."""
        if caller.ends_at is not None and self._around.now() >= caller.ends_at:
            code = "ExpiredToken" if service in ("s3", "sts", "iam") else "ExpiredTokenException"
            raise ServiceError(
                code,
                f"The security token included in the request is expired: {caller.shown} ended at"
                f" {caller.ends_at.isoformat()}; assume the role again",
                403,
            )

    def is_at_hand(self, caller: Caller) -> bool:
        """Whether a call of the caller's on a resource without a policy is decided without waiting for moto."""
        return caller.is_root or (self.roles.is_at_hand(caller.arn) and not caller.policies)

    def _facts(
        self, asked: Asked, action: str, resource: str, actor: Actor, role: Role | None, given: Found
    ) -> CallFacts:
        around = self._around
        return CallFacts(
            asked=asked,
            action=action,
            resource=resource,
            actor=actor,
            principal_tags=role.tags if role is not None else {},
            region=around.region,
            account_id=around.account_id,
            now=around.now,
            beyond=around.beyond,
            given=given,
        )

    def _session(self, caller: Caller) -> Policies | None:
        if not caller.policies:
            return None
        return _session_policies(caller.policies)

    def _refused(
        self, caller: Caller, service: str, protocol: str, action: str, resource: str, decision: Decision
    ) -> ServiceError:
        missing = not caller.is_root and self.roles.get(caller.arn) is None
        return denied(service, protocol, caller.shown, action, resource, decision, missing)


@lru_cache(maxsize=256)
def _session_policies(documents: tuple[str, ...]) -> Policies:
    statements = [one for document in documents for one in read(document, "session")]
    return Policies(statements)


def check_session_policy(document: str) -> None:
    """Raise ServiceError if a session cannot be limited to a document."""
    try:
        read(document, "session")
    except MalformedPolicy as error:
        raise ServiceError("MalformedPolicyDocument", str(error), 400) from None


@lru_cache(maxsize=1_024)
def _actor(arn: str, session_name: str) -> Actor:
    account = arn.split(":")[4]
    names = {arn}
    if session_name:
        names.add(f"arn:aws:sts::{account}:assumed-role/{arn.rpartition('/')[2]}/{session_name}")
    return Actor(frozenset(names), account_id=account)
