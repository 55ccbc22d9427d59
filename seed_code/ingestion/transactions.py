"""A transaction: what of the API's object the stream relies on, and how it is written as a record.

The object goes through the stream as it came; what is checked here are the three members that minutes are made of.
`hash` identifies a transaction, `time` is when the API first saw it, in whole seconds since 1970, and `fee` is what it
pays, in satoshi, null where the API does not know it yet. The standard library only: the poller and the Lambda
functions share this module.
"""

import json
import re
from collections.abc import Iterable
from typing import Any

__all__ = [
    "FUTURE_SECONDS",
    "LARGEST_FEE",
    "PARTITION_KEY",
    "SCHEMA_VERSION",
    "Unusable",
    "check",
    "encode",
    "heartbeat",
    "in_order",
]

SCHEMA_VERSION = 1
"""Of the events' details."""

LARGEST_FEE = 2_100_000_000_000_000
"""All satoshi that there can ever be: 21 million bitcoin."""

FUTURE_SECONDS = 60
"""How far a transaction's time may be ahead of the moment when it was seen: clocks differ a little."""

PARTITION_KEY = "transactions"
"""Of every record on the stream of transactions: one shard, so that they have one order."""

_HASH = re.compile(r"[0-9A-Za-z]{1,128}", re.ASCII)


class Unusable(ValueError):
    """What the source gave is no transaction; the message is a sentence that says why."""


def check(item: object, observed_at: int) -> dict[str, Any]:
    """The transaction in what the source gave: the same members, `fee` among them.

    Args:
        observed_at: the source's clock when it gave the item, in seconds since 1970.

    Raises:
        Unusable: when it is no object, has no proper hash or time, or a fee that no transaction can have. A time ahead
            of the source's clock by more than `FUTURE_SECONDS` is refused too: it would close minutes still to come.
    """
    if not isinstance(item, dict):
        raise Unusable(f"the item is {_shown(item)}; expected an object")
    name = item.get("hash")
    if not isinstance(name, str) or not _HASH.fullmatch(name):
        raise Unusable(f"the hash is {_shown(name)}; expected 1 to 128 letters and digits")
    time = item.get("time")
    if type(time) is not int or time <= 0:
        raise Unusable(f"the time is {_shown(time)}; expected whole seconds since 1970, more than 0")
    if time > observed_at + FUTURE_SECONDS:
        raise Unusable(
            f"the time is {_shown(time)}, from the future: the source's clock said {observed_at}; expected at most "
            f"{FUTURE_SECONDS} seconds more"
        )
    fee = item.get("fee")
    if fee is not None and (type(fee) is not int or not 0 <= fee <= LARGEST_FEE):
        raise Unusable(f"the fee is {_shown(fee)}; expected null or whole satoshi from 0 to {LARGEST_FEE}")
    return item if "fee" in item else {**item, "fee": None}


def in_order(transactions: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Transactions in the order in which an event's are put on the stream: by time, then by hash."""
    return sorted(transactions, key=lambda transaction: (transaction["time"], transaction["hash"]))


def encode(transaction: dict[str, Any]) -> bytes:
    """A record of the stream: compact JSON of one line, with its end.

    Raises:
        ValueError: when a member is NaN or an infinity, which JSON does not know.
    """
    return json.dumps(transaction, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


def heartbeat(observed_at: int) -> bytes:
    """The record that says that the source was asked, whether or not it had anything new: it has no hash."""
    return encode({"hash": None, "time": observed_at, "fee": None})


def _shown(value: object) -> str:
    """A value as a message shows it, short whatever it is."""
    if value is None:
        return "null"
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > 128:
        return "a number of more than 38 digits"  # Python refuses to write the longest of them
    return repr(value)[:80]
