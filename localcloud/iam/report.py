"""What each role may, beside what it did: which actions of which statements were used, and which never were.

An action that is used where localcloud does not see it, or that is there for a case which has not come, is explained
by the template that makes the role, in the role's own metadata:

    Metadata: {UnusedActions: {"sqs:SendMessage": what it fails on is kept in the dead-letter queue}}

A key may be a pattern, such as `"*:Untag*"`: it explains those of the actions it fits that are not used. What is said
with a managed policy goes for every role that it is attached to.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from localcloud.calls import Call
from localcloud.iam.patterns import filled, matches, matches_arn
from localcloud.iam.policy import Statement
from localcloud.iam.roles import Roles

Counted = Sequence[tuple[Call, int]]
_METADATA = "UnusedActions"
_DENIED = ("AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation")


class Report:
    """Reads roles, their stacks and the record of calls."""

    def __init__(
        self,
        roles: Roles,
        iam: Callable[[], Any],
        cloudformation: Callable[[], Any],
        calls: Callable[[str | None], Counted],
    ) -> None:
        """iam, cloudformation: give clients. calls: the record, of one principal or of all."""
        self._roles, self._iam, self._cloudformation, self._calls = roles, iam, cloudformation, calls

    def roles(self, named: str | None = None) -> list[dict[str, Any]]:
        """Every role, or the one of an ARN or a name; an empty list where there is no such role."""
        pages = self._iam().get_paginator("list_roles").paginate()
        arns = sorted(role["Arn"] for page in pages for role in page["Roles"])
        chosen = [arn for arn in arns if named is None or named in (arn, arn.rpartition("/")[2])]
        return [one for one in map(self._role, chosen) if one is not None]

    def _role(self, arn: str) -> dict[str, Any] | None:
        role = self._roles.get(arn)
        if role is None:
            return None
        calls = self._calls(arn)
        done = [(call, count) for call, count in calls if call.error not in _DENIED]
        stack, explained = self._explained(role.name)
        statements = [_statement(one, done, explained) for one in role.identity.statements]
        unused = {action["action"] for one in statements for action in one["actions"] if action["unused"]}
        used = {action["action"] for one in statements for action in one["actions"] if action["uses"]}
        return {
            "role": arn,
            "stack": stack,
            "boundary": role.boundary_arn,
            "statements": statements,
            "unexplained": sorted(action for action in unused if _reason(action, explained) is None),
            "explained_but_used": sorted(key for key in explained if _fits(key, used) and not _fits(key, unused)),
            "explained_but_not_allowed": sorted(key for key in explained if not _fits(key, used | unused)),
            "denied": [
                {"action": call.action, "resource": call.resource, "count": count, "by": list(call.statements)}
                for call, count in calls
                if call.error in _DENIED
            ],
        }

    def _explained(self, role_name: str) -> tuple[str | None, Mapping[str, str]]:
        """The stack that made a role, and what templates say of actions that are not used: with it, or with its managed
        policies.
        """
        stack, of_role = self._of_template(role_name)
        explained = dict(of_role)
        pages = self._iam().get_paginator("list_attached_role_policies").paginate(RoleName=role_name)
        for policy in [one["PolicyArn"] for page in pages for one in page["AttachedPolicies"]]:
            for key, why in self._of_template(policy)[1].items():
                explained.setdefault(key, why)  # what is said with the role comes first
        return stack, explained

    def _of_template(self, physical_id: str) -> tuple[str | None, Mapping[str, str]]:
        """The stack that made a role or a policy, and what is said with it there."""
        client = self._cloudformation()
        try:
            found = client.describe_stack_resources(PhysicalResourceId=physical_id)["StackResources"]
            found = [one for one in found if one["PhysicalResourceId"] == physical_id]
            if not found:
                return None, {}
            stack, logical = found[0]["StackName"], found[0]["LogicalResourceId"]
            detail = client.describe_stack_resource(StackName=stack, LogicalResourceId=logical)["StackResourceDetail"]
            metadata = json.loads(detail.get("Metadata") or "{}")
        except (ClientError, BotoCoreError, ValueError):
            return None, {}
        given = metadata.get(_METADATA) if isinstance(metadata, Mapping) else None
        return stack, {str(key): str(why) for key, why in given.items()} if isinstance(given, Mapping) else {}


def _statement(statement: Statement, done: Counted, explained: Mapping[str, str]) -> dict[str, Any]:
    mine = [(call, count) for call, count in done if statement.name in call.statements]
    return {
        "statement": statement.name,
        "effect": "Allow" if statement.allows else "Deny",
        "conditions": sorted({condition.key for condition in statement.conditions}),
        "excepted_actions": list(statement.actions) if statement.not_actions else [],
        "excepted_resources": list(statement.resources) if statement.not_resources else [],
        "uses": sum(count for _, count in mine),
        "alone": sum(count for call, count in mine if len(call.statements) == 1),
        "actions": [
            _action(pattern, mine, explained, statement.allows)
            for pattern in (("*",) if statement.not_actions else statement.actions)
        ],
        "resources": [
            {"resource": pattern, "uses": sum(count for call, count in mine if _is_of(pattern, call.resource))}
            for pattern in (() if statement.not_resources else statement.resources)
        ],
    }


def _action(pattern: str, mine: Counted, explained: Mapping[str, str], allows: bool) -> dict[str, Any]:
    found = [(call, count) for call, count in mine if matches(pattern, call.action, ignore_case=True)]
    uses = sum(count for _, count in found)
    unused = allows and not uses
    return {
        "action": pattern,
        "uses": uses,
        # Without this statement these would have been denied.
        "alone": sum(count for call, count in found if len(call.statements) == 1),
        "unused": unused,
        "reason": _reason(pattern, explained) if unused else None,
    }


def _reason(action: str, explained: Mapping[str, str]) -> str | None:
    return next((why for key, why in explained.items() if matches(key, action, ignore_case=True)), None)


def _fits(key: str, actions: Iterable[str]) -> bool:
    return any(matches(key, action, ignore_case=True) for action in actions)


def _is_of(pattern: str, resource: str) -> bool:
    # A variable has had many values; what stands around it tells enough.
    text = filled(pattern, lambda _: None)
    return matches_arn(pattern if text is not None else _without_variables(pattern), resource)


def _without_variables(pattern: str) -> str:
    parts = pattern.split("${")
    return parts[0] + "".join(f"*{part.partition('}')[2]}" for part in parts[1:])


def lines(roles: Sequence[Mapping[str, Any]], *, unused_only: bool = False) -> Iterator[str]:
    """The report, for people; or of each role only what nothing explains."""
    for role in roles:
        if unused_only and not role["unexplained"]:
            continue
        stack = f"  (stack {role['stack']})" if role["stack"] else ""
        yield f"{role['role']}{stack}"
        for statement in role["statements"]:
            yield from _lines_of_statement(statement, unused_only=unused_only)
        if unused_only:
            continue
        for call in role["denied"]:
            by = f"  by {', '.join(call['by'])}" if call["by"] else ""
            yield f"  denied  {call['action']}  {call['resource']}  {call['count']}{by}"
        for action in role["explained_but_used"]:
            yield f"  {action} is used; its template says that it is not"
        for action in role["explained_but_not_allowed"]:
            yield f"  {action} is not allowed; its template explains why it is not used"


def _lines_of_statement(statement: Mapping[str, Any], *, unused_only: bool) -> Iterator[str]:
    actions = [one for one in statement["actions"] if not unused_only or (one["unused"] and not one["reason"])]
    if not actions:
        return
    yield f"  {statement['effect']}  {statement['statement']}"
    for action in actions:
        said = str(action["uses"])
        if action["unused"]:
            said = f"unused: {action['reason']}" if action["reason"] else "UNUSED"
        yield f"    {action['action']}  {said}"
    if not unused_only:
        for resource in statement["resources"]:
            yield f"      on {resource['resource']}  {resource['uses']}"
