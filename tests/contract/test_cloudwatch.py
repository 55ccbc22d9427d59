"""CloudWatch: metrics that are kept, alarms that are evaluated, and what they do."""

from __future__ import annotations

import io
import json
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.contract.conftest import Running
from tests.contract.sagemaker_account import Account, error_of, until

HANDLER = """
import json, os, urllib.request


def handler(event, context):
    print("ALARM " + json.dumps(event))
"""


@pytest.fixture(scope="module")
def account(cloud: Any) -> Account:
    """The account under test."""
    return Account.of(cloud)


@pytest.fixture
def cloudwatch(account: Account) -> Any:
    return account.client("cloudwatch")


@pytest.fixture
def namespace(account: Account) -> str:
    """A namespace of the test's own."""
    return account.name("Contract")


@pytest.fixture
def alarm_name(account: Account, cloudwatch: Any) -> Iterator[str]:
    name = account.name("alarm")
    yield name
    cloudwatch.delete_alarms(AlarmNames=[name])


def put(cloudwatch: Any, namespace: str, *data: dict[str, Any]) -> None:
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=list(data))


def put_alarm(cloudwatch: Any, namespace: str, name: str, **members: Any) -> None:
    defaults = {
        "MetricName": "Errors",
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 0,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
    }
    cloudwatch.put_metric_alarm(AlarmName=name, Namespace=namespace, **{**defaults, **members})


def state(cloudwatch: Any, name: str) -> str:
    (alarm,) = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return str(alarm["StateValue"])


def test_metrics_are_read_by_period_and_statistic(cloudwatch: Any, namespace: str) -> None:
    start = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=10)
    stage = [{"Name": "Stage", "Value": "prod"}]
    common = {"MetricName": "Latency", "Dimensions": stage, "Unit": "Milliseconds"}
    put(
        cloudwatch,
        namespace,
        {**common, "Timestamp": start, "Values": [10.0, 20.0], "Counts": [3.0, 1.0]},
        {**common, "Timestamp": start + timedelta(seconds=59), "Value": 40.0},
        {
            **common,
            "Timestamp": start + timedelta(minutes=1),
            "StatisticValues": {"SampleCount": 4, "Sum": 10, "Minimum": 1, "Maximum": 4},
        },
    )
    metric = {"Namespace": namespace, "MetricName": "Latency", "Dimensions": stage}

    def read() -> Any:
        query = {"Metric": metric, "Period": 60}
        found = cloudwatch.get_metric_data(
            MetricDataQueries=[
                {"Id": "sum", "MetricStat": {**query, "Stat": "Sum"}, "Label": "all"},
                {"Id": "p50", "MetricStat": {**query, "Stat": "p50"}},
                {"Id": "none", "MetricStat": {**query, "Stat": "Sum", "Unit": "Count"}},
            ],
            StartTime=start,
            EndTime=start + timedelta(minutes=5),
            ScanBy="TimestampAscending",
        )["MetricDataResults"]
        return found if len(found[0]["Values"]) == 2 else None

    total, median, none = until(read, "the values can be read")
    assert total["Label"] == "all"
    assert total["Timestamps"] == [start, start + timedelta(minutes=1)]
    assert total["Values"] == [90, 10]
    assert total["StatusCode"] == "Complete"
    # A statistic set has no percentiles.
    assert median["Values"][:1] == [10]
    assert none["Values"] == []
    (datapoint,) = cloudwatch.get_metric_statistics(
        **metric,
        StartTime=start,
        EndTime=start + timedelta(minutes=5),
        Period=300,
        Statistics=["Sum", "SampleCount", "Average", "Minimum", "Maximum"],
    )["Datapoints"]
    assert datapoint == {
        "Timestamp": start,
        "Sum": 100,
        "SampleCount": 9,
        "Average": pytest.approx(100 / 9),
        "Minimum": 1,
        "Maximum": 40,
        "Unit": "Milliseconds",
    }
    (listed,) = until(lambda: cloudwatch.list_metrics(Namespace=namespace)["Metrics"], "the metric is listed")
    assert listed == metric
    assert cloudwatch.list_metrics(Namespace=namespace, Dimensions=[{"Name": "Other"}])["Metrics"] == []


