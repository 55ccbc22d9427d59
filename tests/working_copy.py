"""A user's own Git: working copies that tests clone, commit in and push from, whatever the machine's settings are."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

_PERSON = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
}
_ALONE = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}


def git(folder: Path, *arguments: str, fails: bool = False, **environment: str) -> str:
    """What git says and prints. fails: whether it has to."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env={**inherited, **_PERSON, **_ALONE, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert bool(done.returncode) == fails, f"git {' '.join(arguments)}: {done.stdout}"
    return done.stdout.strip()


@dataclass(frozen=True)
class WorkingCopy:
    """A clone."""

    folder: Path

    @classmethod
    def cloned(cls, url: str, folder: Path) -> WorkingCopy:
        git(folder.parent, "clone", "--quiet", url, str(folder))
        return cls(folder)

    @classmethod
    def new(cls, url: str, folder: Path) -> WorkingCopy:
        """One that was begun here, with an address to push to."""
        folder.mkdir()
        made = cls(folder)
        made.run("init", "--quiet", "--initial-branch=main")
        made.run("remote", "add", "origin", url)
        return made

    def run(self, *arguments: str, fails: bool = False) -> str:
        return git(self.folder, *arguments, fails=fails)

    def commit(self, message: str = "a commit", /, **files: str | None) -> str:
        """Commit files, by their paths with `__` for a slash; None deletes one. Gives the commit's id."""
        for name, content in files.items():
            path = self.folder / name.replace("__", "/")
            if content is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content)
        self.run("add", "--all")
        self.run("commit", "--quiet", "--allow-empty", "-m", message)
        return self.run("rev-parse", "HEAD")

    def empty_commit(self) -> None:
        """Commit nothing new; as quick as it gets."""
        self.run("commit", "--quiet", "--allow-empty", "-m", "empty")

    def push(self, *arguments: str, fails: bool = False) -> str:
        """Push to where it was cloned from; the branch it is on, unless told otherwise."""
        return self.run("push", "origin", *(arguments or ("HEAD",)), fails=fails)
