"""What an endpoint tells others: summaries for Describe, events for EventBridge, metrics for CloudWatch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from localcloud.sagemaker.crud import Document
from localcloud.sagemaker.endpoints.fleet import Blueprint
from localcloud.signals import Event, Measurement

Statuses = Mapping[str, tuple[str, str]]
"""VariantStatus by variant: status and message."""

_NAMESPACE = "AWS/SageMaker"


def summaries(
    plan: Blueprint,
    *,
    current: Blueprint | None,
    images: Mapping[str, Any],
    statuses: Statuses,
    now: datetime,
    pending: bool = False,
) -> list[dict[str, Any]]:
    """ProductionVariants, of what shall be (`plan`) and what is (`current`; nothing yet, where it is None)."""
    present = {variant["VariantName"]: variant for variant in (current or {}).get("ProductionVariants", ())}
    found = []
    for wanted in plan["ProductionVariants"]:
        name = wanted["VariantName"]
        there = present.get(name, {})
        summary: dict[str, Any] = {
            "VariantName": name,
            "DeployedImages": images.get(name),
            "CurrentWeight": there.get("InitialVariantWeight", 0.0),
            "DesiredWeight": wanted["InitialVariantWeight"],
        }
        if "ServerlessConfig" in wanted:
            summary["CurrentServerlessConfig"] = there.get("ServerlessConfig")
            summary["DesiredServerlessConfig"] = wanted["ServerlessConfig"]
        else:
            summary["CurrentInstanceCount"] = there.get("InitialInstanceCount", 0)
            summary["DesiredInstanceCount"] = wanted["InitialInstanceCount"]
            summary["RoutingConfig"] = wanted.get("RoutingConfig")
            if pending:
                summary["InstanceType"] = wanted["InstanceType"]
        if name in statuses:
            status, message = statuses[name]
            summary["VariantStatus"] = [{"Status": status, "StatusMessage": message, "StartTime": now}]
        found.append({member: value for member, value in summary.items() if value is not None})
    return found


def state_event(document: Document, tags: Sequence[Mapping[str, str]], now: datetime) -> Event:
    """SageMaker Endpoint State Change."""
    return Event(
        "aws.sagemaker", "SageMaker Endpoint State Change", _detail(document, tags), now, [document["EndpointArn"]]
    )


def deployment_event(document: Document, tags: Sequence[Mapping[str, str]], now: datetime) -> Event:
    """SageMaker Endpoint Deployment State Change."""
    detail = _detail(document, tags)
    if document.get("PendingDeploymentSummary"):
        detail["PendingDeploymentSummary"] = _in_milliseconds(document["PendingDeploymentSummary"])
    return Event("aws.sagemaker", "SageMaker Endpoint Deployment State Change", detail, now, [document["EndpointArn"]])


def _detail(document: Document, tags: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    detail = {
        "EndpointName": document["EndpointName"],
        "EndpointArn": document["EndpointArn"],
        "EndpointConfigName": document["EndpointConfigName"],
        "ProductionVariants": document.get("ProductionVariants") or [],
        # The API says InService, the event IN_SERVICE.
        "EndpointStatus": re.sub(r"(?<=[a-z])(?=[A-Z])", "_", document["EndpointStatus"]).upper(),
        "FailureReason": document.get("FailureReason"),
        "CreationTime": document["CreationTime"],
        "LastModifiedTime": document["LastModifiedTime"],
        "Tags": {tag["Key"]: tag["Value"] for tag in tags},
    }
    found: dict[str, Any] = _in_milliseconds({name: value for name, value in detail.items() if value is not None})
    return found


def _in_milliseconds(value: Any) -> Any:
    """With every moment as milliseconds since 1970, as these events have them."""
    if isinstance(value, datetime):
        return int(value.timestamp() * 1000)
    if isinstance(value, Mapping):
        return {name: _in_milliseconds(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_in_milliseconds(item) for item in value]
    return value


@dataclass(frozen=True)
class Call:
    """One request that a variant was given. `status` is 0 where the model did not answer."""

    endpoint: str
    variant: str
    status: int
    model_seconds: float
    seconds: float
    instances: int | None
    """How many the variant has; None for a serverless one."""


def measured(call: Call, now: datetime) -> list[Measurement]:
    """The metrics that AWS has of a request. Errors are counted with zeros, too, so that their average is a rate."""
    dimensions = {"EndpointName": call.endpoint, "VariantName": call.variant}
    values = [
        ("Invocations", 1.0, "Count"),
        ("Invocation4XXErrors", float(400 <= call.status < 500), "Count"),
        ("Invocation5XXErrors", float(call.status >= 500 or call.status == 0), "Count"),
        ("InvocationModelErrors", float(not 200 <= call.status < 300), "Count"),
        ("ModelLatency", call.model_seconds * 1e6, "Microseconds"),
        ("OverheadLatency", max(0.0, call.seconds - call.model_seconds) * 1e6, "Microseconds"),
    ]
    if call.instances:
        values.append(("InvocationsPerInstance", 1.0 / call.instances, "None"))
    return [Measurement(_NAMESPACE, name, value, unit, now, dimensions) for name, value, unit in values]
