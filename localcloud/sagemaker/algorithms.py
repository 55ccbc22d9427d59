"""SageMaker's own algorithms: images that lie in AWS's accounts, and metrics that the service itself defines.

localcloud finds such an image in its own ECR, under the same repository and tag, where whoever has one that keeps the
algorithm's contract has put it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localcloud.errors import validation
from localcloud.jobs.images import registry_and_repository

# As DescribeTrainingJob shows them for a job of the algorithm, by the image's repository.
_METRICS: Mapping[str, Mapping[str, str]] = {
    "forecasting-deepar": {
        "train:final_loss": r"#quality_metric: host=\S+, train final_loss <loss>=(\S+)",
        "train:loss": r"#quality_metric: host=\S+, epoch=\S+, train loss <loss>=(\S+)",
        "train:loss:batch": r"#quality_metric: host=\S+, epoch=\S+, batch=\S+ train loss <loss>=(\S+)",
        "train:progress": r"#progress_metric: host=\S+, completed (\S+) %",
        "train:throughput": r"#throughput_metric: host=\S+, train throughput=(\S+) records/second",
        "test:RMSE": r"#quality_metric: host=\S+, test RMSE <loss>=(\S+)",
        "test:mean_wQuantileLoss": r"#quality_metric: host=\S+, test mean_wQuantileLoss <loss>=(\S+)",
    }
}


def with_metrics(specification: Mapping[str, Any], account_id: str) -> dict[str, Any]:
    """An AlgorithmSpecification, of an algorithm of SageMaker's with its metrics.

    account_id: the caller's own; an image there is the caller's own, too, whatever its name.
    Raises ServiceError (ValidationException) for metrics that are given to an algorithm of SageMaker's.
    """
    registry, repository = registry_and_repository(specification.get("TrainingImage") or "")
    metrics = _METRICS.get(repository)
    if metrics is None or registry == account_id:
        return dict(specification)
    if specification.get("MetricDefinitions"):
        raise validation(
            "You can't override the metric definitions for Amazon SageMaker algorithms. Please retry the request"
            " without specifying metric definitions."
        )
    return {
        **specification,
        "MetricDefinitions": [{"Name": name, "Regex": pattern} for name, pattern in metrics.items()],
    }
