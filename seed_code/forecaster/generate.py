"""Invents blockchain minutes: `python -m seed_code.forecaster.generate --out FILE.csv[.gz]|FILE.parquet`.

    [--end 2026-11-22T00:00:00Z] [--days 8] [--seed 7] [--drift-at 2026-11-21T00:00:00Z]

One row a version of a minute, with the columns of the feature group that `prepare` reads, in the order of `event_time`:
the order in which a feed would have brought them. The content is synthetic; no real transaction is in it. Fees are
in satoshi. What is modelled, because a model can learn from it or trip over it:

- a daily and a weekly rhythm of transactions and of the average fee, and a level that wanders for hours around them;
- bursts: the fee jumps and falls back within half an hour or so, and the transactions with it;
- fee spikes of a single minute;
- outages: minutes, up to hours of them, that are missing; quiet minutes without a transaction, whose average is empty;
- minutes that are issued twice, first too early to be complete: same `tx_minute`, later `event_time`.

With --drift-at the market is another one from that minute on, so that a model of before is wrong every hour and one
that has seen some hours of it is not: fees double, transactions halve, and every hour a batch settles, so that the fee
is at its highest at the top of the hour and at its lowest half an hour later. Until then the rows are those without the
option.

The same arguments give the same bytes. Days are drawn one by one, so that what a file says of a minute depends on the
seed alone: a file of thirty days holds the rows of the file of eight.
"""

import argparse
import gzip
import io
import sys
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from seed_code.common.arguments import ArgumentParser, whole_number
from seed_code.common.errors import ClientError
from seed_code.common.failure import reports_failure

COLUMNS = ("tx_minute", "total_nb_trx_1min", "total_fee_1min", "avg_fee_1min", "event_time")
MOST_DAYS = 3660

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
class _Day:
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


@lru_cache(maxsize=2)
def _day(seed: int, day: int) -> _Day:
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
    return _Day(shocks, burst, outage)


