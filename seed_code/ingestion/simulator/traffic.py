"""Single transactions, made of the market's minutes: the same for the same seed, rate and minute.

A minute's transactions arrive at random moments within it, and their fees add up to the minute's total: a log-normal
spread, in whole satoshi. Of some nobody knows the fee; they count, and pay as much as others.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

import numpy as np

from seed_code.common import market
from seed_code.ingestion.simulator import shapes
from seed_code.ingestion.simulator.faults import Fault
from seed_code.ingestion.simulator.plan import Plan

PAGE = 100
"""Transactions on a page of the API."""
_SPREAD = 0.9  # of the fees within a minute, in logarithms
_UNKNOWN_SHARE = 0.004  # of transactions whose fee is null
_HUGE, _HUGE_SPREAD = 2**31, 7e9  # satoshi
_MOST_MINUTES = 1440  # that are looked back for a page


@dataclass(slots=True)
class Transaction:
    """A transaction as it arrives.

    Attributes:
        hash: 64 hexadecimal digits.
        time: what it says of when it was seen, in seconds since 1970.
        fee: what is known of its fee, in satoshi; None when nothing is.
        arrival: when it is there, in seconds since 1970.
        padding: bytes by which it is larger than it need be.
        served: whether the ledger has it.
    """

    hash: str
    time: int
    fee: int | None
    arrival: float
    padding: int = 0
    served: bool = False
    _page_item: bytes | None = None

    def page_item(self) -> bytes:
        """As a page has it, in JSON."""
        if self._page_item is None:
            self._page_item = shapes.page_item(self.hash, self.time, self.fee, self.padding)
        return self._page_item

    def message(self) -> str:
        """As the websocket brings it, in JSON."""
        return shapes.message(self.hash, self.time, self.fee, self.padding)


class Traffic:
    """The transactions of a market, minute by minute. Keeps the minutes that the newest page is made of.

    Attributes:
        rate: how many transactions there are for each of the market's.
    """

    def __init__(self, seed: int, rate: float, plan: Plan) -> None:
        self.seed = seed
        self.rate = rate
        self._plan = plan
        self._kept: dict[int, list[Transaction]] = {}

    def newest(self, now: float, count: int = PAGE) -> list[Transaction]:
        """The last `count` that have arrived, newest first."""
        found: list[Transaction] = []
        present = int(now // 60)
        oldest = present
        for oldest in range(present, present - _MOST_MINUTES, -1):
            there = self.minute(oldest)
            if oldest == present:
                there = [transaction for transaction in there if transaction.arrival <= now]
            found.extend(reversed(there[-(count - len(found)) :]))
            if len(found) >= count:
                break
        self._forget(oldest)
        return found

    def between(self, after: float, until: float) -> Iterator[Transaction]:
        """Those that arrived later than `after` and not later than `until`, in order."""
        for minute in range(int(after // 60), int(until // 60) + 1):
            for transaction in self.minute(minute):
                if after < transaction.arrival <= until:
                    yield transaction

    def next_arrival(self, after: float) -> float:
        """When the next one arrives, or the end of the minute if none does in it."""
        minute = int(after // 60)
        end = 60.0 * (minute + 1)
        return next((found.arrival for found in self.minute(minute) if found.arrival > after), end)

    def minute(self, number: int) -> list[Transaction]:
        """Those that arrive in a minute, counted from 1970, in order of arrival."""
        if number not in self._kept:
            self._kept[number] = self._made(number)
        return self._kept[number]

    def _forget(self, oldest: int) -> None:
        # A subscriber of the websocket may still be in the minute before.
        for number in [number for number in self._kept if number < oldest - 1]:
            del self._kept[number]

    def _made(self, number: int) -> list[Transaction]:
        switches = self._plan.at(number)
        quiet = switches.faults.get("quiet")
        if quiet is not None and quiet.hits_minute(number):
            return []
        transactions, total = _market(self.seed, number // market.MINUTES, switches.drift_at)[number % market.MINUTES]
        count = round(transactions * self.rate)
        if not count:
            return []
        rng = np.random.default_rng([self.seed, number, 2])
        arrivals = 60.0 * (number + np.sort(rng.random(count)))
        unknown = rng.random(count) < _UNKNOWN_SHARE
        fees = _shared_out(round(total / transactions * count), rng.lognormal(0.0, _SPREAD, count) * ~unknown)
        key = f"{self.seed} {self.rate} {number}"
        faults = tuple(fault for name, fault in switches.faults.items() if name != "quiet")
        return [
            _afflicted(
                Transaction(
                    sha256(f"{key} {place}".encode()).hexdigest(), int(arrival), None if nobody else fee, arrival
                ),
                faults,
            )
            for place, (arrival, nobody, fee) in enumerate(
                zip(arrivals.tolist(), unknown.tolist(), fees.tolist(), strict=True)
            )
        ]


@lru_cache(maxsize=3)
def _market(seed: int, day: int, drift_at: int | None) -> list[tuple[int, int]]:
    """The transactions and total fee of each minute of a day in which nothing was missing or quiet."""
    minutes = market.day(seed, day).minutes
    if drift_at is not None:
        minutes = market.drifted(minutes, drift_at)
    return list(zip(minutes.transactions.tolist(), minutes.fee.tolist(), strict=True))


def _shared_out(total: int, weights: market.Floats) -> market.Ints:
    """Whole numbers in proportion to weights, whose sum is the total; zeros when all weights are."""
    whole = weights.sum()
    if not whole:
        return np.zeros(len(weights), np.int64)
    exact = total * weights / whole
    shares: market.Ints = np.floor(exact).astype(np.int64)
    # What rounding has left over goes to those who lost most by it.
    shares[np.argsort(shares - exact, kind="stable")[: total - int(shares.sum())]] += 1
    return shares


def _afflicted(transaction: Transaction, faults: tuple[Fault, ...]) -> Transaction:
    for fault in faults:
        if not fault.hits(transaction.hash):
            continue
        if fault.name == "late":
            transaction.time -= 1 + int(fault.fraction(transaction.hash, "seconds") * fault.options["seconds"])
        elif fault.name == "skew":
            transaction.time += fault.options["seconds"]
        elif fault.name == "huge_fee":
            transaction.fee = _HUGE + int(fault.fraction(transaction.hash, "satoshi") * _HUGE_SPREAD)
        elif fault.name == "large":
            transaction.padding = fault.options["bytes"]
    return transaction
