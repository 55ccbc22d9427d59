"""The transactions that were passed on: a DynamoDB table whose items expire.

It only spares the stream repetitions. A transaction that is passed on twice is counted once (minutes are made of
distinct hashes); one that is taken for known and was not passed on would be lost. So whatever cannot be read counts as
not known, and what could not be written is passed on again with the next page that has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from seed_code.ingestion.functions.account import log

KEY, EXPIRES = "hash", "expires"
_READ_AT_ONCE = 100  # BatchGetItem's most
_WRITTEN_AT_ONCE = 25  # BatchExecuteStatement's most
_ROUNDS = 3  # of asking for what a throttled table left out
_THERE = "DuplicateItem"


class Seen:
    """The table.

    It is written to by PartiQL's INSERT, which refuses an item whose key is there, as a put on that condition does: of
    those a call takes one, of these 25, and a function's time goes into calls.

    Source: "Using time to live (TTL) in DynamoDB", "BatchGetItem" and "Running batch operations with PartiQL for
    DynamoDB" in Amazon DynamoDB's documentation. An item that has expired is there until it is deleted, some days at
    most: a transaction may be known for longer than was asked.
    """

    def __init__(self, dynamodb: Any, table: str) -> None:
        """dynamodb: boto3's client."""
        self._dynamodb, self._table = dynamodb, table
        self._insert = f"INSERT INTO \"{table}\" VALUE {{'{KEY}': ?, '{EXPIRES}': ?}}"

    def known(self, hashes: Iterable[str]) -> set[str]:
        """Those of some hashes that have been passed on, as far as the table says."""
        wanted = list(dict.fromkeys(hashes))
        found: set[str] = set()
        for start in range(0, len(wanted), _READ_AT_ONCE):
            found |= self._read(wanted[start : start + _READ_AT_ONCE])
        return found

    def mark(self, hashes: Sequence[str], expires: int, seconds_left: Callable[[], float]) -> None:
        """Remember hashes that have been passed on.

        Args:
            expires: seconds since 1970.
            seconds_left: of the invocation; what there is no time for is not remembered.

        A hash that is there keeps its own time: another invocation has passed it on as well. What the table does not
        take is logged.
        """
        failures: dict[str, str] = {}
        for start in range(0, len(hashes), _WRITTEN_AT_ONCE):
            failures |= self._write(hashes[start : start + _WRITTEN_AT_ONCE], str(expires), seconds_left)
        if failures:
            first = next(iter(failures.values()))
            log.error("transactions were passed on but not marked", extra={"count": len(failures), "first": first})

    def _read(self, hashes: Sequence[str]) -> set[str]:
        wanted: dict[str, Any] = {
            self._table: {
                "Keys": [{KEY: {"S": name}} for name in hashes],
                "ProjectionExpression": "#hash",
                "ExpressionAttributeNames": {"#hash": KEY},
            }
        }
        found: set[str] = set()
        for _ in range(_ROUNDS):
            try:
                answer = self._dynamodb.batch_get_item(RequestItems=wanted)
            except (ClientError, BotoCoreError) as error:
                log.warning("the table of known transactions was not read", extra={"because": str(error)})
                return found
            found |= {item[KEY]["S"] for item in answer["Responses"].get(self._table, [])}
            wanted = answer.get("UnprocessedKeys") or {}
            if not wanted:
                break
        return found

    def _write(self, hashes: Sequence[str], expires: str, seconds_left: Callable[[], float]) -> dict[str, str]:
        """Insert some items; why those were not that are not there now, by hash."""
        failures = dict.fromkeys(hashes, "no time was left")
        for _ in range(_ROUNDS):
            if not failures or seconds_left() <= 1:
                break
            left = list(failures)
            statements = [{"Statement": self._insert, "Parameters": [{"S": name}, {"N": expires}]} for name in left]
            try:
                answers = self._dynamodb.batch_execute_statement(Statements=statements)["Responses"]
            except (ClientError, BotoCoreError) as error:
                return dict.fromkeys(left, str(error))
            errors = {name: answer.get("Error") for name, answer in zip(left, answers, strict=True)}
            failures = {
                name: f"{error.get('Code')}: {error.get('Message', '')}"
                for name, error in errors.items()
                if error is not None and error.get("Code") != _THERE
            }
        return failures
