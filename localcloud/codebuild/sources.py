"""Where a build's source comes from: an object or a folder of S3, a repository of CodeCommit, or nowhere.

What is read is read as the build's service role.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError

from localcloud.codebuild import encryption
from localcloud.codebuild.archives import ArchiveError, unpack
from localcloud.codebuild.buildspec import is_inline
from localcloud.codebuild.environment import Machine
from localcloud.codebuild.errors import PhaseError
from localcloud.context import Context
from localcloud.errors import ServiceError
from localcloud.jobs.transfer import TransferError, download

_CODE = "CLIENT_ERROR"
_S3_ARN = "arn:aws:s3:::"
_DEFAULT_BUILDSPEC = "buildspec.yml"
_GIT_SECONDS = 600
Source = Mapping[str, Any]


class Sources:
    """Fetches what a build is made of, for one role."""

    def __init__(self, context: Context, role_arn: str) -> None:
        self._context, self._role = context, role_arn

    def fetch(self, source: Source, version: str | None, folder: Path) -> str | None:
        """Put a source into a folder, which is there and empty; gives the commit that it is, where it has one. Raises
        PhaseError (CLIENT_ERROR) that names the source."""
        if source["type"] == "S3":
            self._fetch_s3(source["location"], version, folder)
        elif source["type"] == "CODECOMMIT":
            return self._clone(source["location"], version, source.get("gitCloneDepth"), folder)
        return None

    def buildspec(self, source: Source, folder: Path) -> str:
        """The text of the buildspec that a project's primary source names. Raises PhaseError (YAML_FILE_ERROR)."""
        named = source.get("buildspec") or _DEFAULT_BUILDSPEC
        if is_inline(named):
            return str(named)
        if named.startswith(_S3_ARN):
            bucket, _, key = named.removeprefix(_S3_ARN).partition("/")
            try:
                content = self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            except (ClientError, ParamValidationError) as error:
                raise PhaseError("YAML_FILE_ERROR", f"{said(error)} for the buildspec {named}") from error
            return _decoded(content, named)
        place = Path(os.path.normpath(folder / named))
        if not place.is_relative_to(folder):
            raise PhaseError("YAML_FILE_ERROR", f"the buildspec {named} is not in the source")
        if not place.is_file():
            raise PhaseError("YAML_FILE_ERROR", f"YAML file does not exist: {named}")
        return _decoded(place.read_bytes(), named)

    @property
    def _s3(self) -> Any:
        return self._context.clients.of("s3", self._role)

    def _fetch_s3(self, location: str, version: str | None, folder: Path) -> None:
        location = location.removeprefix(_S3_ARN)
        bucket, _, key = location.partition("/")
        try:
            if not key or key.endswith("/"):
                download(self._s3, f"s3://{bucket}/{key}", folder)
                return
            given = {"VersionId": version} if version else {}
            found = self._s3.get_object(Bucket=bucket, Key=key, **given)
            encryption.use(self._context, self._role, encryption.DECRYPT, found.get("SSEKMSKeyId"), bucket, key)
            with tempfile.TemporaryFile() as content:
                shutil.copyfileobj(found["Body"], content, 1 << 20)
                unpack(content, folder)
        except (ClientError, ParamValidationError) as error:
            at = f" and source version {version}" if version else ""
            raise PhaseError(_CODE, f"{said(error)} for primary source {location}{at}") from error
        except TransferError as error:
            raise PhaseError(_CODE, str(error)) from error
        except ArchiveError as error:
            raise PhaseError(_CODE, f"the source {location} is no zip file that can be unpacked: {error}") from error

    def _clone(self, location: str, version: str | None, depth: int | None, folder: Path) -> str:
        name = location.rstrip("/").rpartition("/")[2]
        context = self._context
        try:
            arn = f"arn:aws:codecommit:{context.region}:{context.account_id}:{name}"
            context.authority.check(self._role, "codecommit:GitPull", arn)
        except ServiceError as error:
            raise PhaseError(_CODE, f"git clone of the repository {name}: {error.message}") from error
        url = f"{context.endpoint_url}/v1/repos/{name}"
        # A commit need not be within the depth.
        shallow = ["--depth", str(depth)] if depth and not version else []
        self._git(["clone", "--quiet", *shallow, url, str(folder)], f"clone of {location}")
        if version:
            self._git(["-C", str(folder), "checkout", "--quiet", version], f"checkout of {version} from {location}")
        return self._git(["-C", str(folder), "rev-parse", "HEAD"], f"the repository {location} has no commit").strip()

    def _git(self, arguments: list[str], what: str) -> str:
        environment = {
            "PATH": Machine(os.environ).path,
            "LANG": "C.UTF-8",
            "HOME": str(self._context.state_dir),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
        }
        try:
            done = subprocess.run(
                ["git", *arguments], capture_output=True, text=True, timeout=_GIT_SECONDS, env=environment, check=False
            )
        except FileNotFoundError as error:
            raise PhaseError(_CODE, "there is no program git on the PATH; install Git") from error
        except subprocess.TimeoutExpired as error:
            raise PhaseError(_CODE, f"git {what} took more than {_GIT_SECONDS} s") from error
        if done.returncode != 0:
            raise PhaseError(_CODE, f"git {what}: {' '.join(done.stderr.split())}")
        return done.stdout


def said(error: Exception) -> str:
    """What a service, or its client, says of a call that failed: the code and the message."""
    detail = error.response.get("Error", {}) if isinstance(error, ClientError) else {}
    return f"{detail.get('Code', type(error).__name__)}: {detail.get('Message', error)}"


def _decoded(content: bytes, named: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise PhaseError("YAML_FILE_ERROR", f"the buildspec {named} is not UTF-8: {error}") from error
