"""What was asked of the leaf, on disk, so that the next process can ask it again.

moto keeps its state in memory. Each call that changes it is written here before it is answered: a row in SQLite, with
the body beside it as a file when it is large. What a later call has made useless is dropped again where that is plainly
right: the earlier writes of an object in an ordinary bucket, once it is overwritten or deleted; and the items that were
inserted into a table of DynamoDB for a while, once that is over, if nothing but whole items was ever written to it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from localcloud.protocols.http import HttpRequest, HttpResponse
from localcloud.store import opened, transaction

LARGE_BODY_BYTES = 64 * 1024
_FORMAT = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
    sequence INTEGER PRIMARY KEY,
    at TEXT NOT NULL,           -- when it was made, ISO 8601 with offset
    service TEXT NOT NULL,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    query TEXT NOT NULL,
    headers TEXT NOT NULL,      -- JSON
    body BLOB,                  -- NULL when it is in bodies/<sequence>
    subject TEXT,               -- the S3 object that the call writes, as bucket/key; or what `ending` gives
    source TEXT,                -- the S3 object that it reads
    upload TEXT,                -- the multipart upload that it belongs to, while that is open
    special_bucket TEXT         -- a bucket, or table, whose objects have more to them than their last write
);
CREATE INDEX IF NOT EXISTS calls_by_subject ON calls (subject) WHERE subject IS NOT NULL;
CREATE INDEX IF NOT EXISTS calls_by_source ON calls (source) WHERE source IS NOT NULL;
CREATE INDEX IF NOT EXISTS calls_by_upload ON calls (upload) WHERE upload IS NOT NULL;
CREATE INDEX IF NOT EXISTS calls_by_special ON calls (special_bucket) WHERE special_bucket IS NOT NULL;
CREATE TABLE IF NOT EXISTS issued_access_keys (access_key TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS counter (only INTEGER PRIMARY KEY CHECK (only = 0), next INTEGER NOT NULL);
INSERT OR IGNORE INTO counter VALUES (0, 1);
"""

# Query fields that address no part of an object but the object: clients add the operation's name.
_NO_SUBRESOURCE = frozenset({"x-id"})
# Settings of a bucket after which overwriting an object still leaves nothing of the old one.
_HARMLESS_SETTINGS = frozenset(
    {"acl", "cors", "encryption", "lifecycle", "ownershipControls", "policy", "publicAccessBlock", "tagging", "x-id"}
)
# Calls of DynamoDB that write no item, or whole ones. What another one makes of an item depends on what was there.
_WHOLE_ITEMS = frozenset(
    {
        "BatchWriteItem", "CreateTable", "DeleteItem", "DeleteTable", "PutItem", "TagResource", "UntagResource",
        "UpdateContinuousBackups", "UpdateTable", "UpdateTimeToLive",
    }
)  # fmt: skip
# Conditions held when the call was made; at replay an earlier write that they compare with may be gone.
_CONDITIONS = frozenset({"if-match", "if-none-match", "x-amz-copy-source-if-match", "x-amz-copy-source-if-none-match"})


@dataclass(frozen=True)
class Call:
    """One call of the leaf, as it is replayed."""

    sequence: int
    at: datetime
    service: str
    request: HttpRequest
    ending: str | None = None
    """What `ending` gives, for a call that does nothing but write, or delete, such items."""


def ending(table: str, attribute: str, end: int) -> str:
    """The subject of a call about items that were inserted into a table of DynamoDB and end, as that attribute says, at
    a moment (epoch seconds); or of one that deletes such items, the last of which ended then."""
    return f"{_table(table)}/{attribute}/{max(end, 0):012d}"


@dataclass(frozen=True)
class _Effect:
    """What a call does to S3 objects, as far as that decides which earlier rows are still needed."""

    subject: str | None = None
    source: str | None = None
    upload: str | None = None
    special_bucket: str | None = None
    replaces: bool = False
    """The subject is now wholly what this call made it."""
    removes: bool = False
    """The subject is gone."""
    closes: str | None = None
    """This multipart upload is complete: its parts are now part of the subject."""
    aborts: str | None = None
    """This multipart upload is gone with all its parts."""


