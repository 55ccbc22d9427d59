"""Quotas of usage plans: how many requests in a day, a week or a month, in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from localcloud.apigateway.errors import bad_request

_PERIODS = ("DAY", "WEEK", "MONTH")


def check(quota: Mapping[str, Any] | None) -> None:
    """Raise BadRequestException for a quota that cannot be."""
    if not quota:
        return
    limit, period, offset = quota.get("limit"), quota.get("period"), quota.get("offset", 0)
    if limit is None or limit < 1:
        raise bad_request(f"Usage Plan quota limit must be a positive number; got {limit}")
    if period not in _PERIODS:
        raise bad_request(f"Usage Plan quota period must be one of {', '.join(_PERIODS)}; got {period}")
    if offset:
        # AWS says that these requests are taken off the first period, and bounds them like days of a later beginning.
        raise bad_request(f"localcloud's usage plans have no quota offset, for periods that begin later; got {offset}")


def left(quota: Mapping[str, Any] | None, usage: Mapping[str, Any], day: date) -> int | None:
    """What is left at the end of a day of the period that it is in; None without a quota."""
    if not quota:
        return None
    begin = _period_begin(quota["period"], day)
    used: int = sum(count for one, count in usage["days"].items() if begin.isoformat() <= one <= day.isoformat())
    return int(quota["limit"]) - used


def _period_begin(period: str, day: date) -> date:
    if period == "WEEK":
        # Weeks begin on Sundays.
        return day - timedelta(days=day.isoweekday() % 7)
    return day.replace(day=1) if period == "MONTH" else day
