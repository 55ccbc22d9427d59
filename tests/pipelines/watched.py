"""What the tests of the monitoring share: a stage's days, in which the data change, an alarm fires, and a retrained
model is deployed; as documents of an account, and as what is read of them.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

from pipelines import stages as live
from pipelines.carried.retraining import FAILED, REGISTERED, Attempt, cause_of
from pipelines.monitoring import ALARM, HOUR, OK, Alarm, DriftReport, Evaluation, Monitored, Transition, parse
from pipelines.names import Names
from pipelines.registry import APPROVED, Package
from pipelines.report.dashboard import dashboard, read
from pipelines.report.monitoring import Course, Material
from pipelines.report.monitoring_page import MonitoringInputs
from pipelines.report.serving import Deployment, Stage
from pipelines.report.serving_chart import Period

NAMES = Names("demo", "123456789012", "eu-west-1")
FIRST = datetime(2026, 11, 20, 1, tzinfo=UTC)
HOURS = 60
# The hours, counted from the first, from which the data are other ones, and from which the new model serves.
CHANGED, DEPLOYED = 30, 44
FIRED = FIRST + (CHANGED + 3) * HOUR
CLEARED = FIRST + (DEPLOYED + 2) * HOUR
THRESHOLD = 0.25


def document(hour: int, workload: str = "forecaster", stage: str = "prod", **changes: Any) -> dict[str, Any]:
    """The report of an hour."""
    time = FIRST + hour * HOUR
    version = 2 if hour > DEPLOYED else 1
    worse = CHANGED <= hour <= DEPLOYED
    loss = 0.09 + 0.05 * math.sin(hour) ** 2 + (0.34 if worse else 0.0)
    measured = (
        {
            "MeanWeightedQuantileLoss": loss,
            "SeasonalNaiveLoss": 0.3 + 0.05 * math.cos(hour),
            "IntervalCoverage": 0.55 if worse else 0.9,
            "PageHinkleyStatistic": 2.6 if worse else 0.6 * math.sin(hour / 4) ** 2,
            "FeePageHinkleyStatistic": 0.2,
            "DataFreshnessMinutes": 3.0,
        }
        if workload == "forecaster"
        else {"BrierScore": loss, "Accuracy": 0.81, "CalibrationError": 0.02, "Feedback": 640, "Requests": 90,
              "PopulationStabilityIndex": 0.05 + 0.3 * worse, "KolmogorovSmirnov": 0.04, "ClusterShift": 0.03,
              "DataFreshnessMinutes": 4.0}
    )  # fmt: skip
    return {
        "schema_version": 1,
        "project": "demo",
        "workload": workload,
        "stage": stage,
        "evaluation_time": f"{time:%Y-%m-%dT%H:%M:%SZ}",
        "hour": {"from": f"{time - HOUR:%Y-%m-%dT%H:%M:%SZ}", "to": f"{time:%Y-%m-%dT%H:%M:%SZ}"},
        "endpoint": f"demo-{workload}-{stage}",
        "endpoint_config": f"demo-{workload}-{stage}-{version}",
        "model_package_arn": f"arn:aws:sagemaker:eu-west-1:123456789012:model-package/demo-{workload}/{version}",
        "model_version": version,
        "verdict": "scored",
        "reason": "both windows were scored",
        "metrics": {**measured, "LossThreshold": THRESHOLD},
        "threshold": THRESHOLD,
        "windows": [{"mean_wql": loss * 0.8}, {"mean_wql": loss * 1.25}] if workload == "forecaster" else [],
        "fields": [{"name": "amount_spend", "psi": 0.35, "ks": 0.04, "count": 90}] if workload != "forecaster" else [],
        "clusters": [{"name": "Dormant", "expected": 0.11, "found": 0.14}] if workload != "forecaster" else [],
        "drift": [
            {"stream": "loss", "detector": "page-hinkley", "statistic": 2.6 if worse else 0.4, "threshold": 2.0,
             "detected": worse and hour > CHANGED + 1},
            {"stream": "loss", "detector": "adwin", "statistic": 40.0, "threshold": None, "detected": False},
        ],
        "mlflow": {"run_id": "0123456789abcdef"},
        **changes,
    }  # fmt: skip


def unscored(hour: int, **changes: Any) -> dict[str, Any]:
    """The report of an hour without data."""
    told = {"verdict": "no-data", "reason": "no minute of the hour has come", "windows": [], "drift": []}
    return document(hour, **{**told, "metrics": {"DataFreshnessMinutes": 95.0, "MissingMinutes": 60.0}, **changes})


def key(told: dict[str, Any]) -> str:
    """Where a report lies in the bucket."""
    time = datetime.fromisoformat(told["evaluation_time"])
    return f"{told['workload']}/monitor/{told['stage']}/evaluations/{time:%Y/%m/%d}/{time:%Y%m%dT%H%M%SZ}.json"


def evaluation(told: dict[str, Any]) -> Evaluation:
    """A report as it is read."""
    found = parse(f"s3://b/{key(told)}", told["workload"], told["stage"], json.dumps(told).encode())
    assert found is not None
    return found


def alarm(kind: str = "quality", workload: str = "forecaster", stage: str = "prod", **changes: Any) -> Alarm:
    """An alarm that fired when the data had changed, and cleared."""
    fires = kind != "data"
    told: dict[str, Any] = {
        "name": NAMES.monitor_alarm(workload, stage, kind),
        "workload": workload,
        "stage": stage,
        "kind": kind,
        "state": OK,
        "reason": "Threshold Crossed: no datapoint was greater than the threshold (0.0).",
        "since": CLEARED if fires else FIRST,
        "level": 30.0 if kind == "data" else 0.0,
        "breaches": 3,
        "hours": 3,
        "transitions": [
            Transition(FIRST, "INSUFFICIENT_DATA", OK, "first"),
            *([Transition(FIRED, OK, ALARM, "above"), Transition(CLEARED, ALARM, OK, "below")] if fires else []),
        ],
    }
    return Alarm(**{**told, **changes})


def firing(kind: str = "quality", workload: str = "forecaster", **changes: Any) -> Alarm:
    """An alarm that is on."""
    transitions = [Transition(FIRST, "INSUFFICIENT_DATA", OK, "first"), Transition(FIRED, OK, ALARM, "above")]
    told = {"state": ALARM, "since": FIRED, "reason": "Threshold Crossed: 3 datapoints", "transitions": transitions}
    return alarm(kind, workload, **{**told, **changes})


def monitored(
    workload: str = "forecaster", stage: str = "prod", hours: int = HOURS, alarms: list[Alarm] | None = None
) -> Monitored:
    """A stage's days: an hour without data, change, alarm, and what comes after."""
    told = [
        unscored(hour, workload=workload, stage=stage) if hour == 12 else document(hour, workload, stage)
        for hour in range(hours)
    ]
    found = [alarm(kind, workload, stage) for kind in ("quality", "data", "drift")] if alarms is None else alarms
    return Monitored(
        workload=workload,
        stage=stage,
        evaluations=[evaluation(one) for one in told],
        alarms={one.kind: one for one in found},
        reports=[DriftReport(FIRST + 5 * HOUR, "s3://b/r1"), DriftReport(FIRED, "s3://b/r2")],
    )


