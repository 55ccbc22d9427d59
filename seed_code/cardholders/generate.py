"""Invents purchase-card transactions: `python -m seed_code.cardholders.generate --out FILE.csv[.gz]`.

The file has the columns and the formats of the State of Oklahoma's *Purchase Card (PCard) Fiscal Year 2014* data; its
content is synthetic. What is modelled, because a model of purchases can learn from it or trip over it:

- rates per holder and amounts have heavy tails (log-normal; a few amounts follow a Pareto tail up to 1.9 million);
- time runs by a calendar: few purchases at week-ends and on holidays, more at the end of a month and most at the end of
  the fiscal year. Gaps between a holder's visits are gamma-distributed in that calendar's time, with a shape per
  holder: some buy regularly, some at random, some in bursts, and some keep to a weekday of their own;
- holders who start late, stop early, or buy at few or at many vendors;
- refunds of earlier purchases, amounts of zero, lines repeated exactly, and lines that cannot be read.

The same arguments give the same bytes. The lines are sorted as the original's: by month, agency, holder and day.
"""

import datetime
import gzip
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from seed_code.cardholders import vocabulary
from seed_code.cardholders.mixing import mix
from seed_code.common.arguments import ArgumentParser
from seed_code.common.errors import ClientError
from seed_code.common.failure import reports_failure

COLUMNS = (
    "Year-Month",
    "Agency Number",
    "Agency Name",
    "Cardholder Last Name",
    "Cardholder First Initial",
    "Description",
    "Amount",
    "Vendor",
    "Transaction Date",
    "Posted Date",
    "Merchant Category Code (MCC)",
)
AGENCIES = 120
MEDIAN_AMOUNT = 105.0
LARGEST_CENTS = 190_385_800
REFUND_SHARE = 0.032
ZERO_SHARE = 0.0001
DUPLICATE_SHARE = 0.002
BAD_SHARE = 0.0004
LINES_PER_CHUNK = 200_000

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Lines:
    """The lines of the file as numbers, in the file's order; all arrays have one element a line.

    `holder` and `vendor` index the generated names, `day` and `posted` count from the first day, `cents` is negative
    for a refund. `bad` is 0 for a sound line, else how it is spoilt (see `_spoil`).
    """

    holder: Ints
    day: Ints
    posted: Ints
    cents: Ints
    vendor: Ints
    bad: Ints


@dataclass(frozen=True)
class _Holders:
    """What distinguishes one holder from another; one element a holder."""

    lines: Floats  # expected number of purchases
    lines_per_visit: Floats
    shape: Floats  # of the gamma-distributed gap between visits: above 1 regular, below 1 in bursts
    begins: Floats  # share of the period's calendar time at which the holder starts, and stops
    ends: Floats
    weekday: Ints  # the one that the holder keeps to, or -1
    log_amount: Floats
    breadth: Floats  # how many vendors the holder knows


def calendar_weights(first_day: datetime.date, days: int) -> Floats:
    """Expected purchases of each day relative to the others; shape (days,), positive."""
    dates = [first_day + datetime.timedelta(days=day) for day in range(days)]
    by_weekday = (1.04, 1.12, 1.12, 1.08, 0.92, 0.10, 0.05)
    weights = np.array([by_weekday[date.weekday()] for date in dates])
    for index, date in enumerate(dates):
        days_left = ((date.replace(day=28) + datetime.timedelta(days=4)).replace(day=1) - date).days
        if days_left <= 4:
            weights[index] *= 1.3
        if date.month == 6:  # budgets lapse with the fiscal year
            weights[index] *= 1.3 if date.day < 20 else 1.15
        if _is_holiday(date):
            weights[index] *= 0.06
        elif (date.month, date.day) >= (12, 22):
            weights[index] *= 0.4
    return weights


