"""The least that each role of the stack needs: all that was called in the tests of the loop is allowed, and what is
allowed was called, or the template explains why it is there (`UnusedActions` in the role's metadata).

The second part needs all those tests in one process, and is skipped where some of them have run elsewhere, or not at
all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipelines.deploy.loop import Loop
from tests.pipelines.rights import roles

Statement = tuple[list[str], list[str]]
FUNCTIONS = ("approvals", "deploy-steps", "waiting", "failures")


class Rights:
    """The inline policies of the stack's roles."""

    def __init__(self, loop: Loop) -> None:
        self._project, self._iam = loop.names.project, loop.client("iam")
        self._statements: dict[str, list[Statement]] = {}

    def statements(self, role: str) -> list[Statement]:
        """What a role is allowed: actions and resources."""
        if role not in self._statements:
            self._statements[role] = list(self._read(f"{self._project}-{role}"))
        return self._statements[role]

    def _read(self, role: str) -> Iterator[Statement]:
        for policy in self._iam.list_role_policies(RoleName=role)["PolicyNames"]:
            document = self._iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
            for statement in document["Statement"]:
                assert statement["Effect"] == "Allow"
                yield _list(statement["Action"]), _list(statement["Resource"])

    def allow(self, role: str, action: str, resource: str) -> bool:
        """Whether a policy of a role allows an action on a resource; conditions are passed over."""
        return any(
            any(_fits(action, pattern, re.IGNORECASE) for pattern in actions)
            and any(_fits(resource, pattern) for pattern in resources)
            for actions, resources in self.statements(role)
        )

    def unexplained(self, role: str, called: set[str]) -> set[str]:
        """What a role is allowed and did not call, and the template does not explain."""
        allowed = {action for actions, _ in self.statements(role) for action in actions}
        return {action for action in allowed - called if roles()[role].reason(action) is None}


@pytest.fixture
def rights(loop: Loop) -> Rights:
    return Rights(loop)


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _fits(text: str, pattern: str, flags: int = 0) -> bool:
    """Whether a text fits a pattern of IAM's, in which `*` and `?` mean what they mean in a shell."""
    parts = (".*" if part == "*" else "." if part == "?" else re.escape(part) for part in re.split(r"([*?])", pattern))
    return re.fullmatch("".join(parts), text, flags) is not None


@pytest.mark.parametrize("role", [*FUNCTIONS, "execution"])
def test_what_a_role_calls_it_is_allowed(loop: Loop, rights: Rights, role: str) -> None:
    loop.good("staging")
    called = loop.calls(role)
    refused = {
        f"{call['action']} on {call['resource']}"
        for call in called
        if not rights.allow(role, call["action"], call["resource"])
    }
    assert refused == set()


@pytest.mark.parametrize("role", FUNCTIONS)
def test_what_a_role_is_allowed_it_calls(
    deployed: Loop, rights: Rights, role: str, request: pytest.FixtureRequest
) -> None:
    _skip_without_all_the_others(deployed, request)
    assert rights.unexplained(role, {call["action"] for call in deployed.calls(role)}) == set()


def _skip_without_all_the_others(deployed: Loop, request: pytest.FixtureRequest) -> None:
    here = Path(__file__)
    others = [item for item in request.session.items if "loop" in item.fixturenames and item.path != here]
    selected = {item.path.name for item in others}
    missing = {"test_decision_events.py", "test_deployment_loop.py", "test_package_checks.py"} - selected
    elsewhere = sorted({item.nodeid for item in others} - deployed.tested)
    if missing or elsewhere:
        pytest.skip(f"not all tests of the deployment loop have run in this process, e.g. {[*missing, *elsewhere][0]}")
