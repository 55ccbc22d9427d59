"""The repositories themselves, whoever's they are: CodeCommit's by their name, those of a connection by `owner/name`.

Every change of one goes through `changing`: a push, a commit by the API, a new branch. What its references were before
is in the store until what has become of them was told, so that a change is told whatever happens meanwhile:

    references before kept ─> git changes them ─> what changed is kept, as pushes ─> each is told ─> and forgotten

A process that is killed in between leaves the first or the last of these notes; the next one goes on from it. A change
may therefore be told twice, with the same id, but only where a process was killed while it told it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import threading
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from localcloud.codecommit import errors
from localcloud.codecommit.bare import BRANCHES, TAGS, Bare, Commit, Reference
from localcloud.codecommit.git import Git
from localcloud.context import Context
from localcloud.errors import ServiceError

_LOG = logging.getLogger(__name__)

_REPOSITORY, _CHANGING, _PUSH = "git/repository", "git/changing", "git/push"
_FIRST_BRANCH = "main"
_CONNECTED = re.compile(r"[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}")
_LOOK_AGAIN_SECONDS = 0.05

Document = dict[str, Any]


@dataclass(frozen=True)
class Push:
    """One branch or tag that was made, moved or deleted."""

    id: str
    """The same whenever this change is told."""
    repository: str
    """CodeCommit's name of it, or `owner/name` of a connection's."""
    ref: str
    """In full: `refs/heads/main`, `refs/tags/v1`."""
    before: str | None
    """The commit that it was at; None for one that was made."""
    after: str | None
    """The commit that it is at; None for one that was deleted."""
    changed: tuple[str, ...]
    """The paths that differ between the two, deleted ones among them. All paths of a branch that was made, none of one
    that was deleted."""
    principal: str
    """The ARN of who changed it: the root's, or of a role's session."""

    @property
    def branch(self) -> str | None:
        """The branch's name; None for a tag."""
        return self.ref.removeprefix(BRANCHES) if self.ref.startswith(BRANCHES) else None

    @property
    def tag(self) -> str | None:
        """The tag's name; None for a branch."""
        return self.ref.removeprefix(TAGS) if self.ref.startswith(TAGS) else None


