"""`watch`, `explain`, `monitor` and the page of the monitoring: from the command line to what lies in the account."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines import monitoring
from pipelines.account_time import account_time
from pipelines.carried.serving import Serving
from pipelines.session import client
from tests.conftest import Localcloud, point_at
from tests.pipelines import watched
from tests.pipelines.conftest import Project, make_copy, make_project
from tests.pipelines.furnished import furnish
from tests.pipelines.report_pages import checked

Mlops = Callable[..., tuple[int, str, str]]
HOURS = 36
# What the image's monitor does in these tests: it writes the report of the hour that it is told.
MONITOR = """\
import json, os, sys
import boto3
told = dict(zip(sys.argv[1::2], sys.argv[2::2]))
if told["--threshold"] == "none":
    sys.exit("there is no threshold")
time = told["--evaluation-time"]
stamp = time.replace("-", "").replace(":", "")
bucket, _, prefix = told["--monitor-uri"].removeprefix("s3://").partition("/")
key = f"{prefix}/{told['--stage']}/evaluations/{time[:10].replace('-', '/')}/{stamp}.json"
report = {
    "schema_version": 1, "evaluation_time": time, "verdict": "scored", "reason": "by a test",
    "model_version": int(told["--model-version"]), "endpoint_config": told["--endpoint-config"],
    "metrics": {"BrierScore": 0.31, "Accuracy": 0.7}, "threshold": float(told["--threshold"]),
    "drift": [{"stream": "error", "detector": "adwin", "statistic": 7.0, "threshold": None, "detected": True}],
}
boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=json.dumps(report))
"""


def _now(project: Project) -> datetime:
    """The account's time: other tests may have let days pass in it."""
    return account_time(client(project.session, "sts"))


def _hour(project: Project) -> datetime:
    return _now(project).replace(minute=0, second=0, microsecond=0)


