"""Web ACLs for tests: declarations of rules, and requests that are held against them."""

from __future__ import annotations

from typing import Any

from localcloud.protocols.http import HttpRequest

STAGE = "arn:aws:apigateway:eu-west-1::/restapis/abc123/stages/prod"


def visibility(name: str, enabled: bool = True) -> dict[str, Any]:
    return {"SampledRequestsEnabled": False, "CloudWatchMetricsEnabled": enabled, "MetricName": name}


def rule(name: str, priority: int, statement: dict[str, Any], action: str = "Block", **more: Any) -> dict[str, Any]:
    return {
        "Name": name,
        "Priority": priority,
        "Statement": statement,
        "VisibilityConfig": visibility(f"{name}-metric"),
        **({} if "OverrideAction" in more else {"Action": {action: {}}}),
        **more,
    }


def rate(name: str = "rate", priority: int = 0, action: str = "Block", **members: Any) -> dict[str, Any]:
    statement = {"Limit": 10, "AggregateKeyType": "IP", "EvaluationWindowSec": 60, **members}
    return rule(name, priority, {"RateBasedStatement": statement}, action)


def group(name: str, priority: int = 0, override: str = "None", **members: Any) -> dict[str, Any]:
    statement = {"ManagedRuleGroupStatement": {"VendorName": "AWS", "Name": name, **members}}
    return rule(name, priority, statement, OverrideAction={override: {}})


def path_is(path: str, constraint: str = "STARTS_WITH", *transformations: str) -> dict[str, Any]:
    return {
        "ByteMatchStatement": {
            "SearchString": path.encode(),
            "FieldToMatch": {"UriPath": {}},
            "PositionalConstraint": constraint,
            "TextTransformations": [
                {"Priority": number, "Type": name} for number, name in enumerate(transformations or ("NONE",))
            ],
        }
    }


def acl(*rules: dict[str, Any], name: str = "acl", default: str = "Allow", **members: Any) -> dict[str, Any]:
    """The parameters of CreateWebACL."""
    return {
        "Name": name,
        "Scope": "REGIONAL",
        "DefaultAction": {default: {}},
        "VisibilityConfig": visibility(f"{name}-metric"),
        **({"Rules": list(rules)} if rules else {}),
        **members,
    }


def request(path: str = "/prod/predictions", method: str = "GET", **members: Any) -> HttpRequest:
    headers = members.pop("headers", {"user-agent": "test"})
    return HttpRequest(method, path, headers=headers, **members)
