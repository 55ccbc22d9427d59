"""What the stages serve, and how it does: read from Parameter Store, SageMaker and CloudWatch. Nothing here changes
anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from pipelines import executions
from pipelines.carried.serving import Serving, find
from pipelines.names import VARIANT, Names

__all__ = ["Endpoint", "Serving", "Traffic", "endpoint", "serving", "tests_of", "traffic"]

_NAMESPACE = "AWS/SageMaker"
# SageMaker's metrics come once a minute.
_PERIOD_SECONDS = 60


@dataclass(frozen=True)
class Endpoint:
    """A stage's endpoint as it is now."""

    name: str
    status: str
    config: str
    weight: float
    instances: int | None
    """Machines that run; None for a serverless endpoint."""
    desired: int | None
    changed: datetime
    failure_reason: str | None


@dataclass(frozen=True)
class Traffic:
    """What came to an endpoint in a while, and how long its model took; None where there was nothing."""

    invocations: int
    client_errors: int
    server_errors: int
    median_milliseconds: float | None
    p99_milliseconds: float | None


def serving(ssm: Any, names: Names, workload: str, stage: str) -> Serving | None:
    """What a stage serves; None before its first deployment. Raises ServiceError for a damaged parameter."""
    return find(ssm, names.serving_parameter(workload, stage))


def endpoint(sagemaker: Any, names: Names, workload: str, stage: str) -> Endpoint | None:
    """A stage's endpoint; None where there is none."""
    try:
        described = sagemaker.describe_endpoint(EndpointName=names.endpoint(workload, stage))
    except ClientError as error:
        if "Could not find" in error.response["Error"]["Message"]:
            return None
        raise
    variant: Mapping[str, Any] = next(iter(described.get("ProductionVariants", [])), {})
    return Endpoint(
        name=described["EndpointName"],
        status=described["EndpointStatus"],
        config=described["EndpointConfigName"],
        weight=variant.get("CurrentWeight", 0.0),
        instances=variant.get("CurrentInstanceCount"),
        desired=variant.get("DesiredInstanceCount"),
        changed=described["LastModifiedTime"],
        failure_reason=described.get("FailureReason"),
    )


def traffic(cloudwatch: Any, endpoint_name: str, *, now: datetime, minutes: int = 60) -> Traffic:
    """The traffic of the last minutes."""
    wanted = {
        "invocations": ("Invocations", "Sum"),
        "client_errors": ("Invocation4XXErrors", "Sum"),
        "server_errors": ("Invocation5XXErrors", "Sum"),
        "median": ("ModelLatency", "p50"),
        "p99": ("ModelLatency", "p99"),
    }
    period = minutes * _PERIOD_SECONDS
    # CloudWatch's periods begin at multiples of their length: the last one would else hold a part of the time only.
    end = now + timedelta(seconds=_PERIOD_SECONDS)
    answer = cloudwatch.get_metric_data(
        StartTime=end - timedelta(seconds=period),
        EndTime=end,
        MetricDataQueries=[
            {
                "Id": key,
                "MetricStat": {
                    "Metric": {
                        "Namespace": _NAMESPACE,
                        "MetricName": metric,
                        "Dimensions": [
                            {"Name": "EndpointName", "Value": endpoint_name},
                            {"Name": "VariantName", "Value": VARIANT},
                        ],
                    },
                    "Period": period,
                    "Stat": statistic,
                },
            }
            for key, (metric, statistic) in wanted.items()
        ],
    )
    values = {result["Id"]: result["Values"] for result in answer["MetricDataResults"]}

    def milliseconds(key: str) -> float | None:
        return max(values[key]) / 1000 if values[key] else None

    return Traffic(
        invocations=round(sum(values["invocations"])),
        client_errors=round(sum(values["client_errors"])),
        server_errors=round(sum(values["server_errors"])),
        median_milliseconds=milliseconds("median"),
        p99_milliseconds=milliseconds("p99"),
    )


def tests_of(s3: Any, uri: str) -> dict[str, Any] | None:
    """The report of the golden requests that a stage was tested by; None when it is gone."""
    found = executions.document(s3, uri)
    return found if isinstance(found, dict) else None
