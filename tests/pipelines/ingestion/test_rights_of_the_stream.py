"""The least that the roles of the stream need: all that is called while it works, and while it is repaired and
compacted, is allowed, and what is allowed is called, or the template explains why it is there.
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
from tests.pipelines.deploy.test_rights_of_roles import Rights
from tests.pipelines.test_stack import free_port
from tests.stream.chain import POLL_SECONDS, Chain, Traffic, running_chain

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROLES = (
    "poller", "deduplicate", "archive", "operator", "write-minutes", "replay", "compact", "ingestion-start",
    "ingestion-schedules",
)  # fmt: skip


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


def rights(chain: Any) -> Rights:
    """The policies of the stream's roles."""
    return Rights(chain)


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_of_the_stream_calls_it_is_allowed(chain: Chain, role: str) -> None:
    calls, allowed = called(chain, role), rights(chain)
    assert calls
    refused = {
        f"{call['action']} on {call['resource']}"
        for call in calls
        if not allowed.allow(role, call["action"], call["resource"])
    }
    assert refused == set()


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_of_the_stream_is_allowed_it_calls(chain: Chain, role: str) -> None:
    calls = {call["action"] for call in called(chain, role)}
    assert rights(chain).unexplained(role, calls) == set()
