"""`mlops verify`: the live endpoint's tests, as JUnit and as a page that a person sees before production."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from junitparser import JUnitXml

from tests.pipelines.deploy.loop import CARDHOLDERS, FORECASTER, Loop

Verb = Callable[..., tuple[int, str, str]]


@pytest.fixture
def verb(loop: Loop, mlops: Verb, monkeypatch: pytest.MonkeyPatch) -> Verb:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", loop.mlflow.url)
    return lambda *arguments: mlops(loop.project.root, *arguments)


def test_what_a_stage_serves_is_asked_and_the_page_lies_where_a_person_finds_it(
    loop: Loop, verb: Verb, tmp_path: Path
) -> None:
    package = loop.good("staging")
    junit, address = tmp_path / "reports" / "endpoint.xml", tmp_path / "url"
    status, out, err = verb(
        *("verify", CARDHOLDERS, "--version", str(package.version)), "--junit", str(junit), "--report-url", str(address)
    )
    assert status == 0, err
    [suite] = JUnitXml.fromfile(str(junit))
    assert (suite.tests, suite.failures) == (4, 0)
    page = requests.get(address.read_text().strip(), timeout=10)
    assert page.status_code == 200
    assert page.headers["Content-Type"].startswith("text/html")
    assert "4 golden requests answered as they must be" in page.text
    assert f"version {package.version} of cardholders in staging" in out


def test_another_version_than_expected_is_no_test_of_it(loop: Loop, verb: Verb) -> None:
    package = loop.good("staging")
    status, _, err = verb("verify", CARDHOLDERS, "--version", str(package.version + 1000))
    assert status == 1
    assert f"staging serves version {package.version} of cardholders, expected {package.version + 1000}" in err


def test_a_stage_that_serves_nothing_cannot_be_asked(loop: Loop, verb: Verb) -> None:
    status, _, err = verb("verify", FORECASTER, "--stage", "prod")
    assert status == 1
    assert "prod serves no version of forecaster; `mlops deploy VERSION --stage prod` deploys one" in err
