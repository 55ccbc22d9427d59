"""The names of predictions, by which callers tell later what became of them.

    20261122T101500Z-0123456789abcdef       a prediction: when it was asked for, and a random number
    20261122T101500Z-0123456789abcdef-3     the answer to `inputs[3]` of a batch

The endpoint's data capture knows a batch by the name without the position.
"""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime, timedelta

MOST_INPUTS = 500
OLDEST_DAYS = 120  # a prediction is about 90 days at most, and a month is left to tell

_FORM = re.compile(r"([0-9]{8}T[0-9]{6}Z)-[0-9a-f]{16}(?:-(0|[1-9][0-9]{0,2}))?")
_MOMENT = "%Y%m%dT%H%M%SZ"
_AHEAD = timedelta(minutes=1)  # as far as the clocks of the machines that made it and that read it may differ


def make(now: datetime) -> str:
    """A new name."""
    return f"{now.astimezone(UTC):{_MOMENT}}-{secrets.token_hex(8)}"


def moment(name: str, now: datetime) -> datetime:
    """When a prediction was asked for. Whether there was one is not known here.

    Raises:
        ValueError: when no prediction can have this name, or it is too old; saying why.
    """
    found = _FORM.fullmatch(name)
    try:
        if found is None or int(found[2] or 0) >= MOST_INPUTS:
            raise ValueError
        made = datetime.strptime(found[1], _MOMENT).replace(tzinfo=UTC)
    except ValueError:
        raise ValueError("is not an id that a prediction was answered with") from None
    if made > now + _AHEAD:
        raise ValueError(f"is an id of {_shown(made)}, which is in the future")
    if made < now - timedelta(days=OLDEST_DAYS):
        raise ValueError(f"is an id of {_shown(made)}, which is more than {OLDEST_DAYS} days ago")
    return made


def _shown(made: datetime) -> str:
    return made.isoformat().replace("+00:00", "Z")  # `%Y` does not pad the year
