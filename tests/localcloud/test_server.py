"""The application in process: who is answered, by what, and what becomes of errors."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import sqlite3
import zlib
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from localcloud import chunked, routing
from localcloud.context import Context, Request
from localcloud.errors import ServiceError, not_found
from localcloud.protocols.http import HttpRequest
from localcloud.server import Application, build
from localcloud.service import Handler

PORT = 4610


class Packages:
    """A service with a few operations of SageMaker's, some of them wrong."""

    name = "sagemaker"

    def __init__(self, context: Context) -> None:
        self.context = context
        self.running = False
        self.seen: list[Request] = []

    @property
    def operations(self) -> Mapping[str, Handler]:
        return {
            "CreateModelPackageGroup": self.create,
            "DescribeModelPackageGroup": self.describe,
            "ListModelPackageGroups": lambda request: {"Groups": []},
            "DeleteModelPackageGroup": self.broken,
        }

    def create(self, request: Request) -> dict[str, Any]:
        self.seen.append(request)
        self.context.store.put("group", request.params["ModelPackageGroupName"], request.params)
        return {"ModelPackageGroupArn": "arn:aws:sagemaker:eu-west-1:123456789012:model-package-group/a"}

    def describe(self, request: Request) -> dict[str, Any]:
        raise not_found(f"no group {request.params['ModelPackageGroupName']}")

    def broken(self, request: Request) -> dict[str, Any]:
        raise RuntimeError("a mistake of ours")

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        return json.loads(self.body)


@pytest.fixture
def application(tmp_path: Path) -> Iterator[Application]:
    built = build(tmp_path, PORT, create_services=lambda context: [Packages(context)])
    built.start()
    yield built
    built.stop()


def _exchange(
    application: Application,
    method: str = "POST",
    path: str = "/",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> Answer:
    """One request by ASGI."""
    sent = {"host": f"127.0.0.1:{PORT}", **(headers or {})}
    raw_path, _, query = path.partition("?")
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": raw_path,
        "raw_path": raw_path.encode(),
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        "scheme": "http",
        "server": ("127.0.0.1", PORT),
        "client": ("127.0.0.1", 50000),
    }
    answer = Answer()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            answer.body += message.get("body", b"")

    asyncio.run(application(scope, receive, send))
    return answer


def _signed(service: str, access_key: str = "test", **headers: str) -> dict[str, str]:
    scope = f"{access_key}/20260101/eu-central-1/{service}/aws4_request"
    return {"authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0", **headers}


def _call(application: Application, operation: str, params: dict[str, Any], **extra: str) -> Answer:
    headers = _signed("sagemaker", **{"x-amz-target": f"SageMaker.{operation}", **extra})
    headers["content-type"] = "application/x-amz-json-1.1"
    return _exchange(application, headers=headers, body=json.dumps(params).encode())


def _service(application: Application) -> Packages:
    service = application._implemented[0]
    assert isinstance(service, Packages)
    return service


def test_a_call_reaches_the_handler_with_its_parameters_and_surroundings(application: Application) -> None:
    answer = _call(application, "CreateModelPackageGroup", {"ModelPackageGroupName": "a"})
    assert answer.status == 200
    assert answer.json()["ModelPackageGroupArn"].endswith("/a")
    assert answer.headers["content-type"] == "application/x-amz-json-1.1"
    (seen,) = _service(application).seen
    assert (seen.service, seen.operation, seen.region, seen.access_key) == (
        "sagemaker",
        "CreateModelPackageGroup",
        "eu-central-1",
        "test",
    )


def test_services_start_and_stop_with_the_application(tmp_path: Path) -> None:
    built = build(tmp_path, PORT, create_services=lambda context: [Packages(context)])
    built.start()
    assert _service(built).running
    built.stop()
    assert not _service(built).running


