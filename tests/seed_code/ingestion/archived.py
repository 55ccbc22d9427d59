"""An archive as Firehose leaves it, made of records."""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from tests.seed_code.ingestion.fake_s3 import S3

PREFIX = "ingestion/raw"
URI = f"s3://bucket/{PREFIX}"
_NUMBERS = itertools.count(1)


def at(text: str) -> int:
    """Seconds since 1970 of a time of 2026-11-22, such as `14:03:05`."""
    return int(datetime.fromisoformat(f"2026-11-22T{text}").replace(tzinfo=UTC).timestamp())


def transaction(name: str, time: int, fee: int | None = 9000) -> dict[str, Any]:
    """A record of a transaction."""
    return {"hash": name, "time": time, "fee": fee, "inputs": [{"prev_out": {"value": 1}}], "out": []}


def heartbeat(time: int) -> dict[str, Any]:
    """A record of a heartbeat."""
    return {"hash": None, "time": time, "fee": None}


def packed(records: Iterable[dict[str, Any]]) -> bytes:
    """A file's content."""
    return gzip.compress(b"".join(json.dumps(record).encode() + b"\n" for record in records))


def key(time: int) -> str:
    """A new file's key, in the folder of a time; later ones come after earlier ones."""
    folder = f"{datetime.fromtimestamp(time, UTC):day=%Y-%m-%d/hour=%H}"
    return f"{PREFIX}/{folder}/fraud-archive-1-{next(_NUMBERS):06}.gz"


def deliver(s3: S3, *records: dict[str, Any]) -> None:
    """Write records as one delivery: a file for each hour."""
    by_hour: dict[int, list[dict[str, Any]]] = {}
    for record in records:
        by_hour.setdefault(record["time"] // 3600 * 3600, []).append(record)
    for hour, some in by_hour.items():
        s3.objects[key(hour)] = packed(some)
