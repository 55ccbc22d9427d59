"""The partition of a record: what a jq query makes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import jq  # type: ignore[import-not-found]

from localcloud.firehose.errors import PartitionError


class QueryError(ValueError):
    """A query that jq does not take; the message is jq's."""


class Extraction:
    """A query, and the keys that are wanted of its result. May be used from any thread."""

    def __init__(self, query: str, keys: Sequence[str]) -> None:
        """Raises QueryError."""
        self._program, self._keys = _compiled(query), tuple(keys)

    def partition(self, data: bytes) -> Mapping[str, str]:
        """The keys' values in a record. Raises PartitionError."""
        try:
            text = data.decode()
            json.loads(text)  # jq takes several documents for one input.
        except ValueError:
            raise PartitionError("Non JSON record provided") from None
        try:
            results = self._program.input_text(text).all()
        except ValueError as error:
            raise PartitionError(f"The query fails for the record: {error}") from None
        if len(results) != 1 or not isinstance(results[0], dict):
            raise PartitionError(f"The query must give one object for the record; it gives {json.dumps(results)[:200]}")
        return dict(self._texts(results[0]))

    def _texts(self, found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        for key in self._keys:
            value = found.get(key)
            if value is None or value == "" or isinstance(value, dict | list):
                raise PartitionError(
                    f"partitionKeys values must not be null or empty; {key} is {json.dumps(value)[:100]}"
                )
            yield key, value if isinstance(value, str) else json.dumps(value)


@lru_cache(maxsize=64)
def _compiled(query: str) -> Any:
    try:
        return jq.compile(query)
    except ValueError as error:
        raise QueryError(str(error).strip()) from None
