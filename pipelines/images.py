"""The images of the workloads: what a Dockerfile says is inside, as a content digest, and how it is registered.

`seed_code/<workload>/Dockerfile` is the only place that says what an image holds. It is read here, not built: the files
of its COPY instructions and the settings of ENV, WORKDIR, USER, ENTRYPOINT and CMD give a digest, the digest gives the
tag, and the tag gives the URI that pipelines name. The same tree has the same URI on every machine, so that an
unchanged image keeps the step cache; a changed file, base image or requirement is another image.

`register` writes the image to ECR as an OCI manifest: the configuration inline (base64, in the descriptor's `data`),
and one layer with the COPY'd files, which lies in the project's bucket (the descriptor's `urls`). That is all that
localcloud needs to run it, with the environment of the project itself. AWS needs the base image and what RUN installs
as well, and says so by LayersNotFoundException; there Docker builds the image, under the same URI
(`pipelines/docker.py`).

The build context is the root of the working copy: `COPY seed_code/common /opt/program/seed_code/common`.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import posixpath
import re
import stat
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import boto3
from botocore.exceptions import ClientError
from dockerfile_parse import DockerfileParser
from dockerfile_parse.util import WordSplitter

from pipelines.errors import ImageError, UsageError, suggestion
from pipelines.names import LocalPaths, Names
from pipelines.session import client

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"

# What `docker` gives a base image that sets no PATH, and all Python base images keep at its end.
_BASE_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
# Instructions that change nothing of what is read here: the base image and the packages are the environment's matter.
_PASSED_OVER = {
    "COMMENT",
    "FROM",
    "RUN",
    "ARG",
    "LABEL",
    "EXPOSE",
    "MAINTAINER",
    "STOPSIGNAL",
    "HEALTHCHECK",
    "VOLUME",
    "ENV",
}
_HEREDOC = re.compile(r"<<-?[\"']?[A-Za-z_]")
_VARIABLE = re.compile(r"(?<!\\)\$(?:\{(?P<braced>[^}]*)\}|(?P<plain>\w+))")


@dataclass(frozen=True)
class ImageFile:
    """One file of an image: its absolute path there, whether it is executable, and its content."""

    target: str
    executable: bool
    content: bytes = field(repr=False)


@dataclass(frozen=True)
class Image:
    """What a Dockerfile says. `digest` is the SHA-256 of all the rest, as 64 hexadecimal characters."""

    workload: str
    dockerfile: str
    settings: Mapping[str, Any]
    """OCI's image settings: Env (a list of K=V), WorkingDir, User, Entrypoint, Cmd, each only if the Dockerfile gives
    it.
    """
    files: tuple[ImageFile, ...]
    """Sorted by target."""
    digest: str


class LayersMissing(ImageError):
    """ECR wants the layers themselves: Docker has to build the image."""


@dataclass(frozen=True)
class Registered:
    """An image in ECR; `new` is false when it was there already, `built` true when Docker has built it."""

    workload: str
    uri: str
    new: bool
    built: bool = False


def discover(root: Path) -> list[str]:
    """The workloads that have a Dockerfile, sorted."""
    return sorted(file.parent.name for file in LocalPaths(root).images.glob("*/Dockerfile"))


def read(root: Path, workload: str) -> Image:
    """Read a workload's Dockerfile and the files that it copies.

    Raises UsageError when the workload has none, ImageError for an instruction or a form that is not understood (never
    passed
    over: what cannot be read here would be missing in the image) and for a source that does not exist.
    """
    path = LocalPaths(root).dockerfile(workload)
    shown = path.relative_to(root).as_posix()
    if not path.is_file():
        known = discover(root)
        raise UsageError(
            f"no `{shown}`{suggestion(workload, known)}; folders with a Dockerfile: {', '.join(known) or 'none'}"
        )
    text = path.read_bytes()
    settings, copies = _Dockerfile(shown, text).interpret()
    files: dict[str, ImageFile] = {}
    for copy in copies:
        for file in copy.files(root):
            files[file.target] = file  # a later COPY goes over an earlier one
    ordered = tuple(files[target] for target in sorted(files))
    return Image(workload, shown, settings, ordered, _digest(text, settings, ordered))


def _digest(dockerfile: bytes, settings: Mapping[str, Any], files: tuple[ImageFile, ...]) -> str:
    sha = hashlib.sha256()

    def add(part: bytes) -> None:  # with its length, so that no two lists of parts read the same
        sha.update(len(part).to_bytes(8, "big") + part)

    add(dockerfile)
    add(_json(settings))
    for file in files:
        add(file.target.encode())
        add(b"x" if file.executable else b"-")
        add(file.content)
    return sha.hexdigest()


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


# --- the Dockerfile ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Copy:
    where: str
    sources: tuple[str, ...]
    target: str
    """Absolute; ends with a slash when it must be a folder."""
    mode: int | None

    def files(self, root: Path) -> Iterator[ImageFile]:
        for source in self.sources:
            path = root / source
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                what = "is a symbolic link" if path.is_symlink() else "does not exist"
                raise ImageError(f"{self.where}: `{source}` {what}; expected a file or folder below `{root}`")
            if path.is_file():
                name = f"{self.target}{path.name}" if self.target.endswith("/") else self.target
                yield self._file(path, name)
                continue
            for below in sorted(path.rglob("*")):
                if "__pycache__" in below.parts or below.suffix == ".pyc":
                    continue
                if below.is_symlink():
                    shown = below.relative_to(root).as_posix()
                    raise ImageError(f"{self.where}: `{shown}` is a symbolic link; expected files and folders only")
                if below.is_file():
                    yield self._file(below, f"{self.target.rstrip('/')}/{below.relative_to(path).as_posix()}")

    def _file(self, path: Path, target: str) -> ImageFile:
        mode = path.stat().st_mode if self.mode is None else self.mode
        return ImageFile(target, bool(mode & (stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)), path.read_bytes())


class _Dockerfile:
    """The instructions of one Dockerfile, refused by name where they are not understood."""

    def __init__(self, shown: str, text: bytes) -> None:
        self.shown = shown
        try:
            decoded = text.decode()
        except UnicodeDecodeError as error:
            raise ImageError(f"{shown}: not UTF-8 text (byte {error.start})") from error
        if re.match(r"#\s*escape\s*=", decoded, re.IGNORECASE):
            raise ImageError(f"{shown}:1: the directive `escape` is not supported; use a backslash")
        self.parser = DockerfileParser(fileobj=io.BytesIO(text), parent_env=dict(_BASE_ENVIRONMENT))

    def interpret(self) -> tuple[dict[str, Any], list[_Copy]]:
        settings: dict[str, Any] = {}
        copies: list[_Copy] = []
        workdir = "/"
        environment = dict(_BASE_ENVIRONMENT)
        stages = 0
        for instruction, context in zip(self.parser.structure, self.parser.context_structure, strict=True):
            name, value = instruction["instruction"], instruction["value"]
            where = f"{self.shown}:{instruction['startline'] + 1}: {name}"
            if name == "FROM":
                stages += 1
                if stages > 1:
                    raise ImageError(f"{where}: a second stage is not supported; expected one FROM")
            elif stages == 0 and name not in ("ARG", "COMMENT"):
                raise ImageError(f"{where}: stands before FROM")
            if name in ("RUN", "COPY") and _HEREDOC.search(value):
                raise ImageError(
                    f"{where}: a here-document is not supported; put the lines into a file, or join them with &&"
                )
            if name == "ENV":
                _check_variables(where, value, environment)
                environment = dict(context.get_values("ENV"))
            elif name == "WORKDIR":
                workdir = posixpath.normpath(posixpath.join(workdir, _text(where, value, environment)))
            elif name == "USER":
                settings["User"] = _text(where, value, environment)
            elif name in ("ENTRYPOINT", "CMD"):
                settings["Entrypoint" if name == "ENTRYPOINT" else "Cmd"] = _command(where, value)
                if name == "ENTRYPOINT":
                    settings.pop("Cmd", None)  # as docker: an ENTRYPOINT forgets the CMD above it
            elif name == "COPY":
                copies.append(_copy(where, value, environment, workdir))
            elif name not in _PASSED_OVER:
                hint = "; use COPY" if name == "ADD" else ""
                raise ImageError(f"{where}: the instruction is not supported{hint}")
        if stages == 0:
            raise ImageError(f"{self.shown}: no FROM instruction; expected one base image")
        settings["Env"] = [f"{name}={value}" for name, value in environment.items()]
        settings["WorkingDir"] = workdir
        return settings, copies


def _check_variables(where: str, value: str, environment: Mapping[str, str]) -> None:
    for found in _VARIABLE.finditer(value):
        name = found["plain"] or found["braced"]
        if not re.fullmatch(r"\w+", name):
            raise ImageError(f"{where}: `{found[0]}` is not supported; write `${{NAME}}` only")
        if name not in environment:
            raise ImageError(f"{where}: `{found[0]}` is not set by an ENV instruction above")


def _words(where: str, value: str, environment: Mapping[str, str]) -> list[str]:
    _check_variables(where, value, environment)
    return [str(word) for word in WordSplitter(value, envs=dict(environment)).split()]


def _text(where: str, value: str, environment: Mapping[str, str]) -> str:
    return " ".join(_words(where, value, environment))


def _command(where: str, value: str) -> list[str]:
    """The exec form as its list, the shell form as the shell's."""
    if not value.lstrip().startswith("["):
        return ["/bin/sh", "-c", value]
    return _string_list(where, value)


