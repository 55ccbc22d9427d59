"""What the function `deduplicate` does, apart from where: see there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from seed_code.ingestion import transactions
from seed_code.ingestion.functions.publishing import LARGEST_RECORD, Publisher
from seed_code.ingestion.functions.seen import Seen
from seed_code.ingestion.transactions import Unusable

_HOUR = 3600
_END_OF_TIME = 253_402_300_800 - 200 * 3600  # the year 10000, and room for what expires later
_MARKING_SECONDS = 3.0  # kept for marking what was published
_SHOWN = 5

Transaction = dict[str, Any]


class NotPublished(Exception):
    """The stream has not taken all of an event: it is to come again."""


class Unexpected(Exception):
    """The event is not as the poller makes them, or not all of it is."""


@dataclass(frozen=True)
class Counts:
    """What became of an event's transactions."""

    received: int
    duplicates: int
    published: int


class Deduplication:
    """Passes on what is not known."""

    def __init__(self, seen: Seen, publisher: Publisher, hours: int) -> None:
        """hours: how long a transaction is known."""
        self._seen, self._publisher, self._hours = seen, publisher, hours

    def handle(self, detail: Any, seconds_left: Callable[[], float]) -> tuple[int, Counts]:
        """Pass on an event's transactions and its heartbeat; gives the source's time and the counts.

        Args:
            detail: of the event.
            seconds_left: of the invocation.

        Raises:
            NotPublished: when the stream does not take all; what it has taken is marked.
            Unexpected: when the event is none of ours, or an item in it is no transaction (all others are passed on).
        """
        observed_at, items = _read(detail)
        found, unusable = _usable(items, observed_at)
        known = self._seen.known(found)
        new = transactions.in_order(found[name] for name in found if name not in known)
        failures = self._publisher.publish(
            [_record(transaction) for transaction in new], lambda: seconds_left() - _MARKING_SECONDS
        )
        published = [transaction["hash"] for place, transaction in enumerate(new) if place not in failures]
        self._seen.mark(published, observed_at + self._hours * _HOUR, seconds_left)
        if not failures:
            failures = self._publisher.publish([transactions.heartbeat(observed_at)], seconds_left)
        if failures:
            raise NotPublished(
                f"the stream did not take {len(failures)} of {len(new)} transactions and a heartbeat of "
                f"{observed_at}, first because of {next(iter(failures.values()))}; {len(published)} are marked"
            )
        if unusable:
            raise Unexpected(
                f"{len(unusable)} of {len(items)} items observed at {observed_at} are no transactions: "
                f"{'; '.join(unusable[:_SHOWN])}. The others are passed on; see the event in the dead letter queue"
            )
        return observed_at, Counts(len(items), len(items) - len(new), len(new))


def _read(detail: Any) -> tuple[int, list[Any]]:
    """The moment and the items of an event."""
    given: Mapping[str, Any] = detail if isinstance(detail, dict) else {}
    version, observed_at, items = (given.get(name) for name in ("schema_version", "observed_at", "transactions"))
    if version != transactions.SCHEMA_VERSION:
        raise Unexpected(f"the event's schema_version is {str(version)[:40]!r}; expected {transactions.SCHEMA_VERSION}")
    if type(observed_at) is not int or not 0 < observed_at < _END_OF_TIME:
        raise Unexpected(f"the event's observed_at is {str(observed_at)[:40]!r}; expected seconds since 1970")
    if not isinstance(items, list):
        raise Unexpected(f"the event's transactions are a {type(items).__name__}; expected a list")
    return observed_at, items


def _usable(items: list[Any], observed_at: int) -> tuple[dict[str, Transaction], list[str]]:
    """The transactions by hash, the earliest of each, and why the other items are none."""
    found: dict[str, Transaction] = {}
    unusable: list[str] = []
    for item in items:
        try:
            transaction = transactions.check(item, observed_at)
        except Unusable as error:
            unusable.append(str(error))
            continue
        before = found.get(transaction["hash"])
        if before is None or transaction["time"] < before["time"]:
            found[transaction["hash"]] = transaction
    return found, unusable


def _record(transaction: Transaction) -> bytes:
    data = transactions.encode(transaction)
    if len(data) + len(transactions.PARTITION_KEY) <= LARGEST_RECORD:
        return data
    # Characters beyond ASCII take up to six bytes here: an event that the bus took may hold more than a record does.
    kept = {name: transaction[name] for name in ("hash", "time", "fee")}
    return transactions.encode({**kept, "trimmed": True})