def test_an_invalid_request_never_reaches_the_handler(application: Application) -> None:
    answer = _call(application, "CreateModelPackageGroup", {"ModelPackageGroupName": "a", "Colour": "red"})
    assert (answer.status, answer.json()["__type"]) == (400, "ValidationException")
    assert 'Unknown parameter in input: "Colour"' in answer.json()["message"]
    assert _service(application).seen == []


def test_an_error_of_the_service_is_its_answer(application: Application) -> None:
    answer = _call(application, "DescribeModelPackageGroup", {"ModelPackageGroupName": "a"})
    assert (answer.status, answer.json()["__type"]) == (400, "ResourceNotFound")
    assert "no group a" in answer.body.decode()


@pytest.mark.parametrize(
    ("operation", "params", "logged"),
    [
        ("ListModelPackageGroups", {}, 'Unknown parameter in input: "Groups"'),
        ("DeleteModelPackageGroup", {"ModelPackageGroupName": "a"}, "a mistake of ours"),
    ],
)
def test_a_bug_of_ours_is_an_internal_failure_with_its_traceback_in_the_log(
    application: Application,
    caplog: pytest.LogCaptureFixture,
    operation: str,
    params: dict[str, Any],
    logged: str,
) -> None:
    with caplog.at_level(logging.ERROR):
        answer = _call(application, operation, params)
    assert (answer.status, answer.json()["__type"]) == (500, "InternalFailure")
    assert logged in caplog.text
    assert "Traceback" in caplog.text


def test_an_operation_that_is_not_implemented_is_named(application: Application) -> None:
    answer = _call(application, "CreateAutoMLJob", {})
    assert (answer.status, answer.json()["__type"]) == (400, "UnknownOperationException")
    assert "CreateAutoMLJob of sagemaker" in answer.json()["message"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:4610", 200),
        ("localhost", 200),
        ("LOCALHOST:4610", 200),
        ("[::1]:4610", 200),
        ("bucket.s3.localhost:4610", 200),
        ("127.0.0.1:80", 403),
        ("example.com", 403),
        ("localhost.example.com", 403),
        ("127.0.0.1.nip.io:4610", 403),
        ("evil@localhost", 403),
        ("", 403),
    ],
)
def test_only_requests_addressed_to_this_machine_are_answered(application: Application, host: str, status: int) -> None:
    answer = _exchange(application, "GET", "/_localcloud/status", {"host": host})
    assert answer.status == status


@pytest.mark.parametrize(
    ("origin", "status"), [("https://example.com", 403), ("null", 403), ("http://localhost:3000", 200)]
)
def test_a_page_of_another_host_is_not_answered(application: Application, origin: str, status: int) -> None:
    answer = _exchange(application, "GET", "/_localcloud/status", {"origin": origin})
    assert answer.status == status


def test_the_status_tells_what_runs(application: Application, tmp_path: Path) -> None:
    status = _exchange(application, "GET", "/_localcloud/status").json()
    assert status["port"] == PORT
    assert status["state"] == str(tmp_path)
    assert "CreateModelPackageGroup" in status["services"]["sagemaker"]


@pytest.mark.parametrize(
    ("service", "headers", "path", "code_at", "code"),
    [
        ("s3", {}, "/bucket/key", b"<Code>%s</Code>", b"InvalidAccessKeyId"),
        ("ssm", {"x-amz-target": "AmazonSSM.GetParameter"}, "/", b'"__type": "%s"', b"UnrecognizedClientException"),
        (
            "iam",
            {"content-type": "application/x-www-form-urlencoded"},
            "/",
            b"<Code>%s</Code>",
            b"UnrecognizedClientException",
        ),
    ],
)
def test_an_access_key_that_looks_real_is_refused_in_the_services_own_words(
    application: Application, service: str, headers: dict[str, str], path: str, code_at: bytes, code: bytes
) -> None:
    answer = _exchange(application, headers=_signed(service, "AKIAQWERTYUIOPASDFGH", **headers), path=path)
    assert answer.status == 403
    assert code_at % code in answer.body
    assert b"AWS_ACCESS_KEY_ID=test" in answer.body
    assert b"QWERTYUIOPAS" not in answer.body


