"""A working copy of a project's repository, by Git."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import ClientError

from pipelines.errors import ServiceError, UsageError
from pipelines.names import (
    BRANCH,
    GITHUB,
    GITHUB_ACTIONS,
    MLFLOW_TRACKING_URI_VARIABLE,
    OVERRIDES_VARIABLE,
    PROJECT_NAME_VARIABLE,
    SOURCE_URL_VARIABLE,
    Names,
)
from pipelines.projects import reading
from pipelines.projects.reading import Project
from pipelines.projects.repository import AUTHOR, attempt, git, replace_files
from pipelines.projects.things import is_absent
from pipelines.publishing.bucket import TemplateBucket

__all__ = ["arguments", "clone", "environment_for"]

_CODECOMMIT_HOST = "git-codecommit."
_CREDENTIAL_HELPER = (
    "-c",
    "credential.helper=!aws codecommit credential-helper $@",
    "-c",
    "credential.UseHttpPath=true",
)
# What a verb in the clone needs to speak to the same endpoint as this one.
_PASSED_ON = (
    "AWS_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_EC2_METADATA_DISABLED",
    MLFLOW_TRACKING_URI_VARIABLE,
    SOURCE_URL_VARIABLE,
)
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def arguments(url: str, region: str, folder: Path) -> list[str]:
    """Git's arguments that clone a repository.

    CodeCommit on AWS takes credentials by a helper: git-remote-codecommit where it is installed, else the AWS command
    line's own.
    """
    host, path = urlsplit(url).hostname or "", urlsplit(url).path
    if not host.startswith(_CODECOMMIT_HOST):
        return ["clone", url, str(folder)]
    if shutil.which("git-remote-codecommit"):
        return ["clone", f"codecommit::{region}://{path.rpartition('/')[2]}", str(folder)]
    return [*_CREDENTIAL_HELPER, "clone", *_CREDENTIAL_HELPER, url, str(folder)]


def clone(session: boto3.Session, names: Names, project: Project, folder: Path) -> bool:
    """Clone a project's repository into a folder that there is not yet; gives whether it was begun instead.

    A repository on GitHub that holds nothing yet is begun there, with the seed as its first commit, to be pushed.
    Raises UsageError for a folder that is in use or a project without a repository, ServiceError when Git fails.
    """
    try:
        url = reading.clone_url(session, project)
    except ClientError as error:
        if not is_absent(error):
            raise
        url = None
    if url is None:
        raise UsageError(
            f"the project `{names.project}` ({project.status}) has no repository; `mlops project list` shows which have"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"`{folder}` exists and is not empty; name another folder")
    if project.provider in (GITHUB, GITHUB_ACTIONS) and _holds_nothing(url):
        _begin(session, names, project, url, folder)
        return True
    done = attempt(*arguments(url, names.region, folder))
    if done.returncode:
        raise ServiceError(
            f"`{url}` cannot be cloned:\n{done.stderr.strip()}\n"
            "for CodeCommit, `pip install git-remote-codecommit` lets Git use the credentials of the environment"
        )
    return False


def _holds_nothing(url: str) -> bool:
    """Whether a repository has no commit, or is not there yet."""
    done = attempt("ls-remote", "--heads", url)
    return not done.stdout.strip() if done.returncode == 0 else "not found" in done.stderr.lower()


def _begin(session: boto3.Session, names: Names, project: Project, url: str, folder: Path) -> None:
    assert project.stack is not None, "what has a provider has a stack"
    seed = TemplateBucket(session, names).read(project.stack.parameters["SeedKey"])
    here = ("-C", str(folder))
    git("init", "-q", f"--initial-branch={BRANCH}", str(folder))
    git(*here, "remote", "add", "origin", url)
    replace_files(folder, seed)
    git(*here, "add", "--all", "--force")
    git(*here, *AUTHOR, "commit", "-q", "-m", f"Version {project.version} of the template")


def environment_for(names: Names, root: Path, folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables for `.mlops/env` of a clone; none where the account is AWS's own.

    root: the working copy of this command. Credentials are passed on to this machine only, where they are nobody's.
    """
    endpoint = environ.get("AWS_ENDPOINT_URL")
    if not endpoint:
        return {}
    here = urlsplit(endpoint).hostname in _LOOPBACK
    passed = {name: environ[name] for name in _PASSED_ON if environ.get(name) and (here or name not in _CREDENTIALS)}
    if overrides := environ.get(OVERRIDES_VARIABLE):
        file = Path(overrides).absolute()
        passed[OVERRIDES_VARIABLE] = str(
            folder.absolute() / file.relative_to(root) if file.is_relative_to(root) else file
        )
    return {**passed, PROJECT_NAME_VARIABLE: names.project}
