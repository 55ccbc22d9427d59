"""A queue's policy on its way to moto: where SetQueueAttributes sets others of a queue's attributes, moto forgets its
policy, which AWS keeps. The request is therefore given the policy that the queue has.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlencode

from localcloud.protocols import models
from localcloud.protocols.http import HttpRequest

PolicyOf = Callable[[str], str | None]
"""The policy of the queue at a URL; None if it has none, or if there is no such queue."""

_POLICY = "Policy"


def to_leaf(request: HttpRequest, policy_of: PolicyOf) -> HttpRequest:
    """A request to SQS, as moto is to have it."""
    protocol = models.protocol_of(request)
    if protocol == models.JSON and models.operation_name(request, protocol) == "SetQueueAttributes":
        return replace(request, body=_json(request.body, policy_of))
    if protocol == models.QUERY and models.operation_name(request, protocol) == "SetQueueAttributes":
        return _query(request, policy_of)
    return request


def _json(body: bytes, policy_of: PolicyOf) -> bytes:
    try:
        found = json.loads(body)
        url, attributes = found["QueueUrl"], found["Attributes"]
        if _POLICY in attributes or (policy := policy_of(url)) is None:
            return body
        return json.dumps({**found, "Attributes": {**attributes, _POLICY: policy}}).encode()
    except (ValueError, TypeError, KeyError):
        return body  # moto says what is wrong with it


def _query(request: HttpRequest, policy_of: PolicyOf) -> HttpRequest:
    fields = models.form(request)
    names = {key: value for key, value in fields.items() if key.startswith("Attribute.") and key.endswith(".Name")}
    if _POLICY in names.values() or (policy := policy_of(fields.get("QueueUrl", ""))) is None:
        return request
    added = {f"Attribute.{len(names) + 1}.Name": _POLICY, f"Attribute.{len(names) + 1}.Value": policy}
    form = {"content-type": "application/x-www-form-urlencoded"}
    return replace(request, query="", headers={**request.headers, **form}, body=urlencode({**fields, **added}).encode())