@pytest.mark.parametrize("key", ["AKIAIOSFODNN7EXAMPLE", "test", "AKIAlowercaselowerca", "AKIA0000000000000000"])
def test_placeholders_are_accepted_as_access_keys(key: str) -> None:
    routing.check_access_key(routing.Target("s3", "rest-xml", None, key), lambda _: False)


def test_an_access_key_that_the_leaf_issued_is_accepted() -> None:
    target = routing.Target("s3", "rest-xml", None, "ASIAQWERTYUIOPASDFGH")
    with pytest.raises(ServiceError, match="looks like one of a real AWS account"):
        routing.check_access_key(target, lambda _: False)
    routing.check_access_key(target, lambda key: key == "ASIAQWERTYUIOPASDFGH")


@pytest.mark.parametrize(
    ("signing_name", "method", "path", "headers", "service"),
    [
        ("sagemaker", "POST", "/", {"x-amz-target": "SageMaker.CreateModel"}, "sagemaker"),
        ("sagemaker", "POST", "/endpoints/e/invocations", {}, "sagemaker-runtime"),
        ("sagemaker", "GET", "/FeatureGroup/g?RecordIdentifierValueAsString=1", {}, "sagemaker-featurestore-runtime"),
        ("monitoring", "POST", "/service/G/operation/PutMetricData", {"smithy-protocol": "rpc-v2-cbor"}, "cloudwatch"),
        ("lambda", "GET", "/2015-03-31/functions/", {}, "lambda"),
        ("s3", "GET", "/", {}, "s3"),
        ("states", "POST", "/", {"x-amz-target": "AWSStepFunctions.ListStateMachines"}, "states"),
    ],
)
def test_the_service_is_found_by_scope_and_address(
    signing_name: str, method: str, path: str, headers: dict[str, str], service: str
) -> None:
    path, _, query = path.partition("?")
    target = routing.find_target(HttpRequest(method, path, query, _signed(signing_name, **headers)))
    assert target.service == service
    assert target.region == "eu-central-1"


@pytest.mark.parametrize(
    "query",
    ["X-Amz-Credential=test%2F20260101%2Feu-west-1%2Fs3%2Faws4_request", "AWSAccessKeyId=test&Signature=x&Expires=1"],
)
def test_a_presigned_address_is_s3s(query: str) -> None:
    target = routing.find_target(HttpRequest("GET", "/bucket/key", query))
    assert (target.service, target.access_key, target.protocol) == ("s3", "test", "rest-xml")


def test_an_unsigned_request_is_refused_with_what_to_do(application: Application) -> None:
    answer = _exchange(application, "GET", "/bucket/key")
    assert answer.status == 403
    assert b"the request is not signed" in answer.body


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("my.bucket.localhost:4610", "/my.bucket/key"),
        ("bucket.s3.localhost:4610", "/bucket/key"),
        ("bucket.s3.eu-west-1.localhost", "/bucket/key"),
        ("s3.localhost:4610", "/key"),
        ("localhost:4610", "/key"),
        ("127.0.0.1:4610", "/key"),
    ],
)
def test_a_bucket_in_the_host_name_moves_into_the_path(host: str, path: str) -> None:
    assert routing.path_style(HttpRequest("GET", "/key", headers={"host": host})).path == path


def _chunks(body: bytes, *parts: int, signature: bytes = b"") -> bytes:
    sent, position = b"", 0
    for size in parts:
        sent += b"%x%s\r\n%s\r\n" % (size, signature, body[position : position + size])
        position += size
    checksum = b64encode(zlib.crc32(body).to_bytes(4, "big"))
    return sent + b"0%s\r\nx-amz-checksum-crc32:%s\r\n\r\n" % (signature, checksum)


