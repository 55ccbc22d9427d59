"""What Git says of the working copy: the commit at work, and who is working."""

from __future__ import annotations

import getpass
import subprocess
from pathlib import Path

__all__ = ["UNKNOWN_COMMIT", "commit", "user"]

UNKNOWN_COMMIT = "unknown"


def commit(root: Path) -> str:
    """The commit that is checked out, with `-dirty` when tracked files differ from it; `unknown` outside of Git."""
    head = _git(root, "rev-parse", "HEAD")
    if head is None:
        return UNKNOWN_COMMIT
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return f"{head}-dirty" if changed else head


def user(root: Path) -> str:
    """Who works here: Git's `name <email>`, or else the login name."""
    name, email = _git(root, "config", "user.name"), _git(root, "config", "user.email")
    if name or email:
        return " ".join(part for part in (name, email and f"<{email}>") if part)
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have a number and no name
        return ""


def _git(root: Path, *arguments: str) -> str | None:
    """What a git command prints; None when it fails or there is no git."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
