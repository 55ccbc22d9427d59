"""Answers that are written in the API: mock integrations, gateway responses, and the variables in both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from localcloud.apigateway.deployed import GatewayResponse, IntegrationResponse, MethodSettings
from localcloud.apigateway.gateway import templates
from tests.localcloud.apigateway.answering import AUTHORIZER, Stage, message, method, mock

CORS = {"Access-Control-Allow-Origin": "*"}


def test_a_mock_answers_by_itself(tmp_path: Path) -> None:
    preflight = mock(204, responses=(IntegrationResponse(204, {**CORS, "Access-Control-Max-Age": "600"}),))
    refusing = mock(
        405,
        responses=(IntegrationResponse(405, {"Allow": "OPTIONS"}, {"application/json": '{"message": "no"}'}),),
    )
    stage = Stage(tmp_path, method("OPTIONS", "/things", preflight), method("ANY", "/things", refusing))
    answer = stage.ask("OPTIONS", origin="https://example.org")
    assert (answer.status, answer.body, answer.header("access-control-max-age")) == (204, b"", "600")
    answer = stage.ask("PATCH", body='{"any": "thing"}')
    assert (answer.status, message(answer), answer.header("allow")) == (405, "no", "OPTIONS")
    assert answer.header("content-type") == "application/json"
    assert not stage.functions.events
    assert not stage.measured("IntegrationLatency")


@pytest.mark.parametrize(
    ("passthrough", "templated", "status"),
    [
        ("WHEN_NO_MATCH", True, 201),
        ("WHEN_NO_TEMPLATES", True, 415),
        ("WHEN_NO_TEMPLATES", False, 201),
        ("NEVER", True, 415),
        ("NEVER", False, 415),
    ],
)
def test_a_type_without_a_template(tmp_path: Path, passthrough: str, templated: bool, status: int) -> None:
    integration = mock(
        405,
        passthrough=passthrough,
        request_templates={"application/json": '{"statusCode": 405}'} if templated else {},
        responses=(IntegrationResponse(405), IntegrationResponse(201)),
    )
    stage = Stage(tmp_path, method("POST", "/things", integration))
    assert stage.status("POST", body='{"statusCode": 201}', content_type="text/plain") == status
    if templated:
        assert stage.status("POST", body="?", content_type="application/json; charset=utf-8") == 405


def test_the_response_is_the_one_of_the_status_or_the_first(tmp_path: Path) -> None:
    integration = mock(
        200,
        request_templates={"application/json": '{"statusCode": 409}', "text/csv": '{"statusCode": 302}'},
        responses=(IntegrationResponse(200, {"Which": "first"}), IntegrationResponse(409, {"Which": "second"})),
    )
    stage = Stage(tmp_path, method("POST", "/things", integration))
    assert stage.ask("POST").header("which") == "second"
    assert stage.ask("POST", content_type="text/csv").header("which") == "first"


@pytest.mark.parametrize("template", ["", "{}", "[]", '{"statusCode": "200"}', '{"statusCode": true}', "{"])
def test_a_mock_without_a_status_is_misconfigured(
    tmp_path: Path, template: str, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(tmp_path, method("GET", "/things", mock(request_templates={"application/json": template})))
    answer = stage.ask()
    assert (answer.status, message(answer)) == (500, "Internal server error")
    assert "Unable to parse statusCode" in caplog.text
    stage.change(methods=(method("GET", "/things", mock(responses=())),))
    assert stage.status() == 500


def test_a_template_is_chosen_by_what_the_caller_accepts(tmp_path: Path) -> None:
    texts = {
        "application/json": '{"stage": "$context.stage"}',
        "text/plain": "$stageVariables.level, ${context.httpMethod}!",
    }
    stage = Stage(
        tmp_path,
        method("GET", "/things", mock(200, responses=(IntegrationResponse(200, {}, texts),))),
        variables={"level": "high"},
    )
    assert stage.ask().body == b'{"stage": "prod"}'
    answer = stage.ask(accept="text/html, text/plain;q=0.8")
    assert (answer.body, answer.header("content-type")) == (b"high, GET!", "text/plain")
    assert stage.ask(accept="image/png").body == b'{"stage": "prod"}'


def test_the_api_says_how_the_gateway_answers(tmp_path: Path) -> None:
    stage = Stage(
        tmp_path,
        method("GET", "/things"),
        settings=MethodSettings(rate=1.0, burst=1),
        gateway_responses={
            "MISSING_AUTHENTICATION_TOKEN": GatewayResponse(
                404, CORS, {"application/json": '{"message": "Not Found", "path": "$context.path"}'}
            ),
            "THROTTLED": GatewayResponse(None, {**CORS, "Retry-After": "1"}),
            "DEFAULT_4XX": GatewayResponse(None, {"X-Default": "4"}),
            "DEFAULT_5XX": GatewayResponse(
                503,
                CORS,
                {
                    "application/json": '{"message": $context.error.messageString,'
                    ' "type": "$context.error.responseType"}'
                },
            ),
        },
    )
    answer = stage.ask(path="/nothing")
    assert (answer.status, json.loads(answer.body)) == (404, {"message": "Not Found", "path": "/prod/nothing"})
    assert answer.header("access-control-allow-origin") == "*"
    # One that is not listed falls back to its like, with the status that it has by itself.
    answer = stage.ask(path="/nothing", authorization="Bearer x")
    assert (answer.status, answer.header("x-default")) == (403, "4")
    stage.functions.answers = lambda event: b"rubbish"
    answer = stage.ask()
    assert (answer.status, json.loads(answer.body)) == (
        503,
        {"message": "Internal server error", "type": "DEFAULT_5XX"},
    )
    answer = stage.ask()
    assert (answer.status, answer.header("retry-after"), message(answer)) == (429, "1", "Too Many Requests")


def test_what_a_caller_sends_does_not_end_a_string(tmp_path: Path) -> None:
    template = '{"agent": "$context.identity.userAgent", "path": "$context.path", "none": "$context.identity.apiKey"}'
    stage = Stage(
        tmp_path,
        gateway_responses={"DEFAULT_4XX": GatewayResponse(None, {}, {"application/json": template})},
    )
    answer = stage.ask(path='/a"b', user_agent='", "x": "\\')
    assert json.loads(answer.body) == {"agent": '", "x": "\\', "path": '/prod/a"b', "none": ""}


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"statusCode": 204}',
        '{"message": $context.error.messageString, "id": "$context.requestId."}',
        "$context.authorizer.claims.sub ${context.stage} $stageVariables.x costs 5$ #1 100%",
    ],
)
def test_templates_that_can_be_filled_in(text: str) -> None:
    templates.check(text)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("$input.json('$')", "$input.json"),
        ("#set($x = 1)", "#set"),
        ("#if($context.stage)x#end", "#if"),
        ("$util.escapeJavaScript($context.path)", "$util.escapeJavaScript"),
        ("$!{context.stage}", "$!{context.stage"),
        ("## a comment", "##"),
        ("$context.nothing", "$context.nothing"),
        ("$context.identity.cognitoIdentityId", "$context.identity.cognitoIdentityId"),
        ("$contextual", "$contextual"),
    ],
)
def test_templates_that_are_programs_are_refused_by_name(text: str, named: str) -> None:
    with pytest.raises(ValueError, match="localcloud") as refused:
        templates.check(text)
    assert named in str(refused.value)


def test_formats_of_access_logs() -> None:
    templates.check_log_format('{"id": "$context.requestId", "status": "$context.status"}')
    templates.check_log_format("$context.extendedRequestId #1")
    with pytest.raises(ValueError, match="must contain at least"):
        templates.check_log_format("$context.status")
    with pytest.raises(ValueError, match="single line"):
        templates.check_log_format("$context.requestId\n$context.status")
    with pytest.raises(ValueError, match=r"\$context\.weather"):
        templates.check_log_format("$context.requestId $context.weather")


def test_claims_can_be_said(tmp_path: Path) -> None:
    answering = mock(
        200,
        responses=(
            IntegrationResponse(
                200, {}, {"application/json": "$context.authorizer.claims.sub/$context.authorizer.status"}
            ),
        ),
    )
    stage = Stage(tmp_path, method("GET", "/things", answering, authorizer=AUTHORIZER))
    assert stage.ask(authorization="identity").body == b"me/200"
