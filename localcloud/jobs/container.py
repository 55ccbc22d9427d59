"""What a program finds around it: a private root in place of the container's, and an environment of its own."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from localcloud.jobs.images import Image, ImageError

_LOG = logging.getLogger(__name__)
# What a job may know of the caller's machine: nothing but where Python is. The credentials are no credentials: they
# only make the AWS clients sign, with a key that stands for the job's role, and a job that reaches past localcloud is
# refused by AWS.
_SECRET = "localcloud"
# Numeric libraries start a thread per core each; with several jobs side by side their spinning costs far more than it
# gains. An image that knows better says so in its Dockerfile.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


@dataclass(frozen=True)
class Program:
    """A command line that is ready to start."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path


class Root:
    """A job's private folder, in place of its container's `/`: `opt/ml`, a home and a place for temporary files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.base = path / "opt" / "ml"
        self.home = path / "home"
        self.temporary = path / "tmp"

    def create(self) -> None:
        """Make the folder, empty: what an earlier job of the same name left is removed."""
        self.remove()
        for folder in (self.base, self.home, self.temporary, self.base / "output"):
            folder.mkdir(parents=True)

    def remove(self) -> None:
        """Remove the folder and all in it, also what the program made read-only."""
        remove(self.path)

    def inside(self, path: str) -> Path:
        """Where a path of the container lies, for example /opt/ml/processing/input."""
        return self.path / path.lstrip("/")


def program(
    image: Image,
    root: Root,
    entrypoint: Sequence[str],
    arguments: Sequence[str],
    variables: Mapping[str, str],
    *,
    endpoint_url: str,
    region: str,
    access_key: str,
    mounts: Mapping[str, Path] = MappingProxyType({}),
) -> Program:
    """The command line `entrypoint + arguments` of an image, as it runs in a private root.

    `variables` are the job's own, which stand above the image's. `access_key` stands for the role that it
    runs under. `mounts` are further folders, by their paths in the container. Raises ImageError if the image has no
    such program.
    """
    given = {**image.environment, **variables}
    rewritten = {name: image.rewrite(value, root.base, mounts) for name, value in given.items()}
    paths = [path for path in rewritten.pop("PATH", "").split(":") if path.startswith(str(image.root))]
    # Everything else of the image's PATH is the base image's, whose part the project's own environment takes.
    paths += [os.path.dirname(sys.executable), "/usr/bin", "/bin"]
    environment = {
        "HOME": str(root.home),
        "TMPDIR": str(root.temporary),
        "LANG": "C.UTF-8",
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": _SECRET,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_EC2_METADATA_DISABLED": "true",
        **dict.fromkeys(THREAD_VARIABLES, "1"),
        **rewritten,
        "PATH": ":".join(paths),
        "SAGEMAKER_BASE_DIR": str(root.base),
    }
    argv = [image.rewrite(word, root.base, mounts) for word in (*entrypoint, *arguments)]
    if any("\0" in text for text in (*argv, *environment.values())):
        raise ImageError(
            "the entry point, the arguments or the environment hold a NUL character, which no program can get"
        )
    if not argv:
        raise ImageError(
            f"the image {image.uri!r} has no entry point, and the request names none; give ContainerEntrypoint,"
            " or an ENTRYPOINT or CMD in the Dockerfile"
        )
    folder = Path(image.rewrite(image.working_dir, root.base, mounts))
    if not any(folder.is_relative_to(own) for own in (image.root, root.path, *mounts.values())) or not folder.is_dir():
        folder = root.path
    found = shutil.which(argv[0] if "/" not in argv[0] else str(folder / argv[0]), path=environment["PATH"])
    if found is None:
        raise ImageError(
            f"the image {image.uri!r} has no executable program {argv[0]!r} on its PATH ({environment['PATH']})"
        )
    return Program((found, *argv[1:]), environment, folder)


def remove(folder: Path) -> None:
    """Remove a folder, also where its user has taken the rights to do so away. What resists is left, and logged: it is
    no reason for a job that has done its work to fail."""

    def make_writable(function: object, path: str, _: object) -> None:
        if path in tried:
            return
        tried.add(path)
        with contextlib.suppress(OSError):
            os.chmod(os.path.dirname(path), 0o700)
            if os.path.isdir(path) and not os.path.islink(path):
                os.chmod(path, 0o700)
                shutil.rmtree(path, onerror=make_writable)
            else:
                os.unlink(path)

    tried: set[str] = set()
    if folder.exists():
        shutil.rmtree(folder, onerror=make_writable)
        if folder.exists():
            _LOG.warning("%s cannot be removed; the next start tries again", folder)
