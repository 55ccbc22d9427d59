"""Dates of a source that leap: believed when they are said twice."""

import pytest

from seed_code.ingestion.poller.dates import TOLERATED_SECONDS, Dates, Leap
from tests.seed_code.ingestion.poller_doubles import NOW

HOUR = 3600


class Told:
    """Dates that are said two seconds of this machine after each other."""

    def __init__(self):
        self.now = 100.0
        self.dates = Dates(lambda: self.now)

    def __call__(self, date):
        self.now += 2
        try:
            self.dates.check(date)
        except Leap as error:
            return str(error)
        return "believed"


def test_a_single_wrong_date_is_not_believed():
    told = Told()
    assert [told(NOW), told(NOW + 2)] == ["believed", "believed"]
    assert told(NOW + 4 + HOUR).startswith("the Date is 3,600 seconds ahead of what")
    assert told(NOW + 6) == "believed"
    assert told(NOW + 8 - HOUR).startswith("the Date is 3,600 seconds behind what")
    assert told(NOW + 10) == "believed"


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_clock_that_was_moved_is_believed_the_second_time(hours):
    told = Told()
    told(NOW)
    assert told(NOW + hours * HOUR) != "believed"
    assert told(NOW + hours * HOUR + 2) == "believed"
    assert told(NOW + hours * HOUR + 4) == "believed"


def test_two_wrong_dates_that_disagree_are_not_believed():
    told = Told()
    told(NOW)
    assert told(NOW + 5 * HOUR) != "believed"
    assert told(NOW - 5 * HOUR) != "believed"
    assert told(NOW + 6) == "believed"


def test_a_clock_that_is_moved_on_step_by_step_is_followed():
    told = Told()
    told(NOW)
    assert [told(NOW + step * HOUR) == "believed" for step in range(1, 5)] == [False, True, False, True]


def test_a_fast_clock_is_followed():
    told = Told()
    assert {told(NOW + step * TOLERATED_SECONDS) for step in range(5)} == {"believed"}
