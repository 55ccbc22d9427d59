"""The API's document: whole, explained by examples that fit, and in step with the code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis

from seed_code.api import bodies, inference_ids, minutes, refusals, requests
from tests.seed_code.api.gateway import EXPOSED, NOW, check, document

VERBS = ("get", "put", "post", "delete", "patch", "head", "options")
PLACES = [(path, verb) for path, item in document()["paths"].items() for verb in item if verb in VERBS]
PATHS = {path for path, _ in PLACES}
ANSWERED_BY_FUNCTIONS = [(path, verb) for path, verb in PLACES if verb != "options"]


def operation(path: str, verb: str) -> Any:
    return document()["paths"][path][verb]


def walk(value: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield place, value
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in children:
        yield from walk(child, (*place, str(name)))


def test_it_is_an_openapi_document() -> None:
    schema = schemathesis.openapi.from_dict(document())
    schema.validate()
    assert sorted(found.ok().label for found in schema.get_all_operations()) == sorted(
        f"{verb.upper()} {path}" for path, verb in PLACES
    )


def test_what_is_aws_is_apart() -> None:
    for place, value in walk(document()):
        if isinstance(value, dict) and any(name.startswith("Fn::") or name == "Ref" for name in value):
            assert any(name.startswith("x-amazon-") for name in place), place


def test_references_are_to_schemas_and_all_are_used() -> None:
    used = {value for place, value in walk(document()) if place and place[-1] == "$ref"}
    assert used == {f"#/components/schemas/{name}" for name in document()["components"]["schemas"]}


@pytest.mark.parametrize(("path", "verb"), PLACES)
def test_operations_are_explained(path: str, verb: str) -> None:
    found = operation(path, verb)
    assert found["operationId"]
    assert found["summary"]
    assert found["description"]
    assert set(found["tags"]) <= {tag["name"] for tag in document()["tags"]}
    for status, response in found["responses"].items():
        assert response["description"], status
        if status != "204":
            content = response["content"]["application/json"]
            check(content["schema"], content["example"])


@pytest.mark.parametrize(("path", "verb"), ANSWERED_BY_FUNCTIONS)
def test_what_is_sent_has_examples(path: str, verb: str) -> None:
    found = operation(path, verb)
    for parameter in found.get("parameters", []):
        assert parameter["description"]
        check(parameter["schema"], parameter["example"])
    if verb == "post":
        content = found["requestBody"]["content"]["application/json"]
        check(content["schema"], content["example"])


def test_the_examples_of_requests_are_accepted() -> None:
    examples = {
        path: operation(path, "post")["requestBody"]["content"]["application/json"]["example"]
        for path, verb in ANSWERED_BY_FUNCTIONS
        if verb == "post"
    }
    assert requests.prediction(examples["/predictions"]).name == "C_Mason"
    assert [record.name for record in requests.batch(examples["/predictions:batch"])] == ["C_Mason", None]
    assert requests.feedback(examples["/feedback"])[1] is True


def test_the_same_error_is_written_the_same_everywhere() -> None:
    seen: dict[str, Any] = {}
    for path, verb in PLACES:
        for status, response in operation(path, verb)["responses"].items():
            # What a mistake is depends on what is asked, if only in the example.
            if status >= "401":
                assert seen.setdefault(status, response) == response, (path, verb, status)


@pytest.mark.parametrize(("path", "verb"), ANSWERED_BY_FUNCTIONS)
def test_every_answer_of_the_gateway_is_declared(path: str, verb: str) -> None:
    always = {"200", "403", "413", "429", "500", "502", "503", "504"}
    sends = {"400", "415"} if verb == "post" else {"400"} if path == "/forecasts" else set()
    own = {"201", "409"} if path == "/feedback" else set()
    secured = {"401"} if operation(path, verb)["security"] else set()
    assert set(operation(path, verb)["responses"]) == always | sends | own | secured


def test_who_may_ask() -> None:
    scopes = {path: operation(path, verb)["security"] for path, verb in ANSWERED_BY_FUNCTIONS}
    person = "aws.cognito.signin.user.admin"
    assert scopes == {
        "/predictions": [{"cognito": ["api/predict", person]}],
        "/predictions:batch": [{"cognito": ["api/predict", person]}],
        "/feedback": [{"cognito": ["api/feedback", person]}],
        "/forecasts": [{"cognito": ["api/predict", person]}],
        "/health": [],
    }
    assert all(operation(path, "options")["security"] == [] for path in PATHS)


def mocks() -> Iterator[tuple[Any, Any]]:
    """Methods that the gateway answers by itself, and their integrations."""
    for place, value in walk(document()["paths"]):
        if place and place[-1] in ("options", "x-amazon-apigateway-any-method"):
            yield value, value["x-amazon-apigateway-integration"]


def test_mocks_answer_the_same_whatever_comes_along() -> None:
    types = {
        "application/json",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "application/xml",
        "multipart/form-data",
        "text/plain",
    }
    found = list(mocks())
    assert len(found) == 2 * len(PATHS) + 2
    for _, integration in found:
        assert set(integration["requestTemplates"]) == types
        status = integration["responses"]["default"]["statusCode"]
        assert {json.loads(text)["statusCode"] for text in integration["requestTemplates"].values()} == {int(status)}


def test_pages_may_read_the_headers_of_every_error() -> None:
    for name, response in document()["x-amazon-apigateway-gateway-responses"].items():
        assert response["responseParameters"]["gatewayresponse.header.Access-Control-Expose-Headers"] == EXPOSED, name
    for _, integration in mocks():
        answer = integration["responses"]["default"]
        if answer["statusCode"] != "204":
            told = answer["responseParameters"]["method.response.header.Access-Control-Expose-Headers"]
            assert told == EXPOSED


def test_every_other_path_is_answered_by_404() -> None:
    assert document()["paths"].keys() - PATHS == {"/", "/{proxy+}"}
    for path in ("/", "/{proxy+}"):
        found = document()["paths"][path]["x-amazon-apigateway-any-method"]
        answer = found["x-amazon-apigateway-integration"]["responses"]["default"]
        assert answer["statusCode"] == "404"
        check(
            document()["components"]["schemas"]["Message"], json.loads(answer["responseTemplates"]["application/json"])
        )


@pytest.mark.parametrize("path", sorted(PATHS))
def test_other_methods_are_told_what_there_is(path: str) -> None:
    verbs = {verb.upper() for place, verb in PLACES if place == path}
    said = {"method.response.header.Allow", "method.response.header.Access-Control-Allow-Methods"}
    for verb in ("x-amazon-apigateway-any-method", "options"):
        found = document()["paths"][path][verb]
        mapped = found["x-amazon-apigateway-integration"]["responses"]["default"]["responseParameters"]
        # API Gateway refuses what the method's own response does not declare.
        (response,) = (value for code, value in found["responses"].items() if code in ("204", "405"))
        assert {name.rpartition(".")[2] for name in mapped} == set(response["headers"])
        for name in said & set(mapped):
            assert {method.strip(" '") for method in mapped[name].split(",")} == verbs


def test_the_limits_are_those_of_the_code() -> None:
    schemas = document()["components"]["schemas"]
    record = schemas["CardholderRecord"]["properties"]
    for name in ("usage_freq", "amount_spend", "uniq_merchant"):
        assert (record[name]["minimum"], record[name]["maximum"]) == (0, requests.LARGEST)
    assert (record["k"]["minimum"], record["k"]["maximum"]) == (1, requests.MOST_DAYS)
    assert record["name"]["maxLength"] == requests.LONGEST_NAME
    assert schemas["BatchRequest"]["properties"]["inputs"]["maxItems"] == inference_ids.MOST_INPUTS
    assert schemas["BatchResponse"]["properties"]["responses"]["maxItems"] == inference_ids.MOST_INPUTS
    assert schemas["Mistakes"]["properties"]["errors"]["maxItems"] == refusals.MOST_MISTAKES
    assert len(record) < requests.MOST_MEMBERS
    told = document()["info"]["description"]
    assert f"1 MB ({bodies.MOST_BYTES:,} bytes)" in told
    assert "without the header `User-Agent`" in told
    assert all("1 MB" in operation(*place)["responses"]["413"]["description"] for place in ANSWERED_BY_FUNCTIONS)
    aged = schemas["FeedbackRequest"]["properties"]["inference_id"]["description"]
    assert f"at most {inference_ids.OLDEST_DAYS} days ago" in aged
    assert inference_ids.OLDEST_DAYS > requests.MOST_DAYS
    assert f"by up to {minutes.OLDEST_HOURS} hours" in operation("/forecasts", "get")["description"]


@pytest.mark.parametrize(
    ("end", "fits"), [("", True), ("-0", True), ("-99", True), ("-499", True), ("-500", False), ("-01", False)]
)
def test_an_id_in_the_document_is_one_in_the_code(end: str, fits: bool) -> None:
    name = inference_ids.make(NOW) + end
    for schema in ("FeedbackRequest", "Prediction"):
        pattern = document()["components"]["schemas"][schema]["properties"]["inference_id"]["pattern"]
        assert bool(re.search(pattern, name)) is fits
    if fits:
        assert inference_ids.moment(name, NOW) == NOW
    else:
        with pytest.raises(ValueError, match="not an id"):
            inference_ids.moment(name, NOW)


def test_every_schema_of_an_object_is_strict() -> None:
    for place, value in walk(document()["components"]["schemas"]):
        if isinstance(value, dict) and value.get("type") == "object" and place[-1] != "quantiles":
            assert value["additionalProperties"] is False, place
            assert set(value["required"]) <= set(value["properties"]), place


def test_the_gateway_answers_pages_of_the_allowed_origin_too() -> None:
    for name, response in document()["x-amazon-apigateway-gateway-responses"].items():
        headers = response["responseParameters"]
        assert headers["gatewayresponse.header.Access-Control-Allow-Origin"] == {"Fn::Sub": "'${AllowedOrigin}'"}, name
        told = response.get("statusCode") == "429" or name == "DEFAULT_5XX"
        assert ("gatewayresponse.header.Retry-After" in headers) is told, name