@pytest.fixture(scope="module")
def account(localcloud: Localcloud, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose forecaster was evaluated for hours; its quality alarm fired, and is on."""
    with pytest.MonkeyPatch.context() as patch:
        point_at(localcloud, patch)
        made = make_project(make_copy(tmp_path_factory.mktemp("watched") / "copy"))
        furnish(made.session, made.configuration)
        _fill(made)
    return made


@pytest.fixture
def project_watched(account: Project, aws: object, monkeypatch: pytest.MonkeyPatch) -> Project:
    """That project, in this process's environment."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    return account


def _fill(project: Project) -> None:
    names, s3 = project.names, client(project.session, "s3")
    shift = _hour(project) - (watched.FIRST + (HOURS - 1) * monitoring.HOUR)
    for hour in range(HOURS):
        time = watched.FIRST + hour * monitoring.HOUR + shift
        told = watched.document(hour, evaluation_time=f"{time:%Y-%m-%dT%H:%M:%SZ}")
        s3.put_object(Bucket=names.bucket, Key=watched.key(told), Body=json.dumps(told))
    report = f"forecaster/monitor/prod/drift/{_hour(project):%Y/%m/%d/%Y%m%dT%H%M%SZ}/report.html"
    s3.put_object(Bucket=names.bucket, Key=report, Body="<p>Evidently</p>")
    s3.put_object(Bucket=names.bucket, Key=report.replace("Z/report", "Z/other"), Body="")
    cloudwatch = client(project.session, "cloudwatch")
    for kind in ("quality", "data"):
        cloudwatch.put_metric_alarm(
            AlarmName=names.monitor_alarm("forecaster", "prod", kind),
            Namespace="MLOps/Monitoring",
            MetricName=kind,
            Statistic="Maximum",
            Period=3600,
            EvaluationPeriods=3,
            DatapointsToAlarm=2,
            Threshold=30.0,
            ComparisonOperator="GreaterThanThreshold",
            TreatMissingData="ignore",  # it stays what it is set to
        )
    name = names.monitor_alarm("forecaster", "prod", "quality")
    for state, reason in (("OK", "calm"), ("ALARM", "two of three hours")):
        cloudwatch.set_alarm_state(AlarmName=name, StateValue=state, StateReason=reason)
    cloudwatch.put_dashboard(DashboardName=names.dashboard("forecaster"), DashboardBody=_dashboard(project))
    _metrics(project, cloudwatch)
    _retrained(project, name)
    _serves(project, "forecaster", 1)


def _dashboard(project: Project) -> str:
    dimensions = ["Project", project.names.project]
    metrics = [
        ["MLOps/Monitoring", "Loss", *dimensions, {"id": "a"}],
        [".", "Limit", ".", ".", {"id": "b", "visible": False}],
        [{"expression": "a - b", "id": "c", "label": "above the limit"}],
    ]
    properties = {"title": "Loss", "metrics": metrics, "period": 3600, "stat": "Maximum", "region": "eu-west-1"}
    alarm = project.names.monitor_alarm("forecaster", "prod", "quality")
    arn = f"arn:aws:cloudwatch:eu-west-1:123456789012:alarm:{alarm}"
    place = {"x": 0, "y": 0, "width": 12, "height": 6}
    widgets = [
        {"type": "metric", **place, "properties": properties},
        {"type": "alarm", **place, "properties": {"title": "Alarms", "alarms": [arn]}},
    ]
    return json.dumps({"widgets": widgets})


def _metrics(project: Project, cloudwatch: Any) -> None:
    dimensions = [{"Name": "Project", "Value": project.names.project}]
    for hour in range(2, 5):
        cloudwatch.put_metric_data(
            Namespace="MLOps/Monitoring",
            MetricData=[
                {
                    "MetricName": metric,
                    "Dimensions": dimensions,
                    "Timestamp": _hour(project) - hour * monitoring.HOUR,
                    "Value": value,
                }
                for metric, value in (("Loss", 0.4), ("Limit", 0.3))
            ],
        )


def _retrained(project: Project, alarm: str) -> None:
    dynamodb = client(project.session, "dynamodb")
    dynamodb.create_table(
        TableName=project.names.retraining_table,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[
            {"AttributeName": "Workload", "KeyType": "HASH"},
            {"AttributeName": "Item", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "Workload", "AttributeType": "S"},
            {"AttributeName": "Item", "AttributeType": "S"},
        ],
    )
    began = _now(project) + timedelta(seconds=1)
    attempt = watched.attempts()[0]
    told = type(attempt)(**{**attempt.__dict__, "alarm": alarm, "started": began, "ended": began})
    dynamodb.put_item(TableName=project.names.retraining_table, Item=told.item("forecaster"))


def _serves(project: Project, workload: str, version: int) -> None:
    names = project.names
    endpoint = names.endpoint(workload, "prod")
    arn = f"arn:aws:sagemaker:eu-west-1:123456789012:model-package/{names.package_group(workload)}/{version}"
    told = Serving(
        arn, version, endpoint, f"{endpoint}-1", datetime(2026, 1, 2, tzinfo=UTC), "arn:e", f"s3://{names.bucket}/t"
    )
    client(project.session, "ssm").put_parameter(
        Name=names.serving_parameter(workload, "prod"), Value=told.text(), Type="String"
    )


# --- watch ------------------------------------------------------------------------------------------------------------


def test_watch_shows_the_stages_once(project_watched: Project, mlops: Mlops) -> None:
    status, out, _ = mlops(project_watched.root, "watch", "--once")
    assert status == 0
    rows = {line.split()[1]: line for line in out.splitlines() if line.startswith("forecaster ")}
    assert "not yet" in rows["staging"]
    assert "quality ALARM  data" in rows["prod"]
    assert "0.4392" in rows["prod"]
    assert "█" in rows["prod"]
    assert "cardholders prod" in out
    assert f"`mlops explain {project_watched.names.monitor_alarm('forecaster', 'prod', 'quality')}` says why" in out


def test_watch_gives_json(project_watched: Project, mlops: Mlops) -> None:
    status, out, _ = mlops(project_watched.root, "watch", "forecaster", "--stage", "prod", "--json")
    (told,) = json.loads(out)
    assert status == 0
    (stage,) = told["stages"]
    assert (stage["version"], stage["evaluation"]["verdict"], len(stage["losses"])) == (1, "scored", 24)
    assert stage["alarms"]["quality"]["state"] == "ALARM"
    assert told["running"] == []


# --- explain ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_name", [True, False])
def test_explain_tells_of_the_alarm(project_watched: Project, mlops: Mlops, by_name: bool) -> None:
    name = project_watched.names.monitor_alarm("forecaster", "prod", "quality")
    words = (name,) if by_name else ("quality", "--workload", "forecaster")
    status, out, err = mlops(project_watched.root, "explain", *words)
    assert (status, err) == (0, "")
    assert out.startswith(f"{name} is in ALARM since ")
    for told in (
        "It fires when 2 of the last 3 hours lose more than the threshold.",
        "CloudWatch says: two of three hours",
        "(execution ab1); it failed: TrainPurchase: no space left.",
        "mlops report forecaster build --execution ab1",
    ):
        assert told in out
    document = json.loads(mlops(project_watched.root, "explain", *words, "--json")[1])
    assert (document["alarm"], document["state"]) == (name, "ALARM")


def test_explain_of_an_alarm_that_never_fired(project_watched: Project, mlops: Mlops) -> None:
    _, out, _ = mlops(project_watched.root, "explain", "data", "--workload", "forecaster")
    assert "it has not fired as far back as CloudWatch remembers." in out
    assert "Nothing: it has not fired." in out


# --- monitor ----------------------------------------------------------------------------------------------------------


def test_monitor_evaluates_an_hour_and_shows_it(
    project: Project, mlops: Mlops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    furnish(project.session, project.configuration)
    image = project.root / "seed_code" / "cardholders"
    (image / "monitor.py").write_text(MONITOR)
    (image / "Dockerfile").write_text(
        "FROM python:3.11-slim\nENV PYTHONPATH=/opt/program\n"
        "COPY seed_code/cardholders/monitor.py /opt/program/seed_code/cardholders/monitor.py\n"
    )
    status, out, err = mlops(project.root, "monitor", "cardholders")
    assert (status, "prod serves no model of cardholders yet; `mlops deploy` brings one there" in err) == (1, True)
    _serves(project, "cardholders", 3)
    _endpoint(project)
    ssm = client(project.session, "ssm")
    threshold = project.names.monitoring_threshold("cardholders")
    ssm.put_parameter(Name=threshold, Value="0.3", Type="String")
    hour = _hour(project) - timedelta(hours=30)
    time = f"{hour:%Y-%m-%dT%H:%M:%SZ}"
    status, out, err = mlops(project.root, "monitor", "cardholders", "--evaluation-time", time)
    assert (status, err) == (0, "")
    for told in (
        "Succeeded in",
        "scored: by a test",
        "Brier score 0.3100, above the threshold of 0.3000",
        "Accuracy 0.7000",
        "drift: adwin on error, 7",
        f"/cardholders/monitor/prod/evaluations/{hour:%Y/%m/%d/%Y%m%dT%H%M%SZ}.json",
    ):
        assert told in out
    ssm.delete_parameter(Name=threshold)
    status, out, _ = mlops(project.root, "monitor", "cardholders", "--evaluation-time", time)
    assert status == 1
    assert "there is no threshold" in out
    # What comes every hour is not what `report` means, unless it is named.
    status, _, err = mlops(project.root, "report", "cardholders")
    assert (status, "has not been run yet" in err) == (2, True)


def _endpoint(project: Project) -> None:
    """An endpoint of the name, which need not answer."""
    sagemaker = client(project.session, "sagemaker")
    names = project.names
    name = names.endpoint("cardholders", "prod")
    image = f"{project.names.account_id}.dkr.ecr.eu-west-1.amazonaws.com/none:1"
    sagemaker.create_model(ModelName=name, PrimaryContainer={"Image": image}, ExecutionRoleArn=names.role_arn)
    variant = {"VariantName": "AllTraffic", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(EndpointConfigName=f"{name}-1", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=f"{name}-1")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("monitor", "cardholders", "--stage", "staging"), "cardholders is not monitored in staging; expected prod"),
        (("monitor", "forecaster", "--stage", "production"), "there is no stage `production`"),
        (("monitor", "forecaster", "--evaluation-time", "soon"), "--evaluation-time is `soon`, expected ISO 8601"),
        (("monitor", "forecaster", "--evaluation-time", "2999-01-01T00:00:00Z"), "expected none after now"),
        (("monitor", "forecaster", "--evaluation-time", "2020-01-01T00:00:00Z"), "no metrics that are older than two"),
        (("monitor", "forecaster", "--evaluation-time", "0001-01-01T00:00+05:00"), "expected one of the last two"),
        (("run", "forecaster", "monitor"), "`mlops monitor forecaster --stage prod` starts it"),
        (("explain", "qualty"), "there is no alarm `qualty` of the monitoring; did you mean `quality`?"),
        (("explain", "quality"), "expected a workload: one of cardholders, forecaster"),
        (("explain", "drift", "--workload", "forecaster"), "`mlops up` does"),
        (("watch", "cardholders", "--stage", "staging"), "cardholders is not monitored in staging; expected prod"),
        (("watch", "cards"), "did you mean `cardholders`?"),
    ],
)
def test_what_cannot_be_done_is_said_with_what_to_do(
    project_watched: Project, mlops: Mlops, words: tuple[str, ...], said: str
) -> None:
    status, out, err = mlops(project_watched.root, *words)
    assert (status, out) == (2, "")
    assert said in err.replace("\n", " ")


