"""One account with the template published, and one project of it, for all tests of the delivery."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import point_at
from tests.pipelines.delivery.delivery import Delivery, Installation
from tests.pipelines.deploy.loop import mlflow_server, started
from tests.working_copy import WorkingCopy


@pytest.fixture(scope="package")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with started() as localcloud, mlflow_server() as mlflow, pytest.MonkeyPatch.context() as patch:
        point_at(localcloud, patch)
        installation = Installation(localcloud, mlflow, tmp_path_factory.mktemp("delivery"))
        installation.publish()
        yield installation


@pytest.fixture(scope="package")
def made(installed: Installation) -> Delivery:
    with pytest.MonkeyPatch.context() as patch:
        point_at(installed.localcloud, patch)
        return installed.project("fraud").create()


@pytest.fixture(scope="package")
def cloned(made: Delivery) -> WorkingCopy:
    return made.clone(made.installation.folder / "fraud")


@pytest.fixture
def installation(installed: Installation, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """The account."""
    point_at(installed.localcloud, monkeypatch)
    # Git asks nobody, and knows nothing of whoever runs the tests.
    monkeypatch.setenv("GIT_TERMINAL_PROMPT", "0")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    return installed


@pytest.fixture
def fraud(installation: Installation, made: Delivery) -> Iterator[Delivery]:
    """The project. A test leaves no letter in its dead-letter queue."""
    yield made
    assert made.dead_letters() == []


@pytest.fixture
def clone(fraud: Delivery, cloned: WorkingCopy, tmp_path: Path) -> WorkingCopy:
    """A clone of its repository, on the branch that is built, as that is now."""
    cloned.run("fetch", "--quiet", "origin")
    cloned.run("checkout", "--quiet", "-B", "main", "origin/main")
    return cloned
