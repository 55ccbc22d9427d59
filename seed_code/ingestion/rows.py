"""Minutes of an archive: what the stream's aggregate makes of the same records, if none of them had been late.

The operator's own windows, which are held to rows that Flink gave, and wait for ever: an archive has an end.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from seed_code.ingestion.functions import minutes
from seed_code.ingestion.functions.minutes import Minute
from seed_code.ingestion.operator import windows
from seed_code.ingestion.operator.windows import Event

_FOR_EVER = 1 << 40  # seconds


def of(events: Iterable[Event]) -> dict[datetime, Minute]:
    """The minutes that events lie in, by their first moment, in order.

    A transaction counts once a minute, by its hash: of several the earliest. A minute with nothing but heartbeats is
    quiet; one with nothing at all is not there.
    """
    waiting = windows.Minutes(_FOR_EVER)
    closed = waiting.feed(events)
    assert not closed, "nothing is late, and no minute ends"
    found = (_minute(row) for row in waiting.end())
    return {minute.start: minute for minute in found}


def _minute(row: dict[str, Any]) -> Minute:
    start = datetime.fromisoformat(row[minutes.IDENTIFIER])
    return Minute(start, row[minutes.COUNT], row[minutes.TOTAL], row[minutes.AVERAGE])
