"""Container images without containers: an image in ECR whose one layer is a tar.gz in S3.

    URI  account.dkr.ecr.region.amazonaws.com/repository:tag  (or @sha256:…)
     └─ ECR BatchGetImage ─> OCI manifest
          config.data   base64 of the OCI image configuration: Env, WorkingDir, Entrypoint, Cmd
          layers[0].urls[0]   s3://bucket/key of a tar.gz of the image's files, by their paths in the image

A layer is extracted once per digest: its Python files compiled, all of them read-only. Every job gets what was
registered: whether an earlier one has changed, added or removed a file is seen before the next one starts, and the
layer is then extracted again. A program of the image runs where its files lie, with the paths of the image rewritten
wherever they stand in its entry point, its arguments and its environment.
"""

from __future__ import annotations

import base64
import binascii
import compileall
import io
import json
import os
import re
import shutil
import tarfile
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from py_compile import PycInvalidationMode
from types import MappingProxyType
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError

from localcloud.jobs import transfer

_URI = re.compile(
    r"(?P<registry>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/"
    r"(?P<repository>[^:@]+)(?::(?P<tag>[^:@]+))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
# An absolute path: not the rest of a longer word, of a relative path or of a URL (but file:// is one).
_PATH = re.compile(r"(?:(?<=file://)|(?<![\w./~-]))/[\w.@%+-][\w.@%+/-]*")


_LEFTOVER = "part-"

_Files = dict[str, list[int]]


def repository_of(uri: str) -> tuple[str, str] | None:
    """The account and the repository of an image; None for a URI that is not one of ECR."""
    found = _URI.fullmatch(uri)
    return (found["registry"], found["repository"]) if found is not None else None


class ImageError(Exception):
    """An image that cannot be run; the message names it and says what to do."""


@dataclass(frozen=True)
class Image:
    """An image that is ready to run. Paths in `environment`, `entrypoint` and the others are the image's own."""

    uri: str
    digest: str
    root: Path
    environment: Mapping[str, str]
    working_dir: str
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]

    def rewrite(self, text: str, base: Path, mounts: Mapping[str, Path] = MappingProxyType({})) -> str:
        """`text` with /opt/ml replaced by `base`, and with the image's own paths by where they lie. `mounts` are
        folders by their paths in the container, which go before both."""

        def place(match: re.Match[str]) -> str:
            path = match.group(0)
            for inside in sorted(mounts, key=len, reverse=True):
                if path == inside or path.startswith(f"{inside}/"):
                    return f"{mounts[inside]}{path[len(inside) :]}"
            if path == "/opt/ml" or path.startswith("/opt/ml/"):
                return f"{base}{path[len('/opt/ml') :]}"
            return f"{self.root}{path}" if self._holds(path) else path

        return _PATH.sub(place, text)

    def _holds(self, path: str) -> bool:
        if (self.root / path.lstrip("/")).exists():
            return True
        # A file that the program is yet to write in a folder of the image, like /opt/program/cache/x; but never one of
        # the machine's own, like /usr/bin/env for an image that brings a file in /usr/bin.
        parts = path.strip("/").split("/")
        return len(parts) > 2 and (self.root / parts[0] / parts[1]).is_dir() and not os.path.lexists(path)


def registry_and_repository(uri: str) -> tuple[str, str]:
    """The account and the repository of an image's URI; empty for a URI that is not of ECR."""
    match = _URI.fullmatch(uri)
    return (match["registry"], match["repository"]) if match else ("", "")


