"""From an HTTP request to the service it is for: whose it is, and whether it may be answered at all."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import parse_qs

from localcloud import services
from localcloud.errors import ServiceError
from localcloud.protocols import models
from localcloud.protocols.http import HttpRequest

_CREDENTIAL = re.compile(r"Credential=([^,\s]+)")
_REAL_ACCESS_KEY = re.compile(r"(AKIA|ASIA)[A-Z2-7]{16}")
# AWS's documentation uses these, so that users paste them: https://docs.aws.amazon.com/IAM/latest/UserGuide/
_DOCUMENTED_ACCESS_KEYS = frozenset({"AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE", "AKIAI44QH8DHBEXAMPLE"})
_UNSIGNED_ACTIONS = frozenset({"AssumeRoleWithWebIdentity", "AssumeRoleWithSAML"})
_HOST = re.compile(r"(?P<name>\[::1\]|[a-z0-9._-]+)(:(?P<port>\d+))?", re.IGNORECASE)


@dataclass(frozen=True)
class Target:
    """Where a request is to go."""

    service: str
    """The botocore name; for a service unknown here, the name in the signature."""
    protocol: str
    region: str | None
    access_key: str | None


class HostRefused(Exception):
    """The request was addressed to, or sent by a page of, another host; the message says which."""


def check_host(request: HttpRequest, port: int, *, any_origin: bool = False) -> None:
    """Raise HostRefused unless the request is addressed to this machine's own names and sent by none other's page.

    A web page in a browser can reach the loopback address: by a name of its own that resolves to it (DNS rebinding), or
    directly, in which case the browser adds the page's origin. any_origin: what is asked for says itself which pages
    may ask (CORS).
    """
    host = request.headers.get("host", "")
    if not _is_local(host, port):
        raise HostRefused(
            f"the Host header is {host!r}, expected 127.0.0.1:{port}, localhost:{port}, [::1]:{port} or a name below"
            " localhost"
        )
    origin = None if any_origin else request.headers.get("origin")
    if origin is not None and not _is_local(origin.partition("://")[2], None):
        raise HostRefused(f"the request comes from a web page of {origin!r}; only local ones are answered")


def _is_local(host: str, port: int | None) -> bool:
    found = _HOST.fullmatch(host)
    if found is None or (port is not None and found["port"] not in (None, str(port))):
        return False
    name = found["name"].lower()
    return name in ("127.0.0.1", "localhost", "[::1]") or name.endswith(".localhost")


def find_target(request: HttpRequest) -> Target:
    """The service that a request is for, by its credential scope and, where several share a name, by its address.

    Raises ServiceError for a request that names no service.
    """
    credential = _credential(request)
    protocol = models.protocol_of(request)
    if credential is None:
        if models.form(request).get("Action") in _UNSIGNED_ACTIONS:
            return Target("sts", models.QUERY, None, None)
        if service := _unsigned_service(request):
            return Target(service, models.JSON, None, None)
        raise ServiceError(
            "MissingAuthenticationToken",
            "the request is not signed, so that it does not say which service it is for; sign it as for AWS, with any"
            " placeholder as credentials (AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test)",
            403,
        )
    parts = credential.split("/")
    if len(parts) < 5:  # Signature version 2, which only S3 still knows: the access key alone.
        return Target("s3", models.REST_XML, None, parts[0])
    # An access key may hold a slash; the scope after it is always four parts.
    access_key, region, signing_name = "/".join(parts[:-4]), parts[-3], parts[-2]
    service = _among(services.SIGNING_NAMES.get(signing_name, ()), request) or signing_name
    return Target(service, protocol or _rest_protocol(service), region, access_key)


def check_access_key(target: Target, issued: Callable[[str], bool]) -> None:
    """Raise ServiceError if the access key looks like one of a real account and was not `issued` by the leaf."""
    key = target.access_key
    if key is None or not _REAL_ACCESS_KEY.fullmatch(key) or key in _DOCUMENTED_ACCESS_KEYS or issued(key):
        return
    raise ServiceError(
        "InvalidAccessKeyId" if target.service == "s3" else "UnrecognizedClientException",
        f"the access key {key[:4]}…{key[-4:]} looks like one of a real AWS account, and localcloud takes none of those."
        " Use placeholders: unset AWS_PROFILE AWS_SESSION_TOKEN; export AWS_ACCESS_KEY_ID=test"
        " AWS_SECRET_ACCESS_KEY=test. If AWS itself was meant, unset AWS_ENDPOINT_URL.",
        403,
    )


def path_style(request: HttpRequest) -> HttpRequest:
    """An S3 request with its bucket in the path, wherever it was before (`bucket.localhost`, `bucket.s3.localhost`)."""
    name = request.headers.get("host", "").partition(":")[0]
    found = re.fullmatch(r"(?P<bucket>.+?)(\.s3([.-][a-z0-9-]+)?)?\.localhost", name, re.IGNORECASE)
    headers = {**request.headers, "host": "127.0.0.1"}
    if found is None or re.fullmatch(r"s3([.-][a-z0-9-]+)?", found["bucket"], re.IGNORECASE):
        return replace(request, headers=headers)
    return replace(request, path=f"/{found['bucket']}{request.path}", headers=headers)


def _credential(request: HttpRequest) -> str | None:
    authorization = request.headers.get("authorization", "")
    if found := _CREDENTIAL.search(authorization):
        return found[1]
    if authorization.startswith("AWS "):
        return authorization[4:].partition(":")[0]
    query = parse_qs(request.query)
    for name in ("X-Amz-Credential", "AWSAccessKeyId"):
        if name in query:
            return query[name][0]
    return None


def _unsigned_service(request: HttpRequest) -> str | None:
    """The service whose operation a request without a signature names, if that operation needs none."""
    prefix, operation = models.target_prefix(request), models.operation_name(request, models.JSON)
    for service, operations in services.UNSIGNED.items():
        if operation in operations and models.service_model(service).metadata.get("targetPrefix") == prefix:
            return service
    return None


def _among(candidates: tuple[str, ...], request: HttpRequest) -> str | None:
    """The one of several services that share a signing name which has the request's target or address."""
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    if prefix := models.target_prefix(request):
        for service in candidates:
            if models.service_model(service).metadata.get("targetPrefix") == prefix:
                return service
    for service in candidates:
        if models.default_protocol(service) == models.REST_JSON and models.match_route(service, request):
            return service
    return candidates[0]


def _rest_protocol(service: str) -> str:
    """The protocol of a request that shows none: the service's own, where that is one that shows nothing."""
    if not models.is_service(service):
        return models.REST_JSON
    protocol = models.default_protocol(service)
    return protocol if protocol in (models.REST_JSON, models.REST_XML, models.QUERY) else models.JSON