class Journal:
    """The calls that changed the leaf, in order. Used by one thread at a time, under the leaf's lock."""

    def __init__(self, folder: Path) -> None:
        self._bodies = folder / "bodies"
        self._bodies.mkdir(parents=True, exist_ok=True)
        self._connection = opened(folder / "journal.sqlite", _FORMAT, _SCHEMA)
        self._sweep()

    def close(self) -> None:
        self._connection.close()

    def next_sequence(self) -> int:
        """The number that the next recorded call gets. It is never given twice, whatever is dropped."""
        return int(self._connection.execute("SELECT next FROM counter").fetchone()[0])

    def record(self, changes: Sequence[tuple[Call, HttpResponse]]) -> None:
        """Commit calls that the leaf has carried out, all or none, and drop what they made useless."""
        useless: list[int] = []
        with transaction(self._connection):
            for call, response in changes:
                useless += self._record(call, response)
            self._connection.execute("UPDATE counter SET next = ?", (changes[-1][0].sequence + 1,))
        for sequence in useless:
            (self._bodies / str(sequence)).unlink(missing_ok=True)

    def _record(self, call: Call, response: HttpResponse) -> list[int]:
        """Add one call; gives the numbers of those that it made useless."""
        effect = _effect(call, response)
        body = call.request.body
        large = len(body) > LARGE_BODY_BYTES
        compact = call.service == "s3" and effect.subject is not None and self._may_forget(effect.subject)
        keep = not (effect.removes and compact)
        if large and keep:
            (self._bodies / str(call.sequence)).write_bytes(body)
        useless = self._drop_useless(effect, compact)
        if keep:
            self._insert(call, effect, None if large else body)
        return useless

    def forget(self, table: str, attribute: str, moment: int) -> None:
        """Drop the calls about items that had ended before a moment (epoch seconds)."""
        with transaction(self._connection):
            special = self._connection.execute(
                "SELECT 1 FROM calls WHERE special_bucket IN (?, ?) LIMIT 1", (_table(table), _table("*"))
            ).fetchone()
            dropped: list[int] = []
            if special is None:
                rows = self._connection.execute(
                    "DELETE FROM calls WHERE subject >= ? AND subject < ? RETURNING sequence",
                    (ending(table, attribute, 0), ending(table, attribute, moment)),
                ).fetchall()
                dropped = [row[0] for row in rows]
        for sequence in dropped:
            (self._bodies / str(sequence)).unlink(missing_ok=True)

    def calls(self) -> Iterator[Call]:
        """All calls, in the order in which they were made."""
        rows = self._connection.execute(
            "SELECT sequence, at, service, method, path, query, headers, body FROM calls ORDER BY sequence"
        )
        for sequence, at, service, method, path, query, headers, body in rows:
            content = (self._bodies / str(sequence)).read_bytes() if body is None else body
            yield Call(
                sequence,
                datetime.fromisoformat(at),
                service,
                HttpRequest(method, path, query, json.loads(headers), content),
            )

    def add_access_key(self, access_key: str) -> None:
        """Remember an access key that the leaf made up."""
        self._connection.execute("INSERT OR IGNORE INTO issued_access_keys VALUES (?)", (access_key,))

    def access_keys(self) -> set[str]:
        return {row[0] for row in self._connection.execute("SELECT access_key FROM issued_access_keys")}

    def _insert(self, call: Call, effect: _Effect, body: bytes | None) -> None:
        headers = {name: value for name, value in call.request.headers.items() if name not in _CONDITIONS}
        # Of the authentication only the scope is needed again, which says the region.
        if authorization := headers.get("authorization"):
            headers["authorization"] = re.sub(r"Signature=\w+", "Signature=none", authorization)
        headers.pop("x-amz-security-token", None)
        self._connection.execute(
            "INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                call.sequence,
                call.at.isoformat(),
                call.service,
                call.request.method,
                call.request.path,
                call.request.query,
                json.dumps(headers),
                body,
                effect.subject,
                effect.source,
                None if effect.closes else effect.upload,
                effect.special_bucket,
            ),
        )

    def _may_forget(self, subject: str) -> bool:
        """Whether the earlier writes of an object matter to nothing but the object."""
        bucket = subject.split("/", 1)[0]
        special = self._connection.execute("SELECT 1 FROM calls WHERE special_bucket = ? LIMIT 1", (bucket,)).fetchone()
        copied = self._connection.execute(
            "SELECT 1 FROM calls WHERE source = ? AND subject IS NOT source LIMIT 1", (subject,)
        ).fetchone()
        return special is None and copied is None

    def _drop_useless(self, effect: _Effect, compact: bool) -> list[int]:
        dropped: list[int] = []
        if compact and (effect.replaces or effect.removes):
            # Rows of uploads that are still open are kept: they may complete after this.
            dropped += self._delete("subject = ? AND upload IS NULL", effect.subject)
        if effect.aborts and compact:
            dropped += self._delete("upload = ?", effect.aborts)
        if effect.closes:
            self._connection.execute("UPDATE calls SET upload = NULL WHERE upload = ?", (effect.closes,))
        return dropped

    def _delete(self, condition: str, value: str | None) -> list[int]:
        rows = self._connection.execute(f"DELETE FROM calls WHERE {condition} RETURNING sequence", (value,)).fetchall()
        return [row[0] for row in rows]

    def _sweep(self) -> None:
        """Remove bodies that lost their row, or never got one, because the process was killed in between."""
        known = {str(row[0]) for row in self._connection.execute("SELECT sequence FROM calls WHERE body IS NULL")}
        for file in self._bodies.iterdir():
            if file.name not in known:
                file.unlink()


