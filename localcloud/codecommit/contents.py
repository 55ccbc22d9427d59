"""What a repository holds, by the API: branches, commits, files, folders, and how two commits differ."""

from __future__ import annotations

import re
from typing import Any

from localcloud.codecommit import errors
from localcloud.codecommit.bare import BRANCHES, EXECUTABLE, NORMAL, SUBMODULE, SYMLINK, Bare, Difference, Entry, Person
from localcloud.codecommit.git import GitError
from localcloud.codecommit.pages import page
from localcloud.codecommit.records import Records
from localcloud.codecommit.repositories import Repositories
from localcloud.context import Request
from localcloud.errors import ServiceError

MOST_FILE_BYTES = 6 * 1024 * 1024
"""What one file may have that goes through the API. Source: "Quotas in CodeCommit"."""

_ID = re.compile(r"[0-9a-f]{40}")
_MODES = {NORMAL: "NORMAL", EXECUTABLE: "EXECUTABLE", SYMLINK: "SYMLINK"}
_TREE = "040000"
_BRANCHES_PAGE, _DIFFERENCES_PAGE = 1000, 100


class Contents:
    """The operations that change nothing. All methods may be called from any thread."""

    def __init__(self, repositories: Repositories, records: Records) -> None:
        self._repositories, self._records = repositories, records

    def branch(self, request: Request) -> dict[str, Any]:
        """GetBranch. The model requires neither of its members; the service does."""
        name, branch = request.params.get("repositoryName"), request.params.get("branchName")
        if name is None:
            raise ServiceError("RepositoryNameRequiredException", "A repository name is required.")
        if branch is None:
            raise ServiceError("BranchNameRequiredException", "A branch name is required.")
        self._records.require(name)
        return {"branch": {"branchName": branch, "commitId": self._repositories.branch_head(name, branch)}}

    def branches(self, request: Request) -> dict[str, Any]:
        """ListBranches."""
        bare = self._bare(request)
        names = [name.removeprefix(BRANCHES) for name in bare.references() if name.startswith(BRANCHES)]
        what = f"branches {request.params['repositoryName']}"
        shown, token = page(what, sorted(names), request.params.get("nextToken"), _BRANCHES_PAGE)
        return {"branches": list(shown), "nextToken": token}

    def commit(self, request: Request) -> dict[str, Any]:
        """GetCommit: by the full id."""
        bare, commit_id = self._bare(request), request.params["commitId"]
        if not _ID.fullmatch(commit_id):
            raise ServiceError("InvalidCommitIdException", f"The specified commit ID is not valid: {commit_id}")
        if not bare.has_commit(commit_id):
            raise errors.no_commit_id(commit_id)
        found = bare.commit(commit_id)
        return {
            "commit": {
                "commitId": found.commit_id,
                "treeId": found.tree_id,
                "parents": list(found.parents),
                "message": found.message,
                "author": _person(found.author),
                "committer": _person(found.committer),
                "additionalData": "",
            }
        }

    def differences(self, request: Request) -> dict[str, Any]:
        """GetDifferences: with no commit before, all files of the one after."""
        params, bare = request.params, self._bare(request)
        before_specifier, most = params.get("beforeCommitSpecifier"), params.get("MaxResults", _DIFFERENCES_PAGE)
        if most < 1:
            raise ServiceError("InvalidMaxResultsException", f"The specified number of results is not valid: {most}")
        before = commit_of(bare, before_specifier) if before_specifier is not None else None
        after = commit_of(bare, params["afterCommitSpecifier"])
        found = bare.differences(before, after)
        paths = _Paths(params.get("beforePath"), params.get("afterPath"))
        shown = [_difference(one) for one in found if paths.hold(one)]
        what = f"differences {params['repositoryName']} {before} {after} {paths}"
        some, token = page(what, shown, params.get("NextToken"), most)
        return {"differences": list(some), "NextToken": token}

    def file(self, request: Request) -> dict[str, Any]:
        """GetFile, with its content."""
        bare, path = self._bare(request), checked_path(request.params["filePath"])
        commit_id = commit_of(bare, request.params.get("commitSpecifier", "HEAD"))
        found = bare.folder_of(commit_id, path.rpartition("/")[0])
        entry = found[1].get(path) if found is not None else None
        if entry is None or entry.mode in (_TREE, SUBMODULE):
            raise errors.no_file(path)
        (content,) = bare.blobs([entry.object_id])
        return {
            "commitId": commit_id,
            "blobId": entry.object_id,
            "filePath": path,
            "fileMode": mode_of(entry),
            "fileSize": len(content),
            "fileContent": _small(content),
        }

    def folder(self, request: Request) -> dict[str, Any]:
        """GetFolder: what is directly in it. The root's path is `/`, or empty."""
        bare, given = self._bare(request), request.params["folderPath"]
        path = checked_path(given) if given.strip("/") else ""
        commit_id = commit_of(bare, request.params.get("commitSpecifier", "HEAD"))
        found = bare.folder_of(commit_id, path)
        if found is None:
            raise ServiceError("FolderDoesNotExistException", f"The folder {path} does not exist")
        kinds: dict[str, list[dict[str, Any]]] = {
            name: [] for name in ("subFolders", "files", "symbolicLinks", "subModules")
        }
        for at, entry in found[1].items():
            about = {"absolutePath": at, "relativePath": at.rpartition("/")[2]}
            if entry.mode == _TREE:
                kinds["subFolders"].append({**about, "treeId": entry.object_id})
            elif entry.mode == SUBMODULE:
                kinds["subModules"].append({**about, "commitId": entry.object_id})
            else:
                where = kinds["symbolicLinks" if entry.mode == SYMLINK else "files"]
                where.append({**about, "blobId": entry.object_id, "fileMode": mode_of(entry)})
        return {"commitId": commit_id, "folderPath": path, "treeId": found[0], **kinds}

    def blob(self, request: Request) -> dict[str, Any]:
        """GetBlob."""
        bare, blob_id = self._bare(request), request.params["blobId"]
        if not _ID.fullmatch(blob_id):
            raise ServiceError("InvalidBlobIdException", f"The specified blob is not valid: {blob_id}")
        try:
            (content,) = bare.blobs([blob_id])
        except GitError:
            raise ServiceError("BlobIdDoesNotExistException", f"The specified blob {blob_id} does not exist") from None
        return {"content": _small(content)}

    def _bare(self, request: Request) -> Bare:
        name = request.params["repositoryName"]
        self._records.require(name)
        return self._repositories.open(name)


