"""What time it is, by a source that may be wrong about it once.

The time of an observation moves the stream on: a minute is closed when the source is so much further, and whatever
comes for it afterwards is late. One answer whose Date is wrong would close hours. So a date that leaps, by this
machine's count of the seconds in between, is only believed when the next answer bears it out. A source whose clock has
truly moved, or that was made to go faster, costs one answer.
"""

import time
from collections.abc import Callable

__all__ = ["TOLERATED_SECONDS", "Dates", "Leap"]

TOLERATED_SECONDS = 600
"""How far two clocks may part between two answers: less than hurts no more than a source that was away as long."""


class Leap(Exception):
    """A date that is not believed yet. The message says by how much it leaps."""


class Dates:
    """The dates of a source's answers, one after the other."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._believed: tuple[int, float] | None = None  # a date, and this machine's count when it was said
        self._doubted: tuple[int, float] | None = None

    def check(self, date: int) -> None:
        """Believe a date, in seconds since 1970, or not. Raises Leap."""
        now = self._monotonic()
        leap = _ahead(date, self._believed, now)
        if abs(leap) > TOLERATED_SECONDS:
            # One that leaps on and on is that of a clock which is moved on, step by step.
            apart = _ahead(date, self._doubted, now) if self._doubted else None
            borne_out = apart is not None and apart >= -TOLERATED_SECONDS and (leap > 0 or apart <= TOLERATED_SECONDS)
            if not borne_out:
                self._doubted = (date, now)
                where = "ahead of" if leap > 0 else "behind"
                raise Leap(
                    f"the Date is {abs(leap):,.0f} seconds {where} what the one before lets expect; it is believed "
                    "when the next answer bears it out"
                )
        self._believed, self._doubted = (date, now), None


def _ahead(date: int, said: tuple[int, float] | None, now: float) -> float:
    """By how much a date is later than another one lets expect."""
    return 0.0 if said is None else date - said[0] - (now - said[1])