def attempts(workload: str = "forecaster") -> list[Attempt]:
    """Two retrainings for the alarm: one that failed, and one that registered version 2."""
    name = NAMES.monitor_alarm(workload, "prod", "quality")

    def one(number: int, started: datetime, outcome: str, reason: str, package: str = "") -> Attempt:
        return Attempt(
            number=number,
            cause=cause_of(name, FIRED),
            alarm=name,
            try_number=number,
            started=started,
            reason=f"the alarm {name} is on since {FIRED:%Y-%m-%dT%H:%M:%SZ}",
            display_name=f"retrain-{number}-{name}",
            execution_arn=f"arn:aws:sagemaker:eu-west-1:123456789012:pipeline/demo-{workload}-build/execution/ab{number}",
            outcome=outcome,
            outcome_reason=reason,
            package_arn=package,
            ended=started + timedelta(minutes=20),
        )

    package = f"arn:aws:sagemaker:eu-west-1:123456789012:model-package/demo-{workload}/2"
    return [
        one(1, FIRED, FAILED, "TrainPurchase: no space left"),
        one(2, FIRED + 6 * HOUR, REGISTERED, "", package),
    ]


def deployed(version: int) -> datetime:
    return FIRST - 2 * HOUR if version == 1 else FIRST + DEPLOYED * HOUR


