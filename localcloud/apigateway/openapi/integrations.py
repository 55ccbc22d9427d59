"""What answers an operation: `x-amazon-apigateway-integration`, a Lambda function or a fixed answer (MOCK)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from localcloud.apigateway.gateway import templates
from localcloud.apigateway.openapi.document import Document, Node, shown

NAME = "x-amazon-apigateway-integration"

_URI = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):apigateway:(?P<region>[a-z0-9-]+):lambda:path/2015-03-31/functions/"
    r"(?P<function>arn:aws[a-z-]*:lambda:[a-z0-9-]+:\d{12}:function:[^/]+)/invocations"
)
_LITERAL = re.compile(r"'([^']*)'")
_STATUS = re.compile(r"[1-5]\d\d")
_KNOWN = {"passthroughBehavior", "requestTemplates", "responses", "timeoutInMillis", "type"}
_OF_PROXIES = {"cacheKeyParameters", "connectionType", "httpMethod", "uri"}
_PASSING = ("when_no_match", "when_no_templates", "never")
_LONGEST_MS, _SHORTEST_MS = 29_000, 50


class Integrations:
    """The integrations of one document."""

    def __init__(self, document: Document, region: str) -> None:
        self._document, self._findings, self._region = document, document.findings, region

    def of(self, operation: Node, method: Mapping[str, Any], resource_id: str, place: str) -> dict[str, Any] | None:
        """The integration of an operation as GetIntegration gives it; None if it has none."""
        if NAME not in operation:
            return None
        given, place = self._document.members(operation, NAME, place), f"{place}.{NAME}"
        kind = str(given.get("type", "")).upper()
        if kind not in ("AWS_PROXY", "MOCK"):
            self._error(f"{place}.type", given.get("type"), "aws_proxy or mock, which is what localcloud has")
            return None
        self._document.unknown(given, _KNOWN | (_OF_PROXIES if kind == "AWS_PROXY" else set()), place)
        found: dict[str, Any] = {
            "type": kind,
            "passthroughBehavior": self._passing(given, place),
            "timeoutInMillis": self._timeout(given, place),
            "cacheNamespace": resource_id,
            "cacheKeyParameters": self._cache_keys(given, method, place),
        }
        if kind == "AWS_PROXY":
            return found | self._proxy(given, place)
        requests = self.templates(given, "requestTemplates", place)
        if not requests:
            self._error(f"{place}.requestTemplates", requests, "a template with a statusCode, which a mock answers by")
        responses = self._responses(given, method, place)
        return found | {"requestTemplates": requests or None, "integrationResponses": responses or None}

    def templates(self, node: Node, name: str, place: str) -> dict[str, str]:
        """Mapping templates by media type, each one that the gateway can fill in."""
        found = {}
        for media_type, text in self._document.members(node, name, place).items():
            if not isinstance(text, str):
                self._error(f"{place}.{name}.{media_type}", text, "text")
                continue
            try:
                templates.check(text)
            except ValueError as error:
                self._findings.errors.append(f"{place}.{name}.{media_type}: {error}")
            found[media_type] = text
        return found

    def literals(self, node: Node, name: str, prefix: str, place: str) -> dict[str, str]:
        """Headers by `{prefix}{header}`, each with a literal in single quotes."""
        found = {}
        for parameter, value in self._document.members(node, name, place).items():
            if not parameter.startswith(prefix) or parameter == prefix:
                self._error(f"{place}.{name}", parameter, f"{prefix}NAME")
            if not isinstance(value, str) or not _LITERAL.fullmatch(value):
                self._error(f"{place}.{name}.{parameter}", value, "a literal in single quotes ('…')")
                continue
            found[parameter] = value
        return found

    def _proxy(self, given: Node, place: str) -> dict[str, Any]:
        uri = given.get("uri")
        match = _URI.fullmatch(uri) if isinstance(uri, str) else None
        if match is None or match["region"] != self._region:
            expected = "arn:aws:apigateway:REGION:lambda:path/2015-03-31/functions/FUNCTION_ARN/invocations"
            self._error(f"{place}.uri", uri, f"{expected}, of the region {self._region}")
        if str(given.get("httpMethod", "")).upper() != "POST":
            self._error(f"{place}.httpMethod", given.get("httpMethod"), "POST, by which functions are invoked")
        if str(given.get("connectionType", "INTERNET")).upper() != "INTERNET":
            self._error(f"{place}.connectionType", given["connectionType"], "INTERNET, which is what localcloud has")
        for name in ("requestTemplates", "responses"):
            if given.get(name):
                self._findings.errors.append(
                    f"{place}.{name}: Proxy integrations cannot be configured to transform requests or responses"
                )
        return {"httpMethod": "POST", "uri": str(uri), "connectionType": "INTERNET"}

    def _passing(self, given: Node, place: str) -> str:
        value = str(given.get("passthroughBehavior", _PASSING[0])).lower()
        if value not in _PASSING:
            self._error(f"{place}.passthroughBehavior", given["passthroughBehavior"], f"one of {', '.join(_PASSING)}")
        return value.upper()

    def _timeout(self, given: Node, place: str) -> int:
        value = given.get("timeoutInMillis", _LONGEST_MS)
        if type(value) is not int or not _SHORTEST_MS <= value <= _LONGEST_MS:
            self._error(f"{place}.timeoutInMillis", value, f"a whole number from {_SHORTEST_MS} to {_LONGEST_MS}")
            return _LONGEST_MS
        return value

    def _cache_keys(self, given: Node, method: Mapping[str, Any], place: str) -> list[str]:
        keys = given.get("cacheKeyParameters") or []
        declared = method.get("requestParameters") or {}
        if not isinstance(keys, list):
            self._error(f"{place}.cacheKeyParameters", keys, "a list")
            return []
        for key in keys:
            if key not in declared:
                self._error(f"{place}.cacheKeyParameters", key, f"a parameter of the operation: {', '.join(declared)}")
        return [str(key) for key in keys]

    def _responses(self, given: Node, method: Mapping[str, Any], place: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        responses = self._document.members(given, "responses", place)
        for pattern in responses:
            where = f"{place}.responses.{pattern}"
            node = self._document.members(responses, pattern, f"{place}.responses")
            self._document.unknown(node, {"responseParameters", "responseTemplates", "statusCode"}, where)
            status = str(node.get("statusCode", ""))
            declared = (method.get("methodResponses") or {}).get(status)
            if not _STATUS.fullmatch(status) or declared is None:
                self._error(f"{where}.statusCode", node.get("statusCode"), "a status among the operation's responses")
            if pattern not in ("default", status):
                self._error(where, pattern, "default or the response's own status; localcloud matches no other pattern")
            headers = self.literals(node, "responseParameters", "method.response.header.", where)
            for header in headers:
                if header not in ((declared or {}).get("responseParameters") or {}):
                    self._error(where, header, f"a header that the operation's response {status} declares")
            found[status] = {
                "statusCode": status,
                "selectionPattern": None if pattern == "default" else pattern,
                "responseParameters": headers or None,
                "responseTemplates": self.templates(node, "responseTemplates", where) or None,
            }
        if "default" not in responses:
            self._error(f"{place}.responses", list(responses), "a response named default")
        return found

    def _error(self, place: str, value: Any, expected: str) -> None:
        self._findings.errors.append(f"{place}: is {shown(value)}; expected {expected}")


def literal(value: str) -> str:
    """A literal without its quotes."""
    return value[1:-1]


def function_arn(uri: str) -> str:
    """The function's ARN in the URI of an integration; empty if there is none."""
    match = _URI.fullmatch(uri)
    return match["function"] if match else ""
