"""Moments as people write them."""

from datetime import UTC, datetime


def seconds(text: str) -> int:
    """Seconds since 1970 of an ISO 8601 time (UTC if it says nothing else) or of such a number. Raises ValueError."""
    if text.isdecimal():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"`{text}` is no ISO 8601 time such as 2026-11-22T00:00:00Z") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def stamp(moment: int) -> str:
    """The ISO 8601 text, in UTC, of seconds since 1970."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