def test_short_and_long_puts_are_the_same(cloudwatch: Any, namespace: str) -> None:
    """A short PutMetricData has a way of its own through localcloud."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    stages = [[{"Name": "Stage", "Value": f"stage-{number}"}] for number in range(300)]
    put(cloudwatch, namespace, *({"MetricName": "A", "Value": 1, "Dimensions": stage} for stage in stages))
    put(cloudwatch, namespace, {"MetricName": "A", "Value": 2, "Dimensions": stages[7]})
    for member, value in (("Value", float("nan")), ("StorageResolution", 7)):
        code, _ = error_of(
            cloudwatch.put_metric_data,
            Namespace=namespace,
            MetricData=[{"MetricName": "A", "Value": 1, member: value}],
        )
        assert code == "InvalidParameterValue"

    def total() -> float | None:
        (result,) = cloudwatch.get_metric_data(
            MetricDataQueries=[
                {
                    "Id": "a",
                    "MetricStat": {
                        "Metric": {"Namespace": namespace, "MetricName": "A", "Dimensions": stages[7]},
                        "Period": 3600,
                        "Stat": "Sum",
                    },
                }
            ],
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(days=7),
        )["MetricDataResults"]
        return sum(result["Values"]) or None

    assert until(total, "the values can be read") == 3


def test_expressions_over_metrics(cloudwatch: Any, namespace: str) -> None:
    start = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=10)
    minutes = [start + timedelta(minutes=number) for number in range(3)]
    losses = zip(minutes, (0.25, 0.5, 0.75), strict=True)
    put(
        cloudwatch,
        namespace,
        *({"MetricName": "Loss", "Timestamp": moment, "Value": loss} for moment, loss in losses),
        *({"MetricName": "Limit", "Timestamp": moment, "Value": 0.5} for moment in minutes[:2]),
    )

    def metric(name: str, metric_name: str) -> dict[str, Any]:
        stat = {"Metric": {"Namespace": namespace, "MetricName": metric_name}, "Period": 60, "Stat": "Maximum"}
        return {"Id": name, "MetricStat": stat, "ReturnData": False}

    def read() -> Any:
        found = cloudwatch.get_metric_data(
            MetricDataQueries=[
                {"Id": "excess", "Expression": "loss - threshold", "Label": "over"},
                {"Id": "filled", "Expression": "loss - FILL(threshold, REPEAT)"},
                {"Id": "twice", "Expression": "IF(filled > 0, filled * 2, 0)"},
                metric("loss", "Loss"),
                metric("threshold", "Limit"),
            ],
            StartTime=start,
            EndTime=start + timedelta(minutes=3),
            ScanBy="TimestampAscending",
        )["MetricDataResults"]
        return found if len(found[1]["Values"]) == 3 else None

    excess, filled, twice = until(read, "the values can be read")
    assert (excess["Label"], filled["Label"]) == ("over", "filled")
    # A datapoint only where both have one.
    assert (excess["Timestamps"], excess["Values"]) == (minutes[:2], [-0.25, 0.0])
    assert filled["Values"] == [-0.25, 0.0, 0.25]
    assert twice["Values"] == [0.0, 0.0, 0.5]
    code, _ = error_of(
        cloudwatch.get_metric_data,
        MetricDataQueries=[{"Id": "e", "Expression": "nothing + 1"}],
        StartTime=start,
        EndTime=start + timedelta(minutes=3),
    )
    assert code == "ValidationError"


def test_dashboards(account: Account, cloudwatch: Any) -> None:
    name = account.name("dashboard")
    widget = {
        "type": "metric",
        "x": 0,
        "y": 0,
        "width": 12,
        "height": 6,
        "properties": {
            "region": account.client("cloudwatch").meta.region_name,
            "title": "Loss",
            "metrics": [
                [{"expression": "loss - limit", "label": "over"}],
                ["Demo", "Loss", "Stage", "prod", {"id": "loss"}],
            ],
        },
    }
    body = json.dumps({"widgets": [widget]})
    assert cloudwatch.put_dashboard(DashboardName=name, DashboardBody=body)["DashboardValidationMessages"] == []
    assert cloudwatch.get_dashboard(DashboardName=name)["DashboardBody"] == body
    (entry,) = cloudwatch.list_dashboards(DashboardNamePrefix=name)["DashboardEntries"]
    assert (entry["DashboardName"], entry["Size"]) == (name, len(body))
    assert entry["DashboardArn"].endswith(f":dashboard/{name}")
    with pytest.raises(cloudwatch.exceptions.DashboardInvalidInputError):
        cloudwatch.put_dashboard(DashboardName=name, DashboardBody="no JSON")
    assert cloudwatch.get_dashboard(DashboardName=name)["DashboardBody"] == body
    cloudwatch.delete_dashboards(DashboardNames=[name])
    assert error_of(cloudwatch.get_dashboard, DashboardName=name)[0] == "ResourceNotFound"
    assert cloudwatch.list_dashboards(DashboardNamePrefix=name)["DashboardEntries"] == []


def test_pages_of_datapoints(cloudwatch: Any, namespace: str) -> None:
    start = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=10)
    put(
        cloudwatch,
        namespace,
        *({"MetricName": "A", "Timestamp": start + timedelta(minutes=n), "Value": n} for n in range(5)),
    )
    stat = {"Metric": {"Namespace": namespace, "MetricName": "A"}, "Period": 60, "Stat": "Maximum"}
    pages = cloudwatch.get_paginator("get_metric_data").paginate(
        MetricDataQueries=[{"Id": "a", "MetricStat": stat}],
        StartTime=start,
        EndTime=start + timedelta(minutes=10),
        MaxDatapoints=2,
    )
    assert [page["MetricDataResults"][0]["Values"] for page in pages] == [[4, 3], [2, 1], [0]]


@pytest.mark.usefixtures("localcloud_only")
@pytest.mark.parametrize(
    ("datum", "code", "message"),
    [
        ({}, "MissingParameter", "The parameter MetricData.member.1.Value is required."),
        (
            {"Value": 1.0, "Values": [1.0]},
            "InvalidParameterCombination",
            "The parameters MetricData.member.1.Value and MetricData.member.1.Values are mutually exclusive.",
        ),
        (
            {"Value": float("nan")},
            "InvalidParameterValue",
            "The value nan for parameter MetricData.member.1.Value is invalid.",
        ),
        (
            {"Value": 1.0, "Timestamp": datetime(2020, 1, 1, tzinfo=UTC)},
            "InvalidParameterValue",
            "The parameter MetricData.member.1.Timestamp must specify a time within the past two weeks.",
        ),
        (
            {"Values": [1.0], "Counts": [1.0, 2.0]},
            "InvalidParameterValue",
            "The parameters MetricData.member.1.Values and MetricData.member.1.Counts must be of the same size; they"
            " have 1 and 2.",
        ),
        (
            {"Value": 1.0, "StorageResolution": 5},
            "InvalidParameterValue",
            "The parameter MetricData.member.1.StorageResolution must be 1 or 60; it is 5.",
        ),
    ],
)
def test_data_that_are_wrong_are_refused(
    cloudwatch: Any, namespace: str, datum: dict[str, Any], code: str, message: str
) -> None:
    found = error_of(cloudwatch.put_metric_data, Namespace=namespace, MetricData=[{"MetricName": "A", **datum}])
    assert found == (code, message)


@pytest.mark.usefixtures("localcloud_only")
def test_namespaces_of_aws_are_not_for_users(cloudwatch: Any) -> None:
    found = error_of(
        cloudwatch.put_metric_data, Namespace="AWS/SageMaker", MetricData=[{"MetricName": "A", "Value": 1.0}]
    )
    assert found == ("InvalidParameterValue", "The value AWS/ for parameter Namespace is invalid.")


@pytest.mark.usefixtures("localcloud_only")
def test_functions_of_metric_math_that_are_not_there_are_refused_by_name(cloudwatch: Any) -> None:
    now = datetime.now(UTC)
    code, message = error_of(
        cloudwatch.get_metric_data,
        MetricDataQueries=[{"Id": "a", "Expression": "SUM(METRICS())"}],
        StartTime=now - timedelta(hours=1),
        EndTime=now,
    )
    assert (code, message) == (
        "ValidationError",
        "Error in expression 'a': METRICS() is not among localcloud's functions: MIN, MAX, SUM, AVG, ABS, FILL, IF",
    )


def test_an_alarm_goes_off_and_its_event_is_caught_by_a_queue(
    account: Account, cloudwatch: Any, namespace: str, alarm_name: str
) -> None:
    """Through EventBridge, as a pipeline hears of it; and through a topic, as people do."""
    sqs, sns, events = (account.client(service) for service in ("sqs", "sns", "events"))
    queue = sqs.create_queue(QueueName=account.name())["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic = sns.create_topic(Name=account.name())["TopicArn"]
    rule = account.name()
    rule_arn = events.put_rule(
        Name=rule,
        EventPattern=json.dumps({"source": ["aws.cloudwatch"], "detail": {"alarmName": [alarm_name]}}),
    )["RuleArn"]
    statements = [
        {
            "Effect": "Allow",
            "Principal": {"Service": f"{service}.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": queue_arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": source}},
        }
        for service, source in (("events", rule_arn), ("sns", topic))
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn, Attributes={"RawMessageDelivery": "true"})
    events.put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": queue_arn}])
    put_alarm(cloudwatch, namespace, alarm_name, AlarmActions=[topic], AlarmDescription="Too many errors")
    put(cloudwatch, namespace, {"MetricName": "Errors", "Value": 2.0})
    until(lambda: state(cloudwatch, alarm_name) == "ALARM", "the alarm is in ALARM")
    bodies: list[dict[str, Any]] = []

    def received() -> bool:
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", ()):
            bodies.append(json.loads(message["Body"]))
        told = [body for body in bodies if body.get("detail", {}).get("state", {}).get("value") == "ALARM"]
        return bool(told) and any("NewStateValue" in body for body in bodies)

    until(received, "both have arrived")
    event = next(
        body
        for body in bodies
        if body.get("detail-type") == "CloudWatch Alarm State Change" and body["detail"]["state"]["value"] == "ALARM"
    )
    alarm = cloudwatch.describe_alarms(AlarmNames=[alarm_name])["MetricAlarms"][0]
    assert event["source"] == "aws.cloudwatch"
    assert event["resources"] == [alarm["AlarmArn"]]
    assert event["detail"]["configuration"]["description"] == "Too many errors"
    assert event["detail"]["state"]["reason"] == alarm["StateReason"]
    assert json.loads(event["detail"]["state"]["reasonData"])["recentDatapoints"] == [2.0]
    message = next(body for body in bodies if "NewStateValue" in body)
    assert message["AlarmName"] == alarm_name
    assert message["NewStateReason"] == alarm["StateReason"]
    assert message["Trigger"]["Namespace"] == namespace
    events.remove_targets(Rule=rule, Ids=["queue"])
    events.delete_rule(Name=rule)
    sns.delete_topic(TopicArn=topic)
    sqs.delete_queue(QueueUrl=queue)


def test_an_alarm_calls_a_function(account: Account, cloudwatch: Any, namespace: str, alarm_name: str) -> None:
    functions, logs = account.client("lambda"), account.logs
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("index.py", HANDLER)
    name = account.name("retrain")
    arn = functions.create_function(
        FunctionName=name,
        Runtime="python3.12",
        Handler="index.handler",
        Role=account.role,
        Code={"ZipFile": content.getvalue()},
    )["FunctionArn"]
    functions.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    functions.add_permission(
        FunctionName=name,
        StatementId="alarms",
        Action="lambda:InvokeFunction",
        Principal="lambda.alarms.cloudwatch.amazonaws.com",
        SourceAccount=account.number,
    )
    put_alarm(cloudwatch, namespace, alarm_name, AlarmActions=[arn])
    put(cloudwatch, namespace, {"MetricName": "Errors", "Value": 2.0})

    def said() -> dict[str, Any] | None:
        try:
            found = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        except ClientError:
            return None
        lines = [event["message"] for event in found if event["message"].startswith("ALARM ")]
        return json.loads(lines[0].removeprefix("ALARM ")) if lines else None

    event = until(said, "the function was called")
    assert event["source"] == "aws.cloudwatch"
    assert event["accountId"] == account.number
    assert event["alarmData"]["alarmName"] == alarm_name
    assert event["alarmData"]["state"]["value"] == "ALARM"
    functions.delete_function(FunctionName=name)
    actions = cloudwatch.describe_alarm_history(AlarmName=alarm_name, HistoryItemType="Action")["AlarmHistoryItems"]
    assert [item["HistorySummary"] for item in actions] == [f"Successfully executed action {arn}"]


def test_alarms_are_found_by_name_prefix_state_and_type(account: Account, cloudwatch: Any, namespace: str) -> None:
    prefix = account.name("found")
    names = [f"{prefix}-{letter}" for letter in "abc"]
    for name in names:
        put_alarm(cloudwatch, namespace, name, Tags=[{"Key": "project", "Value": "demo"}])
    cloudwatch.put_composite_alarm(AlarmName=f"{prefix}-any", AlarmRule=" OR ".join(f"ALARM({name})" for name in names))
    cloudwatch.set_alarm_state(AlarmName=names[1], StateValue="ALARM", StateReason="a drill")

    def found(**params: Any) -> list[str]:
        pages = cloudwatch.get_paginator("describe_alarms").paginate(AlarmNamePrefix=prefix, **params)
        kinds = ("MetricAlarms", "CompositeAlarms")
        return [alarm["AlarmName"] for page in pages for kind in kinds for alarm in page[kind]]

    assert found() == names
    assert found(PaginationConfig={"PageSize": 1}) == names
    assert found(StateValue="ALARM") == [names[1]]
    assert found(AlarmTypes=["CompositeAlarm"]) == [f"{prefix}-any"]
    assert found(AlarmTypes=["CompositeAlarm"], StateValue="ALARM") == [f"{prefix}-any"]
    arn = cloudwatch.describe_alarms(AlarmNames=[names[0]])["MetricAlarms"][0]["AlarmArn"]
    cloudwatch.tag_resource(ResourceARN=arn, Tags=[{"Key": "stage", "Value": "prod"}])
    cloudwatch.untag_resource(ResourceARN=arn, TagKeys=["project"])
    assert cloudwatch.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "stage", "Value": "prod"}]
    on_metric = cloudwatch.describe_alarms_for_metric(MetricName="Errors", Namespace=namespace)["MetricAlarms"]
    assert [alarm["AlarmName"] for alarm in on_metric] == names
    code, _ = error_of(cloudwatch.delete_alarms, AlarmNames=names)
    assert code == "ValidationError"
    cloudwatch.delete_alarms(AlarmNames=[f"{prefix}-any"])
    cloudwatch.delete_alarms(AlarmNames=names)
    assert found() == []
    history = cloudwatch.describe_alarm_history(AlarmName=names[0], HistoryItemType="ConfigurationUpdate")
    assert [item["HistorySummary"] for item in history["AlarmHistoryItems"]] == [
        f'Alarm "{names[0]}" deleted',
        f'Alarm "{names[0]}" created',
    ]


@pytest.mark.usefixtures("localcloud_only")
@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            {"Metrics": []},
            "MetricName should not be set if list of Metrics is set.",
        ),
        (
            {"Statistic": "Average", "ExtendedStatistic": "p90"},
            "Exactly one of the parameters Statistic and ExtendedStatistic must be specified.",
        ),
        ({"Period": 45}, "Period must be 10, 20, 30 or a multiple of 60; it is 45"),
        (
            {"Period": 600, "EvaluationPeriods": 200},
            "Metrics cannot be checked across more than a day (EvaluationPeriods * Period must be <= 86400).",
        ),
        ({"DatapointsToAlarm": 2}, "DatapointsToAlarm (2) must be less than or equal to EvaluationPeriods (1)"),
        (
            {"TreatMissingData": "zero"},
            "TreatMissingData must be one of breaching, notBreaching, ignore, missing; it is 'zero'",
        ),
        (
            {"ComparisonOperator": "GreaterThanUpperThreshold"},
            "localcloud has alarms on a static threshold, and no anomaly detection; got GreaterThanUpperThreshold",
        ),
        ({"AlarmActions": ["nonsense"]}, "Invalid arn syntax: nonsense"),
        (
            {"AlarmActions": ["arn:aws:automate:eu-west-1:ec2:stop"]},
            "localcloud does three kinds of alarm actions: Lambda functions, SNS topics, scaling policies; got"
            " arn:aws:automate:eu-west-1:ec2:stop",
        ),
        (
            {"AlarmActions": ["arn:aws:sns:us-east-1:123456789012:topic"]},
            "localcloud does alarm actions in region eu-west-1 and account 123456789012; got"
            " arn:aws:sns:us-east-1:123456789012:topic",
        ),
    ],
)
def test_alarms_that_cannot_be_are_refused(
    cloudwatch: Any, namespace: str, members: dict[str, Any], message: str
) -> None:
    with pytest.raises(ClientError) as error:
        put_alarm(cloudwatch, namespace, "refused", **members)
    assert error.value.response["Error"]["Message"] == message
    assert cloudwatch.describe_alarms(AlarmNames=["refused"])["MetricAlarms"] == []


@pytest.mark.usefixtures("localcloud_only")
def test_what_is_not_there_is_not_found(cloudwatch: Any) -> None:
    assert error_of(cloudwatch.delete_alarms, AlarmNames=["none"])[0] == "ResourceNotFound"
    with pytest.raises(cloudwatch.exceptions.ResourceNotFound, match="Alarm none does not exist"):
        cloudwatch.set_alarm_state(AlarmName="none", StateValue="OK", StateReason="")
    with pytest.raises(cloudwatch.exceptions.ResourceNotFoundException):
        cloudwatch.list_tags_for_resource(ResourceARN="arn:aws:cloudwatch:eu-west-1:123456789012:alarm:none")
    assert error_of(cloudwatch.describe_alarms, NextToken="x")[0] == "InvalidNextToken"


def test_time_that_passes_ends_an_alarm_and_a_kill_does_not(
    start_localcloud: Callable[[Path], Running], client_of: Callable[..., Any], tmp_path: Path
) -> None:
    running = start_localcloud(tmp_path)
    cloudwatch = client_of(running, "cloudwatch")
    put_alarm(cloudwatch, "Demo", "errors")
    put(cloudwatch, "Demo", {"MetricName": "Errors", "Value": 1.0})
    assert state(cloudwatch, "errors") == "ALARM"
    running.kill()
    running = start_localcloud(tmp_path)
    cloudwatch = client_of(running, "cloudwatch")
    (alarm,) = cloudwatch.describe_alarms()["MetricAlarms"]
    assert alarm["StateValue"] == "ALARM"
    assert cloudwatch.list_metrics()["Metrics"] == [{"Namespace": "Demo", "MetricName": "Errors", "Dimensions": []}]
    _advance(running, 3600)
    assert state(cloudwatch, "errors") == "OK"


def _advance(running: Running, seconds: float) -> None:
    request = urllib.request.Request(
        f"{running.endpoint_url}/_localcloud/advance", data=str(seconds).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 200
