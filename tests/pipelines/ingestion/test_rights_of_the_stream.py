"""The least that the roles of the stream need: all that is called while it works, and while it is repaired and
compacted, is allowed, and what is allowed is called.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from localcloud import instance
from pipelines import names as n
from pipelines.ingestion import minutes
from pipelines.ingestion.minutes import MINUTE
from tests.pipelines.deploy.test_rights_of_roles import LOGS, Rights
from tests.pipelines.test_stack import free_port
from tests.stream.chain import POLL_SECONDS, Chain, Traffic, running_chain

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

KEY = dict.fromkeys(
    ("kms:Decrypt", "kms:GenerateDataKey"), "services use the key in the caller's name, which localcloud's do not"
)
DEAD_LETTERS = {"sqs:SendMessage": "what it fails on is kept in the dead-letter queue"}
IMAGES = dict.fromkeys(
    (
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage",
        "ecr:GetAuthorizationToken",
        "ecr:GetDownloadUrlForLayer",
    ),
    "ECS fetches the image; localcloud's has it",
)
DELIVERY = dict.fromkeys(
    (
        "kinesis:ListShards",
        "logs:PutLogEvents",
        "s3:AbortMultipartUpload",
        "s3:GetBucketLocation",
        "s3:GetObject",
        "s3:ListBucket",
        "s3:ListBucketMultipartUploads",
    ),
    "Firehose asks for it: of what goes wrong, and of large objects that it puts in parts",
)
UNUSED: dict[str, dict[str, str]] = {
    "poller": {},
    "deduplicate": {**LOGS, **DEAD_LETTERS, **KEY},
    "archive": {**KEY, **DELIVERY},
    "operator": {**KEY, "s3:ListBucket": "without it a checkpoint that is missing is answered as a forbidden one"},
    "write-minutes": {**LOGS, **DEAD_LETTERS, **KEY},
    "replay": {"kms:Decrypt": KEY["kms:Decrypt"]},
    "compact": {
        **KEY,
        **dict.fromkeys(
            ("s3:DeleteObject", "s3:GetObject"), "files of days that are over, of which this stream has none"
        ),
    },
    "ingestion-start": IMAGES,
    "ingestion-schedules": {**DEAD_LETTERS, **KEY},
}
"""What each role is allowed without calling it, and why."""


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A stream that has written some minutes, one of which was lost, and whose schedules were due."""
    with running_chain(Path(tmp_path_factory.mktemp("chain")), free_port(), Traffic(rate=2, speed=5)) as running:
        first = minutes.whole(running.now()) + MINUTE
        end = first + 4 * MINUTE
        running.wait_until(lambda: len(running.minutes(first, end)) == 4, "four minutes")
        running.stop_polling()
        running.client("sagemaker-featurestore-runtime").delete_record(
            FeatureGroupName=running.names.feature_group(*n.MINUTES),
            RecordIdentifierValueAsString=f"{first:%Y-%m-%dT%H:%M:%SZ}",
            EventTime=f"{first + 2 * MINUTE:%Y-%m-%dT%H:%M:%SZ}",
        )
        _let_schedules_be_due(running)
        assert first in running.minutes(first, end)
        yield running


def _let_schedules_be_due(chain: Chain) -> None:
    """Each of them once, instead of at its hour, at a time when the simulator's is past; they are over with that."""
    scheduler = chain.client("scheduler")
    members = ("Name", "FlexibleTimeWindow", "ScheduleExpressionTimezone", "State", "Target")
    for name in ("reconcile", "compact"):
        found = scheduler.get_schedule(Name=f"{chain.names.project}-{name}")
        kept = {member: found[member] for member in members}
        scheduler.update_schedule(**kept, ScheduleExpression="rate(30 minutes)")
    instance.advance(chain.servers.port, timedelta(minutes=31).total_seconds())
    results = chain.client("s3").list_objects_v2
    prefix = f"{n.INGESTION}/replays/"

    def reported() -> bool:
        keys = [one["Key"] for one in results(Bucket=chain.names.bucket, Prefix=prefix).get("Contents", ())]
        return all(any(key.startswith(f"{prefix}{name}-") for key in keys) for name in ("reconcile", "compact"))

    chain.wait_until(reported, "the results of the schedules' tasks")


def called(chain: Chain, role: str) -> list[dict[str, Any]]:
    """What a role of the stream has called."""
    arn = f"arn:aws:iam::{chain.names.account_id}:role/{chain.names.project}-{role}"
    found: list[dict[str, Any]] = []
    for _ in range(20):  # the record is written within the second
        found = instance.calls(chain.servers.port, arn)
        if found:
            break
        time.sleep(POLL_SECONDS)
    return found


def resource(chain: Chain, call: dict[str, Any]) -> str:
    """What a call was about, where the record of calls does not say it."""
    names = chain.names
    if call["action"] == "events:PutEvents":
        return f"arn:aws:events:{names.region}:{names.account_id}:event-bus/{names.ingestion_bus}"
    if call["action"] == "dynamodb:BatchGetItem":
        return f"arn:aws:dynamodb:{names.region}:{names.account_id}:table/{names.seen_table}"
    if call["action"].startswith("logs:"):
        return f"{call['resource']}:log-stream:"
    return str(call["resource"])


def rights(chain: Any) -> Rights:
    """The policies of the stream's roles."""
    return Rights(chain)


@pytest.mark.parametrize("role", UNUSED)
def test_what_a_role_of_the_stream_calls_it_is_allowed(chain: Chain, role: str) -> None:
    calls, allowed = called(chain, role), rights(chain)
    assert calls
    refused = {
        f"{call['action']} on {call['resource']}"
        for call in calls
        if not allowed.allow(role, call["action"], resource(chain, call))
    }
    assert refused == set()


@pytest.mark.parametrize("role", UNUSED)
def test_what_a_role_of_the_stream_is_allowed_it_calls(chain: Chain, role: str) -> None:
    calls = {call["action"] for call in called(chain, role)}
    allowed = {action for actions, _ in rights(chain).statements(role) for action in actions}
    assert allowed - calls == UNUSED[role].keys()
