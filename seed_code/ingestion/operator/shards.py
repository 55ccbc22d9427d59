"""Reading a Kinesis stream: all its shards, in the order in which records arrived, from a position that can be kept.

A shard's records are read in their order; a shard that came of others, when a stream was split or merged, only after
those have been read to their ends. Shards beside each other are brought into one order by the moments at which the
stream took the records: a record waits until no other shard can still give an earlier one (a quiet shard that begins to
give may be some turns behind). With one key, as the records of transactions have, that is the order of its shard.

Sources: Amazon Kinesis Data Streams API Reference, "GetShardIterator", "GetRecords", "ListShards"; Developer Guide,
"Quotas and limits" and "Resharding a stream".
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError as AwsError

__all__ = ["Position", "Shards"]

MOST_RECORDS = 10_000  # GetRecords' limit
# An on-demand stream has at least four shards, and transactions, which have one key, go to one of them: a shard that
# gave nothing for so many turns is asked in one turn of so many.
QUIET_TURNS, QUIET_EVERY = 20, 8
_THROTTLED = ("ProvisionedThroughputExceededException", "LimitExceededException", "KMSThrottlingException")
_EXPIRED = "ExpiredIteratorException"

Position = dict[str, str | None]
"""Of each shard, the number of the last record that was given out; None where none was. A shard that has ended, and was
given out to its end, has `ENDED`."""
ENDED = "ended"


@dataclass
class _Shard:
    """One shard that is being read."""

    iterator: str | None = None
    read: str | None = None  # the last record that GetRecords gave
    given: str | None = None  # the last record that went on
    waiting: deque[dict[str, Any]] = field(default_factory=deque)
    behind_ms: int = 1  # as GetRecords says; not 0 until it has
    closed: bool = False  # GetRecords gave its last record
    empty: int = 0  # turns in a row that gave nothing

    def take(self, until: datetime | None) -> Iterator[dict[str, Any]]:
        """Its waiting records that arrived until then; all of them for None."""
        while self.waiting and (until is None or _arrived(self.waiting[0]) <= until):
            yield self.waiting.popleft()


class Shards:
    """The shards of one stream."""

    def __init__(self, client: Any, stream: str, position: Mapping[str, str | None]) -> None:
        """Args:
        client: botocore's for Kinesis.
        stream: its name.
        position: where to go on, as `position` gave it; empty for the oldest record that the stream still has.
        """
        self._client, self._stream = client, stream
        self._ended = {shard for shard, number in position.items() if number == ENDED}
        self._reading = {
            shard: _Shard(read=number, given=number) for shard, number in position.items() if number != ENDED
        }
        self._changed = True
        self._turn = 0

    @property
    def position(self) -> Position:
        """Where the records that were given out end."""
        return {shard: ENDED for shard in sorted(self._ended)} | {
            name: shard.given for name, shard in sorted(self._reading.items())
        }

    @property
    def behind_ms(self) -> int:
        """How far the shard that is furthest behind is behind its end, in milliseconds; 0 when all is read."""
        return max((shard.behind_ms for shard in self._reading.values() if not shard.closed), default=0)

    def read(self) -> list[bytes]:
        """What has arrived since: the data of records, in order. Asks every shard once, a quiet one now and then.

        A throttled shard gives nothing this time. Raises botocore's errors for what is wrong otherwise.
        """
        self._turn += 1
        if self._changed:
            self._look_for_shards()
        for name, shard in self._reading.items():
            if not shard.waiting and not shard.closed and (shard.empty < QUIET_TURNS or not self._turn % QUIET_EVERY):
                self._ask(name, shard)
        given = self._give_out()
        for name in [name for name, shard in self._reading.items() if shard.closed and not shard.waiting]:
            del self._reading[name]
            self._ended.add(name)
            self._changed = True
        return given

    def _look_for_shards(self) -> None:
        """Begin with the shards whose parents are read to their ends; forget ended ones that the stream has not."""
        listed = self._list()
        self._ended &= listed.keys()
        for name in [name for name in self._reading.keys() - listed.keys() if not self._reading[name].waiting]:
            del self._reading[name]  # the stream no longer keeps what it held
        unread = (listed.keys() - self._ended) | self._reading.keys()
        for name, parents in listed.items():
            if name in unread and name not in self._reading and not any(parent in unread for parent in parents):
                self._reading[name] = _Shard()
        self._changed = False

    def _list(self) -> dict[str, list[str]]:
        """The stream's shards, each with those that it came of."""
        found: dict[str, list[str]] = {}
        wanted: dict[str, Any] = {"StreamName": self._stream}
        while True:
            page = self._client.list_shards(**wanted)
            for shard in page["Shards"]:
                parents = (shard.get("ParentShardId"), shard.get("AdjacentParentShardId"))
                found[shard["ShardId"]] = [parent for parent in parents if parent]
            if not page.get("NextToken"):
                return found
            wanted = {"NextToken": page["NextToken"]}

    def _ask(self, name: str, shard: _Shard) -> None:
        try:
            if shard.iterator is None:
                shard.iterator = self._iterator(name, shard.read)
            answer = self._client.get_records(ShardIterator=shard.iterator, Limit=MOST_RECORDS)
        except AwsError as error:
            code = error.response["Error"]["Code"]
            if code == _EXPIRED:
                shard.iterator = None  # the next turn asks for another one
            elif code not in _THROTTLED:
                raise
            shard.behind_ms = max(shard.behind_ms, 1)  # it may have more: the others wait for it
            return
        shard.waiting.extend(answer["Records"])
        shard.empty = 0 if answer["Records"] or answer.get("MillisBehindLatest") else shard.empty + 1
        if answer["Records"]:
            shard.read = answer["Records"][-1]["SequenceNumber"]
        shard.iterator = answer.get("NextShardIterator")
        shard.behind_ms = answer.get("MillisBehindLatest") or 0
        shard.closed = shard.iterator is None

    def _iterator(self, name: str, read: str | None) -> str:
        place = (
            {"ShardIteratorType": "TRIM_HORIZON"}
            if read is None
            else {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": read}
        )
        answer = self._client.get_shard_iterator(StreamName=self._stream, ShardId=name, **place)
        return str(answer["ShardIterator"])

    def _give_out(self) -> list[bytes]:
        """The records that no other shard can give an earlier one than, by their moments of arrival."""
        behind = [shard for shard in self._reading.values() if shard.behind_ms and not shard.closed]
        if not all(shard.waiting for shard in behind):
            return []
        until = min((max(map(_arrived, shard.waiting)) for shard in behind), default=None)
        ready = [[(shard, record) for record in shard.take(until)] for shard in self._reading.values()]
        given: list[bytes] = []
        for shard, record in heapq.merge(*ready, key=lambda pair: _arrived(pair[1])):
            shard.given = record["SequenceNumber"]
            given.append(record["Data"])
        return given


def _arrived(record: dict[str, Any]) -> datetime:
    moment: datetime = record["ApproximateArrivalTimestamp"]
    return moment
