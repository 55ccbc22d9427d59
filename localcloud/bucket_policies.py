"""Bucket policies on their way to moto and back.

moto applies bucket policies without evaluating conditions, nor does it know who asks: a statement that denies what does
not come by TLS would deny everything. What localcloud evaluates itself (`localcloud.iam`) is kept from being applied
there, by a principal that moto passes over, and shown as it was given.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

from localcloud.protocols.http import HttpRequest, HttpResponse

_SET_ASIDE = "localcloud-set-aside:"


def is_policy(request: HttpRequest) -> bool:
    """Whether an S3 request reads or writes a bucket's policy."""
    return "policy" in request.query and "policy" in parse_qs(request.query, keep_blank_values=True)


def to_leaf(request: HttpRequest) -> HttpRequest:
    """PutBucketPolicy, as moto is to have it."""
    if request.method != "PUT":
        return request
    return replace(request, body=_changed(request.body, _set_aside))


def from_leaf(response: HttpResponse) -> HttpResponse:
    """GetBucketPolicy's answer, as it was put."""
    if response.status != 200 or not response.body:
        return response
    return replace(response, body=_changed(response.body, _restored))


def restored(policy: str) -> str:
    """A policy as it was put, of one that moto keeps."""
    return _changed(policy.encode(), _restored).decode()


def _changed(body: bytes, change: Any) -> bytes:
    try:
        policy = json.loads(body)
        statements = policy["Statement"]
    except (ValueError, TypeError, KeyError):
        return body  # moto says what is wrong with it
    if isinstance(statements, dict):
        policy["Statement"] = change(statements)
    elif isinstance(statements, list):
        policy["Statement"] = [change(one) if isinstance(one, dict) else one for one in statements]
    return json.dumps(policy).encode()


def _set_aside(statement: dict[str, Any]) -> dict[str, Any]:
    return {**statement, "Principal": _SET_ASIDE + json.dumps(statement.get("Principal"))}


def _restored(statement: dict[str, Any]) -> dict[str, Any]:
    principal = statement.get("Principal")
    if not isinstance(principal, str) or not principal.startswith(_SET_ASIDE):
        return statement
    return {**statement, "Principal": json.loads(principal.removeprefix(_SET_ASIDE))}
