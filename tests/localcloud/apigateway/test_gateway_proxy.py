"""What a function gets of a request, and what becomes of its result."""

from __future__ import annotations

import base64
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localcloud.apigateway.deployed import Integration, Method
from localcloud.errors import ServiceError
from localcloud.functions.invocation import Outcome
from localcloud.protocols.http import HttpResponse
from tests.localcloud.apigateway.answering import API, FUNCTION, Stage, message, method, proxy
from tests.surroundings import ACCOUNT_ID, REGION


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path, method("ANY", "/things/{id}"), method("POST", "/things"), method("GET", "/things"))


def test_the_event_is_complete(stage: Stage) -> None:
    stage.change(variables={"level": "high"}, binary_media_types=())
    answer = stage.ask(
        "PUT",
        "/things/a%20b",
        query="x=1&x=2%20&y=&=z&q=a+b",
        body='{"k": "é"}',
        user_agent="curl/8",
        accept="*/*",
        content_type="application/json",
        content_length="11",
        connection="keep-alive",
        x_forwarded_for="203.0.113.7",
    )
    assert answer.status == 200
    event = stage.event
    context = event.pop("requestContext")
    trace_id = event["headers"].pop("X-Amzn-Trace-Id")
    assert trace_id.startswith("Root=1-6955b900-")
    assert event.pop("multiValueHeaders") == {
        **{name: [value] for name, value in event["headers"].items()},
        "X-Amzn-Trace-Id": [trace_id],
    }
    assert event == {
        "resource": "/things/{id}",
        "path": "/things/a%20b",
        "httpMethod": "PUT",
        "headers": {
            "Host": "127.0.0.1:4610",
            "User-Agent": "curl/8",
            "accept": "*/*",
            "content-type": "application/json",
            "X-Forwarded-For": "203.0.113.7, 127.0.0.9",
            "X-Forwarded-Port": "4610",
            "X-Forwarded-Proto": "http",
        },
        "queryStringParameters": {"x": "2 ", "y": "", "q": "a b"},
        "multiValueQueryStringParameters": {"x": ["1", "2 "], "y": [""], "q": ["a b"]},
        "pathParameters": {"id": "a b"},
        "stageVariables": {"level": "high"},
        "body": '{"k": "é"}',
        "isBase64Encoded": False,
    }
    assert context.pop("requestId") == answer.header("x-amzn-requestid")
    assert context.pop("extendedRequestId") == answer.header("x-amz-apigw-id")
    identity = context.pop("identity")
    assert (identity["sourceIp"], identity["userAgent"], identity["userArn"]) == ("127.0.0.9", "curl/8", None)
    assert context == {
        "accountId": ACCOUNT_ID,
        "apiId": API,
        "deploymentId": "dep123",
        "domainName": "127.0.0.1:4610",
        "domainPrefix": API,
        "httpMethod": "PUT",
        "path": "/prod/things/a%20b",
        "protocol": "HTTP/1.1",
        "requestTime": "01/Jan/2026:00:00:00 +0000",
        "requestTimeEpoch": 1767225600000,
        "resourceId": "id2",
        "resourcePath": "/things/{id}",
        "stage": "prod",
    }
    assert answer.header("x-amzn-trace-id") == trace_id
    source = f"arn:aws:execute-api:{REGION}:{ACCOUNT_ID}:{API}/prod/PUT/things/{{id}}"
    assert stage.functions.sources == [("apigateway.amazonaws.com", source, FUNCTION)]


def test_what_is_not_there_is_null(stage: Stage) -> None:
    stage.ask(path="/things/")
    event = stage.event
    for member in (
        "queryStringParameters",
        "multiValueQueryStringParameters",
        "pathParameters",
        "stageVariables",
        "body",
    ):
        assert event[member] is None
    assert event["path"] == "/things/"
    assert "authorizer" not in event["requestContext"]
    assert "operationName" not in event["requestContext"]