def _string_list(where: str, value: str) -> list[str]:
    try:
        words = json.loads(value)
    except json.JSONDecodeError as error:
        raise ImageError(
            f"{where}: `{value}` is not valid JSON ({error.msg}); the list form needs double quotes"
        ) from error
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ImageError(f"{where}: found `{value}`, expected a JSON list of texts")
    return words


def _copy(where: str, value: str, environment: Mapping[str, str], workdir: str) -> _Copy:
    flags: dict[str, str] = {}
    while flag := re.match(r"--(?P<name>[a-z-]+)(=(?P<value>\S*))?\s+", value):
        flags[flag["name"]] = flag["value"] or ""
        value = value[flag.end() :]
    for name in flags:
        if name not in ("chown", "chmod"):  # who owns a file makes no difference to the programs
            raise ImageError(f"{where}: --{name} is not supported; expected --chown, --chmod or neither")
    mode = None
    if "chmod" in flags:
        if not re.fullmatch(r"0?[0-7]{3}", flags["chmod"]):
            raise ImageError(f"{where}: --chmod={flags['chmod']} is not supported; expected three octal digits")
        mode = int(flags["chmod"], 8)
    words = _string_list(where, value) if value.startswith("[") else _words(where, value, environment)
    if len(words) < 2:
        raise ImageError(f"{where}: found {len(words)} path, expected one or more sources and a target")
    *sources, target = words
    for source in sources:
        parts = PurePosixPath(source).parts
        if re.search(r"[*?\[]", source):
            raise ImageError(f"{where}: the wildcard `{source}` is not supported; name files and folders")
        if source.startswith("/") or ".." in parts or not parts:
            raise ImageError(
                f"{where}: `{source}` is not supported; expected a file or folder below the working copy's root"
            )
    if target in (".", "..") or target.endswith(("/", "/.", "/..")):
        folder = posixpath.normpath(posixpath.join(workdir, target)).rstrip("/") + "/"
        return _Copy(where, tuple(sources), folder, mode)
    if len(sources) > 1:
        raise ImageError(f"{where}: the target of {len(sources)} sources is `{target}`, expected a folder: `{target}/`")
    return _Copy(where, tuple(sources), posixpath.normpath(posixpath.join(workdir, target)), mode)


