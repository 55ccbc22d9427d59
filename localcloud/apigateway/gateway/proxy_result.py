"""AWS_PROXY: the answer that a Lambda function's result says."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any

from localcloud.apigateway.gateway.exchange import JSON, Answer, Exchange
from localcloud.apigateway.gateway.proxy_event import is_binary
from localcloud.apigateway.gateway.refusals import INTERNAL, Refused

_MEMBERS = frozenset({"statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"})
_REMAPPED = frozenset(
    {
        "authorization",
        "connection",
        "content-length",
        "content-md5",
        "date",
        "host",
        "max-forwards",
        "server",
        "user-agent",
        "www-authenticate",
        "x-amz-apigw-id",
        "x-amzn-requestid",
    }
)
_DROPPED = frozenset({"expect", "keep-alive", "proxy-authenticate", "te", "trailer", "transfer-encoding", "upgrade"})
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def failed(detail: str) -> Refused:
    """What is said to the caller of a function that has no answer; the detail is for the log."""
    return Refused("DEFAULT_5XX", INTERNAL, status=502, detail=detail)


def _malformed(what: str) -> Refused:
    return failed(f"Malformed Lambda proxy response: {what}")


def answer(payload: bytes, exchange: Exchange) -> Answer:
    """The answer. Raises Refused for a result that is not of the form that API Gateway asks for."""
    try:
        result = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise _malformed(f"it is no JSON: {error}") from error
    if not isinstance(result, dict):
        raise _malformed(f"it is {json.dumps(result)[:100]}, expected an object with statusCode")
    if unknown := sorted(result.keys() - _MEMBERS):
        raise _malformed(f"it has {', '.join(unknown)}; expected nothing but {', '.join(sorted(_MEMBERS))}")
    headers = _answered_headers(result)
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.insert(0, ("Content-Type", JSON))
    return Answer(_status(result.get("statusCode")), tuple(headers), _answered_body(result, exchange))


def _status(value: Any) -> int:
    if value is None:
        return 200
    with_digits = isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value) is not None
    if isinstance(value, bool) or not (with_digits or isinstance(value, int) or value == _whole(value)):
        raise _malformed(f"statusCode is {value!r}, expected a number")
    status = int(value)
    if not 200 <= status <= 599:
        raise _malformed(f"statusCode is {status}, expected 200 to 599")
    return status


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, float) and value.is_integer() else None


def _answered_body(result: Mapping[str, Any], exchange: Exchange) -> bytes:
    body = result.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise _malformed(f"body is {json.dumps(body)[:100]}, expected text")
    types = exchange.deployed.binary_media_types
    if result.get("isBase64Encoded") and is_binary(exchange.request.headers.get("accept", ""), types):
        try:
            return base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Refused("API_CONFIGURATION_ERROR", INTERNAL, detail=f"the body is no base64: {error}") from error
    return body.encode("utf-8", "replace")


def _answered_headers(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    single, several = ({} if result.get(name) is None else result[name] for name in ("headers", "multiValueHeaders"))
    if not isinstance(single, dict) or not isinstance(several, dict):
        raise _malformed("headers and multiValueHeaders are not objects")
    listed = {name.lower() for name in several}
    found = [(name, value) for name, value in single.items() if name.lower() not in listed]
    for name, values in several.items():
        if not isinstance(values, list):
            raise _malformed(f"multiValueHeaders.{name} is {json.dumps(values)[:100]}, expected a list")
        found += [(name, value) for value in values]
    return [(_remapped(name), _header_value(name, value)) for name, value in found if name.lower() not in _DROPPED]


def _remapped(name: str) -> str:
    if not _HEADER_NAME.fullmatch(name):
        raise _malformed(f"{name!r} is no header's name")
    return f"x-amzn-Remapped-{name}" if name.lower() in _REMAPPED else name


def _header_value(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    if not isinstance(value, str | int | float) or (isinstance(value, str) and _CONTROL.search(value)):
        raise _malformed(f"the header {name} is {json.dumps(value)[:100]}, expected text of one line")
    return str(value).strip()
