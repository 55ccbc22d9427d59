"""Commits and branches that are made by the API: CreateCommit, PutFile, CreateBranch.

What may be changed is decided over the list of the parent's files; git then writes the commit in one go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from localcloud.codecommit import errors
from localcloud.codecommit.bare import (
    BRANCHES,
    EXECUTABLE,
    NORMAL,
    SUBMODULE,
    SYMLINK,
    TAGS,
    Bare,
    Change,
    Entry,
    Person,
    blob_id,
)
from localcloud.codecommit.contents import MOST_FILE_BYTES, checked_path, mode_of
from localcloud.codecommit.git import GitError
from localcloud.codecommit.records import Records
from localcloud.codecommit.repositories import Repositories
from localcloud.context import Context, Request
from localcloud.errors import ServiceError
from localcloud.principals import Caller

IMPORT_HEADER = "x-localcloud-import"
"""On a CreateCommit that CloudFormation makes of a template's `Code`: it takes as many files as the archive has."""

_ID = re.compile(r"[0-9a-f]{40}")
_MODES = {"NORMAL": NORMAL, "EXECUTABLE": EXECUTABLE, "SYMLINK": SYMLINK}
_MOST_FILES = 100
_MOST_BYTES = 7 * 1024 * 1024
_MOST_MESSAGE_BYTES = 256 * 1024
_MOST_NAME, _MOST_EMAIL = 1024, 256
_KEEP = ".gitkeep"

Params = Mapping[str, Any]


class Commits:
    """The operations. All methods may be called from any thread."""

    def __init__(self, context: Context, repositories: Repositories, records: Records) -> None:
        self._context, self._repositories, self._records = context, repositories, records

    def create_branch(self, request: Request) -> dict[str, Any]:
        """CreateBranch."""
        params = request.params
        name, branch, commit_id = params["repositoryName"], params["branchName"], params["commitId"]
        self._records.require(name)
        with self._repositories.changing(name, self._caller(request).shown) as (bare, claim):
            if not bare.is_branch_name(branch):
                raise _invalid_branch(branch)
            if BRANCHES + branch in bare.references():
                raise ServiceError("BranchNameExistsException", f"Branch named {branch} already exists")
            if not _ID.fullmatch(commit_id):
                raise ServiceError("InvalidCommitIdException", f"The specified commit ID is not valid: {commit_id}")
            if not bare.has_commit(commit_id):
                raise errors.no_commit(commit_id)
            try:
                bare.create_branch(branch, commit_id, holding=(claim,))
            except GitError as error:
                # A branch `a/b` where there is one `a`.
                raise _invalid_branch(f"{branch} ({error.text})") from error
        return {}

    def create(self, request: Request) -> dict[str, Any]:
        """CreateCommit."""
        params = request.params
        limits = _Limits(_MOST_FILES, _MOST_BYTES)
        if request.headers.get(IMPORT_HEADER):
            limits = _Limits(None, None)
        with self._changing(request) as (bare, parent, claim):
            files = bare.files(parent)
            plan = _Plan(files, limits)
            plan.read(params)
            if not plan.changes:
                raise ServiceError(
                    "NoChangeException",
                    "The commit cannot be created because no changes will be made to the repository as a result of this"
                    " commit. A commit must contain at least one change.",
                )
            person = self._author(request, params.get("authorName"))
            message = _message(params, f"Changed {len(plan.changes)} files")
            commit_id = bare.write(params["branchName"], parent, plan.changes, person, message, holding=(claim,))
            return {"commitId": commit_id, "treeId": bare.commit(commit_id).tree_id, **plan.outcome()}

    def put_file(self, request: Request) -> dict[str, Any]:
        """PutFile: a commit of one file."""
        params = request.params
        path = checked_path(params["filePath"])
        with self._changing(request) as (bare, parent, claim):
            files = bare.files(parent)
            plan = _Plan(files, _Limits(_MOST_FILES, _MOST_BYTES))
            entry = {"filePath": path, "fileContent": params["fileContent"], "fileMode": params.get("fileMode")}
            plan.read({"putFiles": [{name: value for name, value in entry.items() if value is not None}]})
            if not plan.changes:
                raise ServiceError(
                    "SameFileContentException",
                    "The file was not added or updated because the content of the file is exactly the same as the"
                    " content of that file in the repository and branch that you specified.",
                )
            message = _message(params, f"{'Edited' if path in files else 'Added'} {path.rpartition('/')[2]}")
            person = self._author(request, params.get("name"))
            commit_id = bare.write(params["branchName"], parent, plan.changes, person, message, holding=(claim,))
            tree_id = bare.commit(commit_id).tree_id
            return {"commitId": commit_id, "blobId": blob_id(params["fileContent"]), "treeId": tree_id}

    @contextmanager
    def _changing(self, request: Request) -> Iterator[tuple[Bare, str | None, int]]:
        """The repository to commit to, and the commit that the new one follows."""
        params = request.params
        name, branch, given = params["repositoryName"], params["branchName"], params.get("parentCommitId")
        self._records.require(name)
        with self._repositories.changing(name, self._caller(request).shown) as (bare, claim):
            yield bare, _parent(bare, branch, given), claim

    def _caller(self, request: Request) -> Caller:
        return self._context.principals.caller(request.access_key)

    def _author(self, request: Request, name: str | None) -> Person:
        """Who the commit is by: whom the request names, or else who calls."""
        if name is None:
            name = self._caller(request).arn.rpartition("/")[2].rpartition(":")[2]
        email = request.params.get("email", "")
        if len(name) > _MOST_NAME:
            raise ServiceError(
                "NameLengthExceededException", f"The user name is not valid: it has more than {_MOST_NAME} characters."
            )
        if len(email) > _MOST_EMAIL or re.search(r"[<>\n\0]", email):
            raise ServiceError(
                "InvalidEmailException",
                "The specified email address either contains one or more characters that are not allowed, or it exceeds"
                f" the maximum number of characters allowed for an email address ({_MOST_EMAIL}).",
            )
        seconds = int(self._context.clock.now().timestamp())
        return Person(re.sub(r"[<>\n\0]", "", name), email, f"{seconds} +0000")


