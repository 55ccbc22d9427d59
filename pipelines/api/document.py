"""The OpenAPI document for those who call the API: without what concerns AWS alone, and with the API's address."""

from __future__ import annotations

from typing import Any

__all__ = ["SCHEME", "public"]

SCHEME = "cognito"
"""The security scheme's name."""
_OF_AWS = "x-amazon-apigateway-"
_VERBS = ("get", "put", "post", "delete", "patch")


def public(document: dict[str, Any], url: str) -> dict[str, Any]:
    """The document of an API that answers at `url`.

    API Gateway wants tokens described as an API key in a header; to everybody else they are bearer tokens.
    """
    shown: dict[str, Any] = _without_aws(document)
    shown["paths"] = {path: found for path, item in shown["paths"].items() if (found := _for_callers(item))}
    shown["components"]["securitySchemes"] = {SCHEME: {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    return {**shown, "servers": [{"url": url}]}


def _for_callers(path: dict[str, Any]) -> dict[str, Any]:
    """The operations of a path that somebody asks for: not what browsers ask on their own (OPTIONS)."""
    found = {verb: dict(operation) for verb, operation in path.items() if verb in _VERBS}
    for operation in found.values():
        if "security" in operation:
            operation["security"] = [{name: [] for name in one} for one in operation["security"]]
    return found


def _without_aws(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_aws(item) for key, item in value.items() if not str(key).startswith(_OF_AWS)}
    if isinstance(value, list):
        return [_without_aws(item) for item in value]
    return value
