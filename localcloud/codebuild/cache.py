"""The local custom cache: folders that are kept on this machine, and linked into a build's source.

All projects share the folder of a path, so that the first build pays for what it holds and the others do not. Several
builds may use it at once.
Source: "Cache builds to improve performance", local caching (AWS CodeBuild User Guide).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from localcloud.codebuild.errors import PhaseError

_ALL_BELOW = re.compile(r"(?:/\*\*)?(?:/\*)?$")
# The home of the user that a build's commands run as on AWS; here it has one of its own.
_HOMES = ("/root/", "~/", "$HOME/")


class Cache:
    """The cached folders of one localcloud, below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def link(self, paths: Iterable[str], source: Path, home: Path) -> list[Path]:
        """Link the folder of each path into a build's source or home; gives what is linked. What the source has there
        itself stays. Raises PhaseError (CLIENT_ERROR) for a path that is no folder, or lies elsewhere."""
        found = []
        for path in paths:
            base, relative = _split(path, source, home)
            place = base / relative
            if not place.exists() and not place.is_symlink():
                kept = self._folder / hashlib.sha256(relative.encode()).hexdigest()[:12]
                kept.mkdir(parents=True, exist_ok=True)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(kept, target_is_directory=True)
                found.append(place)
        return found


def _split(path: str, source: Path, home: Path) -> tuple[Path, str]:
    folder = _ALL_BELOW.sub("", path.removeprefix("./"))
    base = source
    for prefix in _HOMES:
        if folder.startswith(prefix):
            base, folder = home, folder.removeprefix(prefix)
    wrong = not folder or folder.startswith("/") or ".." in folder.split("/") or re.search(r"[*?\[{$]", folder)
    if wrong:
        raise PhaseError(
            "CLIENT_ERROR",
            f"the cache path {path!r} names no folder of the source or of /root; localcloud caches whole folders, as"
            " '.venv/**/*'",
        )
    return base, folder
