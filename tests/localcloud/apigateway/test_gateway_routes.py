"""Which method a request is for."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.apigateway.gateway.refusals import Refused
from localcloud.apigateway.gateway.routes import Routes
from tests.localcloud.apigateway.answering import Stage, message, method

PATHS = (
    "/",
    "/predictions",
    "/predictions:batch",
    "/things",
    "/things/{id}",
    "/things/{id}/parts",
    "/things/new",
    "/files/{proxy+}",
    "/files/{name}/meta",
    "/files",
)


@pytest.fixture(scope="module")
def routes() -> Routes:
    return Routes([method("GET", path) for path in PATHS])


@pytest.mark.parametrize(
    ("path", "resource", "parameters"),
    [
        ("/", "/", {}),
        ("/predictions", "/predictions", {}),
        ("/predictions/", "/predictions", {}),
        ("/predictions:batch", "/predictions:batch", {}),
        ("/predictions%3Abatch", "/predictions:batch", {}),
        ("/pre%64ictions", "/predictions", {}),
        ("/things/7", "/things/{id}", {"id": "7"}),
        ("/things/7/", "/things/{id}", {"id": "7"}),
        ("/things/new", "/things/new", {}),
        ("/things/a%2Fb%20c", "/things/{id}", {"id": "a/b c"}),
        ("/things/%E2%82%AC/parts", "/things/{id}/parts", {"id": "€"}),
        ("/things/%FF", "/things/{id}", {"id": "\ufffd"}),
        ("/files", "/files", {}),
        ("/files/", "/files", {}),
        ("/files/a", "/files/{proxy+}", {"proxy": "a"}),
        ("/files/a/b%20c/d", "/files/{proxy+}", {"proxy": "a/b c/d"}),
        ("/files/a/meta", "/files/{name}/meta", {"name": "a"}),
        ("/files/a/meta/more", "/files/{proxy+}", {"proxy": "a/meta/more"}),
    ],
)
def test_finds_the_most_literal_resource(routes: Routes, path: str, resource: str, parameters: dict[str, str]) -> None:
    found = routes.find("GET", path)
    assert found is not None
    assert (found[0].resource_path, found[1]) == (resource, parameters)


@pytest.mark.parametrize(
    "path", ["/Predictions", "/things/7/nothing", "/things//parts", "/predictions/x", "//things", "/x"]
)
def test_finds_nothing_else(routes: Routes, path: str) -> None:
    assert routes.find("GET", path) is None


def test_a_method_goes_before_any_and_a_resource_before_its_greedy_neighbour() -> None:
    routes = Routes([method("GET", "/a"), method("ANY", "/a"), method("GET", "/b"), method("ANY", "/{proxy+}")])
    assert routes.find("GET", "/a")[0].verb == "GET"
    assert routes.find("DELETE", "/a")[0].verb == "ANY"
    assert routes.find("DELETE", "/b") is None
    assert routes.find("DELETE", "/c")[0].resource_path == "/{proxy+}"


@pytest.mark.parametrize("path", ["/things/%", "/things/%4", "/things/%zz", "/%u0041"])
def test_refuses_a_path_that_is_badly_encoded(routes: Routes, path: str) -> None:
    with pytest.raises(Refused) as refused:
        routes.find("GET", path)
    assert (refused.value.status, refused.value.message) == (400, "Bad Request")


@given(st.text(min_size=1, max_size=30).filter(lambda text: text.strip("/")))
def test_a_parameter_comes_back_as_it_was(value: str) -> None:
    routes = Routes([method("GET", "/only/{id}")])
    encoded = quote(value, safe="", errors="replace")
    found = routes.find("GET", f"/only/{encoded}")
    assert found is not None
    assert found[1]["id"] == value.encode(errors="replace").decode()


def test_no_stage_is_forbidden(tmp_path: Path) -> None:
    stage = Stage(tmp_path, method("GET", "/things"))
    for answer in (stage.ask(api="zzz"), stage.ask(stage="dev"), stage.ask(path="", stage="")):
        assert (answer.status, message(answer)) == (403, "Forbidden")
        assert answer.header("x-amzn-errortype") == "ForbiddenException"
    assert not stage.measurements


def test_no_path_and_no_method_miss_a_token(tmp_path: Path) -> None:
    stage = Stage(tmp_path, method("GET", "/things"))
    for answer in (stage.ask(path="/nothing"), stage.ask("DELETE"), stage.ask("HEAD"), stage.ask(path="")):
        assert (answer.status, message(answer)) == (403, "Missing Authentication Token")
        assert answer.header("x-amzn-errortype") == "MissingAuthenticationTokenException"
    # A header that is no signature is taken for one.
    answer = stage.ask(path="/nothing", authorization="Bearer good")
    assert answer.status == 403
    assert message(answer).startswith("Invalid key=value pair (missing equal-sign) in Authorization header (hashed")
    assert "good" not in message(answer)
    assert answer.header("x-amzn-errortype") == "IncompleteSignatureException"


def test_what_is_deployed_anew_answers_at_once(tmp_path: Path) -> None:
    stage = Stage(tmp_path, method("GET", "/things"))
    assert stage.status() == 200
    stage.change(methods=(method("POST", "/things"),))
    assert stage.status() == 403
    assert stage.status("POST") == 200
    stage.change(methods=())
    assert stage.status("POST") == 403
