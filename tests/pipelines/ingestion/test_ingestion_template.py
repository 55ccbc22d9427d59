"""The template of the stream, held against what reads it: the names, the programs, and what they are told."""

from __future__ import annotations

import json
import re
from typing import Any

import jq
import pytest

from pipelines import names as n
from seed_code.ingestion import replay
from seed_code.ingestion.flink import main as flink
from seed_code.ingestion.operator import __main__ as operator
from seed_code.ingestion.poller import settings as poller
from tests.pipelines import template
from tests.pipelines.conftest import ROOT
from tests.pipelines.ingestion.test_rights_of_the_stream import ROLES

NAMES = n.Names("fraud", "123456789012", "eu-west-1")
PARAMETERS = {
    "SageMakerProjectName": "fraud",
    "Bucket": NAMES.bucket,
    "ExecutionRoleName": NAMES.role_name,
    "CodeBucket": NAMES.code_bucket,
    "CodeKey": "functions/c.zip",
    "FlinkCodeKey": "flink/c.zip",
    "ImageUri": "image",
    "Running": "true",
    "SourceProtocol": "rest",
    "SourceUrl": "https://source",
    "WebsocketUrl": "wss://source/inv",
    "RequestsPer5Minutes": "500",
    "PollerCpu": "256",
    "PollerMemory": "512",
    "PollerSpot": "true",
    "SpoolMegabytes": "200",
    "DedupeHours": "6",
    "AggregateBy": "operator",
    "LatenessSeconds": "30",
    "OperatorCpu": "256",
    "OperatorMemory": "512",
    "FlinkConnector": "kinesis",
    "ReconcileHours": "3",
    "MaxMinuteAgeMinutes": "10",
    "MaxGaps": "3",
    "MaxIteratorAgeSeconds": "120",
    "VpcId": "vpc-0",
    "SubnetIds": "subnet-0,subnet-1",
    "PublicAddresses": "true",
}
HERE = ROOT / "seed_code" / "ingestion"


def resources(**changed: str) -> dict[str, dict[str, Any]]:
    """With other parameters than the usual ones."""
    return template.resources("ingestion", PARAMETERS | changed)