def stage_now(workload: str = "forecaster", name: str = "prod", version: int = 2) -> Stage:
    """What the stage serves."""
    endpoint, since = f"demo-{workload}-{name}", deployed(version)
    arn = f"arn:aws:sagemaker:eu-west-1:123456789012:model-package/demo-{workload}/{version}"
    pipeline = f"arn:aws:sagemaker:eu-west-1:123456789012:pipeline/demo-{workload}-deploy-{name}/execution/d{version}"
    return Stage(
        name=name,
        serving=live.Serving(arn, version, endpoint, f"{endpoint}-{version}", since, pipeline, "s3://b/t"),
        endpoint=live.Endpoint(endpoint, "InService", f"{endpoint}-{version}", 1.0, 1, 1, since, None),
        traffic=live.Traffic(120, 0, 0, 6.14, 44.5),
        deployments=[Deployment(pipeline, version, "Succeeded", since - timedelta(minutes=1), since)],
    )


def package(version: int, workload: str = "forecaster", **changes: Any) -> Package:
    told: dict[str, Any] = {
        "arn": f"arn:aws:sagemaker:eu-west-1:123456789012:model-package/demo-{workload}/{version}",
        "version": version,
        "status": "Completed",
        "approval": APPROVED,
        "created": deployed(version) - HOUR,
        "why": None,
        "metadata": {"mean_wql": "0.09", "prod_since": deployed(version).isoformat()},
        "model_uri": "s3://b/m",
    }
    return Package(**{**told, **changes})


DASHBOARD = {
    "widgets": [
        {"type": "text", "x": 0, "y": 0, "width": 24, "height": 1, "properties": {"markdown": "# The *forecaster*"}},
        {
            "type": "metric",
            "x": 0,
            "y": 1,
            "width": 24,
            "height": 6,
            "properties": {
                "title": "Loss",
                "period": 3600,
                "stat": "Maximum",
                "metrics": [
                    ["MLOps/Monitoring", "MeanWeightedQuantileLoss", "Project", "demo", "Stage", "prod", {"id": "a"}],
                    [".", "LossThreshold", ".", ".", ".", ".", {"id": "b", "label": "threshold"}],
                    ["...", "staging", {"visible": False}],
                    [{"expression": "a - b", "id": "c", "label": "above", "yAxis": "right"}],
                ],
                "annotations": {"horizontal": [{"label": "refused", "value": 0.5}]},
            },
        },
        {
            "type": "metric",
            "x": 12,
            "y": 9,
            "width": 12,
            "height": 6,
            "properties": {"title": "Age", "view": "singleValue", "metrics": [["MLOps/Monitoring", "Age"]]},
        },
        {
            "type": "alarm",
            "x": 0,
            "y": 9,
            "width": 12,
            "height": 6,
            "properties": {"title": "Alarms", "alarms": ["arn:aws:cloudwatch:eu-west-1:123456789012:alarm:demo-q"]},
        },
        {"type": "log", "x": 0, "y": 20, "width": 12, "height": 6, "properties": {"query": "fields"}},
    ]
}


def page_inputs(workload: str = "forecaster", hours: int = HOURS) -> MonitoringInputs:
    """Everything that the page tells of."""
    last = FIRST + (hours - 1) * HOUR
    widgets = read(json.dumps(DASHBOARD))
    line = [(FIRST + hour * HOUR, 0.1 + 0.002 * hour) for hour in range(hours) if hour != 20]
    values = [{query.id: line for query in widget.queries} for widget in widgets]
    states = {"arn:aws:cloudwatch:eu-west-1:123456789012:alarm:demo-q": "ALARM"}
    latency = [((FIRST + hour * HOUR).timestamp(), 5.0 + hour / 20, 30.0) for hour in range(hours)]
    periods = [Period(1, deployed(1), deployed(2)), Period(2, deployed(2), last, serves=True)]
    stages = ["staging", "prod"] if workload == "forecaster" else ["prod"]
    courses = [
        Course(monitored(workload, stage, hours), periods, latency, {FIRED: "drift.html"}, "http://127.0.0.1:4611/r")
        for stage in stages
    ]
    return MonitoringInputs(
        project="demo",
        workload=workload,
        made_at=last + timedelta(minutes=5),
        material=Material(
            workload, courses, attempts(workload), dashboard("demo-x", widgets, values, states, FIRST - HOUR, last)
        ),
        stages=[stage_now(workload, "staging"), stage_now(workload)],
        packages=[package(2, workload), package(1, workload)],
        mlflow_url="http://127.0.0.1:4611",
    )