class Images:
    """Finds images in ECR and keeps their extracted files in a folder, by digest. Safe to use from any thread.

    `changes` gives a value that differs after every change in ECR: until then an image is not looked up again.
    """

    def __init__(self, ecr: Any, s3: Any, folder: Path, changes: Callable[[], int]) -> None:
        self._ecr, self._s3, self._folder, self._changes = ecr, s3, folder, changes
        self._lock = threading.Lock()
        self._found: dict[str, tuple[int, tuple[str, str]]] = {}
        self._known: dict[str, tuple[Image, _Files]] = {}
        # What a killed process had not finished, and what a changed folder was replaced by a fresh one for.
        for leftover in folder.glob(f"{_LEFTOVER}*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def digest(self, uri: str) -> str | None:
        """The digest that the URI stands for at this moment, or None if there is no such image."""
        try:
            return self._find(uri)[0]
        except ImageError:
            return None

    def resolve(self, uri: str) -> Image:
        """The image, extracted. Raises ImageError if it is not registered or not one that localcloud can run."""
        digest, manifest = self._find(uri)
        with self._lock:
            image, extracted = self._known.get(digest, (None, {}))
            if image is None or _files(image.root) != extracted:
                image, extracted = self._known[digest] = self._load(uri, digest, manifest)
        return image

    def _find(self, uri: str) -> tuple[str, str]:
        """Digest and manifest."""
        changes = self._changes()
        seen, found = self._found.get(uri, (None, ("", "")))
        if seen != changes:
            found = self._look_up(uri)
            self._found[uri] = changes, found
        return found

    def _look_up(self, uri: str) -> tuple[str, str]:
        match = _URI.fullmatch(uri)
        if match is None:
            raise ImageError(
                f"the image {uri!r} is not in ECR; expected ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY:TAG."
                " Register the project's images with `mlops images`"
            )
        wanted = {"imageDigest": match["digest"]} if match["digest"] else {"imageTag": match["tag"] or "latest"}
        try:
            answer = self._ecr.batch_get_image(repositoryName=match["repository"], imageIds=[wanted])
        except (ClientError, ParamValidationError) as error:
            # The client refuses a name that no repository can have, such as one of a single character.
            if isinstance(error, ClientError) and error.response["Error"]["Code"] != "RepositoryNotFoundException":
                raise
            raise ImageError(
                f"the image {uri!r} does not exist: ECR has no repository {match['repository']!r} (localcloud's ECR,"
                " where the images of every account are looked for). Register the project's images with `mlops images`"
            ) from error
        if not answer.get("images"):
            raise ImageError(
                f"the image {uri!r} does not exist: the ECR repository {match['repository']!r} has no"
                f" {' '.join(wanted.values())!r}. Register the project's images with `mlops images`"
            )
        image = answer["images"][0]
        return image["imageId"]["imageDigest"], image["imageManifest"]

    def _load(self, uri: str, digest: str, text: str) -> tuple[Image, _Files]:
        try:
            manifest = json.loads(text)
            configuration = json.loads(base64.b64decode(manifest["config"]["data"]))["config"]
            layer_uri = manifest["layers"][0]["urls"][0]
        except (ValueError, KeyError, IndexError, TypeError, binascii.Error) as error:
            raise ImageError(
                f"the image {uri!r} is not one that localcloud can run ({type(error).__name__}: {error}): expected an"
                " OCI manifest with its configuration in config.data and one layer with an s3:// URL, as"
                " `mlops images` makes it"
            ) from error
        root, extracted = self._extracted(uri, digest, layer_uri)
        image = Image(
            uri=uri,
            digest=digest,
            root=root,
            environment=dict(entry.partition("=")[::2] for entry in configuration.get("Env") or ()),
            working_dir=configuration.get("WorkingDir") or "/",
            entrypoint=tuple(configuration.get("Entrypoint") or ()),
            command=tuple(configuration.get("Cmd") or ()),
        )
        return image, extracted

    def _extracted(self, uri: str, digest: str, layer_uri: str) -> tuple[Path, _Files]:
        """The folder of a layer's files, and what is in it."""
        target = self._folder / digest.replace(":", "-")
        listing = target.with_suffix(".json")
        try:
            extracted: _Files = json.loads(listing.read_text())
        except (OSError, ValueError):
            extracted = {}
        if not extracted or _files(target) != extracted:
            extracted = self._extract(uri, layer_uri, target, listing)
        return target, extracted

    def _extract(self, uri: str, layer_uri: str, target: Path, listing: Path) -> _Files:
        try:
            layer = transfer.read(self._s3, layer_uri)
        except transfer.TransferError as error:
            raise ImageError(f"the files of the image {uri!r} are gone: {error}. Run `mlops images` again") from error
        self._folder.mkdir(parents=True, exist_ok=True)
        # Extracted beside and renamed, so that a folder by the digest's name is always whole. One that a job has
        # changed is moved away and not removed, because other jobs may run in it.
        box = Path(tempfile.mkdtemp(prefix=_LEFTOVER, dir=self._folder))
        part = box / "new"
        try:
            with tarfile.open(fileobj=io.BytesIO(layer), mode="r:gz") as archive:
                archive.extractall(part, filter="data")
            part.mkdir(exist_ok=True)
            _compile(part, target)
            for path in part.rglob("*"):
                if path.is_file() and not path.is_symlink():
                    path.chmod(path.stat().st_mode & ~0o222)
            if target.is_dir():
                target.rename(box / "old")
            part.rename(target)
            extracted = _files(target)
            listing.write_text(json.dumps(extracted))
        except (tarfile.TarError, OSError, EOFError) as error:
            shutil.rmtree(box, ignore_errors=True)
            raise ImageError(f"the layer {layer_uri} of the image {uri!r} cannot be extracted: {error}") from error
        if not (box / "old").exists():
            box.rmdir()
        return extracted


def _compile(folder: Path, target: Path) -> None:
    """Byte code for every Python file, so that no job compiles, or writes, any. It is not compared with its source:
    neither changes unseen. Files that are no valid Python are left to whoever imports them."""
    compileall.compile_dir(
        folder,
        quiet=2,
        stripdir=str(folder),
        prependdir=str(target),
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
    )


def _files(folder: Path) -> _Files:
    """Everything in a folder but byte code, by path: what changes when a file does. Empty if there is no folder."""
    found: _Files = {}
    for top, folders, names in os.walk(folder):
        if "__pycache__" in folders:
            folders.remove("__pycache__")
        for name in (*folders, *names):
            path = os.path.join(top, name)
            status = os.lstat(path)
            kept = [status.st_mode] if name in folders else [status.st_mode, status.st_size, status.st_mtime_ns]
            found[os.path.relpath(path, folder)] = kept
    if folder.is_dir():
        found["."] = []
    return found