# --- the registry -----------------------------------------------------------------------------------------------------


def layer(image: Image) -> tuple[bytes, bytes]:
    """The image's files as a tar and as its gzip; the same bytes for the same files, whoever owns them and whenever.

    The gzip may differ between builds of zlib; nothing is named by it.
    """
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for file in image.files:
            member = tarfile.TarInfo(file.target.lstrip("/"))
            member.size = len(file.content)
            member.mode = 0o755 if file.executable else 0o644
            archive.addfile(member, io.BytesIO(file.content))
    return plain.getvalue(), gzip.compress(plain.getvalue(), mtime=0)


def manifest(image: Image, layer_uri: str) -> str:
    """The OCI manifest that describes an image whose layer lies at `layer_uri` (s3://bucket/key)."""
    tar, packed = layer(image)
    config = _json(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": dict(image.settings),
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(tar).hexdigest()}"]},
        }
    )
    return _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {
                "mediaType": CONFIG_TYPE,
                "digest": f"sha256:{hashlib.sha256(config).hexdigest()}",
                "size": len(config),
                "data": base64.b64encode(config).decode(),
            },
            "layers": [
                {
                    "mediaType": LAYER_TYPE,
                    "digest": f"sha256:{hashlib.sha256(packed).hexdigest()}",
                    "size": len(packed),
                    "urls": [layer_uri],
                }
            ],
        }
    ).decode()


