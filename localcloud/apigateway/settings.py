"""A stage's settings of its methods: how they are named, changed, and which of them a method has in the end.

They are kept under `{resource}/{verb}`, the resource without its first slash and with `~1` for the others
(`forecasts/GET`, `users~1{id}/GET`, `~1/GET` for the root), and under `*/*` for all methods. What a method's own
settings do not say is as for all methods; of caching, that is so for GET only, as on AWS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from localcloud.apigateway.deployed import MethodSettings
from localcloud.apigateway.errors import bad_request
from localcloud.apigateway.patches import Patch, escaped

ALL = "*/*"
DEFAULTS: Mapping[str, Any] = {
    "metricsEnabled": False,
    "loggingLevel": "OFF",
    "dataTraceEnabled": False,
    "throttlingBurstLimit": 5_000,
    "throttlingRateLimit": 10_000.0,
    "cachingEnabled": False,
    "cacheTtlInSeconds": 300,
    "cacheDataEncrypted": False,
    "requireAuthorizationForCacheControl": True,
    "unauthorizedCacheControlHeaderStrategy": "SUCCEED_WITH_RESPONSE_HEADER",
}
"""Where nobody says otherwise; the limits are an account's."""

_LONGEST_TTL_SECONDS = 3_600


def _strategy(patch: Patch) -> str:
    # On AWS a request may also be refused, or answered without the header.
    return _only(patch, DEFAULTS["unauthorizedCacheControlHeaderStrategy"])


def _level(patch: Patch) -> str:
    return _only(patch, DEFAULTS["loggingLevel"])


def _trace(patch: Patch) -> bool:
    if patch.boolean():
        raise bad_request(f"localcloud writes no execution logs, and so no dataTrace; got {patch.path}: {patch.value}")
    return False


def _only(patch: Patch, value: str) -> str:
    if patch.value != value:
        raise bad_request(f"localcloud's stages have {value} for {patch.path}; got {patch.value!r}")
    return value


_PROPERTIES: Mapping[str, tuple[str, Callable[[Patch], Any]]] = {
    "metrics/enabled": ("metricsEnabled", Patch.boolean),
    "logging/loglevel": ("loggingLevel", _level),
    "logging/dataTrace": ("dataTraceEnabled", _trace),
    "throttling/burstLimit": ("throttlingBurstLimit", lambda patch: patch.integer(0, 5_000)),
    "throttling/rateLimit": ("throttlingRateLimit", lambda patch: patch.number(10_000)),
    "caching/enabled": ("cachingEnabled", Patch.boolean),
    "caching/ttlInSeconds": ("cacheTtlInSeconds", lambda patch: patch.integer(0, _LONGEST_TTL_SECONDS)),
    "caching/dataEncrypted": ("cacheDataEncrypted", Patch.boolean),
    "caching/requireAuthorizationForCacheControl": ("requireAuthorizationForCacheControl", Patch.boolean),
    "caching/unauthorizedCacheControlHeaderStrategy": ("unauthorizedCacheControlHeaderStrategy", _strategy),
}
PATHS = tuple(f"/{{resourcePath}}/{{httpMethod}}/{name}" for name in _PROPERTIES)
"""The paths of patch operations."""


def key_of(resource_path: str, verb: str) -> str:
    """The key under which the settings of a method are kept."""
    if (resource_path.lstrip("/"), verb) == ("*", "*"):
        return ALL
    return f"{escaped(resource_path[1:] or '/')}/{verb}"


def patched(settings: Mapping[str, Any], patch: Patch) -> dict[str, Any] | None:
    """The settings after a patch operation; None if its path is not one of these."""
    parts = patch.parts
    if len(parts) not in (2, 4) or (len(parts) == 2) != (patch.op == "remove"):
        return None
    key = key_of(parts[0] if parts[0].startswith(("/", "*")) else f"/{parts[0]}", parts[1])
    if "*" in parts[:2] and key != ALL:
        raise bad_request(f"Invalid method setting path: {patch.path}. Only /*/* stands for more than one method")
    if patch.op == "remove":
        return {name: value for name, value in settings.items() if name != key}
    found = _PROPERTIES.get("/".join(parts[2:]))
    if found is None:
        return None
    name, read = found
    return {**settings, key: {**settings.get(key, {}), name: read(patch)}}


def described(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as GetStage gives them, complete."""
    return {key: {**DEFAULTS, **_merged(settings, key)} for key in settings}


def of_method(settings: Mapping[str, Any], resource_path: str, verb: str) -> MethodSettings:
    """What a method has in the end."""
    key = key_of(resource_path, verb)
    found = {**DEFAULTS, **_merged(settings, key)}
    if verb != "GET" and "cachingEnabled" not in settings.get(key, {}):
        found["cachingEnabled"] = False
    return MethodSettings(
        rate=found["throttlingRateLimit"],
        burst=found["throttlingBurstLimit"],
        caching=found["cachingEnabled"],
        cache_ttl_seconds=found["cacheTtlInSeconds"],
        cache_needs_authorization=found["requireAuthorizationForCacheControl"],
        metrics=found["metricsEnabled"],
    )


def _merged(settings: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {**settings.get(ALL, {}), **settings.get(key, {})}