def test_bodies_are_text_unless_their_type_is_binary(stage: Stage) -> None:
    stage.ask("POST", body=b"\xffab", content_type="image/png")
    assert (stage.event["body"], stage.event["isBase64Encoded"]) == ("\ufffdab", False)
    stage.change(binary_media_types=("application/octet-stream", "image/*"))
    stage.ask("POST", body=b"\xffab", content_type="image/png")
    assert (base64.b64decode(stage.event["body"]), stage.event["isBase64Encoded"]) == (b"\xffab", True)
    stage.ask("POST", body=b"ab", content_type="text/plain")
    assert (stage.event["body"], stage.event["isBase64Encoded"]) == ("ab", False)
    stage.change(binary_media_types=("*/*",))
    stage.ask("POST", body=b"ab")
    assert stage.event["isBase64Encoded"] is True


def test_a_trace_is_taken_up(stage: Stage) -> None:
    stage.ask(x_amzn_trace_id="Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0")
    assert stage.event["headers"]["X-Amzn-Trace-Id"] == "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0"
    stage.change(tracing=True)
    stage.ask()
    assert stage.event["headers"]["X-Amzn-Trace-Id"].endswith(";Sampled=1")


def test_a_stage_variable_names_the_function(tmp_path: Path) -> None:
    integration = Integration("AWS_PROXY", function_arn="arn:aws:lambda:r:a:function:f-${stageVariables.level}")
    stage = Stage(tmp_path, method("GET", "/things", integration), variables={"level": "high"})
    stage.ask()
    assert stage.functions.sources[0][2] == "arn:aws:lambda:r:a:function:f-high"


def test_the_result_says_the_answer(stage: Stage) -> None:
    stage.functions.say(
        {"k": "€"},
        statusCode="201",
        headers={"X-A": "1", "X-Number": 5, "X-Flag": True, "Set-Cookie": "lost=1", "Server": "mine", "TE": "x"},
        multiValueHeaders={"set-cookie": ["a=1", "b=2"], "WWW-Authenticate": ["Basic"]},
        isBase64Encoded=False,
    )
    answer = stage.ask()
    assert (answer.status, json.loads(answer.body)) == (201, {"k": "€"})
    assert [(name, value) for name, value in answer.headers if "-amz" not in name.lower()] == [
        ("Content-Type", "application/json"),
        ("X-A", "1"),
        ("X-Number", "5"),
        ("X-Flag", "true"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
    ]
    assert answer.header("x-amzn-Remapped-Server") == "mine"
    assert answer.header("x-amzn-Remapped-WWW-Authenticate") == "Basic"


def test_a_result_may_say_little(stage: Stage) -> None:
    stage.functions.answers = lambda event: b"{}"
    assert (stage.ask().status, stage.ask().body) == (200, b"")
    stage.functions.say("x", headers={"content-type": "text/plain"})
    assert stage.ask().header("Content-Type") == "text/plain"


def test_a_binary_answer_is_decoded_for_who_accepts_it(stage: Stage) -> None:
    stage.functions.say(base64.b64encode(b"\x00\xff").decode(), isBase64Encoded=True)
    assert stage.ask(accept="image/png").body == b"AP8="
    stage.change(binary_media_types=("image/png",))
    assert stage.ask(accept="image/png,*/*").body == b"\x00\xff"
    assert stage.ask(accept="text/html").body == b"AP8="
    stage.functions.say("no base64!", isBase64Encoded=True)
    assert stage.status(accept="image/png") == 500


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"rubbish",
        b"null",
        b'"text"',
        b"[1]",
        b"[" * 100_000,
        b'{"statusCode": "two hundred"}',
        b'{"statusCode": "' + b"2" * 5_000 + b'"}',
        b'{"statusCode": 99}',
        b'{"statusCode": 600}',
        b'{"statusCode": true}',
        b'{"statusCode": {}}',
        b'{"statusCode": 200.5}',
        b'{"statusCode": 200, "body": {"a": 1}}',
        b'{"statusCode": 200, "body": "", "more": 1}',
        b'{"statusCode": 200, "headers": []}',
        b'{"statusCode": 200, "headers": {"a": ["b"]}}',
        b'{"statusCode": 200, "headers": {"a b": "c"}}',
        b'{"statusCode": 200, "headers": {"a": "b\\r\\nc: d"}}',
        b'{"statusCode": 200, "headers": {"a": "\\u0001"}}',
        b'{"statusCode": 200, "multiValueHeaders": {"a": "b"}}',
    ],
)
def test_a_malformed_result_is_a_bad_gateway(stage: Stage, payload: bytes, caplog: pytest.LogCaptureFixture) -> None:
    stage.functions.answers = lambda event: payload
    answer = stage.ask()
    assert (answer.status, message(answer)) == (502, "Internal server error")
    assert answer.header("x-amzn-errortype") == "InternalServerErrorException"
    assert "Malformed Lambda proxy response" in caplog.text


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={name: _VALUES for name in ("statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded")},
    )
)
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_result_is_an_answer_or_a_bad_gateway(stage: Stage, result: Any) -> None:
    stage.functions.answers = lambda event: json.dumps(result).encode()
    answer = stage.ask()
    assert 200 <= answer.status <= 599
    assert all("\n" not in value and "\r" not in value for _, value in answer.headers)


