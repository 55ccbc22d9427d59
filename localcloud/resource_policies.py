"""Whether a resource's own policy lets a service act on it, as far as such policies are written."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping
from typing import Any


def allows(
    policy: str | None, *, service: str, action: str, source_arn: str, account: str, external_id: str | None = None
) -> bool:
    """Whether a policy allows `service` an action (`lambda:InvokeFunction`) on behalf of `source_arn`.

    external_id: what the service says of itself when it assumes a role, if anything. A condition that is not
    understood is one that does not hold.
    """
    if not policy:
        return False
    try:
        statements = json.loads(policy).get("Statement", [])
    except (ValueError, AttributeError):
        return False
    facts = {"aws:sourcearn": source_arn, "aws:sourceaccount": account}
    if external_id is not None:
        facts["sts:externalid"] = external_id
    applying = [
        statement
        for statement in (statements if isinstance(statements, list) else [statements])
        if _is_principal(statement.get("Principal"), service)
        and _is_action(statement.get("Action"), action)
        and _holds(statement.get("Condition", {}), facts)
    ]
    effects = {statement.get("Effect") for statement in applying}
    return "Allow" in effects and "Deny" not in effects


def _is_principal(principal: Any, service: str) -> bool:
    if principal == "*":
        return True
    if not isinstance(principal, Mapping):
        return False
    return service in _several(principal.get("Service")) or "*" in _several(principal.get("AWS"))


def _is_action(actions: Any, action: str) -> bool:
    return any(fnmatch.fnmatchcase(action.lower(), str(one).lower()) for one in _several(actions))


def _holds(condition: Mapping[str, Any], facts: Mapping[str, str]) -> bool:
    for comparison, keys in condition.items():
        for key, wanted in keys.items():
            fact = facts.get(key.lower())
            if fact is None or not any(_compare(comparison, fact, str(one)) for one in _several(wanted)):
                return False
    return True


def _compare(comparison: str, fact: str, wanted: str) -> bool:
    if comparison == "StringEquals":
        return fact == wanted
    if comparison in ("ArnEquals", "ArnLike", "StringLike"):
        # In policies only * and ? stand for others; brackets are themselves.
        return fnmatch.fnmatchcase(fact, wanted.replace("[", "[[]"))
    return False


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
