"""The functions' metrics: namespace MLOps/Ingestion, dimension Project."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from seed_code.ingestion.functions.account import log

NAMESPACE = "MLOps/Ingestion"
_MOST = 1000  # a request takes so many


@dataclass(frozen=True)
class Metric:
    """One value at one moment (aware). `unit`: one of CloudWatch's."""

    name: str
    value: float
    at: datetime
    unit: str = "Count"


class Metrics:
    """Puts metrics of one project.

    By PutMetricData and not by the log (CloudWatch's embedded format), whose metrics appear when somebody has read the
    log. It ends no invocation: a number that is missing does less harm than work that is done again.
    """

    def __init__(self, cloudwatch: Any, project: str) -> None:
        """cloudwatch: boto3's client."""
        self._cloudwatch = cloudwatch
        self._dimensions = [{"Name": "Project", "Value": project}]

    def put(self, metrics: Iterable[Metric]) -> None:
        """Put them. What CloudWatch does not take is logged."""
        data = [
            {
                "MetricName": metric.name,
                "Dimensions": self._dimensions,
                "Timestamp": metric.at,
                "Value": float(metric.value),
                "Unit": metric.unit,
            }
            for metric in metrics
        ]
        for start in range(0, len(data), _MOST):
            self._put(data[start : start + _MOST])

    def _put(self, data: Sequence[dict[str, Any]]) -> None:
        try:
            self._cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=data)
        except (ClientError, BotoCoreError) as error:
            log.warning("metrics were not taken", extra={"count": len(data), "because": str(error)})
