"""Whether a resource's own policy lets a service act on it, for what the service does without anybody's role."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from localcloud.iam.policy import Actor, MalformedPolicy, Statement, read


def allows(
    policy: str | None, *, service: str, action: str, source_arn: str, account: str, external_id: str | None = None
) -> bool:
    """Whether a policy allows `service` an action (`lambda:InvokeFunction`) on behalf of `source_arn`.

    external_id: what the service says of itself when it assumes a role, if anything. A condition that is not
    understood is one that does not hold. The policy is that of the resource in question: what resource its statements
    name is not looked at.
    """
    facts = {
        "aws:sourcearn": [source_arn],
        "aws:sourceaccount": [account],
        "aws:principalisawsservice": ["true"],
        "aws:principalservicename": [service],
        "aws:securetransport": ["true"],
    }
    if external_id is not None:
        facts["sts:externalid"] = [external_id]
    actor = Actor(frozenset({service}), "Service")

    def values(key: str) -> Sequence[str] | None:
        return facts.get(key.lower())

    effects = {
        statement.allows
        for statement in _statements(policy or "")
        if statement.is_of_principal(actor) and statement.is_of_action(action) and statement.holds(values)
    }
    return effects == {True}


@lru_cache(maxsize=256)
def _statements(policy: str) -> tuple[Statement, ...]:
    """None of what is no policy: it allows nothing."""
    try:
        return read(policy, "policy", of_resource=True)
    except MalformedPolicy:
        return ()
