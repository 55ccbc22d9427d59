"""DynamoDB's time to live: an item whose attribute says so is gone within a minute of localcloud's clock.

On AWS that takes up to a few days, and reads give expired items until then: a reader that must not see them filters
(DynamoDB Developer Guide, "Using time to live (TTL)"). Here they go with the next full minute, so that advancing the
clock shows what a table is like later.

moto keeps tables and knows nothing of this. To look through a table takes it a third of a millisecond an item, during
which nothing else is answered. So the writes are followed on their way to it, and when each item ends is noted in a
file of our own:

    before moto is told    that the item may end, so that no note is missing after a kill
    after it was done      that it does end, where the write says so; an item is then deleted without another look

An item that only may end is looked at when its moment comes, and its present value counts. Items that are there when a
table gets its time to live are looked through once. Of PartiQL's statements only inserts are followed
(`localcloud.inserts`); what others write, and what comes from backups, is not. A batch of inserts that end together is
told apart in the leaf's journal: when they have ended it is replayed no more, nor is their deletion, so that a table
that is written to for months is there at once after a restart.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from localcloud import journal
from localcloud.clients import credential_scope
from localcloud.context import Context
from localcloud.inserts import OPERATION, Insert, Inserts
from localcloud.leaf import LeafUnavailable
from localcloud.protocols import models
from localcloud.protocols.http import HttpRequest, HttpResponse
from localcloud.store import opened, transaction
from localcloud.timetable import Entry

_LOG = logging.getLogger(__name__)
_FORMAT = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS ends (
    table_name TEXT NOT NULL,
    key TEXT NOT NULL,          -- in DynamoDB's JSON
    due INTEGER NOT NULL,       -- epoch seconds
    sure INTEGER NOT NULL,      -- whether the item ends then, and not only may: 2 for one that was inserted
    PRIMARY KEY (table_name, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_due ON ends (due);
-- Tables that are still to be looked through.
CREATE TABLE IF NOT EXISTS unread (table_name TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_MINUTE = 60
# What BatchWriteItem takes.
_AT_ONCE = 25
# AWS leaves items alone whose time is more than five years past: it takes that for a mistake.
_OLDEST_SECONDS = 5 * 366 * 86_400
_WRITES = frozenset({"PutItem", "UpdateItem", "BatchWriteItem", "TransactWriteItems"})
_ABOUT_TABLES = frozenset({"CreateTable", "DeleteTable", "UpdateTimeToLive"})
_BY_STATEMENT = frozenset({"ExecuteStatement", "BatchExecuteStatement", "ExecuteTransaction"})

_SURE, _INSERTED = 1, 2

Item = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class _Note:
    """What a request writes."""

    table: str
    key: str
    end: int | None
    """When the item ends (epoch seconds); None if it does not."""
    sure: bool
    """Whether that follows from the request alone."""
    inserted: bool = False
    """Whether the item was not there before."""


@dataclass(frozen=True)
class _Table:
    """A table whose items end."""

    attribute: str
    keys: Sequence[str]

    def key_of(self, item: Item) -> str | None:
        """The key in an item, as text; None where it is not whole, so that DynamoDB refuses the item."""
        if any(not isinstance(item.get(name), dict) for name in self.keys):
            return None
        return json.dumps({name: _plain(item[name]) for name in self.keys}, separators=(",", ":"))

    def end_of(self, item: Item) -> int | None:
        """When an item ends (epoch seconds); None for one that does not, or not by a number."""
        try:
            return int(Decimal(item[self.attribute]["N"]))
        except (KeyError, TypeError, ValueError, OverflowError, InvalidOperation):
            return None


class Expiry:
    """Answers DynamoDB's calls. All methods may be called from any thread."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._ends = _Ends(context.state_dir / "dynamodb" / "ends.sqlite")
        self._tables: dict[str, _Table | None] = {}
        self._inserts = Inserts(context.leaf)
        # Held from the look at an item's value to its deletion, and while one is written.
        self._writing = threading.RLock()
        self._armed: Entry | None = None
        self._arming = threading.Lock()
        self._closing = False

    def start(self) -> None:
        """Enter what is due next, and go on with what an earlier process had not looked through."""
        for name in self._ends.unread():
            self._look_through_soon(name)
        self._arm()

    def stop(self) -> None:
        """Delete no more. The timetable has stopped before."""
        self._closing = True
        self._ends.close()

    def handle(self, request: HttpRequest) -> HttpResponse:
        """The answer to a request. Raises LeafUnavailable."""
        operation = models.operation_name(request, models.JSON)
        if operation not in _WRITES | _ABOUT_TABLES | _BY_STATEMENT:
            return self._forward(request)
        try:
            body = json.loads(request.body)
        except ValueError:
            body = None
        if operation in _BY_STATEMENT:
            return self._of_statements(request, operation, body)
        if not isinstance(body, dict):
            return self._forward(request)  # Malformed: DynamoDB says so.
        if operation in _ABOUT_TABLES:
            return self._of_table(request, operation, body)
        try:
            notes = list(self._notes(_written(operation, body)))
        except (AttributeError, KeyError, TypeError):
            return self._forward(request)  # Malformed, too.
        if not notes:
            return self._forward(request)
        with self._writing:
            self._ends.expect(notes)
            response = self._forward(request)
            if response.status < 400 and not _is_in_part(response):
                self._ends.confirm([note for note in notes if note.sure])
        self._arm()
        return response

    def _forward(self, request: HttpRequest) -> HttpResponse:
        return self._context.leaf.handle("dynamodb", request)

    def _of_statements(self, request: HttpRequest, operation: str, body: Any) -> HttpResponse:
        inserts = self._inserts.read(body) if operation == OPERATION else None
        if inserts is not None:
            return self._insert(request, inserts)
        with self._writing:
            self._ends.doubt()
            return self._forward(request)

    def _insert(self, request: HttpRequest, inserts: Sequence[Insert]) -> HttpResponse:
        notes = [list(self._notes([(insert.table, insert.item, True)])) for insert in inserts]
        ends = {note.end for of_one in notes for note in of_one}
        tables = {insert.table for insert in inserts}
        # Of a table whose items do not end there are no notes.
        ending = self._ending(tables.pop(), ends.pop()) if len(ends) == len(tables) == 1 else None
        with self._writing:
            self._ends.expect([note for of_one in notes for note in of_one])
            response, written = self._inserts.carry_out(request, inserts, ending)
            done = [of_one for of_one, is_new in zip(notes, written, strict=True) if is_new]
            # One that is told apart in the journal is deleted so, too.
            self._ends.confirm([replace(note, inserted=ending is not None) for of_one in done for note in of_one])
        self._arm()
        return response

    def _ending(self, name: str, end: int | None) -> str | None:
        table = self._table(name)
        return journal.ending(name, table.attribute, end) if table is not None and end is not None else None

    def _of_table(self, request: HttpRequest, operation: str, body: Any) -> HttpResponse:
        with self._writing:
            response = self._forward(request)
            name = _name(body.get("TableName"))
            if response.status >= 400 or name is None:
                return response
            # What is noted may be of another table of that name, or of another attribute.
            self._tables.pop(name, None)
            self._inserts.forget(name)
            self._ends.forget(name)
            if operation == "UpdateTimeToLive" and self._table(name) is not None:
                self._ends.set_unread(name)
                self._look_through_soon(name)
        return response

    def _notes(self, written: Iterable[tuple[Any, Item, bool]]) -> Iterator[_Note]:
        """What is to be noted of items that are about to be written: table, item, and whether it is a whole one."""
        now = int(self._context.clock.now().timestamp())
        for given, item, is_whole in written:
            name = _name(given)
            table = self._table(name) if name is not None else None
            key = table.key_of(item) if table is not None else None
            if name is None or table is None or key is None:
                continue
            # What an update makes of an item is seen when it is there: at the next minute.
            end = table.end_of(item) if is_whole else now
            if end is not None and end <= now - _OLDEST_SECONDS:
                end = None
            yield _Note(name, key, end, is_whole)

    def _table(self, name: str) -> _Table | None:
        """A table whose items end; None for another one, and for one that there is not."""
        if name in self._tables:
            return self._tables[name]
        # No call about tables comes in between.
        with self._writing:
            try:
                found = self._described(name)
            except ClientError:
                return None
            self._tables[name] = found
            return found

    def _described(self, name: str) -> _Table | None:
        client = self._context.leaf.client("dynamodb")
        found = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        if found["TimeToLiveStatus"] != "ENABLED":
            return None
        schema = client.describe_table(TableName=name)["Table"]["KeySchema"]
        return _Table(found["AttributeName"], [entry["AttributeName"] for entry in schema])

    def _look_through_soon(self, name: str) -> None:
        self._context.timetable.at(
            self._context.clock.now(), lambda: self._look_through(name), f"look through the table {name}"
        )

    def _look_through(self, name: str) -> None:
        """Note when the items end that are in a table."""
        try:
            table = self._table(name)
            if table is not None:
                names = {f"#{number}": attribute for number, attribute in enumerate({*table.keys, table.attribute})}
                pages = self._context.leaf.client("dynamodb").get_paginator("scan")
                for page in pages.paginate(
                    TableName=name, ProjectionExpression=",".join(names), ExpressionAttributeNames=names
                ):
                    if self._closing:
                        return
                    items = ((table.key_of(item), table.end_of(item)) for item in page["Items"])
                    self._ends.found(name, [(key, end) for key, end in items if key is not None and end is not None])
            self._ends.set_read(name)
            self._arm()
        except ClientError as error:
            # Deleted meanwhile.
            _LOG.warning("the table %s is not looked through for items that have ended: %s", name, error)
            self._ends.set_read(name)
        except LeafUnavailable:
            return

    def _arm(self) -> None:
        """Enter the next full minute at which an item will have ended."""
        due = self._ends.next()
        if due is None or self._closing:
            return
        due = max(due, int(self._context.clock.now().timestamp()))
        moment = datetime.fromtimestamp((due // _MINUTE + 1) * _MINUTE, UTC)
        with self._arming:
            if self._armed is not None and self._armed.moment <= moment:
                return
            if self._armed is not None:
                self._armed.cancel()
            self._armed = self._context.timetable.at(moment, self._purge, "delete items that have ended")

    def _purge(self) -> None:
        """Delete what has ended."""
        with self._arming:
            self._armed = None
        purged: set[str] = set()
        now = int(self._context.clock.now().timestamp())
        try:
            while not self._closing and (name := self._purge_some(now)) is not None:
                purged.add(name)
            for name in purged if not self._closing else ():
                if (table := self._table(name)) is not None:
                    self._context.leaf.forget(name, table.attribute, now)
        except LeafUnavailable:
            return
        self._arm()

    def _purge_some(self, now: int) -> str | None:
        """Delete some items of one table; which one, or None when no item is due."""
        with self._writing:
            name, noted = self._ends.due(now, _AT_ONCE)
            if name is None:
                return None
            table = self._table(name)
            if table is None:
                self._ends.replace(name, [key for key, _ in noted], [])
                return name
            ended, later = [key for key, sure in noted if sure == _SURE], []
            self._delete(name, [key for key, sure in noted if sure == _INSERTED], self._ending(name, now - 1))
            for item in self._present(name, table, [key for key, sure in noted if not sure]):
                key, end = table.key_of(item), table.end_of(item)
                if key is None or end is None or end <= now - _OLDEST_SECONDS:
                    continue
                if end < now:
                    ended.append(key)
                else:
                    later.append((key, end))
            self._delete(name, ended, None)
            self._ends.replace(name, [key for key, _ in noted], later)
            return name

    def _present(self, name: str, table: _Table, keys: Sequence[str]) -> Sequence[Item]:
        if not keys:
            return []
        names = {f"#{number}": attribute for number, attribute in enumerate({*table.keys, table.attribute})}
        asked = {
            "Keys": [json.loads(key) for key in keys],
            "ProjectionExpression": ",".join(names),
            "ExpressionAttributeNames": names,
            "ConsistentRead": True,
        }
        client = self._context.leaf.client("dynamodb")
        try:
            found: Sequence[Item] = client.batch_get_item(RequestItems={name: asked})["Responses"].get(name, [])
        except ClientError as error:
            _LOG.warning("items of the table %s that may have ended stay: %s", name, error)
            return []
        return found

    def _delete(self, name: str, keys: Sequence[str], ending: str | None) -> None:
        if not keys:
            return
        requests = [{"DeleteRequest": {"Key": json.loads(key)}} for key in keys]
        headers = {
            "host": "127.0.0.1",
            "authorization": credential_scope("localcloud", self._context.region, "dynamodb"),
            "content-type": "application/x-amz-json-1.0",
            "x-amz-target": "DynamoDB_20120810.BatchWriteItem",
        }
        request = HttpRequest("POST", "/", "", headers, json.dumps({"RequestItems": {name: requests}}).encode())
        response = self._context.leaf.converse("dynamodb", lambda ask: ask(request), ending)
        if response.status >= 400:
            _LOG.warning("items of the table %s that have ended stay: %s", name, response.body[:300])


class _Ends:
    """The notes. All methods may be called from any thread; what is changed is committed."""

    def __init__(self, path: Path) -> None:
        self._connection: sqlite3.Connection = opened(path, _FORMAT, _SCHEMA)
        self._lock = threading.Lock()

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def expect(self, notes: Sequence[_Note]) -> None:
        """Items may be about to end at these moments, or as it is noted; or not to end any more."""
        with self._lock, transaction(self._connection):
            self._connection.executemany(
                "INSERT INTO ends VALUES (?, ?, ?, 0) ON CONFLICT DO UPDATE SET due = min(due, excluded.due), sure = 0",
                [(note.table, note.key, note.end) for note in notes if note.end is not None],
            )
            self._connection.executemany(
                "UPDATE ends SET sure = 0 WHERE table_name = ? AND key = ?",
                [(note.table, note.key) for note in notes if note.end is None],
            )

    def confirm(self, notes: Sequence[_Note]) -> None:
        """Items end at these moments, or do not end."""
        with self._lock, transaction(self._connection):
            self._connection.executemany(
                "INSERT OR REPLACE INTO ends VALUES (?, ?, ?, ?)",
                [
                    (note.table, note.key, note.end, _INSERTED if note.inserted else _SURE)
                    for note in notes
                    if note.end is not None
                ],
            )
            self._connection.executemany(
                "DELETE FROM ends WHERE table_name = ? AND key = ?",
                [(note.table, note.key) for note in notes if note.end is None],
            )

    def found(self, name: str, ends: Sequence[tuple[str, int]]) -> None:
        """Items had these ends some time ago: what is noted already is newer."""
        with self._lock, transaction(self._connection):
            self._connection.executemany(
                "INSERT OR IGNORE INTO ends VALUES (?, ?, ?, 0)", [(name, key, end) for key, end in ends]
            )

    def doubt(self) -> None:
        """Any item may have been changed."""
        with self._lock, transaction(self._connection):
            self._connection.execute("UPDATE ends SET sure = 0 WHERE sure")

    def next(self) -> int | None:
        """The first moment that is noted."""
        with self._lock:
            found: int | None = self._connection.execute("SELECT min(due) FROM ends").fetchone()[0]
        return found

    def due(self, now: int, most: int) -> tuple[str | None, Sequence[tuple[str, int]]]:
        """A table, and the keys of items of it that may have ended, with how sure that is."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT table_name, key, sure FROM ends WHERE due < ? ORDER BY due LIMIT ?", (now, most)
            ).fetchall()
        if not rows:
            return None, []
        name = rows[0][0]
        return name, [(key, sure) for table_name, key, sure in rows if table_name == name]

    def replace(self, name: str, keys: Sequence[str], later: Sequence[tuple[str, int]]) -> None:
        """Take back what is noted of items; some of them end later."""
        with self._lock, transaction(self._connection):
            self._connection.executemany(
                "DELETE FROM ends WHERE table_name = ? AND key = ?", [(name, key) for key in keys]
            )
            self._connection.executemany(
                "INSERT INTO ends VALUES (?, ?, ?, 1)", [(name, key, end) for key, end in later]
            )

    def forget(self, name: str) -> None:
        """Drop all notes of a table."""
        with self._lock, transaction(self._connection):
            self._connection.execute("DELETE FROM ends WHERE table_name = ?", (name,))
            self._connection.execute("DELETE FROM unread WHERE table_name = ?", (name,))

    def unread(self) -> Sequence[str]:
        """The tables that are still to be looked through."""
        with self._lock:
            return [row[0] for row in self._connection.execute("SELECT table_name FROM unread")]

    def set_unread(self, name: str) -> None:
        with self._lock, transaction(self._connection):
            self._connection.execute("INSERT OR IGNORE INTO unread VALUES (?)", (name,))

    def set_read(self, name: str) -> None:
        with self._lock, transaction(self._connection):
            self._connection.execute("DELETE FROM unread WHERE table_name = ?", (name,))


def _plain(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """A value of a key in one spelling: numbers have several."""
    try:
        return {"N": format(Decimal(value["N"]).normalize(), "f")} if "N" in value else value
    except (TypeError, ValueError, InvalidOperation):
        return value


def _name(given: Any) -> str | None:
    """A table's name, which may be given as an ARN."""
    return given.rpartition("/")[2] if isinstance(given, str) else None


def _written(operation: str, body: Any) -> Iterator[tuple[Any, Item, bool]]:
    """Table, item and whether it is a whole one, or else the key of an update."""
    if operation == "PutItem":
        yield body["TableName"], body["Item"], True
    elif operation == "UpdateItem":
        yield body["TableName"], body["Key"], False
    elif operation == "BatchWriteItem":
        for name, entries in body["RequestItems"].items():
            for entry in entries:
                if "PutRequest" in entry:
                    yield name, entry["PutRequest"]["Item"], True
    else:
        for entry in body["TransactItems"]:
            if "Put" in entry:
                yield entry["Put"]["TableName"], entry["Put"]["Item"], True
            elif "Update" in entry:
                yield entry["Update"]["TableName"], entry["Update"]["Key"], False


def _is_in_part(response: HttpResponse) -> bool:
    """Whether a batch was not written as a whole."""
    return b'"UnprocessedItems"' in response.body and bool(json.loads(response.body).get("UnprocessedItems"))
