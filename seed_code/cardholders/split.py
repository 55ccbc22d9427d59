"""Reference dates: which belong to training, validation and holdout, and which examples are drawn from them.

Along the time axis, with behaviour window W and longest horizon H (days):

    |<- W - 1 ->|<- train ->|<- H ->|<- validation ->|<- H ->|<- holdout ->|<- H ->|
    first day                                                                      last day

- A reference date t has a full window, t >= first day + W - 1, and a known label, t + H <= last day.
- The label window (t, t + H] of a part's last reference date ends before the next part's first reference date. So
  nothing that a model learnt from is even a day of what it is judged on.
- Of the remaining days validation and holdout get a fifth each (at least `step`), training the rest.

A holder has a reference date every `step` days, beginning at an offset of its own, so that all weekdays and days of
the month occur. It takes part from its first purchase on: earlier nobody could have asked about it.
"""

from dataclasses import dataclass

import numpy as np

from seed_code.cardholders.features import Array
from seed_code.cardholders.mixing import mix
from seed_code.common.errors import ClientError

PARTS = ("train", "validation", "holdout")
JUDGING_SHARE = 0.2


@dataclass(frozen=True)
class Span:
    """Days from `first` to `last`, both included (days since 1970-01-01)."""

    first: int
    last: int

    @property
    def days(self) -> int:
        """How many days there are."""
        return self.last - self.first + 1


@dataclass(frozen=True)
class Split:
    """The reference dates of each part."""

    train: Span
    validation: Span
    holdout: Span

    def part(self, name: str) -> Span:
        """The part of that name, one of `PARTS`."""
        return {"train": self.train, "validation": self.validation, "holdout": self.holdout}[name]


def days_needed(window_days: int, max_horizon: int, step: int) -> int:
    """The shortest period that can be split: see the picture above, with `step` days in each part."""
    return window_days - 1 + 3 * step + 3 * max_horizon


def split(period: Span, window_days: int, max_horizon: int, step: int) -> Split:
    """Divide a period.

    Raises:
        ClientError: when the period is too short, with the days found and the days needed.
    """
    needed = days_needed(window_days, max_horizon, step)
    if period.days < needed:
        raise ClientError(
            f"the purchases cover {period.days} days ({as_date(period.first)} to {as_date(period.last)}); expected at "
            f"least {needed}: a behaviour window of {window_days}, three label windows of {max_horizon} and reference "
            f"dates every {step} days in three parts. Bring a longer file, or lower the behaviour window "
            "(--window-days) or the horizon (--max-horizon)"
        )
    days = period.days - (window_days - 1) - 3 * max_horizon
    judging = max(step, round(days * JUDGING_SHARE))
    first = period.first + window_days - 1
    train = Span(first, first + days - 2 * judging - 1)
    validation = Span(train.last + max_horizon + 1, train.last + max_horizon + judging)
    holdout = Span(validation.last + max_horizon + 1, validation.last + max_horizon + judging)
    return Split(train, validation, holdout)


def draw_examples(
    first_purchase: Array, identity: Array, part: Span, step: int, limit: int, holders_at_once: int = 65_536
) -> tuple[Array, Array]:
    """The reference points of one part: holder and day, at most `limit`, ordered by holder and day.

    The choice depends on the holders' identities and the dates alone, not on the order of the data: a reference point
    has a hash, and the smallest hashes are kept.

    Args:
        first_purchase: day of each holder's first purchase, shape (holders,).
        identity: 64 random bits of each holder (uint64), shape (holders,).
        part: reference dates.
        step: days between two reference dates of a holder.
        limit: most examples to draw.
        holders_at_once: bounds the memory.
    """
    kept_holder, kept_day = np.zeros(0, np.int64), np.zeros(0, np.int64)
    kept_hash = np.zeros(0, np.uint64)
    rounds = np.arange(0, part.days, step)
    for begin in range(0, len(first_purchase), holders_at_once):
        holders = np.arange(begin, min(begin + holders_at_once, len(first_purchase)))
        offset = (mix(identity[holders]) % np.uint64(step)).astype(np.int64)
        days = part.first + offset[:, np.newaxis] + rounds
        fits = (days <= part.last) & (days >= first_purchase[holders, np.newaxis])
        row, _ = np.nonzero(fits)
        holder, day = holders[row], days[fits]
        rank = mix(identity[holder] ^ mix(day.astype(np.uint64)))
        kept_holder, kept_day = np.concatenate([kept_holder, holder]), np.concatenate([kept_day, day])
        kept_hash = np.concatenate([kept_hash, rank])
        if len(kept_hash) > limit:
            smallest = np.sort(np.argpartition(kept_hash, limit)[:limit])
            kept_holder, kept_day, kept_hash = kept_holder[smallest], kept_day[smallest], kept_hash[smallest]
    return kept_holder, kept_day


def as_date(day: int) -> str:
    """A day as ISO 8601."""
    return str(np.datetime64(day, "D"))
