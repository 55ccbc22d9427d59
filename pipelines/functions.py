"""The code of the project's Lambda functions, as zip files that several of them share.

A `Bundle` holds folders of the working copy and libraries as this environment has them, plain Python all of it, so that
it runs on Lambda whatever machine it was packed on. boto3 is in Lambda's own runtime. The same tree gives the same
bytes, and the key in S3 is made of them, so that an unchanged tree changes no function.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import boto3

from pipelines import code_bucket
from pipelines.errors import UsageError
from pipelines.names import Names


@dataclass(frozen=True)
class Bundle:
    """What one zip file holds.

    Attributes:
        sources: folders and files of the working copy.
        libraries: distributions.
        unused: beginnings of the names of their files that no function here imports.
    """

    sources: tuple[str, ...]
    libraries: tuple[str, ...]
    unused: tuple[str, ...]


_POWERTOOLS = ("aws-lambda-powertools", "jmespath", "typing-extensions")
_UNUSED = (
    "aws_lambda_powertools/utilities/kafka/",
    "aws_lambda_powertools/utilities/data_masking/",
    "aws_lambda_powertools/utilities/feature_flags/",
    "aws_lambda_powertools/utilities/parser/",
)
PIPELINES = Bundle(
    (
        *(
            f"pipelines/{module}.py"
            for module in ("__init__", "errors", "names", "parameter_store", "snapshot", "starter")
        ),
        "pipelines/carried",
        *(f"pipelines/cost/{part}" for part in ("__init__.py", "price_list.py", "prices", "spending.py")),
        "pipelines/delivery/__init__.py",
        "pipelines/delivery/paths.py",
        "pipelines/delivery/functions",
        "pipelines/deploy/__init__.py",
        "pipelines/deploy/functions",
        "pipelines/monitor/__init__.py",
        "pipelines/monitor/functions",
    ),
    _POWERTOOLS,
    (*_UNUSED, "aws_lambda_powertools/event_handler/"),
)
"""The functions of the deploy and the monitor pipelines, and those around CodePipeline."""
API = Bundle(("seed_code/__init__.py", "seed_code/api"), (*_POWERTOOLS, "marshmallow"), _UNUSED)
"""The functions behind the REST API."""
INGESTION = Bundle(
    (
        "seed_code/__init__.py",
        "seed_code/ingestion/__init__.py",
        "seed_code/ingestion/transactions.py",
        "seed_code/ingestion/functions",
    ),
    _POWERTOOLS,
    (*_UNUSED, "aws_lambda_powertools/event_handler/"),
)
"""The functions of the stream."""
_WHEN = (1980, 1, 1, 0, 0, 0)
# Of a folder's files: programs, and the data that they read.
_CARRIED = (".py", ".json")


def pack(root: Path, bundle: Bundle) -> bytes:
    """The zip file, from the working copy at `root`. Raises UsageError when a library is not installed."""
    return zipped([*_sources(root, bundle), *_libraries(bundle)])


@dataclass(frozen=True)
class Entry:
    """One file of a zip file: its name there, its content, and whether it is executable."""

    name: str
    content: bytes
    executable: bool = False


def zipped(files: Iterable[tuple[str, Path]]) -> bytes:
    """Files, given by their names in it, as a zip file: the same files give the same bytes. None is executable."""
    return zip_of(Entry(name, path.read_bytes()) for name, path in files)


def zip_of(entries: Iterable[Entry]) -> bytes:
    """Contents as a zip file, in the order of their names: the same contents give the same bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for entry in sorted(entries, key=lambda entry: entry.name):
            described = zipfile.ZipInfo(entry.name, _WHEN)
            described.create_system = 3  # Unix, wherever it is packed: else readers pass over the mode
            described.external_attr = (0o100755 if entry.executable else 0o100644) << 16
            described.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(described, entry.content)
    return content.getvalue()


def key(code: bytes, folder: str = "functions") -> str:
    """Where code lies in the bucket."""
    return f"{folder}/{hashlib.sha256(code).hexdigest()[:32]}.zip"


def upload(session: boto3.Session, names: Names, root: Path, bundle: Bundle) -> str:
    """Pack a bundle and put it into the project's code bucket, unless it is there; gives its key."""
    code = pack(root, bundle)
    place = key(code)
    code_bucket.put(session, names, place, code)
    return place


def _sources(root: Path, bundle: Bundle) -> Iterator[tuple[str, Path]]:
    for source in bundle.sources:
        path = root / source
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.suffix in _CARRIED:
                yield file.relative_to(root).as_posix(), file


def _libraries(bundle: Bundle) -> Iterator[tuple[str, Path]]:
    for library in bundle.libraries:
        try:
            found = files(library) or []
        except PackageNotFoundError:
            raise UsageError(
                f"`{library}` is not installed, which the functions carry; `make setup` installs it"
            ) from None
        for file in found:
            name = file.as_posix()
            if name.endswith(".py") and not name.startswith(("..", *bundle.unused)):
                yield name, Path(str(file.locate()))
