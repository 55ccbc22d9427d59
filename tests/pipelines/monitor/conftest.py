"""One localcloud with one watched project for all tests here. They let time pass, for which it is theirs alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import point_at
from tests.pipelines.deploy.loop import Mlflow, mlflow_server, started
from tests.pipelines.monitor.watched import Watched, made


@pytest.fixture(scope="session")
def tracking() -> Iterator[Mlflow]:
    with mlflow_server() as server:
        yield server


@pytest.fixture(scope="session")
def project_with_alarms(tmp_path_factory: pytest.TempPathFactory, tracking: Mlflow) -> Iterator[Watched]:
    with (
        started() as localcloud,
        made(
            tmp_path_factory.mktemp("watched") / "copy", localcloud, tracking, max_attempts=2, approve_for_staging=False
        ) as found,
    ):
        yield found


@pytest.fixture
def watched(
    project_with_alarms: Watched, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Watched]:
    """The project, with no alarm on and nothing known of the past."""
    point_at(project_with_alarms.loop.localcloud, monkeypatch)
    yield project_with_alarms
    project_with_alarms.loop.tested.add(request.node.nodeid)
    project_with_alarms.forget()
    assert project_with_alarms.loop.dead_letters() == []
