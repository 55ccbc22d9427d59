"""The entries of PutEvents that an observation becomes.

One entry for each observation, also for one that brings nothing new: it says that the source was asked. Several when
its transactions do not fit into one. EventBridge takes 1 MB a request, and so do a Lambda function that is called
asynchronously and a queue for dead letters, which get an entry in its envelope; so an entry is kept well below. The
largest transactions that Bitcoin allows are beyond that: they go without what they spend and pay, which nothing here
is made of, and say that they are trimmed.

Sources: "Sending events with PutEvents in Amazon EventBridge" (how the size is counted), "Lambda quotas", "Amazon Data
Firehose Quota" (a record's 1,000 KiB).
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from seed_code.ingestion.poller.observation import Observation, SetAside
from seed_code.ingestion.transactions import SCHEMA_VERSION, encode, in_order

__all__ = ["ENTRY_BYTES", "SET_ASIDE", "SOURCE", "TRANSACTIONS", "Entry", "bare", "of_observation", "of_set_aside"]

SOURCE = "mlops.ingestion"
TRANSACTIONS, SET_ASIDE = "Unconfirmed Transactions", "Transactions Set Aside"
"""The events' detail types."""

ENTRY_BYTES = 900_000
"""Most of an entry, as EventBridge counts: source, detail type and detail, as UTF-8."""


@dataclass(frozen=True)
class Entry:
    """One event to be: its detail type, and its detail as JSON in ASCII."""

    detail_type: str
    detail: str

    @property
    def size(self) -> int:
        """Bytes, as EventBridge counts them."""
        return len(SOURCE) + len(self.detail_type) + len(self.detail)

    def request(self, bus: str) -> dict[str, str]:
        """The entry as PutEvents takes it."""
        return {
            "EventBusName": bus,
            "Source": SOURCE,
            "DetailType": self.detail_type,
            "Detail": self.detail,
        }


def of_observation(observation: Observation, most_bytes: int = ENTRY_BYTES) -> list[Entry]:
    """An observation's transactions by time and hash, in one entry or several; one without any when it has none."""
    room = _room(TRANSACTIONS, observation.observed_at, "transactions", most_bytes)
    ordered = in_order(observation.transactions)
    parts = list(_packed((_fitting(transaction, room) for transaction in ordered), room)) or [[]]
    return [_entry(TRANSACTIONS, observation.observed_at, "transactions", part) for part in parts]


def of_set_aside(items: Iterable[SetAside], observed_at: int | None, most_bytes: int = ENTRY_BYTES) -> list[Entry]:
    """What was set aside, in as many entries as it needs: none for nothing."""
    room = _room(SET_ASIDE, observed_at, "items", most_bytes)
    texts = (_json({"reason": found.reason, "item": found.item}) for found in items)
    return [_entry(SET_ASIDE, observed_at, "items", part) for part in _packed(texts, room)]


def bare(entry: Entry) -> Entry | None:
    """An entry with no more of its transactions than the stream relies on, for a bus that refuses the whole of them.

    None when it is that already, or holds none.
    """
    detail = json.loads(entry.detail)
    if entry.detail_type != TRANSACTIONS:
        return None
    texts = [_json(_bare(transaction)) for transaction in detail["transactions"]]
    made = _entry(TRANSACTIONS, detail["observed_at"], "transactions", texts)
    return None if made == entry else made


def _fitting(transaction: dict[str, Any], room: int) -> str:
    """A transaction as JSON that fits; shorn of its inputs and outputs, or of all but what counts, when it must be."""
    slim = {name: value for name, value in transaction.items() if name not in ("inputs", "out")}
    for form in (transaction, {**slim, "trimmed": True}):
        try:
            text = encode(form).decode("ascii").rstrip("\n")
        except (ValueError, RecursionError):  # it holds what JSON does not: NaN, or a list in a list in a list …
            continue
        if len(text) <= room:
            return text
    return _json(_bare(transaction))


def _bare(transaction: dict[str, Any]) -> dict[str, Any]:
    return {**{name: transaction[name] for name in ("hash", "time", "fee")}, "trimmed": True}


def _packed(texts: Iterable[str], room: int) -> Iterator[list[str]]:
    """Texts in their order, as many together as there is room for with a comma between them."""
    part: list[str] = []
    taken = 0
    for text in texts:
        if part and taken + len(text) + 1 > room:
            yield part
            part, taken = [], 0
        part.append(text)
        taken += len(text) + 1
    if part:
        yield part


def _entry(detail_type: str, observed_at: int | None, name: str, texts: Iterable[str]) -> Entry:
    head = f'{{"schema_version":{SCHEMA_VERSION},"observed_at":{_json(observed_at)},"{name}":['
    return Entry(detail_type, f"{head}{','.join(texts)}]}}")


def _room(detail_type: str, observed_at: int | None, name: str, most_bytes: int) -> int:
    return most_bytes - _entry(detail_type, observed_at, name, []).size


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
