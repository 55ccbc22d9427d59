"""What a build leaves behind: its files found, packed, and put into S3 as its service role."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError

from localcloud.codebuild import encryption
from localcloud.codebuild.archives import pack
from localcloud.codebuild.buildspec import ArtifactFiles
from localcloud.codebuild.errors import PhaseError
from localcloud.codebuild.paths import matching, names_below
from localcloud.codebuild.sources import said
from localcloud.context import Context

_CODE = "CLIENT_ERROR"
Settings = Mapping[str, Any]


class Uploads:
    """Puts artifacts into S3. `expand` replaces variables in a text by the values that the build left them with."""

    def __init__(self, context: Context, build: Settings, source: Path, expand: Callable[[str], str]) -> None:
        """build: as BatchGetBuilds shows it."""
        self._context, self._role = context, build["serviceRole"]
        self._key, self._id, self._source, self._expand = build["encryptionKey"], build["id"], source, expand

    def put(self, settings: Settings, files: ArtifactFiles) -> dict[str, Any]:
        """Upload one artifact; gives the members of the build's `artifacts` that are known now. Raises PhaseError
        (CLIENT_ERROR)."""
        base = self._source / self._expand(files.base_directory or ".")
        patterns = [self._expand(pattern) for pattern in files.files]
        found = matching(base.resolve(), patterns, [self._expand(pattern) for pattern in files.exclude_paths])
        if not found:
            raise PhaseError(_CODE, "no matching artifact paths found")
        named = names_below(base.resolve(), found, flat=files.discard_paths)
        prefix = self._prefix(settings, files)
        if settings.get("packaging") != "ZIP":
            for path, name in named:
                with path.open("rb") as content:
                    self._put(settings, "/".join(part for part in (prefix, name) if part), content)
            return {"location": f"arn:aws:s3:::{settings['location']}/{prefix}".rstrip("/")}
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder) / "artifact.zip"
            pack(named, archive)
            digests = [hashlib.new(name) for name in ("sha256", "md5")]
            with archive.open("rb") as content:
                while chunk := content.read(1 << 20):
                    for digest in digests:
                        digest.update(chunk)
                content.seek(0)
                self._put(settings, prefix, content)
        return {
            "location": f"arn:aws:s3:::{settings['location']}/{prefix}",
            "sha256sum": digests[0].hexdigest(),
            "md5sum": digests[1].hexdigest(),
        }

    def _prefix(self, settings: Settings, files: ArtifactFiles) -> str:
        """The key of a zip file, or of the folder of loose files."""
        name = settings.get("name") or ""
        if settings.get("overrideArtifactName") and files.name:
            name = self._expand(files.name)
        namespace = self._id.rpartition(":")[2] if settings.get("namespaceType") == "BUILD_ID" else ""
        return "/".join(part.strip("/") for part in (settings.get("path") or "", namespace, name) if part.strip("/"))

    def _put(self, settings: Settings, key: str, content: Any) -> None:
        encrypted = {}
        if not settings.get("encryptionDisabled"):
            encryption.use(self._context, self._role, encryption.ENCRYPT, self._key, settings["location"], key)
            encrypted = encryption.members(self._key)
        try:
            self._context.clients.of("s3", self._role).put_object(
                Bucket=settings["location"], Key=key, Body=content, **encrypted
            )
        except (ClientError, ParamValidationError) as error:
            raise PhaseError(_CODE, f"{said(error)} for s3://{settings['location']}/{key}") from error
