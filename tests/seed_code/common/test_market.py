"""The invented market, of which the file of minutes and the simulated source both tell."""

import numpy as np
import pytest

from seed_code.common import market

DAY = 20_594  # 2026-05-21, a Thursday


@pytest.fixture(scope="module")
def day() -> market.Day:
    return market.day(7, DAY)


def test_a_day_is_what_it_was(day):
    """Files and streams of every seed change when these do."""
    assert day.minutes.minute[0] == DAY * market.MINUTES
    assert day.minutes.transactions[:5].tolist() == [271, 278, 255, 315, 274]
    assert day.minutes.fee[:5].tolist() == [2185627, 2023425, 1754094, 2365164, 1915842]


def test_a_day_is_whole_however_it_was_known(day):
    assert len(day.minutes.minute) == market.MINUTES
    assert (day.minutes.transactions > 0).all()
    assert (day.minutes.fee > 0).all()


def test_what_is_known_leaves_out_what_is_missing_and_empties_what_is_quiet():
    days = [market.day(7, DAY + number) for number in range(14)]
    assert any(day.missing.any() for day in days)
    assert any((day.quiet & ~day.missing).any() for day in days)
    for day in days:
        known = day.known()
        np.testing.assert_array_equal(known.minute, day.minutes.minute[~day.missing])
        quiet = day.quiet[~day.missing]
        assert (known.transactions[quiet] == 0).all()
        assert (known.fee[quiet] == 0).all()
        assert not known.reissued[quiet].any()
        np.testing.assert_array_equal(known.fee[~quiet], day.minutes.fee[~day.missing][~quiet])


def test_a_span_is_made_of_the_same_days(day):
    known = day.known()
    whole = market.simulate((DAY + 2) * market.MINUTES, 3, 7)
    there = (whole.minute >= known.minute[0]) & (whole.minute <= known.minute[-1])
    for name in market.Minutes.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(whole, name)[there], getattr(known, name))


def test_another_market_begins_at_its_minute(day):
    at = DAY * market.MINUTES + 600
    other = market.drifted(day.minutes, at)
    np.testing.assert_array_equal(other.fee[:600], day.minutes.fee[:600])
    np.testing.assert_array_equal(other.transactions[600:], -(-day.minutes.transactions[600:] // 2))
    assert other.fee[600] > 2 * day.minutes.fee[600]  # the top of an hour: twice as much, e times over, of half as many
