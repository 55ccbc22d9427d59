"""Streams and their shards as values: which shard a record belongs to, and what becomes of shards that are split."""

from __future__ import annotations

import hashlib
import itertools
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

MOST_HASH = 2**128 - 1
"""The greatest hash key. Partition keys are hashed to 128 bits with MD5."""
PROVISIONED, ON_DEMAND = "PROVISIONED", "ON_DEMAND"
ON_DEMAND_SHARDS = 4
"""What a new on-demand stream has: 4 MB/s together."""
DEFAULT_RETENTION_HOURS, DEFAULT_MOST_RECORD_KIB = 24, 1024

# Real ones have 56 digits, too.
_NUMBER_PREFIX, _NUMBER_DIGITS = "4965", 52


def sequence_number(position: int) -> str:
    """A position in a stream as AWS writes it."""
    return f"{_NUMBER_PREFIX}{position:0{_NUMBER_DIGITS}d}"


def position_of(number: str) -> int:
    """The position that a sequence number stands for. Raises ValueError for a number that is none of localcloud's."""
    digits = number.removeprefix(_NUMBER_PREFIX)
    if len(number) != len(_NUMBER_PREFIX) + _NUMBER_DIGITS or len(digits) != _NUMBER_DIGITS or not digits.isdecimal():
        raise ValueError(f"{number!r} is no sequence number of a stream")
    return int(digits)


def hash_of(partition_key: str) -> int:
    """The hash key of a partition key."""
    return int.from_bytes(hashlib.md5(partition_key.encode(), usedforsecurity=False).digest(), "big")


def shard_id(number: int) -> str:
    """A shard's id, as `shardId-000000000003`."""
    return f"shardId-{number:012d}"


@dataclass(frozen=True)
class Shard:
    """A range of hash keys, and the positions between which it takes records."""

    number: int
    first_hash: int
    last_hash: int
    first_position: int
    """Its records come after this position."""
    opened_ms: int
    """When it was made, in milliseconds since 1970."""
    last_position: int | None = None
    """Where it was closed; None while it is open."""
    closed_ms: int | None = None
    parents: tuple[int, ...] = ()
    """The shard that was split into it, or the two that were merged into it."""

    @property
    def id(self) -> str:
        return shard_id(self.number)

    @property
    def is_open(self) -> bool:
        return self.last_position is None


@dataclass(frozen=True)
class Stream:
    """A stream as it is described. It is never changed, only replaced."""

    name: str
    arn: str
    table: int
    """What its records are kept under: a stream of the same name that is made later has none of them."""
    created_at: datetime
    shards: tuple[Shard, ...]
    """All that there have been, in the order in which they were made."""
    mode: str = PROVISIONED
    retention_hours: int = DEFAULT_RETENTION_HOURS
    most_record_kib: int = DEFAULT_MOST_RECORD_KIB
    key_id: str | None = None
    """The KMS key as it was named; None without encryption."""
    tags: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def open_shards(self) -> Sequence[Shard]:
        """Those that take records, in the order of their hash keys."""
        return sorted((shard for shard in self.shards if shard.is_open), key=lambda shard: shard.first_hash)

    @cached_property
    def _first_hashes(self) -> list[int]:
        return [shard.first_hash for shard in self.open_shards]

    def shard_for(self, hash_key: int) -> Shard:
        """The open shard that a record with this hash key goes to."""
        return self.open_shards[bisect_right(self._first_hashes, hash_key) - 1]

    def shard(self, shard_id: str) -> Shard | None:
        """The shard of that id, if there is one. Ids may be written short, as `0` or `shardId-0`."""
        digits = shard_id.removeprefix("shardId-")
        if not digits.isdecimal() or int(digits) >= len(self.shards):
            return None
        return self.shards[int(digits)]

    def children(self, shard: Shard) -> Sequence[Shard]:
        """What the shard was split or merged into."""
        return [one for one in self.shards if shard.number in one.parents]

    def split(self, shard: Shard, start_of_second: int, position: int, now_ms: int) -> Stream:
        """The stream with the shard closed at `position`, and two in its place."""
        closed, first = replace(shard, last_position=position, closed_ms=now_ms), len(self.shards)
        return self._with(
            [closed],
            [
                Shard(first, shard.first_hash, start_of_second - 1, position, now_ms, parents=(shard.number,)),
                Shard(first + 1, start_of_second, shard.last_hash, position, now_ms, parents=(shard.number,)),
            ],
        )

    def merge(self, shard: Shard, adjacent: Shard, position: int, now_ms: int) -> Stream:
        """The stream with both closed at `position`, and one in their place."""
        low, high = sorted((shard, adjacent), key=lambda one: one.first_hash)
        parents = (shard.number, adjacent.number)
        child = Shard(len(self.shards), low.first_hash, high.last_hash, position, now_ms, parents=parents)
        closed = [replace(one, last_position=position, closed_ms=now_ms) for one in (shard, adjacent)]
        return self._with(closed, [child])

    def _with(self, changed: Sequence[Shard], added: Sequence[Shard]) -> Stream:
        by_number = {shard.number: shard for shard in (*self.shards, *changed, *added)}
        return replace(self, shards=tuple(by_number[number] for number in sorted(by_number)))


def even_shards(count: int, position: int, now_ms: int) -> tuple[Shard, ...]:
    """The shards of a new stream, which divide the hash keys evenly."""
    firsts = [(MOST_HASH + 1) * number // count for number in range(count + 1)]
    return tuple(
        Shard(number, first, after - 1, position, now_ms)
        for number, (first, after) in enumerate(itertools.pairwise(firsts))
    )


def to_document(stream: Stream) -> dict[str, Any]:
    """The stream for the store. Hash keys are longer than its numbers: they are texts there."""
    return {
        "Name": stream.name,
        "Arn": stream.arn,
        "Table": stream.table,
        "CreatedAt": stream.created_at,
        "Mode": stream.mode,
        "RetentionHours": stream.retention_hours,
        "MostRecordKiB": stream.most_record_kib,
        "KeyId": stream.key_id,
        "Tags": dict(stream.tags),
        "Shards": [
            {
                "First": str(shard.first_hash),
                "Last": str(shard.last_hash),
                "Begins": shard.first_position,
                "Opened": shard.opened_ms,
                "Ends": shard.last_position,
                "Closed": shard.closed_ms,
                "Parents": list(shard.parents),
            }
            for shard in stream.shards
        ],
    }


def from_document(document: Mapping[str, Any]) -> Stream:
    """The stream that `to_document` was given."""
    return Stream(
        name=document["Name"],
        arn=document["Arn"],
        table=document["Table"],
        created_at=document["CreatedAt"],
        mode=document["Mode"],
        retention_hours=document["RetentionHours"],
        most_record_kib=document["MostRecordKiB"],
        key_id=document["KeyId"],
        tags=document["Tags"],
        shards=tuple(
            Shard(
                number,
                first_hash=int(one["First"]),
                last_hash=int(one["Last"]),
                first_position=one["Begins"],
                opened_ms=one["Opened"],
                last_position=one["Ends"],
                closed_ms=one["Closed"],
                parents=tuple(one["Parents"]),
            )
            for number, one in enumerate(document["Shards"])
        ),
    )
