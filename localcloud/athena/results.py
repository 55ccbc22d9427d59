"""A query's result in S3: CSV as Athena writes it, and pages of it read back.

Every value that is there is quoted, and a null is nothing at all between two commas, so that the two can be told apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import IO, Any

_FIELD = re.compile(r'"((?:[^"]|"")*)"|([^",\n]*)')
_CHUNK = 1 << 20


def line(values: Iterable[str | None]) -> str:
    """One row."""
    quoted = ['"' + value.replace('"', '""') + '"' if value is not None else "" for value in values]
    return ",".join(quoted) + "\n"


def write(stream: IO[bytes], rows: Iterable[Sequence[str | None]]) -> int:
    """Write rows; gives how many there were."""
    count = 0
    for row in rows:
        stream.write(line(row).encode())
        count += 1
    return count


def read_page(
    s3: Any, bucket: str, key: str, start: int, most: int, width: int
) -> tuple[list[list[str | None]], int | None]:
    """Up to `most` rows of `width` values from a byte position on, and the position after them; None at the end."""
    content, whole = b"", False
    rows: list[list[str | None]] = []
    size: int = s3.head_object(Bucket=bucket, Key=key)["ContentLength"]
    if start >= size:
        return [], None
    while not whole:
        first = start + len(content)
        last = min(first + max(_CHUNK, len(content)), size) - 1
        content += s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={first}-{last}")["Body"].read()
        whole = last == size - 1
        rows, used = _rows(content, most, width, whole)
        if len(rows) == most:
            return rows, start + used if start + used < size else None
    return rows, None


def _rows(content: bytes, most: int, width: int, whole: bool) -> tuple[list[list[str | None]], int]:
    """The complete rows at the beginning of `content`, at most so many, and how many bytes they take."""
    # A character may be cut at the end; it belongs to a row that is not complete then.
    text = content.decode("utf-8", errors="strict" if whole else "ignore")
    rows: list[list[str | None]] = []
    position = 0
    while len(rows) < most and position < len(text):
        row: list[str | None] = []
        place = position
        for number in range(width):
            found = _FIELD.match(text, place)
            assert found is not None  # the second branch matches nothing, too
            place = found.end()
            separator = text[place : place + 1]
            if separator != ("\n" if number == width - 1 else ","):
                if whole:
                    raise ValueError(f"the result's row {len(rows) + 1} is not as it was written: someone changed it")
                return rows, len(text[:position].encode())
            row.append(found[1].replace('""', '"') if found[1] is not None else None)
            place += 1
        rows.append(row)
        position = place
    return rows, len(text[:position].encode())