class _Limits:
    """How many files, and how many bytes of them, one commit may change. None is no limit."""

    def __init__(self, files: int | None, content_bytes: int | None) -> None:
        self.files, self.content_bytes = files, content_bytes


class _Plan:
    """What is to become of which path, over the files that there are."""

    def __init__(self, files: Mapping[str, Entry], limits: _Limits) -> None:
        self._files, self._limits = files, limits
        self._wanted: dict[str, Change] = {}
        self.changes: dict[str, Change] = {}

    def read(self, params: Params) -> None:
        """Take up what the request asks for. Raises ServiceError for what cannot be done."""
        puts, deletes, modes = (params.get(name, []) for name in ("putFiles", "deleteFiles", "setFileModes"))
        self._check_amount(puts, len(puts) + len(deletes) + len(modes))
        for one in puts:
            self._put(one)
        for one in deletes:
            self._existing(path := checked_path(one["filePath"]))
            self._want(path, Change())
        for one in modes:
            entry = self._existing(path := checked_path(one["filePath"]))
            self._want(path, Change(_MODES[one["fileMode"]], object_id=entry.object_id))
        if params.get("keepEmptyFolders"):
            self._keep_folders()
        self._check_names()
        self.changes = {at: change for at, change in self._wanted.items() if _entry(change) != self._files.get(at)}

    def outcome(self) -> dict[str, list[dict[str, str]]]:
        """What was done to which file."""
        found: dict[str, list[dict[str, str]]] = {"filesAdded": [], "filesUpdated": [], "filesDeleted": []}
        for path, change in self.changes.items():
            before, after = self._files.get(path), _entry(change)
            told = after or before
            assert told is not None
            where = "filesDeleted" if after is None else "filesAdded" if before is None else "filesUpdated"
            found[where].append({"absolutePath": path, "blobId": told.object_id, "fileMode": mode_of(told)})
        return found

    def _check_amount(self, puts: Sequence[Params], number: int) -> None:
        if not number:
            raise ServiceError(
                "FileEntryRequiredException",
                "The commit cannot be created because no files have been specified as added, updated, or changed"
                " (PutFile or DeleteFile) for the commit.",
            )
        if self._limits.files is not None and number > self._limits.files:
            raise ServiceError(
                "MaximumFileEntriesExceededException",
                "The number of specified files to change as part of this commit exceeds the maximum number of files"
                f" that can be changed in a single commit: {number} of {self._limits.files}. Consider using a Git"
                " client for these changes.",
            )
        sizes = [len(one.get("fileContent", b"")) for one in puts]
        most = self._limits.content_bytes
        if most is not None and (max(sizes, default=0) > MOST_FILE_BYTES or sum(sizes) > most):
            raise ServiceError(
                "FileContentSizeLimitExceededException",
                "The file cannot be added because it is too large. The maximum file size is 6 MB, and the combined file"
                " content change size is 7 MB. Consider making these changes using a Git client.",
            )

    def _put(self, one: Params) -> None:
        path, source = checked_path(one["filePath"]), one.get("sourceFile")
        mode = _MODES[one["fileMode"]] if "fileMode" in one else None
        if source is not None and "fileContent" in one:
            raise ServiceError(
                "FileContentAndSourceFileSpecifiedException",
                f"The commit cannot be created because both a source file and file content have been specified for"
                f" {path}. You cannot provide both. Either specify a source file or provide the file content directly.",
            )
        if source is not None:
            entry = self._existing(origin := checked_path(source["filePath"]))
            self._want(path, Change(mode or entry.mode, object_id=entry.object_id))
            if source.get("isMove"):
                self._want(origin, Change())
        elif "fileContent" in one:
            before = self._files.get(path)
            kept = before.mode if before is not None and before.mode in (NORMAL, EXECUTABLE) else NORMAL
            self._want(path, Change(mode or kept, content=one["fileContent"]))
        else:
            raise ServiceError(
                "SourceFileOrContentRequiredException",
                f"The commit cannot be created because no source files or file content have been specified for {path}.",
            )

    def _existing(self, path: str) -> Entry:
        found = self._files.get(path)
        if found is None or found.mode == SUBMODULE:
            raise errors.no_file(path)
        return found

    def _want(self, path: str, change: Change) -> None:
        if path in self._wanted:
            raise ServiceError(
                "SamePathRequestException",
                "The commit cannot be created because one or more changes in this commit duplicate actions in the same"
                f" file path. For example, you cannot make the same delete request to the same file in the same file"
                f" path twice, or make a delete request and a move request to the same file as part of the same"
                f" commit: {path}",
            )
        self._wanted[path] = change

    def _left(self) -> set[str]:
        """The files that there will be."""
        gone = {path for path, change in self._wanted.items() if _entry(change) is None}
        return (self._files.keys() | self._wanted.keys()) - gone

    def _keep_folders(self) -> None:
        left = self._left()
        folders = {folder for path in left for folder in _folders(path)}
        deleted = [path for path, change in self._wanted.items() if _entry(change) is None]
        for path in deleted:
            folder = path.rpartition("/")[0]
            if folder and folder not in folders and f"{folder}/{_KEEP}" not in self._wanted:
                self._want(f"{folder}/{_KEEP}", Change(content=b""))

    def _check_names(self) -> None:
        """No path may be a file and a folder at once."""
        left = self._left()
        folders = {folder for path in left for folder in _folders(path)}
        for path, change in self._wanted.items():
            if _entry(change) is None:
                continue
            if path in folders:
                raise ServiceError(
                    "FileNameConflictsWithDirectoryNameException",
                    "A file cannot be added to the repository because the specified file name has the same name as a"
                    f" directory in this repository. Either provide another name for the file, or add the file in a"
                    f" directory that does not match the file name: {path}",
                )
            if taken := [folder for folder in _folders(path) if folder in left]:
                raise ServiceError(
                    "DirectoryNameConflictsWithFileNameException",
                    "A file cannot be added to the repository because the specified path name has the same name as a"
                    " file that already exists in this repository. Either provide a different name for the file, or"
                    f" specify a different path for the file: {taken[0]}",
                )


