"""Gateway responses: what a caller is told when the gateway answers by itself, in the API's own words if it has any."""

from __future__ import annotations

from localcloud.apigateway.deployed import GatewayResponse
from localcloud.apigateway.gateway import templates
from localcloud.apigateway.gateway.exchange import JSON, Answer, Exchange
from localcloud.apigateway.gateway.refusals import Refused

_TEMPLATE = '{"message":$context.error.messageString}'
_NOTHING = GatewayResponse()


def answer(refused: Refused, exchange: Exchange) -> Answer:
    """The answer to a request that is refused: the API's for this case, or for its like, or API Gateway's own."""
    known = exchange.deployed.gateway_responses
    response = known.get(refused.type) or known.get(refused.fallback) or _NOTHING
    kind, template = JSON, _TEMPLATE
    if response.templates:
        kind = JSON if JSON in response.templates else next(iter(response.templates))
        template = response.templates[kind]
    headers = {"Content-Type": kind, "x-amzn-ErrorType": refused.error_type, **response.headers}
    status = refused.status if response.status is None else response.status
    # A variable such as the status may be in the template.
    exchange.status = status
    return Answer(status, tuple(headers.items()), templates.render(template, exchange).encode())
