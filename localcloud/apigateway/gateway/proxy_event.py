"""AWS_PROXY: the event that a Lambda function gets of a request."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Any

from localcloud.apigateway.deployed import Method
from localcloud.apigateway.gateway.exchange import Exchange
from localcloud.apigateway.gateway.moments import common_log_time

# What concerns the connection alone, and the length, which is another one in the event.
_NOT_FOR_FUNCTIONS = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "keep-alive",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# Names that a function gets with capitals whatever the caller has sent. All others come as they are over HTTP/2.
_CAPITALS = {"authorization": "Authorization", "host": "Host", "user-agent": "User-Agent"}
_PORT = re.compile(r":(\d+)$")
_IDENTITY = (
    "accessKey",
    "accountId",
    "caller",
    "cognitoAuthenticationProvider",
    "cognitoAuthenticationType",
    "cognitoIdentityId",
    "cognitoIdentityPoolId",
    "principalOrgId",
    "user",
    "userArn",
)


def event(exchange: Exchange, method: Method) -> dict[str, Any]:
    """The event that a function gets (REST APIs' format, 1.0).

    A header that came more than once is one here, with its values joined by commas: so it comes from the server.
    """
    request, deployed = exchange.request, exchange.deployed
    headers = _headers(exchange)
    body, is_base64 = _body(exchange)
    query = exchange.query
    return {
        "resource": method.resource_path,
        "path": exchange.path,
        "httpMethod": request.method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
        "pathParameters": exchange.path_parameters or None,
        "stageVariables": deployed.variables or None,
        "requestContext": _request_context(exchange, method),
        "body": body,
        "isBase64Encoded": is_base64,
    }


def _request_context(exchange: Exchange, method: Method) -> dict[str, Any]:
    deployed, request = exchange.deployed, exchange.request
    identity: dict[str, Any] = {
        **dict.fromkeys(_IDENTITY),
        "sourceIp": request.client,
        "userAgent": request.headers.get("user-agent"),
    }
    if exchange.api_key is not None:
        identity |= {"apiKey": exchange.api_key, "apiKeyId": exchange.api_key_id}
    found = {
        "accountId": exchange.account_id,
        "apiId": deployed.api_id,
        "deploymentId": deployed.deployment_id,
        "domainName": exchange.domain,
        "domainPrefix": deployed.api_id,
        "extendedRequestId": exchange.extended_request_id,
        "httpMethod": request.method,
        "identity": identity,
        "path": f"/{deployed.stage}{exchange.path}",
        "protocol": "HTTP/1.1",
        "requestId": exchange.request_id,
        "requestTime": common_log_time(exchange.moment),
        "requestTimeEpoch": exchange.epoch_milliseconds,
        "resourceId": method.resource_id,
        "resourcePath": method.resource_path,
        "stage": deployed.stage,
    }
    if method.operation_name is not None:
        found["operationName"] = method.operation_name
    if exchange.claims is not None:
        found["authorizer"] = {"claims": exchange.claims}
    return found


def _headers(exchange: Exchange) -> dict[str, str]:
    request = exchange.request
    headers = {
        _CAPITALS.get(name, name): value
        for name, value in request.headers.items()
        if name not in _NOT_FOR_FUNCTIONS and not name.startswith("x-forwarded-") and name != "x-amzn-trace-id"
    }
    forwarded = request.headers.get("x-forwarded-for")
    port = _PORT.search(exchange.domain)
    return {
        **headers,
        "X-Amzn-Trace-Id": exchange.trace_id,
        "X-Forwarded-For": f"{forwarded}, {request.client}" if forwarded else request.client,
        # What is true here: on AWS these are always https and 443.
        "X-Forwarded-Port": port[1] if port else "80",
        "X-Forwarded-Proto": "http",
    }


def _body(exchange: Exchange) -> tuple[str | None, bool]:
    body = exchange.request.body
    if not body:
        return None, False
    if is_binary(exchange.request.headers.get("content-type", ""), exchange.deployed.binary_media_types):
        return base64.b64encode(body).decode(), True
    return body.decode("utf-8", "replace"), False


def is_binary(header: str, types: Sequence[str]) -> bool:
    """Whether the first media type of a header is among these, of which one may be `image/*`."""
    if not types:
        return False
    media_type = header.partition(",")[0].partition(";")[0].strip().lower()
    for one in types:
        kind, _, subtype = one.lower().partition("/")
        if one == "*/*" or media_type == one.lower() or (subtype == "*" and media_type.startswith(f"{kind}/")):
            return True
    return False
