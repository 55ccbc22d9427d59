"""One localcloud with one project for all tests of the deployment loop.

`make test-slow` runs them in one process: the last ones look at what all of them called.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import point_at
from tests.pipelines.conftest import make_copy, make_project
from tests.pipelines.deploy.loop import Loop, furnish, mlflow_server, started


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    """The project, with nothing deployed by it yet."""
    with started() as localcloud, mlflow_server() as mlflow:
        copy = make_copy(tmp_path_factory.mktemp("loop") / "copy")
        furnish(copy)
        with pytest.MonkeyPatch.context() as patch:
            point_at(localcloud, patch)
            loop = Loop(make_project(copy), mlflow, localcloud)
            loop.deploy_stack()
            loop.bring_pipelines()
        yield loop


@pytest.fixture
def loop(deployed: Loop, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Loop]:
    """The project. Whatever a test brings into the dead-letter queue it has to take out."""
    point_at(deployed.localcloud, monkeypatch)
    yield deployed
    deployed.mlflow.status = 200
    deployed.tested.add(request.node.nodeid)
    assert deployed.dead_letters() == []