@pytest.mark.parametrize("value", ["x", "[]", "{}", '{"since": "x"}', '{"since": "2026-01-02T00:00:00"}'])
def test_what_a_stage_serves_may_be_damaged_and_is_shown(project: Project, mlops: Mlops, value: str) -> None:
    name = project.names.serving_parameter("forecaster", "prod")
    client(project.session, "ssm").put_parameter(Name=name, Value=value, Type="String")
    status, _, err = mlops(project.root, "watch", "forecaster", "--once")
    assert status == 1
    assert f"the parameter `{name}` is `{value}`, expected what a deployment writes" in err.replace("\n", " ")


# --- report -----------------------------------------------------------------------------------------------------------


def test_report_writes_the_page_of_the_monitoring(project_watched: Project, mlops: Mlops, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    status, out, err = mlops(project_watched.root, "report", "forecaster", "monitor", "--out", str(file))
    assert (status, out.strip()) == (0, str(file)), err
    page = checked(file.read_text(encoding="utf-8"))
    assert page.sections() == ["monitoring", "dashboard", "retrainings", "serving"]
    assert "prod: quality in ALARM since" in page.text
    assert "above the limit" in page.text
    assert (tmp_path / "page-drift-prod.html").read_text() == "<p>Evidently</p>"
    assert "page-drift-prod.html" in [attributes.get("href") for tag, attributes in page.elements if tag == "a"]
    drawn = file.read_text(encoding="utf-8")
    assert drawn[drawn.index("<title>Loss</title>") :].count("3 values") >= 1  # of the expression, too


def test_report_of_a_workload_that_nobody_has_evaluated(project_watched: Project, mlops: Mlops) -> None:
    status, out, _ = mlops(project_watched.root, "report", "cardholders", "monitor")
    assert status == 0
    file = project_watched.root / ".mlops" / "reports" / f"{project_watched.names.project}-cardholders-monitor.html"
    assert out.strip() == str(file)
    assert "Nothing has been evaluated yet" in checked(file.read_text(encoding="utf-8")).text


def test_the_accounts_time_is_what_was_let_pass_in_it(project_watched: Project, localcloud: Localcloud) -> None:
    before = _now(project_watched)
    request = urllib.request.Request(f"{localcloud.endpoint}/_localcloud/advance", b"7200", method="POST")
    with urllib.request.urlopen(request) as answer:
        reached = datetime.fromisoformat(json.load(answer)["now"])
    assert reached >= before + timedelta(hours=2)
    # HTTP's Date has whole seconds.
    assert timedelta(seconds=-1) < _now(project_watched) - reached < timedelta(hours=1)
