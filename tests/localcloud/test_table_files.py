"""Copies of a table's files: made once, made anew, and never read when the bucket does not have them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from localcloud.table_files import TableFiles

PLACE = "s3://bucket/table"


class Bucket:
    """As much of an S3 client as is needed, over a dictionary; counts what is read."""

    def __init__(self, **objects: bytes) -> None:
        self.objects = {f"table/{key}": content for key, content in objects.items()}
        self.read: list[str] = []

    def get_paginator(self, _: str) -> Bucket:
        return self

    def paginate(self, **_: str) -> Iterator[dict[str, Any]]:
        for key in sorted(self.objects):
            content = self.objects[key]
            yield {"Contents": [{"Key": key, "ETag": etag(content), "Size": len(content)}]}

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        self.read.append(Key)
        return {"Body": io.BytesIO(self.objects[Key])}


def etag(content: bytes) -> str:
    return f'"{hashlib.md5(content).hexdigest()}"'


def contents(files: TableFiles, bucket: Bucket) -> list[bytes]:
    return [file.path.read_bytes() for file in files.files(bucket, PLACE).files]


def test_an_object_is_copied_once_and_again_when_it_is_replaced(tmp_path: Path) -> None:
    bucket = Bucket(**{"year=2024/month=01/a.parquet": b"one", "notes.txt": b"no table's file"})
    files = TableFiles(tmp_path / "tables")
    found = files.files(bucket, PLACE)
    assert [file.partition for file in found.files] == [{"year": "2024", "month": "01"}]
    assert found.size_bytes == 3
    assert contents(files, bucket) == [b"one"]
    assert len(bucket.read) == 1
    bucket.objects["table/year=2024/month=01/a.parquet"] = b"two"
    assert contents(files, bucket) == [b"two"]
    del bucket.objects["table/year=2024/month=01/a.parquet"]
    assert contents(files, bucket) == []


def test_what_was_kept_is_not_read(tmp_path: Path) -> None:
    files, bucket = TableFiles(tmp_path / "tables"), Bucket(**{"a.parquet": b"one"})
    files.keep(PLACE, "a.parquet", etag(b"one"), b"one")
    assert (contents(files, bucket), bucket.read) == ([b"one"], [])


def test_copies_that_nobody_needs_are_removed_once_they_are_many(tmp_path: Path) -> None:
    files, bucket = TableFiles(tmp_path / "tables"), Bucket()
    for number in range(101):
        files.keep(PLACE, f"{number}.parquet", '"x"', b"x")
        assert len(list(tmp_path.rglob("*.parquet"))) == number + 1
    assert contents(files, bucket) == []
    assert list(tmp_path.rglob("*.parquet")) == []


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    files = TableFiles(tmp_path / "tables")
    files.keep(PLACE, "a.parquet", '"x"', b"x")
    (copy,) = tmp_path.rglob("*.parquet")
    (copy.parent / "b-1.part").write_bytes(b"half")
    TableFiles(tmp_path / "tables")
    assert list(copy.parent.iterdir()) == [copy]
