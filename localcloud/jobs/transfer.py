"""Copies between S3 and a job's private folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError, ParamValidationError

# What S3 refuses, and what its client refuses to send (a name that no bucket can have, an empty key).
_REFUSALS = (ClientError, ParamValidationError)


class TransferError(Exception):
    """A copy that cannot be made; the message names the location and what was expected there."""


def parse_uri(uri: str) -> tuple[str, str]:
    """Bucket and key (or key prefix) of `s3://bucket/key`. Raises TransferError for anything else."""
    parts = urlsplit(uri, allow_fragments=False)
    if parts.scheme != "s3" or not parts.netloc:
        raise TransferError(f"{uri!r} is no S3 location; expected s3://bucket/prefix")
    # A question mark is an ordinary character of a key, not the start of a query.
    key = parts.path.lstrip("/") + (f"?{parts.query}" if parts.query else "")
    return parts.netloc, key


def download(client: Any, uri: str, folder: Path) -> int:
    """Copy every object whose key starts with the URI's prefix into `folder`; gives the number of bytes.

    As on SageMaker the prefix is one of key names: `s3://b/train` also matches `train.csv`. An object's place in the
    folder is its key after the prefix, if the prefix is a folder, else after the prefix's last slash.
    Raises TransferError if there is no such bucket, nothing under the prefix, or no room for it here.
    """
    bucket, prefix = parse_uri(uri)
    keys = list(_keys(client, bucket, prefix, uri))
    if not keys:
        raise TransferError(
            f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket'
            f" exists, that objects exist under that S3 prefix, and that it is spelled as where they were written"
        )
    total = 0
    for key in keys:
        path = _place(folder, prefix, key, uri)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with (
                contextlib.closing(client.get_object(Bucket=bucket, Key=key)["Body"]) as body,
                path.open("wb") as stream,
            ):
                shutil.copyfileobj(body, stream, 1 << 20)
                total += stream.tell()
        except _REFUSALS as error:
            raise TransferError(f"cannot read s3://{bucket}/{key}: {_reason(error)}") from error
        except OSError as error:
            raise TransferError(f"cannot keep s3://{bucket}/{key} in the job's folder: {error.strerror}") from error
    return total


def upload(client: Any, folder: Path, uri: str) -> int:
    """Copy every file in `folder` under the URI's prefix; gives how many there were. Links are followed."""
    bucket, prefix = parse_uri(uri)
    count = 0
    for path in files(folder):
        key = "/".join(part for part in (prefix.rstrip("/"), path.relative_to(folder).as_posix()) if part)
        upload_file(client, path, bucket, key)
        count += 1
    return count


def upload_file(client: Any, path: Path, bucket: str, key: str) -> None:
    """Copy one file. Raises TransferError naming the location when S3 refuses it or the file cannot be read."""
    try:
        with path.open("rb") as stream:
            client.put_object(Bucket=bucket, Key=key, Body=stream)
    except _REFUSALS as error:
        raise TransferError(f"cannot write s3://{bucket}/{key}: {_reason(error)}") from error
    except OSError as error:
        raise TransferError(f"cannot copy {path.name} to s3://{bucket}/{key}: {error.strerror}") from error


def etag(client: Any, uri: str) -> str:
    """The ETag of one object, without its quotes. Raises TransferError if it is not there."""
    bucket, key = parse_uri(uri)
    try:
        return str(client.head_object(Bucket=bucket, Key=key)["ETag"]).strip('"')
    except _REFUSALS as error:
        raise TransferError(f"cannot find {uri}: {_reason(error)}") from error


def pack(folder: Path, archive: Path) -> None:
    """Everything in `folder` as a gzipped tar, flat: paths in it are relative to the folder.

    Level 1 packs model weights four times as fast as the default, and they hardly shrink further.
    """
    with tarfile.open(archive, "w:gz", compresslevel=1) as stream:
        for entry in sorted(folder.iterdir()):
            stream.add(entry, arcname=entry.name)


def read(client: Any, uri: str) -> bytes:
    """The bytes of one object. Raises TransferError if it is not there."""
    bucket, key = parse_uri(uri)
    try:
        content: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    except _REFUSALS as error:
        raise TransferError(f"cannot read {uri}: {_reason(error)}") from error
    return content


def files(folder: Path) -> list[Path]:
    """The regular files in a folder and below, in the order of their paths; a link that leads round ends there."""
    return sorted(_below(folder, frozenset())) if folder.is_dir() else []


def _below(folder: Path, above: frozenset[str]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in above:
        return
    for name in os.listdir(folder):
        path = folder / name
        if path.is_dir():
            yield from _below(path, above | {real})
        elif path.is_file():
            yield path


def _keys(client: Any, bucket: str, prefix: str, uri: str) -> Iterator[str]:
    try:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for entry in page.get("Contents", ()):
                # A key that ends in a slash is the console's mark for a folder, not a file.
                if not entry["Key"].endswith("/"):
                    yield entry["Key"]
    except _REFUSALS as error:
        raise TransferError(f"cannot list {uri}: {_reason(error)}") from error


def _place(folder: Path, prefix: str, key: str, uri: str) -> Path:
    base = prefix.rstrip("/")
    if base and key.startswith(base + "/"):
        relative = key[len(base) + 1 :]
    elif not base:
        relative = key
    else:
        relative = key[base.rfind("/") + 1 :]
    path = folder / relative.lstrip("/")
    if ".." in path.parts or not path.resolve().is_relative_to(folder.resolve()):
        raise TransferError(f"the key {key!r} under {uri} would leave the job's folder; it must hold no '..' component")
    return path


def _reason(error: Exception) -> str:
    detail = error.response.get("Error", {}) if isinstance(error, ClientError) else {}
    return f"{detail.get('Code', type(error).__name__)}: {detail.get('Message', error)}"
