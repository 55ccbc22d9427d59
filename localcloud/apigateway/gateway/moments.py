"""Moments as API Gateway writes them, in English whatever the user's language is."""

from __future__ import annotations

from datetime import datetime

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def common_log_time(moment: datetime) -> str:
    """Of a request: `09/Apr/2026:12:34:56 +0000`. The moment is in UTC."""
    return f"{moment.day:02}/{_MONTHS[moment.month - 1]}/{moment:%Y:%H:%M:%S} +0000"


def claim_time(moment: datetime) -> str:
    """Of a claim: `Thu Apr 09 12:34:56 UTC 2026`. The moment is in UTC."""
    return f"{_DAYS[moment.weekday()]} {_MONTHS[moment.month - 1]} {moment.day:02} {moment:%H:%M:%S} UTC {moment.year}"