def _is_holiday(date: datetime.date) -> bool:
    """The United States' holidays on which offices close; those that fall on a week-end are not moved."""
    fixed = {(1, 1), (7, 4), (11, 11), (12, 24), (12, 25)}
    nth_monday_or_thursday = {(1, 0, 3), (9, 0, 1), (11, 3, 4)}  # King, Labor, Thanksgiving: month, weekday, which
    last_monday_of_may = date.month == 5 and date.weekday() == 0 and date.day > 24
    return (
        (date.month, date.day) in fixed
        or (date.month, date.weekday(), (date.day - 1) // 7 + 1) in nth_monday_or_thursday
        or last_monday_of_may
    )


def simulate(transactions: int, holders: int, seed: int, first_day: datetime.date, days: int) -> Lines:
    """Draw exactly `transactions` lines of `holders` holders, each with at least one sound purchase.

    Raises:
        ClientError: when there are fewer than two lines for each holder, or numbers below 1.
    """
    if holders < 1 or days < 1 or transactions < 2 * holders:
        raise ClientError(
            f"cannot invent {transactions} transactions of {holders} holders in {days} days; expected at least one "
            "holder, one day and two transactions for each holder: raise --transactions or lower --holders"
        )
    rng = np.random.default_rng(seed)
    refunds = int(transactions * REFUND_SHARE)
    duplicates = int(transactions * DUPLICATE_SHARE)
    purchases = transactions - refunds - duplicates
    people = _draw_holders(rng, purchases, holders)
    holder, day = _draw_purchases(rng, people, purchases, calendar_weights(first_day, days), first_day)
    vendor, log_price = _draw_vendors(rng, people, holder, purchases)
    cents = _draw_amounts(rng, people.log_amount[holder] + log_price)
    again = np.concatenate([[False], holder[1:] == holder[:-1]])  # a holder's first purchase is spared
    cents[again & (rng.random(purchases) < ZERO_SHARE)] = 0

    refunded = rng.integers(0, purchases, refunds)
    partly = np.where(rng.random(refunds) < 0.6, 1.0, rng.uniform(0.05, 0.9, refunds))
    refund_cents = -np.maximum(1, np.rint(np.minimum(cents[refunded], 4_286_304) * partly)).astype(np.int64)
    repeated = rng.integers(0, purchases, duplicates)
    posted = day + 1 + rng.geometric(0.6, purchases) % 5
    holder = np.concatenate([holder, holder[refunded], holder[repeated]])
    vendor = np.concatenate([vendor, vendor[refunded], vendor[repeated]])
    refund_day = np.minimum(day[refunded] + 1 + rng.geometric(0.08, refunds), days - 1)
    lines = Lines(
        holder=holder,
        vendor=vendor,
        cents=np.concatenate([cents, refund_cents, cents[repeated]]),
        day=np.concatenate([day, refund_day, day[repeated]]),
        posted=np.concatenate([posted, refund_day + 2, posted[repeated]]),
        bad=_draw_bad(rng, again, transactions),
    )
    month = _months(first_day, days)[lines.day]
    order = np.argsort((month * holders + lines.holder) * days + lines.day, kind="stable")
    return Lines(*(getattr(lines, name)[order] for name in Lines.__dataclass_fields__))


def _months(first_day: datetime.date, days: int) -> Ints:
    """Month of each day, counted from the first day's; shape (days,)."""
    dates = np.datetime64(first_day) + np.arange(days)
    months = dates.astype("datetime64[M]").astype(np.int64)
    return np.asarray(months - months[0])


def _draw_holders(rng: np.random.Generator, purchases: int, holders: int) -> _Holders:
    rates = rng.lognormal(0.0, 1.5, holders)
    begins, ends = np.zeros(holders), np.ones(holders)
    fate = rng.random(holders)
    begins = np.where(fate < 0.12, rng.uniform(0.05, 0.95, holders), begins)  # new during the year
    ends = np.where(fate > 0.88, rng.uniform(0.1, 0.9, holders), ends)  # dormant from then on
    expected = rates * (ends - begins)
    expected *= purchases / expected.sum()
    kind = rng.random(holders)
    shape = np.select(
        [kind < 0.25, kind < 0.60],
        [rng.uniform(4, 16, holders), rng.uniform(0.18, 0.45, holders)],  # regular, in bursts
        rng.uniform(0.8, 1.3, holders),  # at random
    )
    return _Holders(
        lines=expected,
        lines_per_visit=1 + rng.gamma(1.2, 0.45, holders) + 0.15 * np.sqrt(expected / 50),
        shape=shape,
        begins=begins,
        ends=ends,
        weekday=np.where(rng.random(holders) < 0.15, rng.integers(0, 5, holders), -1),
        log_amount=rng.normal(0.0, 0.6, holders),
        breadth=1 + rng.lognormal(0.3, 0.8, holders) * expected**0.6,
    )


def _draw_purchases(
    rng: np.random.Generator, people: _Holders, purchases: int, weights: Floats, first_day: datetime.date
) -> tuple[Ints, Ints]:
    """Holder and day of exactly `purchases` purchases, in order of holder and time."""
    # The number of purchases is not known before the draw (visits are cut off where a holder stops, their sizes are
    # random), so aim a little too high, correct the aim by what came out, and drop the surplus.
    scale = 1.04
    while True:
        holder, day = _draw_visits(rng, people, scale, weights, first_day)
        if len(holder) >= purchases:
            break
        scale *= 1.02 + 1.02 * (purchases / len(holder) - 1)
    later_lines = np.flatnonzero(np.concatenate([[False], holder[1:] == holder[:-1]]))  # every holder keeps the first
    keep = np.ones(len(holder), bool)
    keep[rng.choice(later_lines, len(holder) - purchases, replace=False, shuffle=False)] = False
    return holder[keep], day[keep]


def _draw_visits(
    rng: np.random.Generator, people: _Holders, scale: float, weights: Floats, first_day: datetime.date
) -> tuple[Ints, Ints]:
    days = len(weights)
    visits = np.maximum(people.lines * scale / people.lines_per_visit, 0.2)
    gap = (people.ends - people.begins) / visits
    draws = np.ceil(visits * 1.1 + 4 * np.sqrt(visits / people.shape) + 3).astype(np.int64)
    holder = np.repeat(np.arange(len(draws)), draws)
    gaps = rng.standard_gamma(people.shape[holder]) * (gap / people.shape)[holder]
    first_visit = np.cumsum(draws) - draws
    gaps[first_visit] = gap * rng.random(len(draws))
    elapsed = np.cumsum(gaps)
    moment = elapsed - np.repeat(elapsed[first_visit] - gaps[first_visit], draws) + people.begins[holder]
    # Who would not have come at all comes once.
    late = moment[first_visit] >= people.ends
    moment[first_visit[late]] = rng.uniform(people.begins, people.ends)[late]
    kept = moment < people.ends[holder]
    holder, moment = holder[kept], moment[kept]

    calendar = np.cumsum(weights) / weights.sum()
    day = np.minimum(np.searchsorted(calendar, moment, side="right"), days - 1)
    weekday = (first_day.weekday() + day) % 7
    own = people.weekday[holder]
    moved = day + (own - weekday) % 7
    day = np.where((own >= 0) & (moved < days), moved, day)

    lines = rng.geometric(1 / people.lines_per_visit[holder])
    return np.repeat(holder, lines), np.repeat(day, lines).astype(np.int64)


def _draw_vendors(rng: np.random.Generator, people: _Holders, holder: Ints, purchases: int) -> tuple[Ints, Floats]:
    """Vendor of each purchase, and the log of how dear that vendor is."""
    vendors = vendor_count(purchases)
    choice = np.floor(people.breadth[holder] * rng.random(len(holder)) ** 2.2).astype(np.int64)
    # The n-th vendor that a holder knows is fixed by mixing the two numbers: no table of everyone's vendors.
    mixed = mix(holder.astype(np.uint64) * np.uint64(1_000_003) + choice.astype(np.uint64))
    uniform = (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53
    vendor = np.floor(vendors * uniform**2.6).astype(np.int64)
    dearness = np.array([category[4] for category in vocabulary.CATEGORIES])
    return vendor, dearness[vendor_category(vendors)][vendor]


def vendor_count(purchases: int) -> int:
    """How many vendors there are among so many purchases."""
    return max(40, int(4.2 * purchases**0.65))


def vendor_category(vendors: int) -> Ints:
    """Index into `vocabulary.CATEGORIES` of each vendor; shape (vendors,)."""
    shares = np.array([category[3] for category in vocabulary.CATEGORIES], float)
    uniform = (mix(np.arange(vendors, dtype=np.uint64)) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return np.searchsorted(np.cumsum(shares / shares.sum())[:-1], uniform, side="right").astype(np.int64)


def _draw_amounts(rng: np.random.Generator, log_level: Floats) -> Ints:
    """Cents of each purchase, with the median of `MEDIAN_AMOUNT`."""
    logs = log_level + rng.normal(0.0, 1.35, len(log_level))
    amounts = np.exp(logs - np.median(logs)) * MEDIAN_AMOUNT
    huge = rng.random(len(amounts)) < 0.0002
    amounts[huge] = 8_000 * (1 + rng.pareto(0.9, int(huge.sum())))
    cents = np.clip(np.rint(amounts * 100), 1, LARGEST_CENTS).astype(np.int64)
    return cents


def _draw_bad(rng: np.random.Generator, again: Flags, lines: int) -> Ints:
    """How each line is spoilt (0: it is not), sparing each holder's first purchase; the purchases come first."""
    bad = np.where(rng.random(lines) < BAD_SHARE, rng.integers(1, 6, lines), 0)
    bad[: len(again)][~again] = 0
    return bad


def write(lines: Lines, holders: int, first_day: datetime.date, out: BinaryIO) -> None:
    """Write header and lines as UTF-8 CSV, in chunks of `LINES_PER_CHUNK`."""
    out.write((",".join(COLUMNS) + "\n").encode())
    texts = _Texts(lines, holders, first_day)
    for first in range(0, len(lines.holder), LINES_PER_CHUNK):
        out.write(texts.chunk(slice(first, first + LINES_PER_CHUNK)))


class _Texts:
    """The text of each column, by the numbers in `Lines`."""

    def __init__(self, lines: Lines, holders: int, first_day: datetime.date) -> None:
        self.lines = lines
        last_names, initials = _holder_names(holders)
        agency = np.arange(holders) * min(AGENCIES, holders) // holders
        agencies = list(_agency_names(min(AGENCIES, holders)))
        self.last_name = pa.array(last_names).take(pa.array(lines.holder))
        self.initial = pa.array(initials).take(pa.array(lines.holder))
        self.agency = pa.array(agencies).take(pa.array(agency)).take(pa.array(lines.holder))
        vendors = int(lines.vendor.max()) + 1
        category = vendor_category(vendors)
        self.vendor = pa.array([_vendor_name(index, category[index]) for index in range(vendors)])
        self.merchant = pa.array([_quoted(row[0]) for row in vocabulary.CATEGORIES]).take(pa.array(category))
        self.description = pa.array([_quoted(row[2]) for row in vocabulary.CATEGORIES]).take(pa.array(category))
        last = int(max(lines.day.max(), lines.posted.max()))
        dates = [first_day + datetime.timedelta(days=day) for day in range(last + 1)]
        self.date = pa.array([f"{date:%m/%d/%Y} 12:00:00 AM" for date in dates])
        self.month = pa.array([f"{date:%Y%m}" for date in dates])

    def chunk(self, part: slice) -> bytes:
        lines = self.lines
        day, vendor = pa.array(lines.day[part]), pa.array(lines.vendor[part])
        date, amount = self.date.take(day), _amounts(lines.cents[part])
        last_name = self.last_name.take(pa.array(np.arange(*part.indices(len(lines.holder)))))
        bad = lines.bad[part]
        if bad.any():
            date, amount, last_name = _spoil(bad, date, amount, last_name)
        rest = self.merchant.take(vendor)
        columns = [
            self.month.take(day),
            self.agency[part],
            last_name,
            self.initial[part],
            self.description.take(vendor),
            amount,
            self.vendor.take(vendor),
            date,
            self.date.take(pa.array(lines.posted[part])),
            rest,
        ]
        text = pc.binary_join_element_wise(*columns, ",")
        if (bad == 5).any():  # the line breaks off
            text = pc.if_else(pa.array(bad == 5), pc.utf8_slice_codeunits(text, 0, 40), text)
        # The lines of an Arrow string array lie end to end in one buffer: with their newline they are the file.
        text = pc.binary_join_element_wise(text, "", "\n")
        _, offsets, data = text.buffers()
        ends = np.frombuffer(offsets, np.int32)[text.offset : text.offset + len(text) + 1]
        return bytes(data.slice(int(ends[0]), int(ends[-1] - ends[0])).to_pybytes())


def _spoil(bad: Ints, date: pa.Array, amount: pa.Array, last_name: pa.Array) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Spoil the lines' date (1: no date, 2: no day of a month), amount (3) or last name (4)."""
    date = pc.if_else(pa.array(bad == 1), "PENDING", date)
    date = pc.if_else(pa.array(bad == 2), "02/30/2014 12:00:00 AM", date)
    amount = pc.if_else(pa.array(bad == 3), "n/a", amount)
    return date, amount, pc.if_else(pa.array(bad == 4), "", last_name)


def _amounts(cents: Ints) -> pa.Array:
    """Amounts as text with two decimals: 890.00, -42863.04."""
    size = np.abs(cents)
    whole = pa.array(size // 100).cast(pa.string())
    hundredths = pa.array([f"{part:02d}" for part in range(100)]).take(pa.array(size % 100))
    sign = pa.array(["", "-"]).take(pa.array((cents < 0).astype(np.int64)))
    return pc.binary_join_element_wise(pc.binary_join_element_wise(sign, whole, ""), hundredths, ".")


def _holder_names(holders: int) -> tuple[list[str], list[str]]:
    """Last name and first initial of each holder: distinct pairs, in no order, C Mason among them.

    Ordinary names come first; then composed ones; then, for very many holders, double-barrelled ones.
    """
    names = list(vocabulary.LAST_NAMES)
    known = set(names)
    composed = (stem + ending for ending in vocabulary.NAME_ENDINGS for stem in vocabulary.NAME_STEMS)
    names += [name for name in composed if name not in known]
    # The more holders, the more names: half of a small pool's pairs are taken, so that initials vary.
    wanted = -(-2 * holders // len(vocabulary.INITIALS))
    singles = len(names)
    for index in range(max(0, wanted - singles)):
        names.append(f"{names[index % singles]}-{names[(index // singles + index + 1) % singles]}")
    pool = names[: max(wanted, len(vocabulary.LAST_NAMES))]
    pairs = len(pool) * len(vocabulary.INITIALS)
    order = np.argsort(mix(np.arange(pairs, dtype=np.uint64)), kind="stable")
    chosen = order[order != 0][: holders - 1]
    chosen = np.insert(chosen, holders // 3, 0)  # pair 0 is C and Mason
    last_names = [pool[pair // len(vocabulary.INITIALS)] for pair in chosen.tolist()]
    initials = [vocabulary.INITIALS[pair % len(vocabulary.INITIALS)] for pair in chosen.tolist()]
    return last_names, initials


def _agency_names(agencies: int) -> Iterator[str]:
    """The two columns of each agency, number and name, joined by the comma between them."""
    kinds, subjects, places = vocabulary.AGENCY_KINDS, vocabulary.AGENCY_SUBJECTS, vocabulary.UNIVERSITY_PLACES
    for index in range(agencies):
        number = 1000 + 75 * index
        if index % 15 == 0 and index // 15 < len(places):
            name = f"{places[index // 15]} STATE UNIVERSITY"
        else:
            name = kinds[index // len(subjects) % len(kinds)].format(subjects[index % len(subjects)])
        yield f"{number},{_quoted(name)}"


def _vendor_name(index: int, category: int) -> str:
    stems, endings = vocabulary.NAME_STEMS, vocabulary.NAME_ENDINGS
    # 60 x 45 words, then numbered branches: distinct for every index.
    word = f"{stems[index % 60]}{endings[index // 60 % 45]}".upper()
    branch = index // 2700
    form = vocabulary.VENDOR_FORMS[(index * 7 + branch) % 5]
    if branch:
        form = vocabulary.VENDOR_FORMS[5]
    return _quoted(form.format(word, vocabulary.CATEGORIES[category][1], 100 + branch))


def _quoted(text: str) -> str:
    return f'"{text}"' if "," in text else text


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="generate", description="Invents purchase-card transactions (synthetic: no real person or company)."
    )
    parser.add_argument("--out", required=True, type=Path, help="file to write: .csv or .csv.gz")
    parser.add_argument("--transactions", type=int, default=442_458, help="number of lines after the header")
    parser.add_argument("--holders", type=int, default=5_200, help="number of cardholders")
    parser.add_argument("--seed", type=int, default=2014, help="the same seed gives the same bytes")
    parser.add_argument("--first-day", type=datetime.date.fromisoformat, default=datetime.date(2013, 7, 1))
    parser.add_argument("--days", type=int, default=365, help="length of the period")
    return parser


@reports_failure
def main() -> None:
    """Write one file of transactions, as the command line says."""
    arguments = _parser().parse_args()
    out: Path = arguments.out
    if not out.name.endswith((".csv", ".csv.gz")):
        raise ClientError(f"--out is `{out}`; expected a name that ends in .csv or .csv.gz")
    if arguments.seed < 0:
        raise ClientError(f"--seed is {arguments.seed}; expected 0 or more")
    began = time.perf_counter()
    lines = simulate(arguments.transactions, arguments.holders, arguments.seed, arguments.first_day, arguments.days)
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("wb") as file:
        if out.suffix == ".gz":
            # No name and no time in the header: they would differ from run to run.
            with gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0, compresslevel=5) as compressed:
                write(lines, arguments.holders, arguments.first_day, cast(BinaryIO, compressed))
        else:
            write(lines, arguments.holders, arguments.first_day, file)
    seconds = time.perf_counter() - began
    sys.stdout.write(f"{out}: {len(lines.holder):,} synthetic lines, {seconds:.1f} s\n")


if __name__ == "__main__":
    main()
