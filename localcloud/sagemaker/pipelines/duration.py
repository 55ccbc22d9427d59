"""ISO 8601 durations, as in CacheConfig.ExpireAfter: P30D, PT12H, P1Y2M, P2W, and AWS's own 30d, T16m, 30dT5h."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

_DURATION = re.compile(
    r"P?(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?",
    re.IGNORECASE,
)


class DurationError(ValueError):
    """A text that is no duration."""


def parse_duration(text: object) -> tuple[int, timedelta]:
    """Months (years counted as twelve) and the rest of a duration. Raises DurationError."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None or not any(match.groups()):
        raise DurationError(f"{text!r} is no ISO 8601 duration, such as P30D or PT12H")
    given = {name: float(value) for name, value in match.groupdict().items() if value is not None}
    months = int(given.pop("years", 0) * 12 + given.pop("months", 0))
    return months, timedelta(**given)


def before(moment: datetime, text: str) -> datetime:
    """The moment that lies a duration earlier. A month back from the 31st is the last day of a shorter month."""
    months, rest = parse_duration(text)
    year, month = divmod(moment.year * 12 + moment.month - 1 - months, 12)
    if year < 1:
        return datetime.min.replace(tzinfo=moment.tzinfo)
    first = moment.replace(year=year, month=month + 1, day=1)
    next_first = (first + timedelta(days=31)).replace(day=1)
    day = min(moment.day, (next_first - timedelta(days=1)).day)
    return first.replace(day=day) - rest
