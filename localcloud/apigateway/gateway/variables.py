"""The `$context` variables: what templates and the access log can say of a request."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from localcloud.apigateway.gateway.exchange import Exchange
from localcloud.apigateway.gateway.moments import common_log_time

_CLAIMS = "authorizer.claims."


def _none(_: Exchange) -> None:
    return None


def _method(name: str) -> Callable[[Exchange], Any]:
    return lambda exchange: getattr(exchange.method, name, None)


def _refused(name: str) -> Callable[[Exchange], Any]:
    return lambda exchange: getattr(exchange.refused, name, None)


def _message_string(exchange: Exchange) -> str | None:
    return None if exchange.refused is None else json.dumps(exchange.refused.message)


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


def _invocation_status(exchange: Exchange) -> int | None:
    """What Lambda itself has answered; the function's own status is another matter."""
    return None if exchange.integration_status is None else 200


def _integration_error(exchange: Exchange) -> str | None:
    called = exchange.integration_seconds is not None and exchange.refused is not None
    return exchange.refused.detail or None if called and exchange.refused else None


_VALUES: Mapping[str, Callable[[Exchange], Any]] = {
    "accountId": lambda exchange: exchange.account_id,
    "apiId": lambda exchange: exchange.deployed.api_id,
    "authorizer.error": lambda exchange: (
        exchange.refused.message if exchange.refused and exchange.authorizer_status not in (None, 200) else None
    ),
    "authorizer.principalId": lambda exchange: (exchange.claims or {}).get("sub"),
    "authorizer.status": lambda exchange: exchange.authorizer_status,
    "deploymentId": lambda exchange: exchange.deployed.deployment_id,
    "domainName": lambda exchange: exchange.domain,
    "domainPrefix": lambda exchange: exchange.deployed.api_id,
    "error.message": _refused("message"),
    "error.messageString": _message_string,
    "error.responseType": _refused("type"),
    "error.validationErrorString": _refused("validation"),
    "extendedRequestId": lambda exchange: exchange.extended_request_id,
    "httpMethod": lambda exchange: exchange.request.method,
    "identity.accountId": _none,
    "identity.apiKey": lambda exchange: exchange.api_key,
    "identity.apiKeyId": lambda exchange: exchange.api_key_id,
    "identity.caller": _none,
    "identity.sourceIp": lambda exchange: exchange.request.client,
    "identity.user": _none,
    "identity.userAgent": lambda exchange: exchange.request.headers.get("user-agent"),
    "identity.userArn": _none,
    "integration.error": _integration_error,
    "integration.integrationStatus": _invocation_status,
    "integration.latency": lambda exchange: _milliseconds(exchange.integration_seconds),
    "integration.requestId": lambda exchange: exchange.integration_request_id,
    "integration.status": lambda exchange: exchange.integration_status,
    "integrationErrorMessage": _integration_error,
    "integrationLatency": lambda exchange: _milliseconds(exchange.integration_seconds),
    "integrationStatus": _invocation_status,
    "operationName": _method("operation_name"),
    "path": lambda exchange: f"/{exchange.deployed.stage}{exchange.path}",
    "protocol": lambda _: "HTTP/1.1",
    "requestId": lambda exchange: exchange.request_id,
    "requestTime": lambda exchange: common_log_time(exchange.moment),
    "requestTimeEpoch": lambda exchange: exchange.epoch_milliseconds,
    "resourceId": _method("resource_id"),
    "resourcePath": _method("resource_path"),
    "responseLatency": lambda exchange: _milliseconds(exchange.seconds),
    "responseLength": lambda exchange: exchange.length,
    "stage": lambda exchange: exchange.deployed.stage,
    "status": lambda exchange: exchange.status,
    "waf.status": lambda exchange: {"WAF_ALLOW": 200, "WAF_BLOCK": 403}.get(exchange.firewall or ""),
    "wafResponseCode": lambda exchange: exchange.firewall,
    "xrayTraceId": lambda exchange: exchange.trace_id if exchange.deployed.tracing else None,
}


def is_known(name: str) -> bool:
    """Whether there is a variable `$context.{name}`."""
    return name in _VALUES or (name.startswith(_CLAIMS) and len(name) > len(_CLAIMS))


def value(exchange: Exchange, name: str) -> str | None:
    """The value of `$context.{name}`; None where the request has none.

    It can stand between the quotes of a JSON string: what a caller sends never ends the string. `error.messageString`
    brings its own quotes.
    """
    if name.startswith(_CLAIMS):
        found: Any = (exchange.claims or {}).get(name.removeprefix(_CLAIMS))
    else:
        found = _VALUES[name](exchange)
    if found is None:
        return None
    if isinstance(found, int) or name == "error.messageString":
        return str(found)
    text = str(found)
    return text if text.isalnum() else json.dumps(text, ensure_ascii=False)[1:-1]
