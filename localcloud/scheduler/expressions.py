"""When something is to happen again, or once: `rate(5 minutes)`, `cron(0 8 * * ? *)`, `at(2026-01-01T08:00:00)`.

Source: "Schedule types in EventBridge Scheduler" (EventBridge Scheduler User Guide). A rate is a span of time and no
calendar's matter: a day is 24 hours, whatever the clocks do.
"""

from __future__ import annotations

import re
import zoneinfo
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

from localcloud.scheduler.cron import Cron, CronError, exact

_FORM = re.compile(r"(rate|cron|at)\((.*)\)", re.DOTALL)
_RATE = re.compile(r"([1-9][0-9]{0,8}) (minute|hour|day)(s?)")
_UNITS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}
_AT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
_LONGEST_DAYS = 36_500


class ExpressionError(ValueError):
    """An expression, or a time zone, that is none; the message says why."""


@dataclass(frozen=True)
class Rate:
    """Again and again after a span of time, from an anchor on."""

    period: timedelta
    plural: bool
    """Whether the unit is written with an s: rules ask for it, and refuse it after a 1."""

    def first_from(self, moment: datetime, anchor: datetime, zone: tzinfo) -> datetime | None:
        """The first occurrence at a moment or after it; the anchor is the first of all."""
        if moment <= anchor:
            return anchor
        return anchor - (anchor - moment) // self.period * self.period


@dataclass(frozen=True)
class Calendar:
    """At the times of a cron expression."""

    cron: Cron

    def first_from(self, moment: datetime, anchor: datetime, zone: tzinfo) -> datetime | None:
        """The first occurrence at a moment or after it."""
        return self.cron.next_after(moment - timedelta(microseconds=1), zone)


@dataclass(frozen=True)
class Once:
    """At one local time."""

    local: datetime

    def first_from(self, moment: datetime, anchor: datetime, zone: tzinfo) -> datetime | None:
        """The occurrence, unless it is before the moment, or the zone's clocks leave it out."""
        found = exact(self.local, zone)
        return found if found is not None and found >= moment else None


Expression = Rate | Calendar | Once


@lru_cache(maxsize=1024)
def parse(text: str) -> Expression:
    """Read an expression. Raises ExpressionError."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise ExpressionError(f"it is {text!r}, expected rate(value unit), cron(fields) or at(yyyy-mm-ddThh:mm:ss)")
    form, inner = match.groups()
    if form == "rate":
        return _rate(inner)
    if form == "at":
        return _once(inner)
    try:
        return Calendar(Cron.parse(inner))
    except CronError as error:
        raise ExpressionError(str(error)) from error


@lru_cache(maxsize=1024)
def zone_of(name: str | None) -> tzinfo:
    """A time zone by its name in the tz database; UTC where none is given. Raises ExpressionError."""
    if name is None or name == "UTC":
        return UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ExpressionError(f"the time zone is {name!r}, expected one such as Europe/Berlin") from error


def _rate(inner: str) -> Rate:
    match = _RATE.fullmatch(inner)
    if match is None:
        raise ExpressionError(
            f"the rate is {inner!r}, expected a positive whole number, a space, and minutes, hours or days"
        )
    value, unit, plural = match.groups()
    # Compared before it is multiplied: a span of ten thousand years is no timedelta.
    if int(value) > timedelta(days=_LONGEST_DAYS) // _UNITS[unit]:
        raise ExpressionError(f"the rate is {inner!r}, expected {_LONGEST_DAYS} days at most")
    return Rate(int(value) * _UNITS[unit], bool(plural))


def _once(inner: str) -> Once:
    try:
        if _AT.fullmatch(inner) is None:
            raise ValueError
        return Once(datetime.fromisoformat(inner))
    except ValueError:
        raise ExpressionError(f"the time is {inner!r}, expected one as 2026-01-31T08:00:00") from None
