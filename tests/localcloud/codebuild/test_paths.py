"""Files by a buildspec's patterns."""

from __future__ import annotations

from pathlib import Path

import pytest

from localcloud.codebuild.paths import matching, names_below

FILES = ("a.txt", "b.xml", ".hidden", "d/a.txt", "d/e/a.txt", "d/e/f.xml", "d[1]/x.txt")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    # The folder's own name is no pattern.
    source = tmp_path / "sr*c"
    for name in FILES:
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.txt").touch()
    (source / "cached").symlink_to(source / "d" / "e", target_is_directory=True)
    return source


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["a.txt"], {"a.txt"}),
        (["./a.txt", "b.xml"], {"a.txt", "b.xml"}),
        (["*"], {"a.txt", "b.xml", ".hidden"}),
        (["**/*"], set(FILES)),
        (["**/a.txt"], {"a.txt", "d/a.txt", "d/e/a.txt"}),
        (["d/*"], {"d/a.txt"}),
        (["d/**"], {"d/a.txt", "d/e/a.txt", "d/e/f.xml"}),
        (["**/*.{xml,txt}"], set(FILES) - {".hidden"}),
        (["[ab].*"], {"a.txt", "b.xml"}),
        (["?.txt"], {"a.txt"}),
        (["d"], set()),
        (["none*"], set()),
        (["../src/*"], {"../src/a.txt"}),
    ],
)
def test_patterns(folder: Path, patterns: list[str], found: set[str]) -> None:
    assert {path.relative_to(folder.parent) for path in matching(folder, patterns)} == {
        Path(name[3:]) if name.startswith("../") else Path(folder.name, name) for name in found
    }


def test_what_is_excluded_and_how_files_are_called(folder: Path) -> None:
    found = matching(folder, ["**/*"], ["**/*.txt", ".hidden"])
    assert [name for _, name in names_below(folder, found, flat=False)] == ["b.xml", "d/e/f.xml"]
    assert [name for _, name in names_below(folder, found, flat=True)] == ["b.xml", "f.xml"]
    (outside,) = matching(folder, ["../src/*"])
    assert names_below(folder, [outside], flat=False) == [(outside, "src/a.txt")]


def test_an_absolute_pattern(folder: Path) -> None:
    assert matching(folder, [f"{folder}/d/*.txt"]) == [folder / "d" / "a.txt"]
