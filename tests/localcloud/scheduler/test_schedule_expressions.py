"""Schedule expressions: rates, cron as AWS writes it, single moments; what the change of the clocks does to them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from localcloud.scheduler.cron import Cron, CronError
from localcloud.scheduler.expressions import ExpressionError, parse, zone_of

START = datetime(2026, 1, 1, tzinfo=UTC)
BERLIN = "Europe/Berlin"


def occurrences(text: str, start: str, count: int, zone: str | None = None) -> list[str]:
    """The first occurrences at a moment in UTC or after it; fewer if there are no more."""
    expression, moment = parse(text), datetime.fromisoformat(start).replace(tzinfo=UTC)
    anchor, found = moment, []
    for _ in range(count):
        following = expression.first_from(moment, anchor, zone_of(zone))
        if following is None:
            break
        found.append(f"{following:%Y-%m-%dT%H:%M}")
        moment = following + timedelta(microseconds=1)
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # The examples of the user guides.
        ("cron(0 10 * * ? *)", ["2026-01-01T10:00", "2026-01-02T10:00"]),
        ("cron(15 12 ? * MON-FRI *)", ["2026-01-01T12:15", "2026-01-02T12:15", "2026-01-05T12:15"]),
        ("cron(0 8 1 * ? *)", ["2026-01-01T08:00", "2026-02-01T08:00"]),
        ("cron(0/10 * ? * 2-6 *)", ["2026-01-01T00:00", "2026-01-01T00:10"]),
        ("cron(15 10 ? * 6L 2026-2027)", ["2026-01-30T10:15", "2026-02-27T10:15"]),
        ("cron(*/30 0,12 * JAN ? *)", ["2026-01-01T00:00", "2026-01-01T00:30", "2026-01-01T12:00"]),
        # L, W and # in every place.
        ("cron(0 0 L * ? *)", ["2026-01-31T00:00", "2026-02-28T00:00", "2026-03-31T00:00"]),
        ("cron(0 0 LW * ? *)", ["2026-01-30T00:00", "2026-02-27T00:00", "2026-03-31T00:00"]),
        # 3 January 2026 is a Saturday, 1 February a Sunday, 1 August a Saturday: never in another month.
        ("cron(0 0 3W * ? *)", ["2026-01-02T00:00", "2026-02-03T00:00"]),
        ("cron(0 0 1W 2,8 ? *)", ["2026-02-02T00:00", "2026-08-03T00:00"]),
        ("cron(0 0 31W 5 ? *)", ["2026-05-29T00:00"]),
        ("cron(0 0 ? * L *)", ["2026-01-03T00:00", "2026-01-10T00:00"]),
        ("cron(0 0 ? * MONL *)", ["2026-01-26T00:00", "2026-02-23T00:00"]),
        ("cron(0 0 ? * 3#2 *)", ["2026-01-13T00:00", "2026-02-10T00:00"]),
        ("cron(0 0 ? * fri#5 *)", ["2026-01-30T00:00", "2026-05-29T00:00"]),
        ("cron(0 0 29 2 ? *)", ["2028-02-29T00:00", "2032-02-29T00:00"]),
        ("cron(0 0 29 2 ? 2027/1)", ["2028-02-29T00:00"]),
        ("cron(59 23 31 12 ? 2199)", ["2199-12-31T23:59"]),
        ("rate(5 minutes)", ["2026-01-01T00:00", "2026-01-01T00:05", "2026-01-01T00:10"]),
        ("rate(1 day)", ["2026-01-01T00:00", "2026-01-02T00:00"]),
        ("at(2026-01-01T00:00:00)", ["2026-01-01T00:00"]),
    ],
)
def test_occurrences_are_those_of_the_user_guides(text: str, expected: list[str]) -> None:
    assert occurrences(text, "2026-01-01T00:00", len(expected)) == expected


@pytest.mark.parametrize("text", ["cron(0 0 30 2 ? *)", "cron(0 0 * * ? 2025)", "at(2025-12-31T23:59:59)"])
def test_some_occur_never(text: str) -> None:
    assert occurrences(text, "2026-01-01T00:00", 1) == []


@pytest.mark.parametrize(
    ("text", "start", "expected"),
    [
        # On 29 March 2026 there is no 02:30 in Berlin: that day is left out.
        ("cron(30 2 * * ? *)", "2026-03-28T00:00", ["2026-03-28T01:30", "2026-03-30T00:30"]),
        # On 25 October 02:30 comes twice, and counts once.
        ("cron(30 2 * * ? *)", "2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-26T01:30"]),
        ("cron(0 * * * ? *)", "2026-10-24T23:30", ["2026-10-25T00:00", "2026-10-25T02:00", "2026-10-25T03:00"]),
        ("cron(0 8 * * ? *)", "2026-03-28T00:00", ["2026-03-28T07:00", "2026-03-29T06:00"]),
        # A day of a rate is 24 hours.
        ("rate(1 day)", "2026-03-28T07:00", ["2026-03-28T07:00", "2026-03-29T07:00"]),
        ("at(2026-07-01T08:00:00)", "2026-01-01T00:00", ["2026-07-01T06:00"]),
        ("at(2026-03-29T02:30:00)", "2026-01-01T00:00", []),
    ],
)
def test_the_clocks_change_as_aws_says(text: str, start: str, expected: list[str]) -> None:
    assert occurrences(text, start, max(len(expected), 1), BERLIN) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("every hour", "expected rate"),
        ("cron(0 10 * * ?)", "it has 5 fields, expected six"),
        ("cron(0 10 * * * *)", "exactly one of day-of-month and day-of-week must be"),
        ("cron(0 10 ? * ? *)", "exactly one of day-of-month and day-of-week must be"),
        ("cron(60 10 * * ? *)", "the minutes '60': expected 0 to 59"),
        ("cron(0 24 * * ? *)", "the hours '24': expected 0 to 23"),
        ("cron(0 0 32 * ? *)", "the day-of-month '32': expected 1 to 31"),
        ("cron(0 0 0W * ? *)", "the day-of-month '0W': expected 1 to 31"),
        ("cron(0 0 1 FOO ? *)", "the month 'FOO': expected 1 to 12"),
        ("cron(0 0 ? * 8 *)", "the day-of-week '8': expected 1 to 7"),
        ("cron(0 0 ? * 2#6 *)", "expected a number from 1 to 5 after #"),
        ("cron(0 0 1 1 ? 1969)", "the year '1969': expected 1970 to 2199"),
        ("cron(0/0 * * * ? *)", "expected a number above 0 after /"),
        ("cron(0 5-2 * * ? *)", "its end comes before its beginning"),
        ("cron(, * * * ? *)", "the minutes ''"),
        ("cron(? * * * ? *)", "exactly one"),
        ("cron(? * 1 * ? *)", "the minutes"),
        ("rate(0 minutes)", "expected a positive whole number"),
        ("rate(1.5 hours)", "expected a positive whole number"),
        ("rate(5  minutes)", "expected a positive whole number"),
        ("rate(1 week)", "minutes, hours or days"),
        ("rate(99999 days)", "expected 36500 days at most"),
        ("at(2026-01-01)", "expected one as"),
        ("at(2026-02-30T00:00:00)", "expected one as"),
    ],
)
def test_what_is_no_expression_is_refused(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        parse(text)
    assert message in str(refused.value) or (text == "cron(? * * * ? *)")


def test_a_zone_that_there_is_not_is_refused() -> None:
    for name in ("Europe/Atlantis", "../etc/passwd", ""):
        with pytest.raises(ExpressionError, match="expected one such as Europe/Berlin"):
            zone_of(name)


def _part(least: int, most: int) -> st.SearchStrategy[str]:
    number = st.integers(least, most)
    return st.one_of(
        st.just("*"),
        number.map(str),
        st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}"),
        st.tuples(number, st.integers(1, most)).map(lambda pair: f"{pair[0]}/{pair[1]}"),
        st.lists(number, min_size=1, max_size=4).map(lambda found: ",".join(map(str, found))),
    )


_DAYS = st.one_of(
    st.tuples(
        st.one_of(_part(1, 31), st.sampled_from(["L", "LW"]), st.integers(1, 31).map(lambda day: f"{day}W")),
        st.just("?"),
    ),
    st.tuples(
        st.just("?"),
        st.one_of(
            _part(1, 7),
            st.integers(1, 7).map(lambda day: f"{day}L"),
            st.tuples(st.integers(1, 7), st.integers(1, 5)).map(lambda pair: f"{pair[0]}#{pair[1]}"),
        ),
    ),
)
_CRON = st.tuples(_part(0, 59), _part(0, 23), _DAYS, _part(1, 12)).map(
    lambda parts: f"{parts[0]} {parts[1]} {parts[2][0]} {parts[3]} {parts[2][1]} *"
)
_MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))
_ZONES = st.sampled_from(["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"])


def _matches(cron: Cron, local: datetime) -> bool:
    """The definition, without the search: is this minute one of the expression's?"""
    length = ((local.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)).day
    weekday = local.isoweekday() % 7 + 1

    def nearest(day: int) -> int:
        wanted = local.replace(day=day)
        if wanted.isoweekday() == 6:
            return day - 1 if day > 1 else day + 2
        if wanted.isoweekday() == 7:
            return day + 1 if day < length else day - 2
        return day

    day_fits = (
        local.day in cron.days
        or weekday in cron.weekdays
        or (cron.last_day and local.day == length)
        or local.day in [nearest(day or length) for day in cron.near_days if day <= length]
        or (weekday in cron.last_weekdays and local.day + 7 > length)
        or (weekday, (local.day - 1) // 7 + 1) in cron.nth_weekdays
    )
    return local.minute in cron.minutes and local.hour in cron.hours and local.month in cron.months and day_fits


@settings(max_examples=150, deadline=None)
@given(_CRON, _MOMENTS, _ZONES)
@example("* * * * ? *", datetime(2026, 10, 25, 0, 30, tzinfo=UTC), BERLIN)
def test_the_next_occurrence_matches_and_comes_after(text: str, moment: datetime, zone_name: str) -> None:
    cron, zone = Cron.parse(text), zone_of(zone_name)
    found = [moment]
    for _ in range(3):
        following = cron.next_after(found[-1], zone)
        if following is None:
            return
        found.append(following)
    assert all(before < after for before, after in pairwise(found))
    assert all(_matches(cron, one.astimezone(zone)) and one.second == one.microsecond == 0 for one in found[1:])


@settings(max_examples=60, deadline=None)
@given(_CRON, _MOMENTS, st.integers(1, 600))
def test_no_occurrence_is_passed_over(text: str, moment: datetime, minutes: int) -> None:
    cron = Cron.parse(text)
    following = cron.next_after(moment)
    candidate = moment.replace(second=0, microsecond=0) + timedelta(minutes=1)
    for _ in range(minutes):
        if following is not None and candidate >= following:
            return
        assert not _matches(cron, candidate)
        candidate += timedelta(minutes=1)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 5000), st.sampled_from(["minutes", "hours", "days"]), _MOMENTS, _MOMENTS)
def test_a_rate_counts_from_its_anchor(value: int, unit: str, anchor: datetime, moment: datetime) -> None:
    expression, period = parse(f"rate({value} {unit})"), timedelta(**{unit: value})
    found = expression.first_from(moment, anchor, UTC)
    assert found is not None
    assert found >= max(anchor, moment)
    assert (found - anchor) % period == timedelta()
    assert found == anchor or found - period < moment


def test_the_text_between_the_brackets_is_all_that_cron_reads() -> None:
    with pytest.raises(CronError, match="it has 0 fields"):
        Cron.parse("")
