"""Cron expressions as AWS writes them: six fields, `?`, L, W, # and years.

Sources: "Schedule types in EventBridge Scheduler" (EventBridge Scheduler User Guide), "Setting a schedule pattern for
scheduled rules" (EventBridge User Guide). The usual libraries (croniter, APScheduler) read another form, in which days
are counted otherwise, and repeat or shift what the change of the clocks touches.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from functools import lru_cache

FIRST_YEAR, LAST_YEAR = 1970, 2199
_MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
# AWS counts from Sunday, calendar and datetime from Monday.
_DAYS = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), start=1)}
_SATURDAY = 7
_NAMES: Mapping[str, int] = {}


class CronError(ValueError):
    """An expression that is none; the message says what is wrong with which field."""


@dataclass(frozen=True)
class _Field:
    """What one field may hold."""

    name: str
    least: int
    most: int
    names: Mapping[str, int]


_MINUTES = _Field("minutes", 0, 59, _NAMES)
_HOURS = _Field("hours", 0, 23, _NAMES)
_DAY_OF_MONTH = _Field("day-of-month", 1, 31, _NAMES)
_MONTH = _Field("month", 1, 12, _MONTHS)
_DAY_OF_WEEK = _Field("day-of-week", 1, 7, _DAYS)
_YEAR = _Field("year", FIRST_YEAR, LAST_YEAR, _NAMES)


@dataclass(frozen=True)
class Cron:
    """An expression that was read. All numbers are sorted. A day matches if it is in one of the four ways."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    months: tuple[int, ...]
    years: tuple[int, ...]
    days: tuple[int, ...] = ()
    """Days of the month."""
    weekdays: tuple[int, ...] = ()
    """Days of the week, from 1 for Sunday."""
    last_day: bool = False
    near_days: tuple[int, ...] = ()
    """Days of the month of which the nearest weekday is meant, within the month; 0 for the last weekday."""
    last_weekdays: tuple[int, ...] = ()
    """Days of the week of which the month's last one is meant."""
    nth_weekdays: tuple[tuple[int, int], ...] = ()
    """Days of the week with the number of the one in the month that is meant."""

    @classmethod
    def parse(cls, text: str) -> Cron:
        """Read the six fields that stand between the brackets. Raises CronError."""
        fields = text.split()
        if len(fields) != 6:
            raise CronError(
                f"it has {len(fields)} fields, expected six: minutes, hours, day-of-month, month, day-of-week, year"
            )
        minutes, hours, day, month, weekday, year = fields
        if (day == "?") == (weekday == "?"):
            raise CronError("exactly one of day-of-month and day-of-week must be ?")
        return cls(
            minutes=_numbers(minutes, _MINUTES),
            hours=_numbers(hours, _HOURS),
            months=_numbers(month, _MONTH),
            years=_numbers(year, _YEAR),
            **(_days_of_week(weekday) if day == "?" else _days_of_month(day)),
        )

    def next_after(self, moment: datetime, zone: tzinfo = UTC) -> datetime | None:
        """The first occurrence after a moment, in UTC; None if there is none.

        A local time that the change to summer time leaves out is skipped, and one that the change back repeats counts
        once, the first time.
        """
        for local in self._local_times(moment.astimezone(zone).replace(tzinfo=None, fold=0)):
            found = exact(local, zone)
            if found is not None and found > moment:
                return found
        return None

    def _local_times(self, start: datetime) -> Iterator[datetime]:
        """Matching local times, none before the minute of `start`, in order."""
        first = start.date()
        for day in self._local_days(first):
            for hour in self.hours:
                if day == first and hour < start.hour:
                    continue
                for minute in self.minutes:
                    if day != first or (hour, minute) >= (start.hour, start.minute):
                        yield datetime(day.year, day.month, day.day, hour, minute)

    def _local_days(self, first: date) -> Iterator[date]:
        for year in self.years:
            if year < first.year:
                continue
            for month in self.months:
                if (year, month) < (first.year, first.month):
                    continue
                for day in _matching_days(self, year, month):
                    if (year, month, day) >= (first.year, first.month, first.day):
                        yield date(year, month, day)


