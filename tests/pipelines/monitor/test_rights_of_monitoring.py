"""The least that the roles of the monitoring need: all that was called in the tests here is allowed, and what is
allowed was called, or the template explains why it is there.

The second part needs all those tests in one process, and is skipped where some have run elsewhere, or not at all.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipelines.deploy.test_rights_of_roles import Rights
from tests.pipelines.monitor.watched import Watched

ELSEWHERE = {"evaluations": set[str](), "retraining": {"sagemaker:UpdateModelPackage"}}
"""What each role calls in test_two_projects.py only, in a project of its own."""


@pytest.mark.parametrize("role", ELSEWHERE)
def test_what_a_role_of_the_monitoring_calls_it_is_allowed(watched: Watched, role: str) -> None:
    watched.alarm("quality")
    watched.quiet()
    rights = Rights(watched.loop)
    called = watched.loop.calls(role)
    assert called
    refused = {
        f"{call['action']} on {call['resource']}"
        for call in called
        if not rights.allow(role, call["action"], call["resource"])
    }
    assert refused == set()


@pytest.mark.parametrize("role", ELSEWHERE)
def test_what_a_role_of_the_monitoring_is_allowed_it_calls(
    watched: Watched, role: str, request: pytest.FixtureRequest
) -> None:
    # Those that are selected, of which other processes may have run some.
    others = [item for item in request.session.items if "watched" in item.fixturenames and item.path != Path(__file__)]
    missing = {"test_evaluations.py", "test_retraining.py"} - {item.path.name for item in others}
    elsewhere = sorted({item.nodeid for item in others} - watched.loop.tested)
    if missing or elsewhere:
        pytest.skip(f"not all tests of the monitoring have run in this process, e.g. {[*missing, *elsewhere][0]}")
    called = {call["action"] for call in watched.loop.calls(role)}
    assert Rights(watched.loop).unexplained(role, called | ELSEWHERE[role]) == set()
