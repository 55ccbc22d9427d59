"""The files of the catalog's tables, as local copies of what is in S3.

A copy is named by its object's key and ETag, so that an object that was replaced is copied again. The bucket decides
what there is: an object that was deleted is not read any more. All copies of a table lie in one folder, because folders
are dearer to make and to remove than files.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcloud.jobs.transfer import parse_uri

_PART = ".part"
_NUMBERS = itertools.count()


@dataclass(frozen=True)
class File:
    """One Parquet file of a table."""

    path: Path
    partition: Mapping[str, str]
    """The values that its folders in the bucket give, as `{"year": "2024", "month": "01"}`."""


@dataclass(frozen=True)
class Files:
    """A table's files at one moment, in the order of their keys."""

    files: tuple[File, ...]
    size_bytes: int


class TableFiles:
    """Copies in a folder. Safe to use from any thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for part in folder.glob(f"*/*{_PART}"):
            part.unlink()  # what a killed process had not finished

    def files(self, s3: Any, location: str) -> Files:
        """The Parquet files below a location (s3://bucket/prefix), copied where that has not been done."""
        bucket, prefix = parse_uri(location)
        folder = self._folder_of(location)
        # Before the bucket is asked: a copy that is kept meanwhile is of an object that the bucket may not name yet.
        before = set(folder.glob("*.parquet"))
        found: list[File] = []
        size = 0
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/"):
            for entry in page.get("Contents", ()):
                key: str = entry["Key"]
                if key.endswith(".parquet"):
                    name = key[len(prefix) + 1 :]
                    path = _place(folder, name, entry["ETag"])
                    if path not in before and not path.exists():
                        _write(path, s3.get_object(Bucket=bucket, Key=key)["Body"].read())
                    found.append(File(path, _partition(name)))
                    size += entry["Size"]
        gone = before.difference(file.path for file in found)
        # Once they are many: an engine may still read one.
        if len(gone) > 100 + len(found):
            for path in gone:
                path.unlink(missing_ok=True)
        return Files(tuple(found), size)

    def keep(self, location: str, name: str, etag: str, content: bytes) -> None:
        """Keep a copy of an object that has just been written, so that it need not be read."""
        _write(_place(self._folder_of(location), name, etag), content)

    def _folder_of(self, location: str) -> Path:
        return self._folder / hashlib.sha256(location.encode()).hexdigest()[:16]


def _place(folder: Path, name: str, etag: str) -> Path:
    stem = hashlib.sha256(f"{name}/{etag}".encode()).hexdigest()[:32]
    return folder / f"{stem}.parquet"


def _partition(name: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in name.split("/")[:-1] if "=" in part)


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    part = path.with_name(f"{path.stem}-{next(_NUMBERS)}{_PART}")
    try:
        part.write_bytes(content)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
    os.replace(part, path)
