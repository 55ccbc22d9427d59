"""The API's template and document before they are deployed: what is put together, and what callers are shown."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines import names
from pipelines.api import deployment, document, page
from pipelines.errors import UsageError
from pipelines.names import LocalPaths, Names
from tests.pipelines import template
from tests.pipelines.conftest import ROOT

PATHS = LocalPaths(ROOT)
URL = "https://abc.execute-api.eu-west-1.amazonaws.com/prod"


@pytest.fixture(scope="module")
def api() -> dict[str, Any]:
    return deployment.read_document(PATHS)


def _rendered(api: dict[str, Any], origin: str = "*") -> str:
    return deployment.render(PATHS.api_template.read_text(), api, {"AllowedOrigin": origin, "CodeKey": "k"})


def test_the_document_is_in_the_template_with_a_deployment_of_its_own(api: dict[str, Any]) -> None:
    resources = template.parse(_rendered(api))["Resources"]
    title = resources["Api"]["Properties"]["Name"]
    expected = {**api, "info": {**api["info"], "title": title}}
    assert resources["Api"]["Properties"]["Body"] == json.loads(json.dumps(expected))
    [deployed] = [name for name in resources if name.startswith("ApiDeployment")]
    assert resources["ApiStage"]["Properties"]["DeploymentId"] == {"Ref": deployed}
    assert deployed in template.parse(_rendered(api))["Resources"]
    changed = {**api, "info": {**api["info"], "version": "2.0.0"}}
    assert deployed not in template.parse(_rendered(changed))["Resources"]
    # A deployment holds the values that its document refers to.
    assert deployed not in template.parse(_rendered(api, "https://app.example.com"))["Resources"]


def test_any_character_and_the_deployments_own_name_may_stand_in_the_document(api: dict[str, Any]) -> None:
    said = "\U0001f4b3 ApiDeployment \u2028 \x7f {} : # ' \""
    told = {**api, "info": {**api["info"], "description": said}}
    body = template.parse(_rendered(told))["Resources"]["Api"]["Properties"]["Body"]
    assert body["info"]["description"] == said


def test_all_else_in_the_template_stays_as_it_is(api: dict[str, Any]) -> None:
    before, after = template.read("api"), template.parse(_rendered(api))
    for section in before.keys() - {"Resources"}:
        assert after[section] == before[section]
    for name in before["Resources"].keys() - {"Api", "ApiDeployment", "ApiStage"}:
        assert after["Resources"][name] == before["Resources"][name]


@pytest.mark.parametrize("text", ["Resources: {}\n", "Resources:\n  Api:\n    Body:\n      a: 1\n"])
def test_a_template_without_the_places_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected one `Body:` and an ApiDeployment"):
        deployment.render(text, {"openapi": "3.0.1", "info": {}}, {})


def test_cloudformation_has_nothing_against_what_is_deployed(api: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "api.yml"
    file.write_text(_rendered(api))
    program = Path(sys.executable).with_name("cfn-lint")
    checked = subprocess.run([str(program), str(file)], capture_output=True, text=True, check=False)
    assert (checked.stdout, checked.returncode) == ("", 0)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "seed_code/api/openapi.yml: the file does not exist"),
        ("openapi: [", "openapi.yml:1: not valid YAML: "),
        ("paths: {}\n", "openapi: found nothing, expected a text such as 3.0.1"),
        ("- a\n", "openapi.yml:1: found a list, expected a mapping"),
        ("openapi: 3.0.1\npaths: {}\n", "info: found nothing, expected a mapping"),
        ("openapi: 3.0.1\ninfo: text\npaths: {}\n", "openapi.yml:2: info: found text, expected a mapping"),
        ("openapi: 3.0.1\ninfo: {}\npaths:\n", "openapi.yml:3: paths: found nothing, expected a mapping"),
        (
            "openapi: 3.0.1\ninfo: {version: 2026-11-22}\npaths: {}\n",
            "openapi.yml:2: info.version: found a date, which JSON does not have; put it in quotes",
        ),
        ("openapi: 3.0.1\ninfo: {x: .nan}\npaths: {}\n", "info.x: found a number, which JSON does not have"),
        ("openapi: 3.0.1\ninfo: {}\npaths:\n  /a: {}\n  /a: {}\n", "openapi.yml:5: paths./a: the key stands twice"),
    ],
)
def test_a_document_that_is_none_is_told(tmp_path: Path, content: str | None, told: str) -> None:
    paths = LocalPaths(tmp_path)
    if content is not None:
        paths.api_document.parent.mkdir(parents=True)
        paths.api_document.write_text(content)
    with pytest.raises(UsageError, match=re.escape(told)):
        deployment.read_document(paths)


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_a_template_that_cannot_be_read_is_told(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "api.yml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=f"`{file}` cannot be read: "):
        deployment._read(file)


def test_callers_see_nothing_of_aws_and_bearer_tokens(api: dict[str, Any]) -> None:
    shown = document.public(api, URL)
    assert "x-amazon" not in json.dumps(shown)
    assert shown["servers"] == [{"url": URL}]
    assert shown["components"]["securitySchemes"]["cognito"]["scheme"] == "bearer"
    methods = {path: set(operations) for path, operations in shown["paths"].items()}
    assert methods == {
        "/predictions": {"post"},
        "/predictions:batch": {"post"},
        "/feedback": {"post"},
        "/forecasts": {"get"},
        "/health": {"get"},
    }
    assert shown["paths"]["/predictions"]["post"]["security"] == [{"cognito": []}]


def test_only_health_is_for_everybody(api: dict[str, Any]) -> None:
    """A method without `security` would let everybody in without a word."""
    for path, operations in api["paths"].items():
        for method, operation in operations.items():
            if method not in ("get", "post") or path == "/health":
                continue
            [scheme] = operation["security"]
            scope = "api/feedback" if path == "/feedback" else "api/predict"
            assert scheme == {"cognito": [scope, "aws.cognito.signin.user.admin"]}, (path, method)


def test_the_functions_of_the_template_are_those_of_the_names() -> None:
    named = Names("fraud", "111122223333", "eu-west-1")
    functions = {
        value["Properties"]["FunctionName"]["Fn::Sub"].replace("${SageMakerProjectName}", "fraud"): value["Properties"]
        for value in template.read("api")["Resources"].values()
        if value["Type"] == "AWS::Lambda::Function"
    }
    assert set(functions) == {named.function(function) for function in names.API_FUNCTIONS}
    given = functions[named.function("predictions")]["Environment"]["Variables"]

    def resolved(name: str) -> str:
        text = str(given[name]["Fn::Sub"])
        for variable, value in (
            ("SageMakerProjectName", "fraud"),
            ("AWS::AccountId", "111122223333"),
            ("AWS::Region", "eu-west-1"),
        ):
            text = text.replace(f"${{{variable}}}", value)
        return text

    assert resolved("ENDPOINT_NAME") == named.endpoint("cardholders", "prod")
    assert resolved("FEATURE_GROUP_NAME") == named.feature_group(*names.HOLDERS)
    assert resolved("GROUND_TRUTH_URI") == named.ground_truth_uri("cardholders")
    # What Prepare makes the holders' identifiers with (pipelines/build/cardholders.py).
    assert resolved("HOLDER_SALT") == named.experiment("cardholders")


def test_the_page_is_whole_and_only_asks_the_api(api: dict[str, Any]) -> None:
    text = page.render(document.public(api, URL), "a.b.c")
    assert 'connect-src https://abc.execute-api.eu-west-1.amazonaws.com"' in text
    assert 'src="http' not in text
    assert '<link rel="stylesheet"' not in text


def test_a_document_cannot_end_the_pages_script(api: dict[str, Any]) -> None:
    spiteful = {**api, "info": {**api["info"], "title": "</script><script>alert(1)</script>"}}
    text = page.render(document.public(spiteful, URL), None)
    assert text.count("</script>") == 2
    assert "<script>alert" not in text
