"""MOCK: an answer that is written in the API itself, as for a browser's preflight requests."""

from __future__ import annotations

import json

from localcloud.apigateway.deployed import Integration, IntegrationResponse
from localcloud.apigateway.gateway import templates
from localcloud.apigateway.gateway.exchange import JSON, Answer, Exchange
from localcloud.apigateway.gateway.refusals import INTERNAL, Refused


def answer(integration: Integration, exchange: Exchange) -> Answer:
    """The answer whose status the request template says; the first one, where none has it.

    Raises Refused: UNSUPPORTED_MEDIA_TYPE where the integration takes templates' types alone, API_CONFIGURATION_ERROR
    for a template that says no status.
    """
    status = _status(_request(integration, exchange))
    if not integration.responses:
        raise _misconfigured("No match for output mapping and no default output mapping configured")
    response = next((one for one in integration.responses if one.status == status), integration.responses[0])
    return _rendered(response, exchange)


def _request(integration: Integration, exchange: Exchange) -> str:
    template = integration.request_templates.get(exchange.media_type)
    if template is not None:
        return templates.render(template, exchange)
    never = integration.passthrough == "NEVER"
    if never or (integration.passthrough == "WHEN_NO_TEMPLATES" and integration.request_templates):
        raise Refused("UNSUPPORTED_MEDIA_TYPE", "Unsupported Media Type")
    return exchange.request.body.decode("utf-8", "replace")


def _status(request: str) -> int:
    try:
        status = json.loads(request).get("statusCode")
    except (ValueError, AttributeError, RecursionError):
        status = None
    if not isinstance(status, int) or isinstance(status, bool):
        raise _misconfigured(
            "Unable to parse statusCode. It should be an integer that is defined in the request template;"
            f" got {request[:200]!r}"
        )
    return status


def _rendered(response: IntegrationResponse, exchange: Exchange) -> Answer:
    kind, body = JSON, ""
    if response.templates:
        accepted = exchange.request.headers.get("accept", "").rpartition(",")[2].partition(";")[0].strip().lower()
        kind = next((one for one in (accepted, JSON) if one in response.templates), next(iter(response.templates)))
        body = templates.render(response.templates[kind], exchange)
    headers = [(name, value) for name, value in response.headers.items()]
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.insert(0, ("Content-Type", kind))
    return Answer(response.status, tuple(headers), body.encode())


def _misconfigured(detail: str) -> Refused:
    return Refused("API_CONFIGURATION_ERROR", INTERNAL, detail=detail)