def exact(local: datetime, zone: tzinfo) -> datetime | None:
    """A local time in UTC; the first of two, and None for one that the zone's clocks leave out."""
    moment = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    return moment if moment.astimezone(zone).replace(tzinfo=None, fold=0) == local else None


@lru_cache(maxsize=4096)
def _matching_days(cron: Cron, year: int, month: int) -> tuple[int, ...]:
    first, length = calendar.monthrange(year, month)
    first_weekday = (first + 1) % 7 + 1

    def weekday(day: int) -> int:
        return (first_weekday - 1 + day - 1) % 7 + 1

    found = {day for day in range(1, length + 1) if day in cron.days or weekday(day) in cron.weekdays}
    if cron.last_day:
        found.add(length)
    near = [day or length for day in cron.near_days if day <= length]
    found |= {_nearest_weekday(day, length, weekday(day)) for day in near}
    found |= {day for day in range(length - 6, length + 1) if weekday(day) in cron.last_weekdays}
    found |= {day for day in range(1, length + 1) if (weekday(day), (day + 6) // 7) in cron.nth_weekdays}
    return tuple(sorted(found))


def _nearest_weekday(day: int, length: int, weekday: int) -> int:
    """The weekday nearest to a day, in the same month."""
    if weekday == _SATURDAY:
        return day - 1 if day > 1 else day + 2
    if weekday == 1:
        return day + 1 if day < length else day - 2
    return day


def _days_of_month(text: str) -> dict[str, tuple[int, ...] | bool]:
    days: set[int] = set()
    near: set[int] = set()
    last = False
    for part in text.upper().split(","):
        if part == "L":
            last = True
        elif part == "LW":
            near.add(0)
        elif part.endswith("W"):
            near.add(_number(part.removesuffix("W"), part, _DAY_OF_MONTH))
        else:
            days.update(_range(part, _DAY_OF_MONTH))
    return {"days": tuple(sorted(days)), "near_days": tuple(sorted(near)), "last_day": last}


def _days_of_week(text: str) -> dict[str, tuple[int, ...] | tuple[tuple[int, int], ...]]:
    weekdays: set[int] = set()
    last: set[int] = set()
    nth: set[tuple[int, int]] = set()
    for part in text.upper().split(","):
        if part == "L":
            weekdays.add(_SATURDAY)
        elif part.endswith("L"):
            last.add(_number(part.removesuffix("L"), part, _DAY_OF_WEEK))
        elif "#" in part:
            day, _, number = part.partition("#")
            if number not in ("1", "2", "3", "4", "5"):
                raise CronError(f"the day-of-week {part!r}: expected a number from 1 to 5 after #")
            nth.add((_number(day, part, _DAY_OF_WEEK), int(number)))
        else:
            weekdays.update(_range(part, _DAY_OF_WEEK))
    return {
        "weekdays": tuple(sorted(weekdays)),
        "last_weekdays": tuple(sorted(last)),
        "nth_weekdays": tuple(sorted(nth)),
    }


def _numbers(text: str, field: _Field) -> tuple[int, ...]:
    found: set[int] = set()
    for part in text.upper().split(","):
        found.update(_range(part, field))
    return tuple(sorted(found))


def _range(part: str, field: _Field) -> range:
    """`*`, `3`, `3-7`, each perhaps with a step: `3/5` goes on from 3 to the field's end."""
    span, slash, step_text = part.partition("/")
    step = 1
    if slash:
        if not re.fullmatch(r"[0-9]{1,4}", step_text) or int(step_text) == 0:
            raise CronError(f"the {field.name} {part!r}: expected a number above 0 after /")
        step = int(step_text)
    if span == "*":
        return range(field.least, field.most + 1, step)
    start_text, dash, end_text = span.partition("-")
    start = _number(start_text, part, field)
    if dash:
        end = _number(end_text, part, field)
        if end < start:
            raise CronError(f"the {field.name} {part!r}: its end comes before its beginning")
    else:
        end = field.most if slash else start
    return range(start, end + 1, step)


def _number(text: str, part: str, field: _Field) -> int:
    value = field.names.get(text)
    if value is None and re.fullmatch(r"[0-9]{1,4}", text):
        value = int(text)
    if value is None or not field.least <= value <= field.most:
        raise CronError(f"the {field.name} {part!r}: expected {field.least} to {field.most}")
    return value
