"""The demo of the stream alone: how long it waits for minutes, and what it calls equal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipelines.cli import stream_demo as verb
from pipelines.cli.stream import Reading
from pipelines.errors import ServiceError
from pipelines.ingestion.minutes import MINUTE, Minute
from pipelines.ingestion.watching import StreamSeen

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
BEGAN = NOON - timedelta(seconds=40)


def minute(at: int, transactions: int = 280) -> Minute:
    return Minute(NOON + at * MINUTE, transactions, 2_520_000.0, 9_000.0)


def readings(*, coming: bool = True) -> Iterator[Reading]:
    """A stream that is read once a minute, and shows the last hour of what came."""
    tail: Any = None
    for at in range(1000):
        found = [minute(each) if coming else Minute(NOON + each * MINUTE) for each in range(max(0, at - 60), at)]
        yield StreamSeen(NOON + at * MINUTE, (), {}, None, found, {}, {}), tail


@pytest.mark.parametrize("count", [1, 60, 150])
def test_minutes_are_waited_for_however_many_they_are(count: int) -> None:
    assert len(list(verb.until(readings(), BEGAN, count, "mlops up"))) == count + 1


def test_minutes_that_do_not_come_are_not_waited_for_for_ever() -> None:
    with pytest.raises(ServiceError, match="0 of 2 minutes came in 6 minutes; `mlops up --state x`, and then"):
        list(verb.until(readings(coming=False), BEGAN, 2, "mlops up --state x"))


def test_a_minute_that_the_ledger_has_and_the_store_has_not_is_no_success() -> None:
    served = {each.time: each for each in (minute(0), minute(1), minute(2, 281))}
    found = [minute(0), Minute(NOON + MINUTE), minute(2), Minute(NOON + 3 * MINUTE), minute(4)]
    assert list(verb.held(found, served)) == [
        ("2026-11-22 12:00 UTC  280 transactions, 2,520,000 satoshi, 9000.0 on average", True),
        (
            "2026-11-22 12:01 UTC  no such minute; the ledger: 280 transactions, 2,520,000 satoshi, 9000.0 on average",
            False,
        ),
        (
            "2026-11-22 12:02 UTC  280 transactions, 2,520,000 satoshi, 9000.0 on average; the ledger: 281 "
            "transactions, 2,520,000 satoshi, 9000.0 on average",
            False,
        ),
        (
            "2026-11-22 12:04 UTC  280 transactions, 2,520,000 satoshi, 9000.0 on average; the ledger: no such minute",
            False,
        ),
    ]
