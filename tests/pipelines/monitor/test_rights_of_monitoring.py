"""The least that the roles of the monitoring need: all that was called in the tests here is allowed, and what is
allowed was called.

The second part needs all those tests in one process, and is skipped where some have run elsewhere, or not at all.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipelines.deploy.test_rights_of_roles import LOGS, Rights
from tests.pipelines.monitor.watched import Watched

DEAD_LETTERS = {"sqs:SendMessage": "what it fails on is kept in the dead-letter queue"}
STORE = dict.fromkeys(
    ("glue:GetDatabase", "glue:GetPartitions", "glue:GetTable", "s3:GetBucketLocation"),
    "Athena wants it of who asks, or a step of it that localcloud's Athena does by itself",
) | dict.fromkeys(
    ("kms:Decrypt", "s3:GetObject", "s3:ListBucket", "s3:PutObject"),
    "Athena reads the store and writes its answer with the rights of who asks; localcloud's does not",
)
APPROVAL = {"sagemaker:UpdateModelPackage": "where the configuration approves for staging (test_two_projects.py)"}
UNUSED = {"evaluations": {**LOGS, **DEAD_LETTERS}, "retraining": {**LOGS, **DEAD_LETTERS, **STORE, **APPROVAL}}
"""What each role is allowed without calling it, and why."""


@pytest.mark.parametrize("role", UNUSED)
def test_what_a_role_of_the_monitoring_calls_it_is_allowed(watched: Watched, role: str) -> None:
    watched.alarm("quality")
    watched.quiet()
    rights = Rights(watched.loop)
    called = watched.loop.calls(role)
    assert called
    refused = {
        f"{call['action']} on {call['resource']}"
        for call in called
        if not rights.allow(role, call["action"], _resource(watched, call))
    }
    assert refused == set()


def _resource(watched: Watched, call: dict[str, str]) -> str:
    """What a call was about. Athena's are about the work group, which the record does not name."""
    if call["action"].startswith("athena:"):
        return f"arn:aws:athena:{watched.names.region}:{watched.names.account_id}:workgroup/primary"
    return call["resource"]


@pytest.mark.parametrize("role", UNUSED)
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
    allowed = {action for actions, _ in Rights(watched.loop).statements(role) for action in actions}
    assert allowed - called == UNUSED[role].keys()
