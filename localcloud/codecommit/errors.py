"""The errors of CodeCommit, in its own words."""

from __future__ import annotations

from localcloud.errors import ServiceError


def no_repository(name: str) -> ServiceError:
    """There is no repository of that name."""
    return ServiceError("RepositoryDoesNotExistException", f"{name} does not exist")


def repository_exists(name: str) -> ServiceError:
    """The name is taken."""
    return ServiceError("RepositoryNameExistsException", f"Repository named {name} already exists")


def invalid_repository_name() -> ServiceError:
    """The name is not one that a repository may have."""
    return ServiceError(
        "InvalidRepositoryNameException",
        "The repository name is not valid. Repository names can be any valid combination of letters, numbers, periods,"
        " underscores, and dashes between 1 and 100 characters in length. Names are case sensitive, and cannot end in"
        " .git. For more information, see Limits in the AWS CodeCommit User Guide.",
    )


def no_branch(name: str) -> ServiceError:
    """There is no branch of that name."""
    return ServiceError("BranchDoesNotExistException", f"Branch {name} does not exist")


def no_commit(specifier: str) -> ServiceError:
    """A specifier names no commit."""
    return ServiceError("CommitDoesNotExistException", f"The specified commit {specifier} does not exist")


def no_commit_id(commit_id: str) -> ServiceError:
    """There is no commit of that id."""
    return ServiceError("CommitIdDoesNotExistException", f"The specified commit ID {commit_id} does not exist")


def no_file(path: str) -> ServiceError:
    """There is no such file."""
    return ServiceError("FileDoesNotExistException", f"The file {path} does not exist in the specified commit")


def invalid_path(path: str) -> ServiceError:
    """A path is not one that a file may have."""
    return ServiceError("InvalidPathException", f"The specified path is not valid: {path}")
