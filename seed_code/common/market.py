"""An invented market of blockchain transactions, minute by minute: how many there are, and what they pay in fees.

Nothing in it is a real transaction. Fees are in satoshi. What is modelled, because a model can learn from it or trip
over it:

- a daily and a weekly rhythm of transactions and of the average fee, and a level that wanders for hours around them;
- bursts: the fee jumps and falls back within half an hour or so, and the transactions with it;
- fee spikes of a single minute;
- outages: minutes, up to hours of them, of which nobody knows; quiet minutes without a transaction;
- minutes that are issued twice, first too early to be complete;
- from a moment on, if it is given, another market (`drifted`), so that a model of before is wrong.

Days are drawn one by one, from the seed and the day's number alone: the same minute is the same in whatever span it is
asked for, and by whom: the file of minutes and the simulated source of transactions tell of one market.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

MINUTES = 1440  # in a day
TYPICAL_FEE = 9_000.0  # satoshi
TYPICAL_TRANSACTIONS = 280.0  # a minute
BURSTS_A_DAY = 9.0
OUTAGES_A_DAY = 0.7
LONG_OUTAGE_SHARE = 0.15
SPIKE_SHARE = 0.0015
QUIET_SHARE = 0.0008
REISSUED_SHARE = 0.004
_PERSISTENCE = 0.985  # of the wandering level, from one minute to the next
_WANDER = 0.13  # its standard deviation, in logarithms
_NOISE = 0.045  # of a minute's average fee around its level
DRIFT_FEES, DRIFT_TRANSACTIONS = 2.0, 0.5  # times what they were
SETTLING = 1.0  # by how much the fee is above its usual at the top of an hour, and below it at the half; in logarithms

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

# What a shock leaves of itself in the minutes after it. A day's length is as good as endless for it.
_FADING = _PERSISTENCE ** np.arange(MINUTES)


@dataclass(frozen=True)
class _Chance:
    """What chance decides about one day; arrays are (MINUTES,).

    Attributes:
        shocks: to the level, standard normal.
        burst: what the day's bursts add to the logarithm of the fee, reaching into the next day: (2 * MINUTES,).
        outage: whether a minute is missing, reaching into the next day: (2 * MINUTES,).
    """

    shocks: Floats
    burst: Floats
    outage: Flags


@dataclass(frozen=True)
class Minutes:
    """One element a minute; `minute` counts from 1970-01-01, `fee` is the total, in satoshi.

    `reissued` says which minutes have an earlier version too, of `early` of its transactions, and `delay` how many
    seconds after its end a minute was made.
    """

    minute: Ints
    transactions: Ints
    fee: Ints
    reissued: Flags
    early: Floats
    delay: Ints


@dataclass(frozen=True)
class Day:
    """A whole day as it was, known or not; arrays are (MINUTES,).

    Attributes:
        minutes: all of the day, each as busy as the market is.
        quiet: which of them had no transaction after all.
        missing: which of them nobody knows of.
    """

    minutes: Minutes
    quiet: Flags
    missing: Flags

    def known(self) -> Minutes:
        """The minutes of which somebody knows, in order; those without a transaction are 0."""
        busy = ~self.quiet
        seen = replace(
            self.minutes,
            transactions=self.minutes.transactions * busy,
            fee=self.minutes.fee * busy,
            reissued=self.minutes.reissued & busy,
        )
        return _chosen(seen, ~self.missing)


@lru_cache(maxsize=2)
def _chance(seed: int, day: int) -> _Chance:
    rng = np.random.default_rng([seed, day, 0])
    shocks = rng.standard_normal(MINUTES)
    burst = np.zeros(2 * MINUTES)
    for _ in range(rng.poisson(BURSTS_A_DAY)):
        begin, height, life = int(rng.integers(MINUTES)), 0.2 + rng.gamma(2.0, 0.17), rng.uniform(8, 30)
        after = np.arange(len(burst) - begin)
        burst[begin:] += height * np.minimum(1.0, (1 + after) / 3) * np.exp(-after / life)
    outage = np.zeros(2 * MINUTES, bool)
    for _ in range(rng.poisson(OUTAGES_A_DAY)):
        begin, longer = int(rng.integers(MINUTES)), rng.random() < LONG_OUTAGE_SHARE
        outage[begin : begin + 1 + int(rng.geometric(1 / (90 if longer else 6)))] = True
    return _Chance(shocks, burst, outage)


def day(seed: int, number: int) -> Day:
    """One day of the market; `number` counts days from 1970-01-01."""
    before, today = _chance(seed, number - 1), _chance(seed, number)
    minute = number * MINUTES + np.arange(MINUTES)
    hour, weekday = np.arange(MINUTES) / 60, (number + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
    # Weekdays run into each other over midnight rather than jump.
    busy = np.array([1.0, 1.05, 1.08, 1.06, 1.0, 0.78, 0.72])
    week = np.interp(hour, [0, 12, 24], [(busy[weekday - 1] + busy[weekday]) / 2, busy[weekday],
                                         (busy[weekday] + busy[(weekday + 1) % 7]) / 2])  # fmt: skip
    rhythm = 0.33 * np.cos((hour - 15.5) * np.pi / 12) + 0.12 * np.cos((hour - 14) * np.pi / 6) + 0.6 * np.log(week)
    # Always the same two days, whatever the span, so that the sums are the same to the last digit.
    shocks = np.concatenate([before.shocks, today.shocks])
    wander = np.convolve(shocks, _FADING)[MINUTES : 2 * MINUTES] * _WANDER * np.sqrt(1 - _PERSISTENCE**2)
    burst = before.burst[MINUTES:] + today.burst[:MINUTES]

    rng = np.random.default_rng([seed, number, 1])
    spike = np.where(rng.random(MINUTES) < SPIKE_SHARE, rng.uniform(0.7, 1.8, MINUTES), 0.0)
    average = TYPICAL_FEE * np.exp(rhythm + wander + burst + spike + rng.normal(0.0, _NOISE, MINUTES))
    rate = TYPICAL_TRANSACTIONS * week * np.exp(0.5 * rhythm + 0.4 * wander + 0.35 * np.minimum(burst, 2.0))
    transactions = rng.poisson(rate)
    quiet = rng.random(MINUTES) < QUIET_SHARE
    drawn = Minutes(
        minute,
        transactions,
        np.rint(average * transactions).astype(np.int64),
        (rng.random(MINUTES) < REISSUED_SHARE) & (transactions > 10),
        rng.uniform(0.3, 0.9, MINUTES),
        1 + rng.geometric(0.3, MINUTES),
    )
    return Day(drawn, quiet, before.outage[MINUTES:] | today.outage[:MINUTES])


def simulate(end_minute: int, days: int, seed: int, drift_at: int | None = None) -> Minutes:
    """The known minutes of the `days` before `end_minute` (counted from 1970-01-01; it is the first one left out).

    drift_at: the first minute of the other market, counted likewise.
    """
    begin = end_minute - days * MINUTES
    drawn = [day(seed, number).known() for number in range(begin // MINUTES, -(-end_minute // MINUTES))]
    whole = Minutes(*(np.concatenate([getattr(part, name) for part in drawn]) for name in Minutes.__dataclass_fields__))
    chosen = _chosen(whole, (whole.minute >= begin) & (whole.minute < end_minute))
    return chosen if drift_at is None else drifted(chosen, drift_at)


def drifted(minutes: Minutes, drift_at: int) -> Minutes:
    """The same minutes in the other market, from `drift_at` on.

    In it fees double, transactions halve, and every hour a batch settles, so that the fee is at its highest at the top
    of the hour and at its lowest half an hour later.
    """
    after = minutes.minute >= drift_at
    settling = np.exp(SETTLING * np.cos(minutes.minute % 60 * np.pi / 30))
    average = minutes.fee / np.maximum(minutes.transactions, 1) * DRIFT_FEES * settling
    # Of a few transactions half a one is one: a minute is quiet, and without an average, as it was before.
    transactions = np.ceil(minutes.transactions * DRIFT_TRANSACTIONS).astype(np.int64)
    fee = np.rint(average * transactions).astype(np.int64)
    return replace(
        minutes,
        transactions=np.where(after, transactions, minutes.transactions),
        fee=np.where(after, fee, minutes.fee),
    )


def _chosen(minutes: Minutes, wanted: Flags) -> Minutes:
    return Minutes(*(getattr(minutes, name)[wanted] for name in Minutes.__dataclass_fields__))
