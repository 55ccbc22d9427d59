"""PartiQL's INSERT: an item that is written unless its key is there already, up to 25 of them in one call.

moto carries a statement out over a list of all items of all tables, which takes it seconds where a table has tens of
thousands, during which nothing else is answered. So a batch that holds nothing but

    INSERT INTO "table" VALUE {'name': ?, 'other name': ?}

with its values as parameters, as programs write it, is carried out by BatchGetItem and BatchWriteItem, with no other
call in between. Every other statement is moto's.

Source: "PartiQL insert statements for DynamoDB" and "Running batch operations with PartiQL for DynamoDB" in the Amazon
DynamoDB Developer Guide; BatchStatementError in its API reference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from botocore.exceptions import ClientError

from localcloud.errors import ServiceError
from localcloud.leaf import Leaf
from localcloud.protocols.http import HttpRequest, HttpResponse

OPERATION = "BatchExecuteStatement"
_MOST = 25
_INSERT = re.compile(r"""\s*INSERT\s+INTO\s+("?)([\w.-]+)\1\s+VALUE\s*\{([^{}]*)\}\s*""", re.IGNORECASE)
_MEMBER = re.compile(r"\s*'([^']+)'\s*:\s*\?\s*")
_JSON = "application/x-amz-json-1.0"
_DUPLICATE = {"Code": "DuplicateItem", "Message": "Duplicate primary key exists in table"}

Item = Mapping[str, Mapping[str, Any]]
_Ask = Callable[[HttpRequest], HttpResponse]


@dataclass(frozen=True)
class Insert:
    """One statement."""

    table: str
    item: Item


class Inserts:
    """Carries out batches. All methods may be called from any thread."""

    def __init__(self, leaf: Leaf) -> None:
        self._leaf = leaf
        self._keys: dict[str, Sequence[str]] = {}

    def forget(self, table: str) -> None:
        """A table was made or deleted."""
        self._keys.pop(table, None)

    def read(self, body: Any) -> Sequence[Insert] | None:
        """What a call of BatchExecuteStatement inserts; None for one that is to be moto's.

        Raises ServiceError for more statements than one call takes.
        """
        statements = body.get("Statements") if isinstance(body, dict) else None
        if not isinstance(statements, list) or not statements:
            return None
        if len(statements) > _MOST:
            raise ServiceError(
                "ValidationException",
                "1 validation error detected: Value at 'statements' failed to satisfy constraint: "
                f"Member must have length less than or equal to {_MOST}",
            )
        found = [_insert(statement) for statement in statements]
        inserts = [insert for insert in found if insert is not None]
        return inserts if len(inserts) == len(found) else None

    def carry_out(
        self, request: HttpRequest, inserts: Sequence[Insert], ending: str | None
    ) -> tuple[HttpResponse, Sequence[bool]]:
        """The answer, and of each statement whether it has written its item. Raises LeafUnavailable.

        ending: what `journal.ending` gives, where all of the items end.
        """
        refused = {place: error for place, insert in enumerate(inserts) if (error := self._error(insert))}
        left = [insert for place, insert in enumerate(inserts) if place not in refused]
        response, written = self._leaf.converse("dynamodb", lambda ask: self._write(ask, request, left), ending)
        if response.status >= 400:
            return response, [False] * len(inserts)
        done = iter(written)
        results = [place not in refused and next(done) for place in range(len(inserts))]
        answers: list[dict[str, Any]] = []
        for place, (insert, is_new) in enumerate(zip(inserts, results, strict=True)):
            told = {} if is_new else {"Error": refused.get(place, _DUPLICATE)}
            answers.append({"TableName": insert.table, **told})
        # The length and the checksum are those of the answer that it was.
        headers = [header for header in response.headers if header[0].lower() not in ("content-length", "x-amz-crc32")]
        return HttpResponse(200, headers, json.dumps({"Responses": answers}).encode()), results

    def _write(self, ask: _Ask, request: HttpRequest, inserts: Sequence[Insert]) -> tuple[HttpResponse, Sequence[bool]]:
        """Write the items whose keys are not there; moto's last answer, and whose these were."""
        wanted: dict[str, dict[str, Any]] = {}
        for insert in inserts:
            asked = wanted.setdefault(insert.table, {"Keys": [], **_projection(self._keys[insert.table])})
            if (key := self._key(insert)) not in asked["Keys"]:
                asked["Keys"].append(key)
        if not wanted:
            return HttpResponse(200, [("Content-Type", request.headers.get("content-type", _JSON))]), []
        response = ask(_asking(request, "BatchGetItem", {"RequestItems": wanted}))
        if response.status >= 400:
            return response, []
        there = {(table, _text(key)) for table, keys in json.loads(response.body)["Responses"].items() for key in keys}
        written: list[bool] = []
        writes: dict[str, list[Any]] = {}
        for insert in inserts:
            place = (insert.table, _text(self._key(insert)))
            written.append(place not in there)
            there.add(place)
            if written[-1]:
                writes.setdefault(insert.table, []).append({"PutRequest": {"Item": insert.item}})
        if writes:
            response = ask(_asking(request, "BatchWriteItem", {"RequestItems": writes}))
        return response, written

    def _error(self, insert: Insert) -> Mapping[str, str] | None:
        """Why a statement cannot be carried out, whatever is in its table."""
        if insert.table not in self._keys:
            try:
                found = self._leaf.client("dynamodb").describe_table(TableName=insert.table)
            except ClientError:
                return {"Code": "ResourceNotFound", "Message": "Requested resource not found"}
            self._keys[insert.table] = [entry["AttributeName"] for entry in found["Table"]["KeySchema"]]
        missing = [name for name in self._keys[insert.table] if not isinstance(insert.item.get(name), dict)]
        if missing:
            return {"Code": "ValidationError", "Message": f"Missing the key {missing[0]} in the item"}
        return None

    def _key(self, insert: Insert) -> Item:
        return {name: insert.item[name] for name in self._keys[insert.table]}


def _insert(statement: Any) -> Insert | None:
    text = statement.get("Statement") if isinstance(statement, dict) else None
    form = _form(text) if isinstance(text, str) else None
    values = statement.get("Parameters") if form is not None else None
    if form is None or not isinstance(values, list) or len(values) != len(form[1]):
        return None
    return Insert(form[0], dict(zip(form[1], values, strict=True)))


@lru_cache(maxsize=64)
def _form(statement: str) -> tuple[str, Sequence[str]] | None:
    """The table and the members of an INSERT whose values are parameters."""
    found = _INSERT.fullmatch(statement)
    members = [_MEMBER.fullmatch(member) for member in found[3].split(",")] if found is not None else []
    names = [member[1] for member in members if member is not None]
    if found is None or not names or len(names) < len(members) or len(set(names)) < len(names):
        return None
    return found[2], names


def _projection(names: Sequence[str]) -> dict[str, Any]:
    called = {f"#{number}": name for number, name in enumerate(names)}
    return {"ProjectionExpression": ",".join(called), "ExpressionAttributeNames": called}


def _asking(request: HttpRequest, operation: str, body: Any) -> HttpRequest:
    """The same caller's request for something else."""
    target = request.headers.get("x-amz-target", "").partition(".")[0]
    return replace(
        request, headers={**request.headers, "x-amz-target": f"{target}.{operation}"}, body=json.dumps(body).encode()
    )


def _text(key: Item) -> str:
    return json.dumps(key, sort_keys=True)
