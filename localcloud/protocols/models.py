"""botocore's service models, and the operation that a request asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from urllib.parse import parse_qsl

from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel

from localcloud.protocols.http import HttpRequest

JSON, REST_JSON, REST_XML, QUERY, CBOR = "json", "rest-json", "rest-xml", "query", "smithy-rpc-v2-cbor"

_LOADER = Loader()
_CBOR_PATH = re.compile(r"/service/([^/]+)/operation/([^/?]+)$")


# Limits of the models that AWS's own answers do not keep: Kinesis tells of 0 failed records, and of no metrics.
_UNLIMITED = {"kinesis": ("PutRecordsOutput.FailedRecordCount", "EnhancedMetrics.ShardLevelMetrics")}


@cache
def service_model(service: str) -> ServiceModel:
    """botocore's model of a service, by its botocore name. Raises botocore's UnknownServiceError."""
    description = _LOADER.load_service_model(service, "service-2")
    for place in _UNLIMITED.get(service, ()):
        shapes = description["shapes"]
        structure, _, name = place.partition(".")
        member = shapes[structure]["members"][name]
        shapes[place] = {key: value for key, value in shapes[member["shape"]].items() if key != "min"}
        member["shape"] = place
    return ServiceModel(description, service)


@cache
def is_service(service: str) -> bool:
    """Whether botocore has a service of that name."""
    return service in _LOADER.list_available_services("service-2")


def default_protocol(service: str) -> str:
    """The protocol that a service's clients speak when a request does not tell."""
    return str(service_model(service).metadata["protocol"])


def protocol_of(request: HttpRequest) -> str | None:
    """The protocol that a request shows by itself; None for the two REST protocols, which show nothing."""
    if request.headers.get("smithy-protocol") == "rpc-v2-cbor":
        return CBOR
    if "x-amz-target" in request.headers:
        return JSON
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return QUERY
    if request.query and re.search(r"(^|&)Action=", request.query):
        return QUERY
    return None


def operation_name(request: HttpRequest, protocol: str) -> str:
    """The operation that an RPC request names (json, query, rpc-v2-cbor); empty when it names none."""
    if protocol == JSON:
        return request.headers.get("x-amz-target", "").rpartition(".")[2]
    if protocol == CBOR:
        found = _CBOR_PATH.search(request.path)
        return found[2] if found else ""
    return form(request).get("Action", "")


def target_prefix(request: HttpRequest) -> str:
    """The service's name on the wire in a json or rpc-v2-cbor request, for example `SageMaker`; empty for others."""
    if found := _CBOR_PATH.search(request.path):
        return found[1]
    return request.headers.get("x-amz-target", "").rpartition(".")[0]


def form(request: HttpRequest) -> dict[str, str]:
    """The fields of a query request, from its body and its query string."""
    fields = dict(parse_qsl(request.query, keep_blank_values=True))
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        fields.update(parse_qsl(request.body.decode("utf-8", errors="replace"), keep_blank_values=True))
    return fields


@dataclass(frozen=True)
class Route:
    """How a REST operation is addressed."""

    method: str
    pattern: re.Pattern[str]
    """Of the whole raw path; its groups are the labels, in order."""
    labels: tuple[str, ...]
    query: tuple[tuple[str, str], ...]
    """Query fields that the operation's address contains, such as `mode=import`."""
    operation: str
    specificity: tuple[int, int, int]
    """The greater, the more specific: literal query fields, literal segments, no greedy label."""


@cache
def routes(service: str) -> tuple[Route, ...]:
    """The addresses of a REST service, the most specific first."""
    model = service_model(service)
    found = [_route(model.operation_model(name)) for name in model.operation_names]
    return tuple(sorted(found, key=lambda route: route.specificity, reverse=True))


def _route(operation: OperationModel) -> Route:
    path, _, query = str(operation.http["requestUri"]).partition("?")
    labels: list[str] = []
    pattern = ""
    for part in re.split(r"(\{[^}]+\})", path.rstrip("/")):
        if part.startswith("{"):
            name = part[1:-1]
            labels.append(name.rstrip("+"))
            pattern += "(.+)" if name.endswith("+") else "([^/]+)"
        else:
            pattern += re.escape(part)
    literals = sum(1 for segment in path.split("/") if segment and not segment.startswith("{"))
    return Route(
        method=operation.http["method"],
        pattern=re.compile(f"{pattern}/?"),
        labels=tuple(labels),
        query=tuple(parse_qsl(query, keep_blank_values=True)),
        operation=operation.name,
        specificity=(query.count("=") + (1 if query else 0), literals, 0 if "+}" in path else 1),
    )


def match_route(service: str, request: HttpRequest) -> tuple[Route, Mapping[str, str]] | None:
    """The REST operation of a service at a request's address, with the labels as they came (percent-encoded)."""
    return _match_route(service, request.method, request.path, request.query)


# One request asks several times, and the next one is often for the same address.
@lru_cache(maxsize=1024)
def _match_route(service: str, method: str, path: str, query: str) -> tuple[Route, Mapping[str, str]] | None:
    fields = dict(parse_qsl(query, keep_blank_values=True))
    for route in routes(service):
        if route.method != method or any(fields.get(name) != value for name, value in route.query):
            continue
        if found := route.pattern.fullmatch(path):
            return route, dict(zip(route.labels, found.groups(), strict=True))
    return None
