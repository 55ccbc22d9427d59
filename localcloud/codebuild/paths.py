"""Files by the patterns of a buildspec: `*` within a name, `**` over any number of folders, `[ab]`, `?`, `{a,b}`.

Links to folders are not followed: a cached folder is one, and is no part of what a build makes.
Source: "Build specification reference for CodeBuild", artifacts/files (AWS CodeBuild User Guide).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path


def matching(folder: Path, patterns: Iterable[str], excluded: Iterable[str] = ()) -> list[Path]:
    """The files below a folder that one of the patterns fits and none of `excluded`, sorted. A pattern may lead out of
    the folder, as `../reports/*.xml` does, or begin at the root."""
    unwanted = [_compiled(folder, pattern) for pattern in excluded]
    found: set[Path] = set()
    for pattern in patterns:
        base, expression = _start(folder, pattern), _compiled(folder, pattern)
        for path in _files(base):
            text = path.as_posix()
            if expression.fullmatch(text) and not any(one.fullmatch(text) for one in unwanted):
                found.add(path)
    return sorted(found)


def _compiled(folder: Path, pattern: str) -> re.Pattern[str]:
    return re.compile(_expression(os.path.normpath(os.path.join(folder.as_posix(), pattern)), folder.as_posix()))


def _start(folder: Path, pattern: str) -> Path:
    """The deepest folder, or file, above everything that a pattern may fit."""
    plain: list[str] = []
    for part in pattern.split("/"):
        if re.search(r"[*?\[{]", part):
            break
        plain.append(part)
    return Path(os.path.normpath(os.path.join(folder, "/".join(plain) or ("/" if pattern.startswith("/") else ""))))


def _files(base: Path) -> Iterator[Path]:
    if base.is_file():
        yield base
        return
    for folder, _, names in os.walk(base):
        for name in names:
            path = Path(folder, name)
            if path.is_file():
                yield path


def _expression(pattern: str, folder: str) -> str:
    """A regular expression for whole paths. What the pattern shares with the folder is no pattern."""
    shared = os.path.commonpath([pattern, folder])
    found, at, depth = re.escape(shared), len(shared), 0
    while at < len(pattern):
        rest = pattern[at:]
        if rest.startswith("**/"):
            found, at = found + r"(?:[^/]+/)*", at + 3
        elif rest.startswith("**"):
            found, at = found + ".*", at + 2
        elif (group := re.match(r"\[(?:!|\^)?\]?[^\]]*\]", rest)) is not None:
            inside = group[0][1:-1]
            inside = f"^{inside[1:]}" if inside[0] in "!^" else inside
            found, at = found + f"[{inside.replace(chr(92), chr(92) * 2)}]", at + len(group[0])
        else:
            character = rest[0]
            if character == "{" and "}" in rest:
                found, depth = found + "(?:", depth + 1
            elif character == "}" and depth:
                found, depth = found + ")", depth - 1
            elif character == "," and depth:
                found += "|"
            else:
                found += {"*": "[^/]*", "?": "[^/]"}.get(character, re.escape(character))
            at += 1
    return found


def names_below(base: Path, files: Sequence[Path], *, flat: bool) -> list[tuple[Path, str]]:
    """Each file with the name it has in an artifact: its path below `base`, or, if `flat`, its own name alone."""
    return [(path, path.name if flat else os.path.relpath(path, base).replace("../", "")) for path in files]
