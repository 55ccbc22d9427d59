"""What cloning and upgrading do with Git: one command, and a working copy whose files become those of a seed."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

from pipelines.errors import ServiceError

__all__ = ["AUTHOR", "attempt", "git", "replace_files"]

# Of commits that hold a seed: nobody who works on the project has written it.
AUTHOR = ("-c", "user.name=MLOps template", "-c", "user.email=template@localhost")


def git(*arguments: str) -> str:
    """What a Git command prints. Raises ServiceError, with what Git says, when it fails."""
    done = attempt(*arguments)
    if done.returncode:
        raise ServiceError(f"`git {' '.join(arguments)}` failed:\n{done.stderr.strip()}")
    return done.stdout


def attempt(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a Git command, however it ends. Raises ServiceError where there is no Git."""
    # English, for what it says is looked at; and nobody is there to be asked for a password.
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False, env=environment)
    except OSError as error:
        raise ServiceError(f"Git cannot be run: {error.strerror}; install it") from None


def replace_files(folder: Path, content: bytes) -> None:
    """Make a working copy hold the files of a zip file and no others; executable ones stay so."""
    for place in folder.iterdir():
        if place.name != ".git":
            shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for entry in archive.infolist():
            file = Path(archive.extract(entry, folder))
            file.chmod((entry.external_attr >> 16) & 0o777)
