"""Zip files of sources and artifacts, with the rights to execute and, on the way in, links."""

from __future__ import annotations

import os
import stat
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

_EARLIEST = (1980, 1, 1, 0, 0, 0)
_LONGEST_LINK_BYTES = 4096


class ArchiveError(Exception):
    """A zip file that cannot be unpacked; the message says why."""


def unpack(content: IO[bytes], folder: Path) -> None:
    """Unpack a zip file into a folder. Raises ArchiveError for what is none, and for an entry or a link that would lead
    out of the folder."""
    try:
        with zipfile.ZipFile(content) as archive:
            root = folder.resolve()
            links: list[tuple[Path, str]] = []
            for entry in archive.infolist():
                place = _place(root, entry.filename)
                mode = entry.external_attr >> 16
                if stat.S_ISLNK(mode) and entry.file_size <= _LONGEST_LINK_BYTES:
                    links.append((place, os.fsdecode(archive.read(entry))))
                    continue
                archive.extract(entry, folder)
                if mode & 0o111 and not entry.is_dir():
                    place.chmod(place.stat().st_mode | 0o111)
            # Last, so that nothing is written through one.
            for place, target in links:
                _link(root, place, target)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise ArchiveError(str(error) or type(error).__name__) from error


def pack(files: Sequence[tuple[Path, str]], archive: Path) -> None:
    """A zip file of files, each with its name in it."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as stream:
        for path, name in files:
            found = path.stat()
            moment = max(time.localtime(found.st_mtime)[:6], _EARLIEST)
            entry = zipfile.ZipInfo(name, moment)
            entry.external_attr = (stat.S_IFREG | stat.S_IMODE(found.st_mode)) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            with path.open("rb") as source, stream.open(entry, "w", force_zip64=found.st_size >= 1 << 31) as target:
                while chunk := source.read(1 << 20):
                    target.write(chunk)


def _place(root: Path, name: str) -> Path:
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\\" in name:
        raise ArchiveError(f"the entry {name!r} would leave the folder; names must be relative, without '..'")
    return root / name


def _link(root: Path, place: Path, target: str) -> None:
    reached = Path(os.path.normpath(place.parent / target))
    if target.startswith("/") or not (reached == root or reached.is_relative_to(root)):
        raise ArchiveError(f"the link {place.relative_to(root)} to {target!r} leads out of the folder")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)