def register_all(session: boto3.Session, names: Names, root: Path) -> list[Registered]:
    """Register every workload's image. Raises as `read` and `register` do; all are read before the first is written."""
    return [register(session, names, image) for image in [read(root, workload) for workload in discover(root)]]


def register(session: boto3.Session, names: Names, image: Image) -> Registered:
    """Make sure that ECR has this image. Nothing is written when it has.

    Raises ImageError when the project's bucket does not exist, and LayersMissing, which is one, when ECR wants the
    layers themselves, as AWS's does.
    """
    uri = names.image_uri(image.workload, image.digest)
    repository, tag = names.image_repository(image.workload), names.image_tag(image.digest)
    key = names.image_layer_key(image.workload, image.digest)
    layer_uri = f"s3://{names.bucket}/{key}"
    ecr = client(session, "ecr")
    _ensure_repository(ecr, repository)
    found = ecr.batch_get_image(
        repositoryName=repository, imageIds=[{"imageTag": tag}], acceptedMediaTypes=[MANIFEST_TYPE]
    )
    if found["images"] and layer_uri not in found["images"][0]["imageManifest"]:
        return Registered(image.workload, uri, new=False, built=True)  # its layers are ECR's
    s3 = client(session, "s3")
    try:
        if found["images"] and _exists(s3, names.bucket, key):
            return Registered(image.workload, uri, new=False)
        s3.put_object(Bucket=names.bucket, Key=key, Body=layer(image)[1], ContentType="application/gzip")
    except s3.exceptions.NoSuchBucket as error:
        raise ImageError(
            f"the bucket `{names.bucket}` does not exist; `mlops up` makes it on this machine, the "
            "project's stack on AWS"
        ) from error
    if found["images"]:
        return Registered(image.workload, uri, new=False)
    try:
        ecr.put_image(
            repositoryName=repository,
            imageManifest=manifest(image, layer_uri),
            imageManifestMediaType=MANIFEST_TYPE,
            imageTag=tag,
        )
    except (ecr.exceptions.ImageAlreadyExistsException, ecr.exceptions.ImageTagAlreadyExistsException):
        return Registered(image.workload, uri, new=False)  # someone else was faster, with the same content
    except ecr.exceptions.LayersNotFoundException as error:
        raise LayersMissing(
            f"ECR does not have the layers of `{uri}`: on AWS an image must be built. `mlops images` builds it with "
            f"Docker, by {image.dockerfile}"
        ) from error
    return Registered(image.workload, uri, new=True)


def _ensure_repository(ecr: Any, repository: str) -> None:
    try:
        ecr.describe_repositories(repositoryNames=[repository])
    except ecr.exceptions.RepositoryNotFoundException:
        try:
            ecr.create_repository(
                repositoryName=repository,
                imageTagMutability="IMMUTABLE",
                imageScanningConfiguration={"scanOnPush": True},
            )
        except ecr.exceptions.RepositoryAlreadyExistsException:
            return


def _exists(s3: Any, bucket: str, key: str) -> bool:
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        # HEAD has no body, so that S3 tells a missing key, and a missing bucket, by the status alone.
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return False
        raise
    return True
