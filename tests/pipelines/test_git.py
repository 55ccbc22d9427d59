"""What Git says: the commit at work, and who is working."""

from __future__ import annotations

import getpass
import subprocess
from pathlib import Path

import pytest

from pipelines import git


def _run(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository without a commit, out of reach of the configuration of this machine and this user."""
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, "/dev/null")
    _run(tmp_path, "init", "-q")
    return tmp_path


def test_a_commit_and_whether_the_tree_differs_from_it(repository: Path) -> None:
    assert git.commit(repository) == git.UNKNOWN_COMMIT
    (repository / "file").write_text("1")
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    _run(repository, "add", "file")
    _run(repository, *identity, "commit", "-q", "-m", "first")
    head = _run(repository, "rev-parse", "HEAD")
    assert git.commit(repository) == head
    (repository / "untracked").write_text("")
    assert git.commit(repository) == head
    (repository / "file").write_text("2")
    assert git.commit(repository) == f"{head}-dirty"


def test_outside_of_git_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git.commit(tmp_path) == git.UNKNOWN_COMMIT


def test_without_the_program_git_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git.commit(tmp_path) == git.UNKNOWN_COMMIT
    assert git.user(tmp_path) == getpass.getuser()


def test_who_works_here(repository: Path) -> None:
    assert git.user(repository) == getpass.getuser()
    _run(repository, "config", "user.email", "ada@example.org")
    assert git.user(repository) == "<ada@example.org>"
    _run(repository, "config", "user.name", "Ada")
    assert git.user(repository) == "Ada <ada@example.org>"
