"""What an evaluation found goes out: S3, MLflow, CloudWatch.

In this order: report, joined predictions, MLflow, metrics, state. The state comes last, so that an evaluation that was
ended half-way has not happened, and is the same when it is repeated. An MLflow that is not there ends no evaluation:
the report says so.

Metrics are put into the namespace MLOps/Monitoring with the dimensions Project, Workload and Stage, and bear the moment
of the hour's beginning, so that the period of an hour that they lie in is over and an alarm looks at it.
"""

import os
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError
from botocore.exceptions import ClientError as AwsError

from seed_code.common import mlflow_http, monitoring_store
from seed_code.common.errors import ClientError
from seed_code.common.mlflow_http import MlflowError
from seed_code.common.monitoring import HOUR, Evaluation
from seed_code.common.objects import Objects

NAMESPACE = "MLOps/Monitoring"
RUN_TAG = "mlops.monitor"
URI_VARIABLE = "MLFLOW_TRACKING_URI"
_RUN_OF_STATE = "mlflow_run_id"


def publish(
    of: Evaluation,
    report: dict[str, Any],
    joined: Iterable[Mapping[str, Any]],
    state: Mapping[str, Any],
    *,
    before: Mapping[str, Any] | None,
    objects: Objects,
    cloudwatch: Any,
    by_field: Mapping[str, Mapping[str, float]] | None = None,
) -> None:
    """Put everything where it belongs.

    Args:
        report: from `monitoring.report`; its metrics are what is published. It gets `mlflow`.
        state: what the next evaluation goes on from.
        before: the state that this evaluation went on from, see `monitoring_store.newest_state`.
        cloudwatch: boto3's client.
        by_field: metrics with a dimension Field beside the others: name → field → value.

    Raises:
        ClientError: when S3 or CloudWatch do not do as asked.
    """
    run = _Run(of, (before or {}).get(_RUN_OF_STATE))
    report["mlflow"] = run.find()
    monitoring_store.put_report(objects, of, report)
    monitoring_store.put_joined(objects, of, joined)
    logged = run.log(report["metrics"])
    if logged != report["mlflow"]:
        report["mlflow"] = logged
        monitoring_store.put_report(objects, of, report)
    put_metrics(cloudwatch, of, report["metrics"], by_field)
    monitoring_store.put_state(objects, of, {**state, _RUN_OF_STATE: logged["run_id"]})


def put_metrics(
    cloudwatch: Any,
    of: Evaluation,
    metrics: Mapping[str, float],
    by_field: Mapping[str, Mapping[str, float]] | None = None,
) -> None:
    """Publish metrics, in one call.

    Raises:
        ClientError: when CloudWatch refuses or does not answer.
    """
    dimensions = [("Project", of.project), ("Workload", of.workload), ("Stage", of.stage)]
    fields = [
        (name, value, [*dimensions, ("Field", field)])
        for name, values in (by_field or {}).items()
        for field, value in values.items()
    ]
    data = [
        {
            "MetricName": name,
            "Dimensions": [{"Name": key, "Value": text} for key, text in where],
            "Timestamp": of.begin,
            "Value": value,
        }
        for name, value, where in [*((name, value, dimensions) for name, value in metrics.items()), *fields]
    ]
    try:
        cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=data)
    except (BotoCoreError, AwsError) as error:
        raise ClientError(f"the metrics of {of.endpoint} could not be published: {error}") from error


class _Run:
    """The deployment's run in MLflow: found by its tag, or made; the state keeps its id."""

    def __init__(self, of: Evaluation, run_id: str | None) -> None:
        self._of, self._run_id, self._error = of, run_id, ""
        self._server = mlflow_http.Server(os.environ.get(URI_VARIABLE, ""))

    def find(self) -> dict[str, Any]:
        """What the report says of the run: its id, or why there is none."""
        if self._run_id is None:
            self._trying(self._find)
        return self._told()

    def log(self, metrics: Mapping[str, float]) -> dict[str, Any]:
        """Log the hour's metrics, and what the report says of the run then. The same metrics twice are there once."""
        if self._run_id is not None:
            try:
                self._log(metrics)
            except mlflow_http.NotThere:  # deleted since: the next one is another
                self._trying(self._find, lambda: self._log(metrics))
            except MlflowError as error:
                self._failed(error)
        return self._told()

    def _find(self) -> None:
        of = self._of
        self._run_id = self._server.run_of(
            of.experiment,
            tag=(RUN_TAG, of.endpoint_config),
            name=f"monitor-{of.stage}-v{of.model_version}",
            started=of.begin,
            tags={"mlops.stage": of.stage, "model_package_arn": of.model_package_arn},
        )

    def _log(self, metrics: Mapping[str, float]) -> None:
        assert self._run_id is not None
        hours = (self._of.time - datetime(1970, 1, 1, tzinfo=UTC)) // HOUR
        self._server.log_metrics(self._run_id, metrics, time=self._of.time, step=hours)

    def _trying(self, *steps: Any) -> None:
        try:
            for step in steps:
                step()
        except MlflowError as error:
            self._failed(error)

    def _failed(self, error: MlflowError) -> None:
        self._run_id, self._error = None, f"{error}"
        sys.stdout.write(f"warning: nothing goes to MLflow: {error}\n")

    def _told(self) -> dict[str, Any]:
        return {"run_id": self._run_id, **({"error": self._error} if self._error else {})}
