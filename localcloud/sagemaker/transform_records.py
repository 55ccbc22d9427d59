"""What a transform job sends and writes: records of a file, in payloads, and their results put together again."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

JSON_TYPES = ("application/json", "application/jsonlines", "application/x-jsonlines", "application/jsonl")
CSV_TYPE = "text/csv"


class RecordError(Exception):
    """A record, or what the server made of it, that cannot be used; the message says which and why."""


@dataclass(frozen=True)
class Payload:
    """One request's body, and the records that it is made of (one, where files are not split)."""

    body: bytes
    records: tuple[bytes, ...]


def payloads(path: Path, *, split: bool, several: bool, most_bytes: int | None, compressed: bool) -> Iterator[Payload]:
    """A file as the payloads of its requests, in its order.

    split: a record is a line (without its end; empty lines are none); otherwise the file is one record.
    several: as many records as fit in one payload; otherwise one in each.
    Raises RecordError for a record that is larger than `most_bytes`.
    """
    with cast("IO[bytes]", gzip.open(path) if compressed else path.open("rb")) as stream:
        if not split:
            body = stream.read()
            _check_size(body, most_bytes, "the file")
            yield Payload(body, (body,))
            return
        gathered: list[bytes] = []
        size = 0
        for number, line in enumerate(stream, 1):
            record = line.removesuffix(b"\n").removesuffix(b"\r")
            if not record:
                continue
            _check_size(record, most_bytes, f"line {number}")
            if gathered and (not several or (most_bytes is not None and size + len(record) > most_bytes)):
                yield Payload(b"\n".join(gathered), tuple(gathered))
                gathered, size = [], 0
            gathered.append(record)
            size += len(record) + 1
        if gathered:
            yield Payload(b"\n".join(gathered), tuple(gathered))


def _check_size(record: bytes, most_bytes: int | None, what: str) -> None:
    if most_bytes is not None and len(record) > most_bytes:
        raise RecordError(
            f"Too much data for max payload size: {what} has {len(record)} bytes, MaxPayloadInMB allows {most_bytes}"
        )


def assembled(payload: Payload, answer: bytes, *, by_line: bool, join: bool, content_type: str) -> bytes:
    """What goes into the output file for one answer. Raises RecordError if it cannot be joined with its records."""
    if join:
        return _joined(payload, answer, content_type)
    return answer.removesuffix(b"\n") + b"\n" if by_line else answer


def _joined(payload: Payload, answer: bytes, content_type: str) -> bytes:
    results = [answer] if len(payload.records) == 1 else answer.removesuffix(b"\n").split(b"\n")
    if len(results) != len(payload.records):
        raise RecordError(
            f"Unable to join: {len(payload.records)} records were sent and {len(results)} came back; with JoinSource"
            " the server must answer with one line for each record"
        )
    join = _join_csv if content_type == CSV_TYPE else _join_json
    return b"".join(join(record, result) + b"\n" for record, result in zip(payload.records, results, strict=True))


def _join_csv(record: bytes, result: bytes) -> bytes:
    return record.rstrip(b"\r\n") + b"," + result.rstrip(b"\r\n")


def _join_json(record: bytes, result: bytes) -> bytes:
    given, made = _parsed(record, "the input"), _parsed(result, "the server's answer")
    joined = given if isinstance(given, dict) else {"SageMakerInput": given}
    return json.dumps({**joined, "SageMakerOutput": made}, ensure_ascii=False, separators=(",", ":")).encode()


def _parsed(text: bytes, what: str) -> object:
    try:
        value: object = json.loads(text)
    except ValueError as error:
        raise RecordError(f"Unable to join: {what} is not JSON ({error}): {_shown(text)}") from error
    return value


def _shown(text: bytes) -> str:
    return text[:100].decode("utf-8", "replace")


def media_type(content_type: str | None) -> str:
    """A content type without its parameters, in lower case."""
    return (content_type or "").partition(";")[0].strip().lower()


def check_join(content_type: str | None, accept: str | None, split: str, assemble: str) -> Sequence[str]:
    """What speaks against joining input and output; nothing if they can be."""
    problems = []
    given, wanted = media_type(content_type), media_type(accept)
    if given not in (*JSON_TYPES, CSV_TYPE):
        problems.append(f"ContentType must be {CSV_TYPE} or one of {', '.join(JSON_TYPES)}; got {given or 'none'}")
    elif (given == CSV_TYPE) != (wanted == CSV_TYPE) or wanted not in (*JSON_TYPES, CSV_TYPE):
        problems.append(f"Accept must be of the same format as ContentType ({given}); got {wanted or 'none'}")
    if given != "application/json" and (split != "Line" or assemble != "Line"):
        problems.append("SplitType and AssembleWith must be Line")
    return problems