@pytest.mark.parametrize("signature", [b"", b";chunk-signature=abc"])
def test_chunks_are_put_together_and_trailers_become_headers(signature: bytes) -> None:
    body = b"hello\r\nchunked world"
    request = HttpRequest(
        "PUT",
        "/bucket/key",
        headers={
            "content-encoding": "aws-chunked,gzip",
            "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            "x-amz-trailer": "x-amz-checksum-crc32",
            "x-amz-decoded-content-length": str(len(body)),
        },
        body=_chunks(body, 7, len(body) - 7, signature=signature),
    )
    assert chunked.is_chunked(request)
    decoded = chunked.decode(request)
    assert decoded.body == body
    assert decoded.headers["content-encoding"] == "gzip"
    assert "x-amz-checksum-crc32" in decoded.headers
    assert "x-amz-trailer" not in decoded.headers


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"5\r\nhel", "announces 5 bytes, 3 are left"),
        (b"zz\r\n", "expected its size in hexadecimal"),
        (b"5\r\nhello\r\n", "ends before its last chunk"),
        (b"5\r\nhello\r\n0\r\n\r\n", "x-amz-decoded-content-length says 9"),
    ],
)
def test_chunks_that_do_not_add_up_are_refused(body: bytes, said: str) -> None:
    headers = {"content-encoding": "aws-chunked", "x-amz-decoded-content-length": "9"}
    with pytest.raises(ServiceError, match=said):
        chunked.decode(HttpRequest("PUT", "/bucket/key", headers=headers, body=body))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"ModelPackageGroupName": ' + b"[" * 100_000, "nested too deeply"),
        (rb'{"ModelPackageGroupName": "a", "ModelPackageGroupDescription": "\uD800"}', "surrogates not allowed"),
    ],
)
def test_a_body_that_cannot_be_kept_is_refused(application: Application, body: bytes, words: str) -> None:
    headers = _signed("sagemaker", **{"x-amz-target": "SageMaker.CreateModelPackageGroup"})
    answer = _exchange(application, headers=headers, body=body)
    assert (answer.status, answer.json()["__type"]) == (400, "SerializationException")
    assert words in answer.json()["message"]
    assert _service(application).seen == []


def test_a_refusal_quotes_little(application: Application) -> None:
    long = _call(application, "CreateModelPackageGroup", {"ModelPackageGroupName": "\u0661" * 100_000})
    assert (long.status, long.json()["__type"]) == (400, "ValidationException")
    assert len(long.body) < 5000


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), "sqlite"])
def test_a_full_disk_is_no_bug(tmp_path: Path, error: Any) -> None:
    class Full(Packages):
        def broken(self, request: Request) -> dict[str, Any]:
            if isinstance(error, OSError):
                raise error
            with contextlib.closing(sqlite3.connect(":memory:")) as connection:
                connection.execute("PRAGMA max_page_count = 1")
                connection.execute("CREATE TABLE t (a)")
            raise AssertionError("the database was expected to be full")

    built = build(tmp_path, PORT, create_services=lambda context: [Full(context)])
    built.start()
    try:
        answer = _call(built, "DeleteModelPackageGroup", {"ModelPackageGroupName": "a"})
    finally:
        built.stop()
    assert (answer.status, answer.json()["__type"]) == (503, "ServiceUnavailable")
    assert f"no room left in the state folder {tmp_path}" in answer.json()["message"]


def test_time_that_was_let_pass_has_passed_after_a_restart(tmp_path: Path) -> None:
    reached = []
    for body in (b"172800", b"0"):
        application = build(tmp_path, PORT, create_services=lambda context: [Packages(context)])
        application.start()
        answer = _exchange(application, path="/_localcloud/advance", body=body)
        reached.append(datetime.fromisoformat(answer.json()["now"]))
        application.stop()
    assert reached[1] >= reached[0]
