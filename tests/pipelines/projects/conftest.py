"""An account in which a small template is published, and a project of it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest

from pipelines import provision
from pipelines.config import Configuration, load
from pipelines.names import Names
from pipelines.projects import creation, reading
from pipelines.publishing import publish as publishing
from pipelines.session import boto_session
from tests.conftest import Localcloud, point_at
from tests.pipelines import small_template

Mlops = Callable[..., tuple[int, str, str]]
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def configuration() -> Configuration:
    environ = {"SAGEMAKER_PROJECT_NAME": f"template-{os.getpid()}", "AWS_ACCOUNT_ID": "123456789012"}
    return load(small_template.ROOT, environ=environ)


@pytest.fixture(scope="session")
def lint_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cfn-lint")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, configuration: Configuration, lint_cache: Path) -> Path:
    """A working copy of the template."""
    folder = tmp_path_factory.mktemp("projects") / "tree"
    return small_template.make(folder, [*provision.configured(configuration)], lint_cache=lint_cache)


@pytest.fixture(scope="module")
def account(localcloud: Localcloud, tree: Path, configuration: Configuration) -> Localcloud:
    """The running localcloud, with the small template published."""
    with pytest.MonkeyPatch.context() as patch:
        point_at(localcloud, patch)
        release = publishing.prepare(configuration, tree, "http://127.0.0.1:5000")
        publishing.publish(boto_session(configuration.names), release, tree, route="s3", poll_seconds=0.05)
    return localcloud


@pytest.fixture
def session(account: Localcloud, configuration: Configuration, monkeypatch: pytest.MonkeyPatch) -> boto3.Session:
    point_at(account, monkeypatch)
    monkeypatch.setenv("SAGEMAKER_PROJECT_NAME", configuration.project.name)
    monkeypatch.setenv("AWS_ACCOUNT_ID", configuration.project.account_id)
    # Git asks nobody, and knows nothing of whoever runs the tests.
    monkeypatch.setenv("GIT_TERMINAL_PROMPT", "0")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    return boto_session(configuration.names)


@pytest.fixture
def create(session: boto3.Session, tree: Path, mlops: Mlops, configuration: Configuration) -> Callable[..., Names]:
    """Makes a project by the command line; without a name, of one that no other test has."""

    def run(name: str | None = None, *arguments: str) -> Names:
        names = creation.project_names(name or f"small-{os.getpid()}-{next(_numbers)}", configuration)
        status, out, err = mlops(tree, "project", "create", names.project, *arguments)
        assert status == 0, out + err
        assert f"the project {names.project} is made" in out
        return names

    return run


@pytest.fixture
def made(
    request: pytest.FixtureRequest,
    session: boto3.Session,
    create: Callable[..., Names],
    configuration: Configuration,
) -> Names:
    """A project of the file's tests, made by the first that needs it."""
    name = f"shared-{os.getpid()}-{request.module.__name__.rpartition('_')[2]}"[:32]
    names = creation.project_names(name, configuration)
    if reading.describe(session, names) is None:
        create(name, "--parameter", "Greeting=good day")
    return names