def _of_day(seed: int, day: int) -> Minutes:
    """The minutes of one day, in order, those of outages left out."""
    before, today = _day(seed, day - 1), _day(seed, day)
    minute = day * MINUTES + np.arange(MINUTES)
    hour, weekday = np.arange(MINUTES) / 60, (day + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
    # Weekdays run into each other over midnight rather than jump.
    busy = np.array([1.0, 1.05, 1.08, 1.06, 1.0, 0.78, 0.72])
    week = np.interp(hour, [0, 12, 24], [(busy[weekday - 1] + busy[weekday]) / 2, busy[weekday],
                                         (busy[weekday] + busy[(weekday + 1) % 7]) / 2])  # fmt: skip
    rhythm = 0.33 * np.cos((hour - 15.5) * np.pi / 12) + 0.12 * np.cos((hour - 14) * np.pi / 6) + 0.6 * np.log(week)
    # Always the same two days, whatever the span, so that the sums are the same to the last digit.
    shocks = np.concatenate([before.shocks, today.shocks])
    wander = np.convolve(shocks, _FADING)[MINUTES : 2 * MINUTES] * _WANDER * np.sqrt(1 - _PERSISTENCE**2)
    burst = before.burst[MINUTES:] + today.burst[:MINUTES]

    rng = np.random.default_rng([seed, day, 1])
    spike = np.where(rng.random(MINUTES) < SPIKE_SHARE, rng.uniform(0.7, 1.8, MINUTES), 0.0)
    average = TYPICAL_FEE * np.exp(rhythm + wander + burst + spike + rng.normal(0.0, _NOISE, MINUTES))
    rate = TYPICAL_TRANSACTIONS * week * np.exp(0.5 * rhythm + 0.4 * wander + 0.35 * np.minimum(burst, 2.0))
    transactions = rng.poisson(rate)
    transactions[rng.random(MINUTES) < QUIET_SHARE] = 0
    drawn = Minutes(
        minute,
        transactions,
        np.rint(average * transactions).astype(np.int64),
        (rng.random(MINUTES) < REISSUED_SHARE) & (transactions > 10),
        rng.uniform(0.3, 0.9, MINUTES),
        1 + rng.geometric(0.3, MINUTES),
    )
    there = ~(before.outage[MINUTES:] | today.outage[:MINUTES])
    return Minutes(*(getattr(drawn, name)[there] for name in Minutes.__dataclass_fields__))


def simulate(end_minute: int, days: int, seed: int, drift_at: int | None = None) -> Minutes:
    """The minutes of the `days` before `end_minute` (counted from 1970-01-01; it is the first one left out).

    drift_at: the first minute of the other market, counted likewise.
    """
    begin = end_minute - days * MINUTES
    drawn = [_of_day(seed, day) for day in range(begin // MINUTES, -(-end_minute // MINUTES))]
    whole = Minutes(*(np.concatenate([getattr(day, name) for day in drawn]) for name in Minutes.__dataclass_fields__))
    inside = (whole.minute >= begin) & (whole.minute < end_minute)
    chosen = Minutes(*(getattr(whole, name)[inside] for name in Minutes.__dataclass_fields__))
    return chosen if drift_at is None else drifted(chosen, drift_at)


def drifted(minutes: Minutes, drift_at: int) -> Minutes:
    """The same minutes in the other market, from `drift_at` on."""
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


def table(minutes: Minutes) -> pa.Table:
    """The rows of the file: every version of every minute, in the order of `event_time`."""
    twice = minutes.reissued
    minute = np.concatenate([minutes.minute, minutes.minute[twice]])
    early = np.rint(minutes.transactions * minutes.early).astype(np.int64)[twice]
    early_fee = np.rint(minutes.fee * minutes.early).astype(np.int64)[twice]
    transactions = np.concatenate([minutes.transactions, early])
    fee = np.concatenate([minutes.fee, early_fee])
    # The complete version of a minute that was issued too early comes minutes later.
    late = np.where(twice, 60 * (1 + minutes.delay), 0)
    made = 60 * (minute + 1) + np.concatenate([minutes.delay + late, minutes.delay[twice]])
    order = np.lexsort((minute, made))
    average = np.round(fee / np.maximum(transactions, 1), 2)[order]
    return pa.table(
        {
            "tx_minute": _times(60 * minute[order]),
            "total_nb_trx_1min": pa.array(transactions[order]),
            "total_fee_1min": pa.array(fee[order].astype(np.float64)),
            "avg_fee_1min": pa.array(average, mask=transactions[order] == 0),
            "event_time": _times(made[order]),
        }
    )


def _times(seconds: Ints) -> pa.Array:
    """ISO 8601 texts in UTC of seconds since 1970-01-01."""
    return pa.array(np.char.add(np.datetime_as_string(seconds.astype("datetime64[s]")), "Z"))


def write(rows: pa.Table, out: Path) -> None:
    """Write rows to a file whose name ends in .csv, .csv.gz or .parquet.

    Raises:
        ClientError: when it ends otherwise.
    """
    if not out.name.endswith((".csv", ".csv.gz", ".parquet")):
        raise ClientError(f"--out is `{out}`; expected a name that ends in .csv, .csv.gz or .parquet")
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".parquet":
        from pyarrow import parquet  # each format's module only for who asks for it: 0.1 s

        parquet.write_table(rows, out, compression="zstd")
        return
    from pyarrow import csv

    lines = io.BytesIO((",".join(COLUMNS) + "\n").encode())
    lines.seek(0, io.SEEK_END)
    csv.write_csv(rows, lines, csv.WriteOptions(include_header=False, quoting_style="none"))
    # No name and no time in a gzip header: they would differ from run to run.
    content = gzip.compress(lines.getvalue(), compresslevel=6, mtime=0) if out.suffix == ".gz" else lines.getvalue()
    out.write_bytes(content)


def _minute(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"`{text}` is no ISO 8601 time such as 2026-11-22T00:00:00Z") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() // 60)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="generate", description="Invents minutes of a blockchain (synthetic: no real transaction)."
    )
    parser.add_argument("--out", required=True, type=Path, help="file to write: .csv, .csv.gz or .parquet")
    parser.add_argument(
        "--end", type=_minute, default="2026-11-22T00:00:00Z", help="the first minute after the last one, ISO 8601"
    )
    parser.add_argument("--days", type=whole_number(1, MOST_DAYS), default=8, help="how many, before --end")
    parser.add_argument("--seed", type=whole_number(0, 2**31 - 1), default=7, help="the same seed gives the same bytes")
    parser.add_argument("--drift-at", type=_minute, help="from when on the market is another one, ISO 8601")
    return parser


@reports_failure
def main() -> None:
    """Write one file of minutes, as the command line says."""
    arguments = _parser().parse_args()
    began = time.perf_counter()
    rows = table(simulate(arguments.end, arguments.days, arguments.seed, arguments.drift_at))
    write(rows, arguments.out)
    seconds = time.perf_counter() - began
    sys.stdout.write(f"{arguments.out}: {rows.num_rows:,} synthetic rows, {seconds:.1f} s\n")


if __name__ == "__main__":
    main()
