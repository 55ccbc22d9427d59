"""Records of the streams as lines of JSON: events from those of transactions, rows to those of the minutes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from seed_code.ingestion.operator.windows import Event

__all__ = ["MINUTES_KEY", "encode", "event", "events"]

MINUTES_KEY = "minutes"
"""The partition key of every row: they have one order."""
_LAST_TIME = 253_402_300_799  # the end of the year 9999
_LARGEST = 2**63 - 1  # of SQL's BIGINT
_encode = json.JSONEncoder(separators=(",", ":")).encode
_decode = json.JSONDecoder().decode  # `json.loads` of bytes takes twice as long: it looks for the encoding


def event(line: bytes) -> Event | None:
    """The event of a line; None when it is none.

    It is an object whose `hash` is a text or null, `time` whole seconds since 1970 and `fee` a whole number or null (or
    not there); other members do not matter.
    """
    try:
        record = _decode(line.decode())
    except (ValueError, RecursionError):
        return None
    if type(record) is not dict:
        return None
    name, time, fee = record.get("hash"), record.get("time"), record.get("fee")
    if type(time) is not int or not 0 < time <= _LAST_TIME or not (name is None or type(name) is str):
        return None
    if not (fee is None or (type(fee) is int and 0 <= fee <= _LARGEST)):
        return None
    return name, time, fee


def events(records: Iterable[bytes]) -> tuple[list[Event], int]:
    """The events of a stream's records, each a line or several, and how many of their lines are none."""
    found: list[Event] = []
    broken = 0
    for data in records:
        read = event(data)
        if read is not None:
            found.append(read)
            continue
        for line in data.splitlines():
            read = event(line)
            if read is not None:
                found.append(read)
            elif line.strip():
                broken += 1
    return found, broken


def encode(row: dict[str, Any]) -> bytes:
    """A row, or a record of what was late, as a line."""
    return _encode(row).encode("ascii") + b"\n"
