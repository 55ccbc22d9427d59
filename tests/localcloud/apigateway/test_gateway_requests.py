"""What a request must be like: its size, its parameters and its body."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localcloud.apigateway.deployed import GatewayResponse
from tests.localcloud.apigateway.answering import Stage, message, method

MODEL = {
    "type": "object",
    "required": ["k", "n"],
    "additionalProperties": False,
    "properties": {
        "k": {"type": "integer", "minimum": 1, "maximum": 90},
        "n": {"type": ["number", "null"]},
        "s": {"type": "string", "minLength": 1, "maxLength": 3},
        "e": {"enum": ["a", "b"]},
        "p": {"type": "string", "pattern": "^[0-9]+$"},
        "l": {"type": "array", "minItems": 1, "maxItems": 2},
        "x": {"not": {"type": "object"}},
    },
}
TOLD = {
    "BAD_REQUEST_BODY": GatewayResponse(
        templates={
            "application/json": '{"message": $context.error.messageString,'
            ' "error": "$context.error.validationErrorString"}'
        }
    )
}


@pytest.fixture
def checked(tmp_path: Path) -> Stage:
    return Stage(
        tmp_path,
        method("POST", "/things", validates_body=True, models={"application/json": MODEL}),
        method(
            "GET",
            "/things/{id}",
            validates_parameters=True,
            required_parameters=(
                "method.request.querystring.minutes",
                "method.request.header.X-Kind",
                "method.request.path.id",
            ),
        ),
        gateway_responses=TOLD,
    )


def test_required_parameters_must_be_there_and_not_blank(checked: Stage) -> None:
    for query, headers in (("", {}), ("minutes=&x=1", {"x_kind": " "})):
        answer = checked.ask(path="/things/7", query=query, **headers)
        assert answer.status == 400
        assert message(answer) == "Missing required request parameters: [minutes, X-Kind]"
        assert answer.header("x-amzn-errortype") == "BadRequestException"
    assert checked.status(path="/things/7", query="minutes=30", x_kind="a") == 200


def test_parameters_are_not_looked_at_without_a_validator(tmp_path: Path) -> None:
    stage = Stage(tmp_path, method("GET", "/things", required_parameters=("method.request.querystring.minutes",)))
    assert stage.status() == 200


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, 'object has missing required properties (["k","n"])'),
        ({"k": 0, "n": 1}, "numeric instance is lower than the required minimum (minimum: 1, found: 0)"),
        ({"k": 91, "n": 1}, "numeric instance is greater than the required maximum (maximum: 90, found: 91)"),
        ({"k": 1, "n": 1, "z": 1}, 'object instance has properties which are not allowed by the schema: ["z"]'),
        ({"k": "1", "n": 1}, 'instance type (string) does not match any allowed primitive type (allowed: ["integer"])'),
        (
            {"k": 1, "n": True},
            'instance type (boolean) does not match any allowed primitive type (allowed: ["null","number"])',
        ),
        ({"k": 1, "n": 1, "s": ""}, 'string "" is too short (length: 0, required minimum: 1)'),
        ({"k": 1, "n": 1, "s": "abcd"}, 'string "abcd" is too long (length: 4, maximum allowed: 3)'),
        ({"k": 1, "n": 1, "e": "c"}, 'instance value ("c") not found in enum (possible values: ["a","b"])'),
        ({"k": 1, "n": 1, "p": "x"}, 'ECMA 262 regex "^[0-9]+$" does not match input string "x"'),
        (
            {"k": 1, "n": 1, "l": []},
            "array is too short: must have at least 1 elements but instance has 0 elements",
        ),
        (
            {"k": 1, "n": 1, "l": [1, 2, 3]},
            "array is too long: must have at most 2 elements but instance has 3 elements",
        ),
        ([], 'instance type (array) does not match any allowed primitive type (allowed: ["object"])'),
        (None, 'instance type (null) does not match any allowed primitive type (allowed: ["object"])'),
    ],
)
def test_says_what_is_wrong_with_a_body(checked: Stage, body: Any, said: str) -> None:
    answer = checked.ask("POST", body=json.dumps(body))
    assert answer.status == 400
    assert json.loads(answer.body) == {"message": "Invalid request body", "error": f"[{said}]"}


def test_says_all_that_is_wrong(checked: Stage) -> None:
    error = json.loads(checked.ask("POST", body='{"k": 0, "x": {}}').body)["error"]
    assert "missing required properties" in error
    assert "required minimum" in error
    assert error.count("missing") == 1


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b'{"k": NaN, "n": 1}', b"[" * 50_000, b'{"k": 1e', b"1" * 5_000]
)
def test_refuses_what_is_no_json(checked: Stage, body: bytes) -> None:
    answer = checked.ask("POST", body=body)
    assert (answer.status, message(answer)) == (400, "Invalid request body")
    assert not checked.functions.events


def test_a_model_is_for_its_media_type(checked: Stage) -> None:
    assert checked.status("POST", body="?", content_type="text/plain") == 200
    assert checked.status("POST", body="?", content_type="application/json; charset=utf-8") == 400
    checked.change(methods=(method("POST", "/things", validates_body=True, models={"$default": MODEL}),))
    assert checked.status("POST", body="?", content_type="text/plain") == 400
    assert checked.status("POST", body='{"k": 1, "n": null}', content_type="text/plain") == 200


def test_a_changed_model_counts_at_once(checked: Stage) -> None:
    assert checked.status("POST", body='{"k": 1, "n": 2}') == 200
    checked.change(
        methods=(method("POST", "/things", validates_body=True, models={"application/json": {"type": "array"}}),)
    )
    assert checked.status("POST", body='{"k": 1, "n": 2}') == 400


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_body_is_answered(checked: Stage, body: Any) -> None:
    answer = checked.ask("POST", body=json.dumps(body))
    assert answer.status == 400
    assert json.loads(answer.body)["message"] == "Invalid request body"


def test_sizes(tmp_path: Path) -> None:
    stage = Stage(tmp_path, method("POST", "/things"))
    answer = stage.ask("POST", body=b"x" * (10 * 1024 * 1024 + 1))
    assert (answer.status, message(answer)) == (413, "Request Too Long")
    assert stage.status("POST", body=b"x" * (5 * 1024 * 1024)) == 200
    assert stage.status("POST", x_huge="h" * 10_300) == 413
    assert stage.status("POST", x_large="h" * 9_000) == 200
