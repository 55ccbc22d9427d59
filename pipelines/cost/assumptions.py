"""What a configuration does not tell of a bill: how often, how long, how much.

Every figure is printed with the estimate, and `mlops cost --assume NAME=VALUE` puts another in its place. The minutes
of a step are those of its last execution where an account answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from pipelines.errors import UsageError, suggestion

__all__ = ["Assumptions", "Measured", "with_given"]

Measured = Mapping[tuple[str, str], float]
"""Minutes that a step took, by workload and field of `steps` in configs/workloads."""


def _figure(value: float, meaning: str) -> Any:
    return field(default=value, metadata={"meaning": meaning})


@dataclass(frozen=True)
class Assumptions:
    """The figures, each with what it means."""

    hours: float = _figure(730, "hours in a month")
    builds: float = _figure(8, "executions of a workload's build pipeline, for pushes and retrainings")
    deployments: float = _figure(4, "versions of a workload that reach production")
    drift_reports: float = _figure(4, "reports of drift of a workload")
    requests: float = _figure(100_000, "requests to each workload in production")
    staging_requests: float = _figure(1_000, "requests to each workload in staging")
    request_kb: float = _figure(2, "KB of a request, and of its answer")
    request_seconds: float = _figure(0.05, "time of a request, at the endpoint and in the API's function")
    api_users: float = _figure(10, "people or programs that sign in at the API")
    holders: float = _figure(50_000, "cardholders in the feature store, each written once a build")
    transactions_per_second: float = _figure(5, "blockchain transactions; 1 KB in the streams, 0.3 KB in the archive")
    events_per_second: float = _figure(1, "events of the poller, each of several transactions")
    codebuild_minutes: float = _figure(8, "minutes of checks and images for each push, beside the build")
    deployment_minutes: float = _figure(40, "minutes of CodeBuild for a deployment, which waits for both endpoints")
    storage_gb: float = _figure(20, "GB in S3: data, models, captured requests; beside the stream's archive")
    images_gb: float = _figure(10, "GB of images in ECR")
    logs_gb: float = _figure(3, "GB of logs that are written; kept for three months")
    metrics: float = _figure(60, "metrics of the project's own in CloudWatch")
    mlflow_hours: float = _figure(730, "hours of SageMaker's MLflow tracking server; 0 with a server of your own")
    prepare_minutes: float = _figure(5, "minutes of the step Prepare")
    train_minutes: float = _figure(30, "minutes of the forecaster's Train")
    train_clusters_minutes: float = _figure(5, "minutes of TrainClusters")
    train_purchase_minutes: float = _figure(10, "minutes of TrainPurchase")
    package_minutes: float = _figure(3, "minutes of Package")
    transform_minutes: float = _figure(6, "minutes of Transform")
    evaluate_minutes: float = _figure(5, "minutes of the build's Evaluate")
    link_mlflow_minutes: float = _figure(2, "minutes of LinkMlflow")
    monitor_minutes: float = _figure(3, "minutes of an hour's evaluation")
    drift_report_minutes: float = _figure(4, "minutes of DriftReport")
    given: tuple[str, ...] = ()
    """Names of those that somebody has set."""

    @property
    def seconds(self) -> float:
        """Seconds in a month."""
        return self.hours * 3600

    def minutes(self, step: str) -> float:
        """Minutes of a step, by its field of `steps`."""
        return float(getattr(self, f"{step}_minutes"))

    def table(self) -> list[tuple[str, float, str]]:
        """(name, value, meaning) of all."""
        return [
            (each.name, float(getattr(self, each.name)), each.metadata["meaning"])
            for each in fields(self)
            if each.metadata
        ]


def with_given(given: Iterable[str]) -> Assumptions:
    """The assumptions with some set, each as `name=value`. Raises UsageError for a name or value that is none."""
    known = {name: meaning for name, _, meaning in Assumptions().table()}
    values: dict[str, Any] = {}
    for text in given:
        name, _, value = text.partition("=")
        if name not in known:
            hint = suggestion(name, known) or f"; expected one of {', '.join(known)}"
            raise UsageError(f"there is no assumption `{name}`{hint}")
        try:
            values[name] = float(value)
        except ValueError:
            raise UsageError(f"`--assume {text}`: expected a number, as in {name}=8 ({known[name]})") from None
        if not 0 <= values[name] < float("inf"):
            raise UsageError(f"`--assume {text}`: expected a number of at least 0")
    return replace(Assumptions(), **values, given=tuple(values))
