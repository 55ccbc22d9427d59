"""Repositories without a server around them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from localcloud.codecommit.bare import Change, Person
from localcloud.codecommit.repositories import Push, Repositories
from localcloud.context import Context
from tests.surroundings import ACCOUNT_ID, surroundings

ROOT = f"arn:aws:iam::{ACCOUNT_ID}:root"
ADA = Person("Ada", "ada@example.com", "1700000000 +0000")


class Place:
    """The repositories of a state folder, as one process after the other has them; one of them is `demo`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[Push] = []
        self.context: Context
        self.repositories: Repositories
        self.restart()
        self.repositories.create("demo", "an-id")

    def restart(self, listener: Callable[[Push], None] | None = None) -> None:
        """As after a kill: whatever was in memory is gone."""
        if hasattr(self, "context"):
            self.context.store.close()
        self.context = surroundings(self.folder)
        self.repositories = Repositories(self.context)
        self.repositories.on_push(listener or self.told.append)
        self.repositories.start()

    def settle(self) -> None:
        """Let what is due at once happen."""
        self.context.timetable.advance(0)

    def commit(self, branch: str = "main", /, **files: str | bytes | None) -> str:
        """A commit on top of a branch; a path's slashes are written `__`, and None deletes."""
        changes = {
            path.replace("__", "/"): Change(content=text.encode() if isinstance(text, str) else text)
            for path, text in files.items()
        }
        with self.repositories.changing("demo", ROOT) as (bare, claim):
            return bare.write(branch, bare.resolve(branch), changes, ADA, "a commit", holding=(claim,))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)
