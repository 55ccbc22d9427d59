"""One bare Git repository: its references, commits, trees and blobs, and new commits on its branches."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from localcloud.codecommit.git import Git, GitError

BRANCHES, TAGS = "refs/heads/", "refs/tags/"
NORMAL, EXECUTABLE, SYMLINK, SUBMODULE = "100644", "100755", "120000", "160000"
"""Modes of a tree's entries."""

_ID = re.compile(r"[0-9a-f]{40}")
_EARLIEST_IN_ZIP = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Reference:
    """Where a branch or a tag points."""

    object_id: str
    commit_id: str
    """Of the commit itself where the object is an annotated tag."""


@dataclass(frozen=True)
class Person:
    """An author or a committer; `date` is in Git's own form: seconds since 1970 and the zone, `1484167798 -0800`."""

    name: str
    email: str
    date: str


@dataclass(frozen=True)
class Commit:
    """A commit as it is written down."""

    commit_id: str
    tree_id: str
    parents: tuple[str, ...]
    author: Person
    committer: Person
    message: str


@dataclass(frozen=True)
class Entry:
    """A file of a tree."""

    mode: str
    object_id: str


@dataclass(frozen=True)
class Difference:
    """A file that is not the same in two trees; the side that does not have it is None."""

    path: str
    before: Entry | None
    after: Entry | None


@dataclass(frozen=True)
class Change:
    """What becomes of a path in a new commit: a content, an object that is there already, or nothing (deleted)."""

    mode: str = NORMAL
    content: bytes | None = None
    object_id: str | None = None


