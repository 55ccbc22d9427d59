"""The whole chain, harmed while it works: the minutes in the feature store are those of the ledger, exactly.

Some of them only once the archive was counted again, as a schedule does every hour: what Lambda had to try again a
minute later is late for its minute, and so is what the source said late.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.ingestion import minutes
from pipelines.ingestion.minutes import MINUTE
from tests.pipelines.test_stack import free_port
from tests.stream.chain import FUNCTIONS, OPERATOR, POLLER, Chain, Traffic, running_chain
from tests.stream.harm import BAD_DAY, BAD_SERVICES, harm


def begun(chain: Chain) -> datetime:
    """The first whole minute of a chain that is at work."""
    chain.wait_until(lambda: bool(chain.processes(POLLER)), "the poller")
    return minutes.whole(chain.now()) + MINUTE


@pytest.mark.slow
def test_the_minutes_are_the_ledgers_whatever_is_killed(tmp_path: Path) -> None:
    with running_chain(tmp_path, free_port(), Traffic(rate=2, speed=20)) as chain:
        first = begun(chain)
        for number, program in enumerate((*FUNCTIONS, POLLER, OPERATOR), start=1):
            chain.pass_until(first + number * MINUTE * 0.75)
            chain.kill(program)
        end = first + 4 * MINUTE
        chain.pass_until(end + 3 * MINUTE)
        outcome = chain.settle(first, end)
        assert outcome.left == []
        assert outcome.minutes == 4
        assert chain.replay(first, end)["same"] == 4


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_half_an_hour_of_harm_loses_nothing(tmp_path: Path) -> None:
    with running_chain(tmp_path, free_port(), Traffic(speed=8, page=2000)) as chain:
        first = begun(chain)
        end = first + 30 * MINUTE
        harm(chain, first, end, times=2)
        chain.pass_until(end + 4 * MINUTE)
        outcome = chain.settle(first, end)
        assert outcome.left == []
        assert outcome.minutes == 30


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_source_that_is_down_for_an_hour_and_a_stream_that_comes_twice(tmp_path: Path) -> None:
    with running_chain(tmp_path, free_port(), Traffic(rate=2, speed=20)) as chain:
        first = begun(chain)
        # Transactions of 2 MB, pages of garbage, a clock that is wrong, services that take only some of it.
        garbage = {"malformed": {"share": 0.3}, "large": {"share": 0.003}, "late": {"share": 0.02}}
        chain.control(faults={**BAD_DAY, **garbage})
        chain.faults(*BAD_SERVICES)
        chain.pass_until(first + 4 * MINUTE)
        chain.faults()
        chain.control(faults={"outage": {"share": 1, "hang_seconds": 1}})
        down = minutes.whole(chain.now())
        chain.pass_until(down + 60 * MINUTE)
        chain.control(faults={})
        up = minutes.whole(chain.now())
        chain.pass_until(up + 4 * MINUTE)
        assert repeat(chain) > 0
        chain.pass_until(up + 8 * MINUTE)
        end = up + 5 * MINUTE
        outcome = chain.settle(first, end)
        assert outcome.left == []
        # The hour is missing, not quiet. What was still on the source's page when it was back is not.
        stored = chain.minutes(first, end)
        assert stored.keys() == chain.ledger(first, end).keys()
        hour = [down + at * MINUTE for at in range(1, 60)]
        assert len([at for at in hour if at not in stored]) >= 45
        again = chain.replay(first, end)
        assert (again["written"], again["same"], again["minutes"]) == (0, outcome.minutes, outcome.minutes)


def repeat(chain: Chain) -> int:
    """Put everything that is on the stream on it once more; gives how many records that were."""
    kinesis, stream = chain.client("kinesis"), chain.names.stream("transactions")
    found: list[dict[str, Any]] = []
    for shard in kinesis.list_shards(StreamName=stream)["Shards"]:
        answer = kinesis.get_shard_iterator(
            StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )
        behind, iterator = True, answer["ShardIterator"]
        while behind and iterator:
            answer = kinesis.get_records(ShardIterator=iterator)
            found += answer["Records"]
            behind, iterator = answer["MillisBehindLatest"] > 0, answer.get("NextShardIterator")
    left = [{"Data": one["Data"], "PartitionKey": one["PartitionKey"]} for one in found]
    while left:
        some, left = left[:500], left[500:]
        results = kinesis.put_records(StreamName=stream, Records=some)["Records"]
        left = [record for record, result in zip(some, results, strict=True) if "ErrorCode" in result] + left
    return len(found)
