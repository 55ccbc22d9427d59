"""How far an event source mapping is in its stream: a document for each lane of each shard, written after a batch is
handled and before the next one is begun."""

from __future__ import annotations

from collections.abc import Mapping

from localcloud.store import Store

_KIND = "lambda/stream-position"


class Positions:
    """The positions of one mapping. Safe to call from any thread."""

    def __init__(self, store: Store, mapping_id: str, start: int, lanes: int) -> None:
        """start: the position of a lane that has handled nothing. lanes: how many of them a shard has.

        Where a shard had another number of lanes before, each begins where the last of them was: what others had
        handled beyond that is handled once more.
        """
        self._store, self._prefix, self._start, self._lanes = store, f"{mapping_id}/", start, lanes
        found: dict[int, dict[int, Mapping[str, int]]] = {}
        for key, document in store.list(_KIND, self._prefix):
            _, shard, lane = key.rsplit("/", 2)
            found.setdefault(int(shard), {})[int(lane)] = document
        self._known = {shard: self._of_shard(shard, documents) for shard, documents in found.items()}

    def get(self, shard: int, lane: int) -> int:
        """The position of the last record that a lane is done with."""
        return self._known.get(shard, {}).get(lane, self._start)

    def put(self, shard: int, lane: int, position: int) -> None:
        """A lane is done with all up to a position."""
        self._store.put(_KIND, f"{self._prefix}{shard}/{lane}", {"Position": position, "Lanes": self._lanes})

    def _of_shard(self, shard: int, documents: Mapping[int, Mapping[str, int]]) -> dict[int, int]:
        before = {document["Lanes"] for document in documents.values()}
        if before == {self._lanes}:
            return {lane: document["Position"] for lane, document in documents.items()}
        expected = range(max(before))
        least = min(documents[lane]["Position"] if lane in documents else self._start for lane in expected)
        with self._store.transaction():
            for lane in documents:
                self._store.delete(_KIND, f"{self._prefix}{shard}/{lane}")
            for lane in range(self._lanes):
                self.put(shard, lane, least)
        return dict.fromkeys(range(self._lanes), least)


def forget(store: Store, mapping_id: str) -> None:
    """A mapping is gone."""
    with store.transaction():
        for key, _ in store.list(_KIND, f"{mapping_id}/"):
            store.delete(_KIND, key)
