"""Collects what a report tells of the monitoring, through boto3 clients: evaluations, alarms, retrainings, latency, and
the workload's dashboard with the values of its widgets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from pipelines import names as n
from pipelines import registry, retrainings
from pipelines.monitoring import HOUR, DriftReport, Monitored, monitored
from pipelines.names import Names
from pipelines.registry import Package
from pipelines.report.dashboard import Dashboard, Widget, dashboard, queries, read
from pipelines.report.gather_stages import stage_now
from pipelines.report.monitoring import Course, Material
from pipelines.report.monitoring_page import MonitoringInputs
from pipelines.report.serving import Stage, periods
from pipelines.report.tracking import run_page

__all__ = ["drift_report", "gather_monitoring", "gather_page"]

# Evaluations of a stage that a page shows at most.
_HOURS = 14 * 24
# GetMetricData takes no more of them in one call.
_QUERIES = 500


def gather_monitoring(
    s3: Any,
    cloudwatch: Any,
    dynamodb: Any,
    *,
    names: Names,
    workload: str,
    stages: Sequence[Stage],
    packages: Sequence[Package],
    now: datetime,
    mlflow_url: str | None = None,
    with_dashboard: bool = False,
) -> Material:
    """What the section is made of.

    stages: what is known of the workload's stages. now: the account's time, aware. mlflow_url: of MLflow's pages.
    with_dashboard: with the dashboard of CloudWatch.
    """
    # Production first: it is what people ask for.
    order = sorted(n.MONITORED[workload], key=n.STAGES.index, reverse=True)
    found = [monitored(s3, cloudwatch, names, workload, stage, hours=_HOURS) for stage in order]
    by_stage = {stage.name: stage for stage in stages}
    courses = []
    for each in found:
        stage = by_stage.get(each.stage)
        courses.append(
            Course(
                monitored=each,
                periods=periods(stage, packages, now) if stage else (),
                latency=_latency(cloudwatch, names.endpoint(workload, each.stage), each),
                run_link=run_page(mlflow_url, each.newest.run_id) if each.newest else None,
            )
        )
    return Material(
        workload=workload,
        courses=courses,
        retrained=retrainings.read(dynamodb, names, workload).attempts,
        dashboard=_dashboard(cloudwatch, names.dashboard(workload), *_span(found, now)) if with_dashboard else None,
    )


def gather_page(
    sagemaker: Any,
    s3: Any,
    ssm: Any,
    cloudwatch: Any,
    dynamodb: Any,
    *,
    names: Names,
    workload: str,
    now: datetime,
    mlflow_url: str | None = None,
) -> MonitoringInputs:
    """What the page of a workload's monitoring is made of. now: the account's time, aware."""
    known = registry.packages(sagemaker, names.package_group(workload))
    stages = [
        stage_now(sagemaker, s3, ssm, cloudwatch, names=names, workload=workload, stage=stage, packages=known, now=now)
        for stage in n.STAGES
    ]
    material = gather_monitoring(
        s3,
        cloudwatch,
        dynamodb,
        names=names,
        workload=workload,
        stages=stages,
        packages=known,
        now=now,
        mlflow_url=mlflow_url,
        with_dashboard=True,
    )
    return MonitoringInputs(
        project=names.project,
        workload=workload,
        made_at=now,
        material=material,
        stages=stages,
        packages=known,
        mlflow_url=mlflow_url,
    )


def drift_report(s3: Any, report: DriftReport) -> str:
    """The HTML of a report of Evidently's."""
    place = urlsplit(report.html_uri)
    body: bytes = s3.get_object(Bucket=place.netloc, Key=place.path.lstrip("/"))["Body"].read()
    return body.decode()


def _span(found: Sequence[Monitored], now: datetime) -> tuple[datetime, datetime]:
    """From when to when the evaluations are; the last day without any."""
    times = [one.time for each in found for one in each.evaluations]
    return (min(times) - HOUR, max(times)) if times else (now - 24 * HOUR, now)


def _latency(cloudwatch: Any, endpoint: str, each: Monitored) -> list[tuple[float, float | None, float | None]]:
    """The endpoint's median and 99th percentile of every hour that had requests, in ms, at the hour's middle."""
    if not each.evaluations:
        return []
    dimensions = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": n.VARIANT}]
    metric = {"Namespace": "AWS/SageMaker", "MetricName": "ModelLatency", "Dimensions": dimensions}
    wanted = [{"Id": stat, "MetricStat": {"Metric": metric, "Period": 3600, "Stat": stat}} for stat in ("p50", "p99")]
    values = _values(cloudwatch, wanted, each.evaluations[0].time - HOUR, each.evaluations[-1].time)
    median, p99 = (dict(values.get(stat, ())) for stat in ("p50", "p99"))
    found: list[tuple[float, float | None, float | None]] = []
    for at in sorted({*median, *p99}):
        if found and (at + HOUR / 2).timestamp() - found[-1][0] > 1.5 * HOUR.total_seconds():
            found.append(((at - timedelta(seconds=1)).timestamp(), None, None))
        found.append(((at + HOUR / 2).timestamp(), _thousandth(median.get(at)), _thousandth(p99.get(at))))
    return found


def _thousandth(microseconds: float | None) -> float | None:
    return None if microseconds is None else microseconds / 1000


def _dashboard(cloudwatch: Any, name: str, first: datetime, last: datetime) -> Dashboard | None:
    """The dashboard as it is shown; None where there is none."""
    try:
        body = cloudwatch.get_dashboard(DashboardName=name)["DashboardBody"]
    except (cloudwatch.exceptions.DashboardNotFoundError, cloudwatch.exceptions.ResourceNotFound):
        return None
    widgets = read(body)
    values = [_of_widget(cloudwatch, widget, first, last) for widget in widgets]
    return dashboard(name, widgets, values, _states(cloudwatch, widgets), first, last)


def _of_widget(
    cloudwatch: Any, widget: Widget, first: datetime, last: datetime
) -> Mapping[str, Sequence[tuple[datetime, float]]]:
    wanted = queries(widget)[:_QUERIES]
    if not wanted:
        return {}
    try:
        return _values(cloudwatch, wanted, first, last)
    except cloudwatch.exceptions.ClientError as error:
        # A widget that CloudWatch cannot compute shows no data there either; the others do.
        if error.response["Error"]["Code"] not in ("ValidationError", "InvalidParameterValue"):
            raise
        return {}


def _values(
    cloudwatch: Any, wanted: Sequence[Mapping[str, Any]], first: datetime, last: datetime
) -> dict[str, list[tuple[datetime, float]]]:
    """The points of each query by its id, oldest first."""
    pages = cloudwatch.get_paginator("get_metric_data").paginate(
        MetricDataQueries=list(wanted), StartTime=first, EndTime=last, ScanBy="TimestampAscending"
    )
    found: dict[str, list[tuple[datetime, float]]] = {}
    for page in pages:
        for result in page["MetricDataResults"]:
            points = zip(result["Timestamps"], result["Values"], strict=True)
            found.setdefault(result["Id"], []).extend(points)
    return found


def _states(cloudwatch: Any, widgets: Sequence[Widget]) -> dict[str, str]:
    """The states of the alarms that widgets show, by ARN."""
    names = sorted({arn.rpartition(":")[2] for widget in widgets for arn in widget.alarms})
    found: dict[str, str] = {}
    for begin in range(0, len(names), 100):
        answer = cloudwatch.describe_alarms(AlarmNames=names[begin : begin + 100])
        found.update({alarm["AlarmArn"]: alarm["StateValue"] for alarm in answer["MetricAlarms"]})
    return found
