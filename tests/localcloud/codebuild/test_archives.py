"""Zip files in and out."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from pathlib import Path

import pytest

from localcloud.codebuild.archives import ArchiveError, pack, unpack


def zipped(*entries: tuple[str, int, str]) -> io.BytesIO:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, mode, text in entries:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            archive.writestr(entry, text)
    return content


def test_there_and_back(tmp_path: Path) -> None:
    tool, old = tmp_path / "tool", tmp_path / "old"
    tool.write_text("x")
    tool.chmod(0o755)
    old.touch()
    os.utime(old, (0, 0))  # before there were zip files
    pack([(tool, "bin/tool"), (old, "old")], tmp_path / "it.zip")
    with (tmp_path / "it.zip").open("rb") as content:
        unpack(content, tmp_path / "out")
    assert os.access(tmp_path / "out" / "bin" / "tool", os.X_OK)
    assert not os.access(tmp_path / "out" / "old", os.X_OK)


def test_links_within(tmp_path: Path) -> None:
    link = stat.S_IFLNK | 0o777
    unpack(zipped(("a/link", link, "../b/file"), ("b/file", 0o644, "x")), tmp_path)
    assert (tmp_path / "a" / "link").read_text() == "x"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (("../out", 0o644, "x"), "would leave"),
        (("/out", 0o644, "x"), "would leave"),
        (("a/link", stat.S_IFLNK | 0o777, "../../out"), "leads out"),
        (("link", stat.S_IFLNK | 0o777, "/etc/passwd"), "leads out"),
    ],
)
def test_what_leads_out_is_refused(tmp_path: Path, entry: tuple[str, int, str], said: str) -> None:
    with pytest.raises(ArchiveError, match=said):
        unpack(zipped(entry), tmp_path / "in")
    assert not (tmp_path / "out").exists()


def test_no_zip(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError):
        unpack(io.BytesIO(b"no"), tmp_path)
