"""The code of the project's Lambda functions, as one zip file that all of them share.

It holds the folders of `SOURCES` and the libraries of `LIBRARIES` as this environment has them, plain Python all of it.
boto3 is in Lambda's own runtime. The same tree gives the same bytes, and the key in S3 is made of them, so that an
unchanged tree changes no function.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import boto3

from pipelines.errors import UsageError
from pipelines.names import Names
from pipelines.session import client

SOURCES = ("pipelines/__init__.py", "pipelines/names.py", "pipelines/deploy/__init__.py", "pipelines/deploy/functions")
LIBRARIES = ("aws-lambda-powertools", "jmespath", "typing-extensions")
# Of Powertools what no function here uses: half of its files.
_UNUSED = (
    "aws_lambda_powertools/event_handler/",
    "aws_lambda_powertools/utilities/kafka/",
    "aws_lambda_powertools/utilities/data_masking/",
    "aws_lambda_powertools/utilities/feature_flags/",
    "aws_lambda_powertools/utilities/parser/",
)
_WHEN = (1980, 1, 1, 0, 0, 0)


def pack(root: Path) -> bytes:
    """The zip file, from the working copy at `root`. Raises UsageError when a library is not installed."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, path in sorted([*_sources(root), *_libraries()]):
            entry = zipfile.ZipInfo(name, _WHEN)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    return content.getvalue()


def key(code: bytes) -> str:
    """Where the code lies in the bucket."""
    return f"functions/{hashlib.sha256(code).hexdigest()[:32]}.zip"


def upload(session: boto3.Session, names: Names, code: bytes) -> str:
    """Put the code into the project's code bucket, unless it is there; gives its key."""
    s3, place = client(session, "s3"), key(code)
    if not s3.list_objects_v2(Bucket=names.code_bucket, Prefix=place, MaxKeys=1).get("Contents"):
        s3.put_object(Bucket=names.code_bucket, Key=place, Body=code)
    return place


def _sources(root: Path) -> Iterator[tuple[str, Path]]:
    for source in SOURCES:
        path = root / source
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            yield file.relative_to(root).as_posix(), file


def _libraries() -> Iterator[tuple[str, Path]]:
    for library in LIBRARIES:
        try:
            found = files(library) or []
        except PackageNotFoundError:
            raise UsageError(
                f"`{library}` is not installed, which the functions carry; `make setup` installs it"
            ) from None
        for file in found:
            name = file.as_posix()
            if name.endswith(".py") and not name.startswith(("..", *_UNUSED)):
                yield name, Path(str(file.locate()))
