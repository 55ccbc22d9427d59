"""The seed of a project's repository: the files that its first commit has, taken from this working copy.

template/seed.yml says which. Nothing is committed twice: what is here is what a project gets, but for what lies in
`template/seed/` (a README of its own, say) and the few values of the configuration that are the project's own.

    include   patterns as in .gitignore, of the files that Git does not ignore (of all files where there is no Git)
    exclude   likewise, of those that are left out again
    rename    other names: of a file, or of a folder where both end with a slash; "" is the root
    values    by file, values of YAML that are other ones in the seed; comments stay. `{region}` is the publisher's

The same files give the same bytes.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pathspec import GitIgnoreSpec
from pydantic import ValidationError

from pipelines import yaml_files
from pipelines.errors import UsageError
from pipelines.functions import Entry, zip_of
from pipelines.names import LocalPaths
from pipelines.publishing import yaml_edit
from pipelines.sections import Section

__all__ = ["Manifest", "Seed", "assemble"]


class Manifest(Section):
    """template/seed.yml"""

    include: list[str]
    """Patterns of the files that a project gets."""
    exclude: list[str]
    """Patterns of those of them that it does not get."""
    rename: dict[str, str]
    """Files and folders that are called otherwise there."""
    values: dict[str, dict[str, str]]
    """By file, the values that are others there."""


@dataclass(frozen=True)
class Seed:
    """The files of a new repository, by their names there, sorted."""

    entries: tuple[Entry, ...] = field(repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(entry.name for entry in self.entries)

    @cached_property
    def archive(self) -> bytes:
        """A zip file, as CodeCommit takes it; executable files stay so."""
        return zip_of(self.entries)


def assemble(root: Path, region: str) -> Seed:
    """The seed of the working copy at `root`, for projects of a region.

    Raises UsageError for a manifest that is none or names what does not exist, and for two files of one name.
    """
    manifest = _read(root)
    given = _files(root)
    included, excluded = _patterns(manifest.include), _patterns(manifest.exclude)
    chosen = [name for name in given if included.match_file(name) and not excluded.match_file(name)]
    _all_used(manifest, given)
    entries: dict[str, Entry] = {}
    for name in chosen:
        new = _renamed(name, manifest.rename)
        if new in entries:
            raise UsageError(f"{_shown(root)}: two files are `{new}` in the seed, one of them `{name}`; exclude one")
        entries[new] = _entry(root, name, new)
    for name, values in manifest.values.items():
        if name not in entries:
            raise UsageError(f"{_shown(root)}: values.{name}: the seed has no such file; expected one that is included")
        entries[name] = _with_values(entries[name], values, region)
    return Seed(tuple(entries[name] for name in sorted(entries)))


def _read(root: Path) -> Manifest:
    document = yaml_files.read(LocalPaths(root).seed_manifest, _shown(root))
    if document.mistakes or document.values is None:
        listed = "\n".join(str(mistake) for mistake in document.mistakes)
        raise UsageError(f"{listed}\na project's repository is not made from this working copy")
    try:
        return Manifest.model_validate(document.values)
    except ValidationError as error:
        found = [
            f"{document.position(details['loc'])}: {yaml_files.dotted(details['loc'])}: {details['msg']}"
            for details in error.errors(include_url=False)
        ]
        raise UsageError("\n".join(found)) from None


def _shown(root: Path) -> str:
    return LocalPaths(root).seed_manifest.relative_to(root).as_posix()


def _patterns(lines: Iterable[str]) -> GitIgnoreSpec:
    return GitIgnoreSpec.from_lines(lines)


def _all_used(manifest: Manifest, given: Iterable[str]) -> None:
    """A pattern that fits no file is a mistake: what it meant would be missing in every project."""
    names = list(given)
    for key, patterns in (("include", manifest.include), ("exclude", manifest.exclude)):
        for pattern in patterns:
            if not any(_patterns([pattern]).match_files(names)):
                raise UsageError(f"template/seed.yml: {key}: `{pattern}` fits no file; mend the pattern or remove it")
    for old in manifest.rename:
        if not any(name == old or (old.endswith("/") and name.startswith(old)) for name in names):
            raise UsageError(f"template/seed.yml: rename: there is no `{old}`; mend the name or remove it")


def _files(root: Path) -> list[str]:
    """The files of a working copy that Git knows or would take; all but those of .gitignore where there is no Git."""
    try:
        listed = subprocess.run(
            ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            capture_output=True,
            check=True,
        ).stdout.decode()
    except (OSError, subprocess.CalledProcessError):
        return _walked(root)
    return sorted({name for name in listed.split("\0") if name and (root / name).is_file()})


def _walked(root: Path) -> list[str]:
    file = root / ".gitignore"
    ignored = _patterns([*(file.read_text(encoding="utf-8").splitlines() if file.is_file() else ()), ".git/"])
    found = []
    for folder, folders, files in os.walk(root):
        below = Path(folder).relative_to(root)
        folders[:] = [name for name in folders if not ignored.match_file(f"{(below / name).as_posix()}/")]
        found += [(below / name).as_posix() for name in files if not ignored.match_file((below / name).as_posix())]
    return sorted(found)


def _renamed(name: str, rename: Mapping[str, str]) -> str:
    """Its name in the seed: a file's own goes before its folder's, and a deeper folder's before that of one above."""
    if name in rename:
        return rename[name]
    folder = max((old for old in rename if old.endswith("/") and name.startswith(old)), key=len, default="")
    return rename[folder] + name[len(folder) :] if folder else name


def _entry(root: Path, name: str, new: str) -> Entry:
    path = root / name
    if path.is_symlink():
        raise UsageError(f"`{name}` is a link, which a seed cannot hold; expected a file")
    return Entry(new, path.read_bytes(), os.access(path, os.X_OK))


def _with_values(entry: Entry, values: Mapping[str, str], region: str) -> Entry:
    edits: dict[yaml_files.KeyPath, yaml_edit.Scalar] = {
        tuple(key.split(".")): value.replace("{region}", region) for key, value in values.items()
    }
    text = yaml_edit.with_values(entry.content.decode(), edits)
    return Entry(entry.name, text.encode(), entry.executable)
