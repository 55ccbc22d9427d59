"""What API Gateway does around the functions: proxy events, and answers that must be as the document says."""

from __future__ import annotations

import functools
import importlib.util
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import yaml

DOCUMENT = Path(__file__).parents[3] / "seed_code" / "api" / "openapi.yml"
ORIGIN = "https://app.example.com"
NOW = datetime(2026, 11, 22, 10, 15, 30, tzinfo=UTC)
EXPOSED = "'Allow,Retry-After,WWW-Authenticate,x-amzn-RequestId'"  # as the document has it
REQUEST_ID = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"


@functools.cache
def document() -> dict[str, Any]:
    """The API's document."""
    found: dict[str, Any] = yaml.safe_load(DOCUMENT.read_text())
    return found


def check(schema: Mapping[str, Any], value: Any) -> None:
    """Raise jsonschema's ValidationError if a value is not as a schema of the document says."""
    # References are resolved from the root, so the document goes along.
    jsonschema.Draft4Validator({**schema, "components": document()["components"]}).validate(value)


def event(
    method: str,
    path: str,
    body: str | None = None,
    *,
    query: Mapping[str, list[str]] | None = None,
    headers: Mapping[str, str] | None = None,
    encoded: bool = False,
    at: datetime = NOW,
) -> dict[str, Any]:
    """A proxy event of a REST API (version 1.0)."""
    given = {"Accept": "*/*", "Host": "abc.execute-api.eu-west-1.amazonaws.com", **(headers or {})}
    if body is not None and not any(name.lower() == "content-type" for name in given):
        given["content-type"] = "application/json"
    return {
        "resource": path,
        "path": path,
        "httpMethod": method,
        "headers": given,
        "multiValueHeaders": {name: [value] for name, value in given.items()},
        "queryStringParameters": {name: values[-1] for name, values in query.items()} if query else None,
        "multiValueQueryStringParameters": query or None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abc",
            "authorizer": {"claims": {"client_id": "app", "scope": "api/predict"}},
            "domainName": "abc.execute-api.eu-west-1.amazonaws.com",
            "extendedRequestId": "JFJPhFAtjoEFQDA=",
            "httpMethod": method,
            "identity": {"sourceIp": "127.0.0.1", "userAgent": "pytest"},
            "path": f"/prod{path}",
            "protocol": "HTTP/1.1",
            "requestId": REQUEST_ID,
            "requestTime": f"{at:%d/%b/%Y:%H:%M:%S +0000}",
            "requestTimeEpoch": int(at.timestamp() * 1000),
            "resourceId": "1a2b3c",
            "resourcePath": path,
            "stage": "prod",
        },
        "body": body,
        "isBase64Encoded": encoded,
    }


@dataclass(frozen=True)
class Context:
    """What Lambda tells a function about itself."""

    function_name: str = "predictions"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:eu-west-1:123456789012:function:predictions"
    aws_request_id: str = "11111111-2222-3333-4444-555555555555"


@dataclass(frozen=True)
class Answer:
    """A function's answer."""

    status: int
    headers: Mapping[str, str]
    document: Any

    @property
    def fields(self) -> dict[str, str]:
        """The mistakes: messages by field."""
        return {one["field"]: one["message"] for one in self.document["errors"]}


@dataclass(frozen=True)
class Function:
    """A function, as API Gateway calls it."""

    handler: Callable[[dict[str, Any], Any], dict[str, Any]]

    def ask(self, method: str, path: str, content: Any = None, **members: Any) -> Answer:
        """Send a document (a text is sent as it is); the answer is one that the API's document has."""
        body = content if content is None or isinstance(content, str) else json.dumps(content)
        found = self.handler(event(method, path, body, **members), Context())
        headers = {name.lower(): values[0] for name, values in found["multiValueHeaders"].items()}
        answer = Answer(found["statusCode"], headers, json.loads(found["body"]))
        assert headers["content-type"] == "application/json"
        assert headers["access-control-allow-origin"] == ORIGIN
        assert f"'{headers['access-control-expose-headers']}'" == EXPOSED
        assert found["isBase64Encoded"] is False
        declared = document()["paths"][path][method.lower()]["responses"][str(answer.status)]
        check(declared["content"]["application/json"]["schema"], answer.document)
        for name, header in declared.get("headers", {}).items():
            value = headers[name.lower()]
            check(header["schema"], int(value) if header["schema"]["type"] == "integer" else value)
        return answer


def load(name: str) -> ModuleType:
    """A function's module, imported anew by the environment as it is now."""
    found = importlib.util.find_spec(f"seed_code.api.{name}")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module