class _Paths:
    """What GetDifferences is limited to: a path, which may have had another name before."""

    def __init__(self, before: str | None, after: str | None) -> None:
        given_before, given_after = before or after, after or before
        self._before = checked_path(given_before) if given_before else ""
        self._after = checked_path(given_after) if given_after else ""

    def __str__(self) -> str:
        return f"{self._before}:{self._after}"

    def hold(self, difference: Difference) -> bool:
        return (difference.before is not None and _is_below(difference.path, self._before)) or (
            difference.after is not None and _is_below(difference.path, self._after)
        )


def commit_of(bare: Bare, specifier: str) -> str:
    """The id of the commit that a specifier names. Raises CommitDoesNotExistException."""
    found = bare.resolve(specifier)
    if found is None:
        raise errors.no_commit(specifier)
    return found


def checked_path(path: str) -> str:
    """A file's or a folder's path as Git has it. Raises ServiceError for one that none can have."""
    if not path:
        raise ServiceError("PathRequiredException", "The folderPath or filePath for a location cannot be null.")
    path = path.removeprefix("/").removesuffix("/")
    parts = path.split("/")
    if (
        len(path) > 4096
        or len(parts) > 21
        or any(part in ("", ".", "..") or part.lower() == ".git" or not part.isprintable() for part in parts)
    ):
        raise errors.invalid_path(path)
    return path


def mode_of(entry: Entry) -> str:
    """A file's mode as the API has it."""
    return _MODES.get(entry.mode, "NORMAL")


def _is_below(path: str, top: str) -> bool:
    return not top or path == top or path.startswith(f"{top}/")


def _small(content: bytes) -> bytes:
    if len(content) > MOST_FILE_BYTES:
        raise ServiceError(
            "FileTooLargeException",
            f"The specified file exceeds the file size limit for CodeCommit: {len(content)} of {MOST_FILE_BYTES} bytes."
            " Use Git to get it.",
        )
    return content


def _difference(one: Difference) -> dict[str, Any]:
    kind = "A" if one.before is None else "D" if one.after is None else "M"
    return {
        "changeType": kind,
        "beforeBlob": _blob(one.path, one.before),
        "afterBlob": _blob(one.path, one.after),
    }


def _blob(path: str, entry: Entry | None) -> dict[str, str] | None:
    return {"blobId": entry.object_id, "path": path, "mode": entry.mode} if entry is not None else None


def _person(person: Person) -> dict[str, str]:
    return {"name": person.name, "email": person.email, "date": person.date}