def _effect(call: Call, response: HttpResponse) -> _Effect:
    if call.service == "s3":
        return _s3_effect(call.request, response)
    if call.service == "dynamodb":
        return _Effect(subject=call.ending) if call.ending else _Effect(special_bucket=_special_table(call.request))
    return _Effect()


def _special_table(request: HttpRequest) -> str | None:
    operation = request.headers.get("x-amz-target", "").rpartition(".")[2]
    conditional = b'"ConditionExpression"' in request.body or b'"Expected"' in request.body
    if operation in _WHOLE_ITEMS and not conditional:
        return None
    name = json.loads(request.body or b"{}").get("TableName")
    return _table(name.rpartition("/")[2] if isinstance(name, str) else "*")


def _table(name: str) -> str:
    """A table beside the buckets, in whose names there is no colon."""
    return f"dynamodb:{name}"


def _s3_effect(request: HttpRequest, response: HttpResponse) -> _Effect:
    bucket, _, key = unquote(request.path).lstrip("/").partition("/")
    query = dict(parse_qsl(request.query, keep_blank_values=True))
    if not key:
        return _bucket_effect(bucket, request, query)
    subject = f"{bucket}/{key}"
    source = _copy_source(request.headers)
    if "versionId" in query:
        return _Effect(special_bucket=bucket)
    if upload := query.get("uploadId"):
        if request.method == "POST":
            return _Effect(subject=subject, upload=upload, closes=upload, replaces=True)
        if request.method == "DELETE":
            return _Effect(subject=subject, upload=upload, aborts=upload)
        return _Effect(subject=subject, source=source, upload=upload)
    if "uploads" in query:
        found = re.search(rb"<UploadId>([^<]+)</UploadId>", response.body)
        return _Effect(subject=subject, upload=found[1].decode() if found else None)
    whole = query.keys() <= _NO_SUBRESOURCE
    if request.method == "DELETE" and whole:
        return _Effect(subject=subject, removes=True)
    if request.method == "PUT" and whole:
        return _Effect(subject=subject, source=source, replaces=source is None)
    return _Effect(subject=subject)


def _bucket_effect(bucket: str, request: HttpRequest, query: Mapping[str, str]) -> _Effect:
    if request.method == "POST":
        # DeleteObjects names its objects in the body, and is kept. Any other writes an object without a row of its own.
        return _Effect(special_bucket=None if "delete" in query else bucket)
    locked = request.headers.get("x-amz-bucket-object-lock-enabled", "").lower() == "true"
    return _Effect(special_bucket=bucket if locked or query.keys() - _HARMLESS_SETTINGS else None)


def _copy_source(headers: Mapping[str, str]) -> str | None:
    header = headers.get("x-amz-copy-source")
    return unquote(header).lstrip("/").partition("?versionId=")[0] if header else None
