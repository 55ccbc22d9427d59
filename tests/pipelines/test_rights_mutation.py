"""The policies of the templates, against what their roles called in the recorded loop (recorded_calls.py): every call
is allowed; without any one statement some call is denied; and what no call needs, the template explains, in the
metadata of the role or of its managed policy (`UnusedActions`).

Where it fails: take a right that is not needed out of the template, or say there why it is; after a change of what
roles call, record anew by `make rights`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import pytest

from localcloud.iam.policy import Statement, read
from tests.pipelines import rights
from tests.pipelines.recorded_calls import kept, recorded
from tests.pipelines.rights import ACCOUNT, LOOP, VARIANTS, Made, RoleOf, Use, roles

NAMES = sorted({name for variant in VARIANTS for name in roles(variant)})
EVERYTHING = read({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}, "may")


@cache
def calls() -> dict[str, list[Made]]:
    """What is recorded, by role."""
    found: dict[str, list[Made]] = {}
    for call in kept():
        found.setdefault(call.role, []).append(call)
    return found


def kinds(name: str) -> list[RoleOf]:
    """A role, in every kind of project that has it."""
    return [roles(variant)[name] for variant in VARIANTS if name in roles(variant)]


def missing(role: RoleOf, statement: Statement, made: Sequence[Made]) -> Made | None:
    """A call that is denied without a statement."""
    alone = (call for call in made if [one.name for one in role.allowing(call)] == [statement.name])
    return next((call for call in alone if role.allows(call) and not role.allows(call, without=statement)), None)


def test_the_roles_of_the_loop_are_in_the_record() -> None:
    assert len(calls()) > 30
    assert calls().keys() <= roles(LOOP).keys()


@pytest.mark.parametrize("name", sorted(roles(LOOP)))
def test_what_a_role_called_it_is_allowed(name: str) -> None:
    boundary = rights.boundary()
    role = roles(LOOP)[name]
    denied = [
        call for call in calls().get(name, []) if not role.allows(call, boundary=boundary if role.bounded else ())
    ]
    assert denied == []


@pytest.mark.parametrize("name", NAMES)
def test_without_any_one_statement_a_call_is_denied(name: str) -> None:
    made = calls().get(name, [])
    needless = {
        statement.name
        for role in kinds(name)
        for statement in role.statements
        if missing(role, statement, made) is None and any(role.reason(action) is None for action in statement.actions)
    }
    assert needless == set()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_used_is_explained_and_nothing_else(name: str) -> None:
    uses = [Use(role, calls().get(name, [])) for role in kinds(name)]
    assert {one for use in uses for one in use.unexplained()} == set()
    # What is explained is not used in some kind of project.
    idle = set.intersection(*(set(use.idle_explanations()) for use in uses))
    assert idle == set()


def test_every_statement_of_the_boundary_is_missed_or_explained() -> None:
    statements, explained = rights.boundary(), rights.boundary_explained()
    bounded = [(role, call) for name, role in roles(LOOP).items() if role.bounded for call in calls().get(name, [])]
    for statement in statements:
        if not statement.allows or set(statement.actions) <= explained.keys():
            continue
        without = [one for one in statements if one is not statement]
        assert any(not role.allows(call, boundary=without) for role, call in bounded), statement.name


@pytest.mark.parametrize(
    "action",
    ["iam:DeleteRole", "iam:DeleteRolePolicy", "iam:PassRole", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy",
     "iam:UpdateAssumeRolePolicy", "iam:UpdateRole"],
)  # fmt: skip
def test_under_the_boundary_nobody_may_change_who_makes_projects_whatever_they_are_given(action: str) -> None:
    anybody = RoleOf("anybody", "project", EVERYTHING)
    attempt = Made("anybody", action, f"arn:aws:iam::{ACCOUNT}:role/mlops-launch")
    boundary = rights.boundary()
    assert not anybody.allows(attempt, boundary=boundary)
    # It is the denial that keeps them from it.
    assert anybody.allows(attempt, boundary=[one for one in boundary if one.allows])


def test_a_record_is_the_same_whatever_the_project_is_called() -> None:
    def record(project: str, execution: str) -> list[Made]:
        account = f"eu-west-1:{ACCOUNT}"
        return recorded(
            {"principal": f"arn:aws:iam::{ACCOUNT}:role/{project}-approvals", "error": error, "statements": [],
             "action": action, "resource": resource}
            for action, resource, error in [
                ("dynamodb:GetItem", f"arn:aws:dynamodb:{account}:table/{project}-deployments", ""),
                ("dynamodb:DeleteItem", f"arn:aws:dynamodb:{account}:table/{project}-deployments", "AccessDenied"),
                ("sagemaker:DescribePipelineExecution",
                 f"arn:aws:sagemaker:{account}:pipeline/{project}-cardholders-deploy-prod/execution/{execution}", ""),
            ]
        )  # fmt: skip

    found = record("fraud-api", "abcdefghijkl")
    assert [one.action for one in found] == ["dynamodb:GetItem", "sagemaker:DescribePipelineExecution"]
    assert found == record("x", "0123456789ab")
