"""One localcloud with one project and its REST API: the tests let its time pass, so that it is theirs alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import point_at
from tests.pipelines.api.served import Served, serve
from tests.pipelines.conftest import make_copy, make_project
from tests.pipelines.deploy.loop import started


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The project."""
    with started() as localcloud, pytest.MonkeyPatch.context() as patch:
        point_at(localcloud, patch)
        found = serve(make_project(make_copy(tmp_path_factory.mktemp("api") / "copy")), localcloud)
        patch.undo()
        yield found


@pytest.fixture
def api(deployed: Served, monkeypatch: pytest.MonkeyPatch) -> Served:
    """The project, with this process's environment pointing at its localcloud for the length of a test."""
    point_at(deployed.localcloud, monkeypatch)
    return deployed