def test_a_function_that_fails_is_a_bad_gateway(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    failed = b'{"errorMessage": "division by zero", "errorType": "ZeroDivisionError"}'
    stage.functions.answers = lambda event: Outcome("r", failed, "Unhandled", b"")
    answer = stage.ask()
    assert (answer.status, message(answer)) == (502, "Internal server error")
    # The caller hears nothing of it, localcloud's log does.
    assert "division by zero" in caplog.text


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("AccessDeniedException", 500, "Internal server error"),
        ("ResourceNotFoundException", 500, "Internal server error"),
        ("TooManyRequestsException", 500, "Internal server error"),
        ("ServiceException", 500, "Internal server error"),
        ("RequestTooLargeException", 413, "Request Too Long"),
    ],
)
def test_a_function_that_cannot_be_asked(
    stage: Stage, code: str, status: int, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(event: Any) -> Outcome:
        raise ServiceError(code, "the reason", 400)

    stage.functions.answers = refuse
    answer = stage.ask()
    assert (answer.status, message(answer)) == (status, said)
    assert (code in caplog.text) == (status == 500)


def test_a_slow_function_is_not_waited_for(tmp_path: Path) -> None:
    stage = Stage(tmp_path, method("GET", "/things", proxy(timeout_seconds=0.05)))
    release, ended = threading.Event(), threading.Event()

    def slow(event: Any) -> bytes:
        release.wait(30)
        ended.set()
        return b'{"statusCode": 200}'

    stage.functions.answers = slow
    answer = stage.ask()
    assert (answer.status, message(answer)) == (504, "Endpoint request timed out")
    # It goes on, and is not stopped.
    assert not ended.is_set()
    release.set()
    assert ended.wait(30)


def test_a_stopped_gateway_leaves_no_thread_behind(stage: Stage) -> None:
    before = set(threading.enumerate())
    stage.change(access_log_group="requests", access_log_format="$context.requestId")
    stage.ask()
    own = set(threading.enumerate()) - before
    assert len(own) == 2
    stage.gateway.stop()
    for thread in own:
        thread.join(10)
        assert not thread.is_alive()


def test_many_at_once_get_their_own_answers(stage: Stage) -> None:
    stage.functions.answers = lambda event: json.dumps({"body": event["pathParameters"]["id"]}).encode()
    answers: dict[str, HttpResponse] = {}

    def ask(number: str) -> None:
        answers[number] = stage.ask(path=f"/things/{number}")

    threads = [threading.Thread(target=ask, args=(str(number),)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(answer.body.decode() == number for number, answer in answers.items())
    assert len({answer.header("x-amzn-requestid") for answer in answers.values()}) == 40


def test_an_operation_has_a_name(tmp_path: Path) -> None:
    named = Method("GET", "r1", "/things", proxy(), operation_name="listThings")
    stage = Stage(tmp_path, named)
    stage.ask()
    assert stage.event["requestContext"]["operationName"] == "listThings"


@pytest.mark.parametrize(("host", "port"), [("[::1]:4610", "4610"), ("[::1]", "80"), ("localhost", "80")])
def test_the_port_is_that_of_the_host(tmp_path: Path, host: str, port: str) -> None:
    stage = Stage(tmp_path, method("GET", "/things"))
    assert stage.status(host=host) == 200
    assert stage.event["headers"]["X-Forwarded-Port"] == port