class Repositories:
    """All repositories of one localcloud. All methods may be called from any thread.

    Where a repository, a branch or a commit is not there, they raise ServiceError as CodeCommit words it.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._folder = context.state_dir / "git"
        home = self._folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        self.git = Git(home)
        self._listeners: list[Callable[[Push], None]] = []
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def on_push(self, listener: Callable[[Push], None]) -> None:
        """Have every change told to `listener`, one after the other and in their order, before what made it answers.
        It returns when it has taken the change over for good. To be called before the services start."""
        self._listeners.append(listener)

    def start(self) -> None:
        """Tell what an earlier process has left untold; on a thread of its own, for which the clock waits."""
        changing = [key for key, _ in self._context.store.list(_CHANGING, members=("Name",))]
        untold = self._context.store.list(_PUSH)
        if changing or untold:
            now = self._context.clock.now()
            self._context.timetable.at(now, partial(self._take_up, untold, changing), "tell of pushes")

    def stop(self) -> None:
        """End every command that runs."""
        self._stopped.set()
        self.git.stop()

    # What there is.

    def exists(self, repository: str) -> bool:
        """Whether there is a repository of that name."""
        return self._context.store.get(_REPOSITORY, repository) is not None

    def open(self, repository: str) -> Bare:
        """A repository, to read from."""
        return self._bare(self._identifier(repository))

    def branch_head(self, repository: str, branch: str) -> str:
        """The id of a branch's last commit."""
        found = self.open(repository).references().get(BRANCHES + branch)
        if found is None:
            raise errors.no_branch(branch)
        return found.commit_id

    def commit(self, repository: str, commit_id: str) -> Commit:
        """A commit, by its full id: its message, author, parents."""
        bare = self.open(repository)
        if not bare.has_commit(commit_id):
            raise errors.no_commit(commit_id)
        return bare.commit(commit_id)

    def archive(self, repository: str, commit_id: str) -> bytes:
        """A ZIP file of a commit's tree, with the files' modes."""
        bare = self.open(repository)
        if not bare.has_commit(commit_id):
            raise errors.no_commit(commit_id)
        return bare.archive(commit_id)

    # What is done.

    def create(self, repository: str, identifier: str) -> None:
        """Make one, within or without a transaction of the caller's. `identifier` is its own for ever, its name may be
        another's later. Raises ServiceError if there is one of that name."""
        self._bare(identifier).create(_FIRST_BRANCH)
        if not self._context.store.put(_REPOSITORY, repository, {"Id": identifier}, if_absent=True):
            shutil.rmtree(self._path(identifier))
            raise errors.repository_exists(repository)

    def create_connected(self, repository: str) -> None:
        """Make one of a connection, `owner/name`, unless it is there. Raises ServiceError for a name that is none."""
        if not is_connected_name(repository):
            raise errors.invalid_repository_name()
        with self._lock:
            if not self.exists(repository):
                self.create(repository, str(uuid.uuid4()))

    def rename(self, repository: str, name: str, also: Callable[[], None]) -> None:
        """Give one another name, and do what `also` does in the same transaction. Raises ServiceError if the name is
        taken."""
        identifier = self._identifier(repository)
        with self._lock_of(identifier), self._claimed(identifier):
            self._go_on(identifier)
            with self._context.store.transaction():
                if not self._context.store.delete(_REPOSITORY, repository):
                    raise errors.no_repository(repository)
                if not self._context.store.put(_REPOSITORY, name, {"Id": identifier}, if_absent=True):
                    raise errors.repository_exists(name)
                also()

    def delete(self, repository: str, also: Callable[[], None] = lambda: None) -> None:
        """Delete one, after what is being pushed to it, and do what `also` does in the same transaction."""
        identifier = self._identifier(repository)
        with self._lock_of(identifier):
            with self._context.store.transaction():
                if not self._context.store.delete(_REPOSITORY, repository):
                    raise errors.no_repository(repository)
                self._context.store.delete(_CHANGING, identifier)
                also()
            # Some process may be reading from it, and a file of it turn up again.
            shutil.rmtree(self._path(identifier), ignore_errors=True)

    @contextmanager
    def changing(self, repository: str, principal: str) -> Iterator[tuple[Bare, int]]:
        """The one way to change references. Others wait; what has changed is told when this is left, whatever happened.

        Gives the repository and a file descriptor, which every command that writes to it is to hold: it tells the next
        localcloud whether such a command still runs after this one was killed.
        """
        identifier = self._identifier(repository)
        with self._context.timetable.working(), self._lock_of(identifier):
            if not self.exists(repository):
                raise errors.no_repository(repository)
            bare = self._bare(identifier)
            with self._claimed(identifier) as claim:
                self._go_on(identifier)
                before = {name: asdict(reference) for name, reference in bare.references().items()}
                document = {"Name": repository, "Principal": principal, "Before": before}
                self._context.store.put(_CHANGING, identifier, document)
                try:
                    yield bare, claim
                finally:
                    self._take_up_one(identifier)

    # What becomes of a change.

    def _take_up(self, untold: Sequence[tuple[str, Document]], changing: Sequence[str]) -> None:
        for key, document in untold:
            self._tell(key, document)
        for identifier in changing:
            with self._lock_of(identifier):
                # It may have been deleted since localcloud is up.
                if self._path(identifier).exists():
                    with self._claimed(identifier):
                        self._go_on(identifier)

    def _go_on(self, identifier: str) -> None:
        """Go on from where a localcloud was killed while it changed the repository, if one was."""
        if self._context.store.get(_CHANGING, identifier) is not None:
            # The lock is ours, so that nobody's command runs any more.
            self._bare(identifier).unlock()
            self._take_up_one(identifier)

    def _take_up_one(self, identifier: str) -> None:
        """Tell what has changed since the note of what was before, if there is one."""
        document = self._context.store.get(_CHANGING, identifier)
        if document is None:
            return
        bare = self._bare(identifier)
        before = {name: Reference(**members) for name, members in document["Before"].items()}
        after = bare.references()
        pushes = list(_pushes(bare, document, before, after))
        _choose_head(bare, after)
        with self._context.store.transaction():
            for push in pushes:
                self._context.store.put(_PUSH, push["id"], push)
            self._context.store.delete(_CHANGING, identifier)
        for push in pushes:
            self._tell(push["id"], push)

    def _tell(self, key: str, document: Document) -> None:
        push = Push(**{**document, "changed": tuple(document["changed"])})
        for listener in self._listeners:
            try:
                listener(push)
            except Exception:
                # What was pushed is pushed, and the others are to know.
                _LOG.exception("a bug in localcloud, while it told of the push %s", push)
        self._context.store.delete(_PUSH, key)

    # Where they are.

    def _identifier(self, repository: str) -> str:
        found = self._context.store.get(_REPOSITORY, repository)
        if found is None:
            raise errors.no_repository(repository)
        return str(found["Id"])

    def _path(self, identifier: str) -> Path:
        return self._folder / f"{identifier}.git"

    def _bare(self, identifier: str) -> Bare:
        return Bare(self._path(identifier), self.git)

    def _lock_of(self, identifier: str) -> threading.Lock:
        with self._lock:
            return self._locks.setdefault(identifier, threading.Lock())

    @contextmanager
    def _claimed(self, identifier: str) -> Iterator[int]:
        """Wait for commands that outlived the localcloud which began them; gives the descriptor that ours hold."""
        claim = os.open(self._path(identifier) / "localcloud.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            while True:
                try:
                    fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if self._stopped.wait(_LOOK_AGAIN_SECONDS):
                        raise ServiceError("ServiceUnavailable", "localcloud is stopping", 503) from None
            yield claim
        finally:
            os.close(claim)


def is_connected_name(repository: str) -> bool:
    """Whether a connection may have a repository of that name: `owner/name`."""
    named = _CONNECTED.fullmatch(repository) is not None and not repository.endswith(".git")
    return named and not {".", ".."} & set(repository.split("/"))


def _pushes(
    bare: Bare, changing: Mapping[str, Any], before: Mapping[str, Reference], after: Mapping[str, Reference]
) -> Iterator[Document]:
    """What differs from before, of branches and tags, in the order of their names."""
    for ref in sorted(before.keys() | after.keys()):
        old, new = before.get(ref), after.get(ref)
        if old == new or not ref.startswith((BRANCHES, TAGS)):
            continue
        yield {
            "id": str(uuid.uuid4()),
            "repository": changing["Name"],
            "ref": ref,
            "before": old.commit_id if old is not None else None,
            "after": new.commit_id if new is not None else None,
            "changed": _changed(bare, ref, old, new),
            "principal": changing["Principal"],
        }


def _changed(bare: Bare, ref: str, old: Reference | None, new: Reference | None) -> list[str]:
    if new is None:
        return []
    # A tag may be of a tree or of a blob, which have no paths that anybody waits for.
    commits = [one.commit_id for one in (old, new) if one is not None]
    if ref.startswith(TAGS) and not all(bare.has_commit(commit_id) for commit_id in commits):
        return []
    found = bare.differences(old.commit_id if old is not None else None, new.commit_id)
    return [difference.path for difference in found]


def _choose_head(bare: Bare, references: Collection[str]) -> None:
    """The first branch is the default one, whatever its name; of several, `main`."""
    if bare.head(references) is not None:
        return
    branches = sorted(name.removeprefix(BRANCHES) for name in references if name.startswith(BRANCHES))
    if branches:
        bare.set_head(_FIRST_BRANCH if _FIRST_BRANCH in branches else branches[0])