class Bare:
    """The repository in a folder. All methods may be called from any thread; writers take turns among themselves."""

    def __init__(self, folder: Path, git: Git) -> None:
        self.folder, self._git = folder, git

    def create(self, branch: str) -> None:
        """Make it, empty; `branch` is the one that clones of it begin with."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._run("init", "--quiet", "--bare", "--template=", f"--initial-branch={branch}")

    # References.

    def references(self) -> dict[str, Reference]:
        """All of them, by full name."""
        found = {}
        for line in self._lines("for-each-ref", "--format=%(objectname) %(*objectname) %(refname)"):
            object_id, peeled, name = line.split(" ", 2)
            found[name] = Reference(object_id, peeled or object_id)
        return found

    def head(self, references: Collection[str] | None = None) -> str | None:
        """The default branch; None while it has no commit. references: what there are, where that is known."""
        name = (self.folder / "HEAD").read_text().strip().removeprefix("ref: ")
        there = name in (self.references() if references is None else references)
        return name.removeprefix(BRANCHES) if there else None

    def set_head(self, branch: str) -> None:
        """Make a branch the default one."""
        self._run("symbolic-ref", "HEAD", BRANCHES + branch)

    def is_branch_name(self, name: str) -> bool:
        """Whether Git takes it for a branch's name."""
        return not _ID.fullmatch(name) and self._succeeds("check-ref-format", BRANCHES + name)

    def create_branch(self, name: str, commit_id: str, holding: Collection[int] = ()) -> None:
        """A new branch. Raises GitError if there is one of that name, or of one that it would lie in."""
        self._run("update-ref", BRANCHES + name, commit_id, "0" * 40, holding=holding)

    def resolve(self, specifier: str) -> str | None:
        """The id of the commit that a specifier names: a full commit id, a branch, a tag, a full reference or HEAD.
        None if it names none. Git's other expressions (`main~1`) are none."""
        if _ID.fullmatch(specifier):
            return specifier if self.has_commit(specifier) else None
        if specifier == "HEAD":
            specifier = self.head() or ""
        references = self.references()
        for name in (specifier, BRANCHES + specifier, TAGS + specifier):
            if name in references:
                return references[name].commit_id
        return None

    def has_commit(self, commit_id: str) -> bool:
        """Whether there is a commit of that full id."""
        return bool(_ID.fullmatch(commit_id)) and self._succeeds("cat-file", "-e", f"{commit_id}^{{commit}}")

    def unlock(self) -> None:
        """Remove the locks of commands that were killed. Only for who knows that none runs."""
        for path in (self.folder / "HEAD.lock", self.folder / "packed-refs.lock", *self.folder.glob("refs/**/*.lock")):
            path.unlink(missing_ok=True)

    # Commits, trees, blobs.

    def commit(self, commit_id: str) -> Commit:
        """Raises GitError if there is none."""
        text = self._run("cat-file", "commit", commit_id).decode(errors="replace")
        head, _, message = text.partition("\n\n")
        members: dict[str, list[str]] = {}
        for line in head.split("\n"):
            name, _, value = line.partition(" ")
            members.setdefault(name, []).append(value)
        return Commit(
            commit_id,
            members["tree"][0],
            tuple(members.get("parent", ())),
            _person(members["author"][0]),
            _person(members["committer"][0]),
            message,
        )

    def files(self, commit_id: str | None) -> dict[str, Entry]:
        """All files of a commit's tree by path, submodules among them. None of None."""
        return {path: Entry(mode, object_id) for path, mode, object_id in self._tree("-r", commit_id)}

    def folder_of(self, commit_id: str, path: str) -> tuple[str, dict[str, Entry]] | None:
        """A folder's tree id, and what is directly in it by full path; None if there is no such folder. The root's path
        is empty."""
        if not path:
            tree_id = self._run("rev-parse", "--verify", f"{commit_id}^{{tree}}").decode().strip()
        else:
            found = [(mode, object_id) for at, mode, object_id in self._tree("-d", commit_id, path) if at == path]
            if not found or found[0][0] != "040000":
                return None
            tree_id = found[0][1]
        prefix = f"{path}/" if path else ""
        return tree_id, {prefix + name: Entry(mode, object_id) for name, mode, object_id in self._tree("", tree_id)}

    def blobs(self, object_ids: Sequence[str]) -> Iterator[bytes]:
        """The contents of blobs, in their order, read by one command. Raises GitError for one that is not there."""
        if not object_ids:
            return
        printed = io.BytesIO(self._run("cat-file", "--batch", data="\n".join(object_ids).encode() + b"\n"))
        for object_id in object_ids:
            _, kind, *size = printed.readline().decode().split()
            if kind != "blob":
                raise GitError("cat-file", 0, f"{object_id} is {kind}, not a blob")
            yield printed.read(int(size[0]))
            printed.readline()

    def differences(self, before: str | None, after: str) -> list[Difference]:
        """The files that differ between two commits' trees, by path; with None before, all files. A file that was
        renamed is one deleted and one added."""
        if before is None:
            return [Difference(path, None, entry) for path, entry in self.files(after).items()]
        printed = self._run("diff-tree", "-r", "-z", "--raw", "--no-renames", "--full-index", before, after)
        fields = printed.decode(errors="replace").split("\0")
        found = []
        for about, path in zip(fields[::2], fields[1::2], strict=False):
            mode_before, mode_after, id_before, id_after, _ = about.removeprefix(":").split(" ")
            found.append(Difference(path, _side(mode_before, id_before), _side(mode_after, id_after)))
        return found

    def archive(self, commit_id: str) -> bytes:
        """A ZIP file of the commit's tree: contents byte by byte as they were committed, with their modes. Submodules
        are left out."""
        files = {path: entry for path, entry in self.files(commit_id).items() if entry.mode != SUBMODULE}
        seconds = int(self.commit(commit_id).committer.date.split()[0])
        moment = datetime.fromtimestamp(seconds, UTC).timetuple()[:6]
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            contents = self.blobs([entry.object_id for entry in files.values()])
            for (path, entry), content in zip(files.items(), contents, strict=True):
                about = zipfile.ZipInfo(path, max(moment, _EARLIEST_IN_ZIP))
                about.create_system = 3  # Unix, whose modes follow
                about.external_attr = int(entry.mode, 8) << 16
                about.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(about, content)
        return packed.getvalue()

    # New commits.

    def write(
        self,
        branch: str,
        parent: str | None,
        changes: Mapping[str, Change],
        author: Person,
        message: str,
        holding: Collection[int] = (),
    ) -> str:
        """The id of a new commit, which is then the branch's last one. Paths are as in Git: relative, with slashes.

        What was a folder and becomes a file loses what was in it, and the other way round: whether that may be is for
        the caller to say. Raises GitError if it cannot be written, and nothing has changed then.
        """
        person = f"{author.name} <{author.email}> {author.date}".encode()
        text = message.encode()
        stream = io.BytesIO()
        stream.write(b"commit %s\nauthor %s\ncommitter %s\n" % ((BRANCHES + branch).encode(), person, person))
        stream.write(b"data %d\n%s\n" % (len(text), text))
        if parent is not None:
            stream.write(b"from %s\n" % parent.encode())
        # Deletions first: a file that is gone may make room for a folder.
        for path, change in sorted(changes.items(), key=lambda item: _is_kept(item[1])):
            where = _quoted(path)
            if change.content is not None:
                head = (change.mode.encode(), where, len(change.content))
                stream.write(b"M %s inline %s\ndata %d\n" % head + change.content + b"\n")
            elif change.object_id is not None:
                stream.write(b"M %s %s %s\n" % (change.mode.encode(), change.object_id.encode(), where))
            else:
                stream.write(b"D %s\n" % where)
        stream.write(b"done\n")
        self._run("fast-import", "--quiet", "--done", data=stream.getvalue(), holding=holding)
        return self.references()[BRANCHES + branch].commit_id

    def _tree(self, how: str, tree: str | None, *paths: str) -> Iterator[tuple[str, str, str]]:
        """Path, mode and object id of a tree's entries."""
        if tree is None:
            return
        options = [how] if how else []
        printed = self._run("--literal-pathspecs", "ls-tree", "-z", "--full-tree", *options, tree, "--", *paths)
        for line in printed.decode(errors="replace").split("\0"):
            if line:
                about, _, path = line.partition("\t")
                mode, _, object_id = about.split(" ")
                yield path, mode, object_id

    def _run(self, *arguments: str, data: bytes = b"", holding: Collection[int] = ()) -> bytes:
        return self._git.run(self.folder, *arguments, data=data, holding=holding)

    def _lines(self, *arguments: str) -> list[str]:
        return self._run(*arguments).decode(errors="replace").splitlines()

    def _succeeds(self, *arguments: str) -> bool:
        try:
            self._run(*arguments)
        except GitError:
            return False
        return True


def blob_id(content: bytes) -> str:
    """The id that Git gives a blob of that content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _is_kept(change: Change) -> bool:
    return change.content is not None or change.object_id is not None


def _side(mode: str, object_id: str) -> Entry | None:
    return Entry(mode, object_id) if mode != "000000" else None


def _person(text: str) -> Person:
    name, _, rest = text.partition("<")
    email, _, date = rest.partition(">")
    return Person(name.strip(), email, date.strip())


def _quoted(path: str) -> bytes:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'.encode()