def of_type(found: dict[str, dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    """The properties of all resources of a type."""
    return {key: one["Properties"] for key, one in found.items() if one["Type"] == kind}


def environment(found: dict[str, dict[str, Any]], task: str) -> dict[str, str]:
    """What the container of a task is told."""
    [container] = found[task]["Properties"]["ContainerDefinitions"]
    return {variable["Name"]: variable["Value"] for variable in container["Environment"]}


def test_the_template_takes_what_is_passed_and_nothing_more() -> None:
    declared = template.read("ingestion")["Parameters"]
    assert {name for name, one in declared.items() if "Default" not in one} == PARAMETERS.keys()


def test_what_the_names_name_is_there() -> None:
    found = {**resources(), **resources(AggregateBy="flink")}

    def named(kind: str, member: str) -> set[str]:
        return {properties[member] for properties in of_type(found, kind).values()}

    assert named("AWS::Events::EventBus", "Name") == {NAMES.ingestion_bus}
    assert named("AWS::Kinesis::Stream", "Name") == {
        NAMES.stream(n.TRANSACTIONS_STREAM), NAMES.stream(n.MINUTES_STREAM)
    }  # fmt: skip
    assert named("AWS::KinesisFirehose::DeliveryStream", "DeliveryStreamName") == {NAMES.archive_delivery}
    assert named("AWS::DynamoDB::Table", "TableName") == {NAMES.seen_table}
    assert named("AWS::ECS::Cluster", "ClusterName") == {NAMES.ingestion_cluster}
    programs = {NAMES.task_family(program) for program in (n.POLLER, n.OPERATOR, n.REPLAY, n.COMPACT)}
    assert named("AWS::ECS::TaskDefinition", "Family") == programs
    assert named("AWS::ECS::Service", "ServiceName") == {NAMES.task_family(n.POLLER), NAMES.task_family(n.OPERATOR)}
    assert named("AWS::KinesisAnalyticsV2::Application", "ApplicationName") == {NAMES.flink_application}
    assert named("AWS::Lambda::Function", "FunctionName") == set(map(NAMES.function, n.INGESTION_FUNCTIONS))
    assert named("AWS::SQS::Queue", "QueueName") == {
        NAMES.queue(n.SET_ASIDE_QUEUE), NAMES.queue(n.INGESTION_DEAD_QUEUE)
    }  # fmt: skip
    assert named("AWS::CloudWatch::Alarm", "AlarmName") == set(map(NAMES.ingestion_alarm, n.INGESTION_ALARMS))
    assert named("AWS::CloudWatch::Dashboard", "DashboardName") == {NAMES.dashboard(n.INGESTION)}
    assert named("AWS::SageMaker::FeatureGroup", "FeatureGroupName") == {NAMES.feature_group(*n.MINUTES)}
    alarms = of_type(found, "AWS::CloudWatch::Alarm").values()
    assert {action for alarm in alarms for action in alarm["AlarmActions"]} == {NAMES.notices_topic_arn}


def test_whatever_has_a_name_of_its_own_carries_the_projects() -> None:
    members = ("Name", "FunctionName", "RoleName", "QueueName", "TableName", "AlarmName", "AliasName", "LogGroupName")
    for logical, resource in resources().items():
        for member in members:
            if resource["Type"] != "AWS::Logs::LogStream" and member in resource["Properties"]:
                assert "fraud" in resource["Properties"][member] or resource["Properties"][member] == logical, logical


def test_the_rules_are_about_what_the_poller_publishes() -> None:
    rules = of_type(resources(), "AWS::Events::Rule")
    assert {rule["EventBusName"] for rule in rules.values()} == {NAMES.ingestion_bus}
    assert all(rule["EventPattern"]["source"] == [n.INGESTION_SOURCE] for rule in rules.values())
    by_detail = {rule["EventPattern"]["detail-type"][0]: rule["Targets"][0]["Arn"] for rule in rules.values()}
    assert by_detail == {n.TRANSACTIONS_DETAIL: "DeduplicateFunction.Arn", n.SET_ASIDE_DETAIL: "SetAside.Arn"}


def test_one_aggregate_is_there_and_it_is_the_one_that_was_declared() -> None:
    by_operator, by_flink = resources(), resources(AggregateBy="flink")
    assert by_operator.keys() - by_flink.keys() == {"OperatorTask", "OperatorRole", "OperatorService"}
    assert by_flink.keys() - by_operator.keys() == {
        "FlinkApplication", "FlinkLog", "FlinkLogStream", "FlinkLogging", "FlinkRole"
    }  # fmt: skip


@pytest.mark.parametrize(("running", "count", "state", "missing"), [
    ("true", 1, "ENABLED", "breaching"), ("false", 0, "DISABLED", "notBreaching"),
])  # fmt: skip
def test_a_stream_that_does_not_run_does_nothing_and_alarms_nobody(
    running: str, count: int, state: str, missing: str
) -> None:
    found = resources(Running=running)
    assert {service["DesiredCount"] for service in of_type(found, "AWS::ECS::Service").values()} == {count}
    assert {schedule["State"] for schedule in of_type(found, "AWS::Scheduler::Schedule").values()} == {state}
    for alarm in ("MinuteAge", "PollerDown"):
        assert found[alarm]["Properties"]["TreatMissingData"] == missing


def test_the_rights_of_every_role_are_looked_at() -> None:
    """By a stream that is at work, but for Flink's, which stands where the operator's does."""
    roles = {role["RoleName"].removeprefix("fraud-") for role in of_type(resources(), "AWS::IAM::Role").values()}
    assert roles == set(ROLES)


# --- what programs are told -------------------------------------------------------------------------------------------


def test_the_containers_are_told_what_their_programs_read() -> None:
    found = resources()
    read = poller.read(environment(found, "PollerTask"))
    assert (read.bus, read.requests_per_5_minutes, read.spool_bytes) == (NAMES.ingestion_bus, 500, 200_000_000)
    [container] = found["PollerTask"]["Properties"]["ContainerDefinitions"]
    assert [mount["ContainerPath"] for mount in container["MountPoints"]] == [str(read.spool_folder)]
    # Fargate mounts a volume for root alone, unless the image says that it has one there.
    assert f"VOLUME {read.spool_folder}" in (HERE / "Dockerfile").read_text().splitlines()
    settings = operator.Settings.of(environment(found, "OperatorTask"))
    assert settings.lateness_seconds == 30
    assert settings.checkpoint_uri == NAMES.operator_uri
    archived = environment(found, "ReplayTask")
    assert (archived["ARCHIVE_URI"], archived["RESULT_URI"]) == (NAMES.archive_uri, NAMES.replays_uri)
    assert environment(found, "CompactTask")["RESULT_URI"] == NAMES.replays_uri


@pytest.mark.parametrize("task", ["PollerTask", "OperatorTask", "ReplayTask", "CompactTask"])
def test_a_containers_program_is_there_and_reads_its_variables(task: str) -> None:
    found = resources()
    [container] = found[task]["Properties"]["ContainerDefinitions"]
    *python, module = container["Command"]
    assert python == ["python3", "-m"]
    file = ROOT / module.replace(".", "/")
    sources = sorted(file.glob("*.py")) if file.is_dir() else [file.with_suffix(".py")]
    text = "".join(source.read_text() for source in sources)
    assert [name for name in environment(found, task) if name not in text] in ([], ["PROJECT"])


@pytest.mark.parametrize("function", ["DeduplicateFunction", "WriteMinutesFunction"])
def test_a_functions_handler_is_there_and_reads_its_variables(function: str) -> None:
    properties = resources()[function]["Properties"]
    module, _, name = properties["Handler"].rpartition(".")
    text = (ROOT / f"{module.replace('.', '/')}.py").read_text()
    assert f"def {name}(" in text
    read = set(re.findall(r'"([A-Z][A-Z_]+)"', text))
    assert properties["Environment"]["Variables"].keys() == read


@pytest.mark.parametrize("connector", ["kinesis", "filesystem"])
def test_the_flink_job_takes_the_properties_that_it_gets(connector: str) -> None:
    application = resources(AggregateBy="flink", FlinkConnector=connector)["FlinkApplication"]["Properties"]
    found = application["ApplicationConfiguration"]["EnvironmentProperties"]["PropertyGroups"]
    groups = {group["PropertyGroupId"]: group["PropertyMap"] for group in found}
    run = groups.pop("kinesis.analytics.flink.run.options")
    assert (HERE / "flink" / run["python"]).is_file()
    assert ("jarfile" in run) == (connector == "kinesis")
    assert groups.keys() == {*flink.TABLES, "aggregate"}
    assert all(groups[table]["connector"] == connector for table in flink.TABLES)
    statements = list(flink.fill((HERE / "flink" / "minutes.sql").read_text(), groups))
    assert any("00:00:30" in statement for statement in statements)


def test_the_archive_is_partitioned_by_the_transactions_own_time() -> None:
    destination = resources()["Archive"]["Properties"]["ExtendedS3DestinationConfiguration"]
    [processor] = destination["ProcessingConfiguration"]["Processors"]
    query = {one["ParameterName"]: one["ParameterValue"] for one in processor["Parameters"]}["MetadataExtractionQuery"]
    for hash_ in ("ab", None):
        partition = jq.compile(query).input({"hash": hash_, "time": 1_795_356_245, "fee": None}).first()
        assert partition == {"day": "2026-11-22", "hour": "14"}
    prefix = re.sub(r"!\{partitionKeyFromQuery:(\w+)\}", lambda match: partition[match[1]], destination["Prefix"])
    assert f"s3://{NAMES.bucket}/{prefix}" == f"{NAMES.archive_uri}/day=2026-11-22/hour=14/"


def test_what_is_scheduled_is_what_the_programs_take() -> None:
    schedules = of_type(resources(), "AWS::Scheduler::Schedule")
    commands = {}
    for schedule in schedules.values():
        [override] = json.loads(schedule["Target"]["Input"])["containerOverrides"]
        moment = "2026-11-22T14:20:00Z"
        commands[override["name"]] = [
            word.replace("<aws.scheduler.scheduled-time>", moment) for word in override["command"]
        ]
    assert commands["replay"][:3] == ["python3", "-m", "seed_code.ingestion.replay"]
    request = replay.requested(commands["replay"][3:])
    assert (request.id, request.write) == ("reconcile-2026-11-22T14:20:00Z", True)
    assert (request.end - request.begin).total_seconds() == 3 * 3600
    assert commands["compact"][:3] == ["python3", "-m", "seed_code.ingestion.compact"]


# --- what is seen -----------------------------------------------------------------------------------------------------


def test_the_dashboard_and_the_alarms_are_about_metrics_that_somebody_puts() -> None:
    found = resources()
    body = json.loads(found["Dashboard"]["Properties"]["DashboardBody"])
    shown = {tuple(metric[:2]) for widget in body["widgets"] for metric in widget["properties"].get("metrics", ())}
    alarms = of_type(found, "AWS::CloudWatch::Alarm").values()
    stats = [one["MetricStat"]["Metric"] for alarm in alarms for one in alarm.get("Metrics", ()) if "MetricStat" in one]
    watched = {(one["Namespace"], one["MetricName"]) for one in (*alarms, *stats) if "Namespace" in one}
    sources = [*(HERE / "poller").glob("*.py"), *(HERE / "functions").glob("*.py")]
    text = "".join(source.read_text() for source in sources)
    for namespace, metric in shown | watched:
        if namespace == n.INGESTION_METRICS:
            assert f'"{metric}"' in text, metric
    assert watched < shown | {(n.INGESTION_METRICS, "Polls")}