def _parent(bare: Bare, branch: str, given: str | None) -> str | None:
    """The last commit of the branch, which the caller has to know, so that nobody's commit is lost."""
    references = bare.references()
    if not bare.is_branch_name(branch):
        raise _invalid_branch(branch)
    found = references.get(BRANCHES + branch)
    if found is None:
        if TAGS + branch in references:
            raise ServiceError(
                "BranchNameIsTagNameException",
                f"The specified branch name is not valid because it is a tag name: {branch}. Enter the name of a branch"
                " in the repository. For a list of valid branch names, use ListBranches.",
            )
        if given is not None or any(name.startswith(BRANCHES) for name in references):
            raise errors.no_branch(branch)
        return None
    if given is None:
        raise ServiceError(
            "ParentCommitIdRequiredException",
            "A parent commit ID is required. To view the full commit ID of a branch in a repository, use GetBranch or a"
            " Git command (for example, git pull or git log).",
        )
    if not _ID.fullmatch(given):
        raise ServiceError("InvalidParentCommitIdException", f"The parent commit ID is not valid: {given}")
    if not bare.has_commit(given):
        raise ServiceError("ParentCommitDoesNotExistException", f"The parent commit ID {given} does not exist")
    if given != found.commit_id:
        raise ServiceError(
            "ParentCommitIdOutdatedException",
            "The file could not be added because the provided parent commit ID is not the current tip of the specified"
            f" branch. To view the full commit ID of the current head of the branch, use GetBranch: it is not {given}.",
        )
    return given


def _message(params: Params, otherwise: str) -> str:
    message: str = params.get("commitMessage") or otherwise
    if len(message.encode()) > _MOST_MESSAGE_BYTES:
        raise ServiceError(
            "CommitMessageLengthExceededException",
            f"The commit message is too long. Provide a shorter string, of up to {_MOST_MESSAGE_BYTES} bytes.",
        )
    return message


def _invalid_branch(branch: str) -> ServiceError:
    return ServiceError("InvalidBranchNameException", f"The specified reference name is not valid: {branch}")


def _folders(path: str) -> Iterator[str]:
    """The folders that a path lies in."""
    while path := path.rpartition("/")[0]:
        yield path


def _entry(change: Change) -> Entry | None:
    if change.content is not None:
        return Entry(change.mode, blob_id(change.content))
    return Entry(change.mode, change.object_id) if change.object_id is not None else None
