"""What CloudWatch hears of a request, as of every API: by API, by stage, and by method where the stage says so."""

from __future__ import annotations

from collections.abc import Iterator

from localcloud.apigateway.gateway.exchange import Exchange
from localcloud.signals import Measurement

_NAMESPACE = "AWS/ApiGateway"


def measured(exchange: Exchange, *, by_method: bool) -> list[Measurement]:
    """The metrics of a request that was answered. Errors and hits are counted with zeros: their average is a rate."""
    deployed = exchange.deployed
    by_stage = {"ApiName": deployed.api_name, "Stage": deployed.stage}
    dimensions = [{"ApiName": deployed.api_name}, by_stage]
    if by_method and exchange.method is not None:
        method = exchange.method
        dimensions.append({**by_stage, "Resource": method.resource_path, "Method": exchange.request.method})
    values = list(_values(exchange))
    return [
        Measurement(_NAMESPACE, name, value, unit, exchange.moment, dimension)
        for dimension in dimensions
        for name, value, unit in values
    ]


def _values(exchange: Exchange) -> Iterator[tuple[str, float, str]]:
    yield "Count", 1.0, "Count"
    yield "4XXError", float(400 <= exchange.status < 500), "Count"
    yield "5XXError", float(exchange.status >= 500), "Count"
    yield "Latency", exchange.seconds * 1000, "Milliseconds"
    if exchange.integration_seconds is not None:
        yield "IntegrationLatency", exchange.integration_seconds * 1000, "Milliseconds"
    if exchange.is_cached is not None:
        yield "CacheHitCount", float(exchange.is_cached), "Count"
        yield "CacheMissCount", float(not exchange.is_cached), "Count"
