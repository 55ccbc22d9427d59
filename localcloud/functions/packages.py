"""A function's deployment package: read from where the request says, checked, and unpacked once for each content."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError

from localcloud.errors import ServiceError

_MOST_ZIPPED, _MOST_UNZIPPED = 52_428_800, 262_144_000


@dataclass(frozen=True)
class Package:
    """An unpacked package. `folder` is its name below the folder of all code."""

    folder: str
    sha256: str
    size: int


def refused(message: str) -> ServiceError:
    """The request has a value that Lambda does not take."""
    return ServiceError("InvalidParameterValueException", message)


def read(code: Mapping[str, Any], s3: Any) -> bytes:
    """The zip file that a request gives or names. Raises InvalidParameterValueException."""
    for member in ("ImageUri", "SourceKMSKeyArn"):
        if code.get(member):
            raise refused(f"localcloud runs zip packages that it can read; got {member} {code[member]!r}")
    given, bucket, key = code.get("ZipFile"), code.get("S3Bucket"), code.get("S3Key")
    if given is not None and (bucket or key):
        raise refused("Please do not provide other FunctionCode parameters when providing a ZipFile.")
    if given is not None:
        if len(given) > _MOST_ZIPPED:
            raise ServiceError(
                "RequestEntityTooLargeException", f"Request must be smaller than {_MOST_ZIPPED} bytes", 413
            )
        return bytes(given)
    if not bucket or not key:
        raise refused("Please provide a source for function code.")
    wanted = {"Bucket": bucket, "Key": key}
    if code.get("S3ObjectVersion"):
        wanted["VersionId"] = code["S3ObjectVersion"]
    try:
        content: bytes = s3.get_object(**wanted)["Body"].read()
    except ParamValidationError as error:
        raise refused(f"Error occurred while GetObject. {error}") from error
    except ClientError as error:
        found = error.response["Error"]
        raise refused(
            f"Error occurred while GetObject. S3 Error Code: {found['Code']}. S3 Error Message: {found['Message']}"
        ) from error
    return content


def unpack(content: bytes, code: Path) -> Package:
    """Unpack a zip file below `code`, unless one of the same content is there. Raises InvalidParameterValueException
    for what is no zip file, is too large, or reaches out of its folder."""
    digest = hashlib.sha256(content)
    package = Package(digest.hexdigest(), base64.b64encode(digest.digest()).decode(), len(content))
    target = code / package.folder
    if target.is_dir():
        return package
    code.mkdir(parents=True, exist_ok=True)
    half = Path(tempfile.mkdtemp(dir=code, prefix="unpacking-"))
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) >= _MOST_UNZIPPED:
                raise refused(f"Unzipped size must be smaller than {_MOST_UNZIPPED} bytes")
            for entry in archive.infolist():
                _extract(archive, entry, half)
    # zipfile raises RuntimeError for what is encrypted, and NotImplementedError, which is one, for other compressions.
    except (zipfile.BadZipFile, RuntimeError, EOFError, zlib.error) as error:
        shutil.rmtree(half, ignore_errors=True)
        raise refused("Could not unzip uploaded file. Please check your file, then try to upload again.") from error
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise
    half.chmod(0o755)
    try:
        half.rename(target)
    except OSError:
        # Another request has unpacked the same content meanwhile.
        shutil.rmtree(half, ignore_errors=True)
        if not target.is_dir():
            raise
    return package


def remove_others(code: Path, kept: set[str]) -> None:
    """Remove unpacked packages that no function has."""
    if code.is_dir():
        for folder in code.iterdir():
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    mode = entry.external_attr >> 16
    name = os.path.normpath(entry.filename)
    if os.path.isabs(name) or name.startswith("..") or stat.S_ISLNK(mode):
        raise refused(f"The package's entry {entry.filename!r} is a link or lies outside of the package")
    place = Path(archive.extract(entry, folder))
    if mode & 0o100 and place.is_file():
        place.chmod(0o755)
