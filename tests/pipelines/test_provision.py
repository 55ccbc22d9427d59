"""The project's stacks, as `mlops up` deploys them, and the image that stands in for SageMaker's."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines import functions, images, infrastructure, names, provision
from pipelines.config import Workloads
from pipelines.errors import ServiceError
from pipelines.session import client
from tests.conftest import Localcloud, point_at
from tests.pipelines import template
from tests.pipelines.conftest import ROOT, Project, make_copy, make_project


@pytest.fixture(scope="module")
def stack(localcloud: Localcloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, list[str]]]:
    """A project whose stacks were deployed, and what that made. Its stream is there, and not at work."""
    with pytest.MonkeyPatch.context() as patch:
        point_at(localcloud, patch)
        made = make_project(make_copy(tmp_path_factory.mktemp("stack") / "copy"))
        for folder in ("pipelines", "template", "seed_code/common", "seed_code/ingestion"):
            shutil.copytree(ROOT / folder, made.root / folder, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "seed_code" / "__init__.py", made.root / "seed_code")
        yield made, _provision(made)


def _provision(project: Project) -> list[str]:
    return provision.provision(
        project.session, project.configuration, project.root, tracking_uri="http://127.0.0.1:9", poll_seconds=0.05
    )


def test_all_that_the_names_name_is_there_and_a_second_time_changes_nothing(stack: Any) -> None:
    project, made = stack
    named, session = project.names, project.session
    assert re.fullmatch(rf"the stack {named.stack}: \d+ created", made[0])
    assert [line.partition(" ")[0] for line in made[1:-2]] == ["image", "image"]
    assert re.fullmatch(rf"the stack {named.ingestion_stack}: \d+ created", made[-2])
    assert made[-1] == "32 runtime values in Parameter Store"
    assert _provision(project) == []
    assert client(session, "s3").head_bucket(Bucket=named.bucket)
    assert client(session, "iam").get_role(RoleName=named.role_name)["Role"]["Arn"] == named.role_arn
    sagemaker = client(session, "sagemaker")
    for workload in Workloads.model_fields:
        sagemaker.describe_model_package_group(ModelPackageGroupName=named.package_group(workload))
        client(session, "ecr").describe_repositories(repositoryNames=[named.image_repository(workload)])
        for stage in names.STAGES:
            alarms = list(named.rollback_alarms(workload, stage))
            found = client(session, "cloudwatch").describe_alarms(AlarmNames=alarms)["MetricAlarms"]
            assert len(found) == 2
            dimensions = {one["Name"]: one["Value"] for one in found[0]["Dimensions"]}
            assert dimensions == {"EndpointName": named.endpoint(workload, stage), "VariantName": names.VARIANT}
        for stage in names.MONITORED[workload]:
            _is_watched(project, workload, stage)
        body = client(session, "cloudwatch").get_dashboard(DashboardName=named.dashboard(workload))["DashboardBody"]
        assert named.monitor_alarm(workload, "prod", names.QUALITY) in body
    for group in (names.MINUTES, names.HOLDERS):
        described = sagemaker.describe_feature_group(FeatureGroupName=named.feature_group(*group))
        assert described["OfflineStoreConfig"]["S3StorageConfig"]["S3Uri"] == named.feature_store_uri
    # Those around CodePipeline are there where it is.
    for function in set(names.FUNCTIONS) - {"changes", "guard"}:
        described = client(session, "lambda").get_function(FunctionName=named.function_arn(function))
        assert described["Configuration"]["Runtime"] == "python3.11"
    for queue in ("approvals", "callbacks", "dead-letters"):
        client(session, "sqs").get_queue_url(QueueName=named.queue_url(queue).rsplit("/", 1)[-1])
    for table in (named.deployments_table, named.retraining_table):
        client(session, "dynamodb").describe_table(TableName=table)
    assert client(session, "sns").get_topic_attributes(TopicArn=named.notices_topic_arn)


def test_the_stream_is_there_as_declared(stack: Any) -> None:
    project, _ = stack
    named, session = project.names, project.session
    assert client(session, "events").describe_event_bus(Name=named.ingestion_bus)["Name"] == named.ingestion_bus
    for stream in (names.TRANSACTIONS_STREAM, names.MINUTES_STREAM):
        summary = client(session, "kinesis").describe_stream_summary(StreamName=named.stream(stream))
        assert summary["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE"
        assert summary["StreamDescriptionSummary"]["EncryptionType"] == "KMS"
    firehose = client(session, "firehose")
    delivery = firehose.describe_delivery_stream(DeliveryStreamName=named.archive_delivery)["DeliveryStreamDescription"]
    [destination] = delivery["Destinations"]
    assert f"s3://{named.bucket}/{destination['ExtendedS3DestinationDescription']['Prefix']}".startswith(
        f"{named.archive_uri}/day=!"
    )
    expiry = client(session, "dynamodb").describe_time_to_live(TableName=named.seen_table)["TimeToLiveDescription"]
    assert (expiry["AttributeName"], expiry["TimeToLiveStatus"]) == ("expires", "ENABLED")
    for function in names.INGESTION_FUNCTIONS:
        client(session, "lambda").get_function(FunctionName=named.function_arn(function))
    [mapping] = client(session, "lambda").list_event_source_mappings(FunctionName=named.function(names.WRITE_MINUTES))[
        "EventSourceMappings"
    ]
    assert mapping["BisectBatchOnFunctionError"]
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    for queue in (names.SET_ASIDE_QUEUE, names.INGESTION_DEAD_QUEUE):
        client(session, "sqs").get_queue_url(QueueName=named.queue(queue))
    watching = [named.ingestion_alarm(alarm) for alarm in names.INGESTION_ALARMS]
    found = client(session, "cloudwatch").describe_alarms(AlarmNames=watching)["MetricAlarms"]
    assert sorted(alarm["AlarmName"] for alarm in found) == sorted(watching)
    body = client(session, "cloudwatch").get_dashboard(DashboardName=named.dashboard(names.INGESTION))["DashboardBody"]
    assert all(alarm in body for alarm in watching)
    group = client(session, "sagemaker").describe_feature_group(FeatureGroupName=named.feature_group(*names.MINUTES))
    assert group["OnlineStoreConfig"]["SecurityConfig"]["KmsKeyId"]
    assert group["OfflineStoreConfig"]["S3StorageConfig"]["KmsKeyId"]


def test_a_stream_that_does_not_run_has_no_tasks_and_no_schedules_that_are_due(stack: Any) -> None:
    project, _ = stack
    named, ecs = project.names, client(project.session, "ecs")
    families = [named.task_family(program) for program in (names.POLLER, names.OPERATOR)]
    services = ecs.describe_services(cluster=named.ingestion_cluster, services=families)["services"]
    assert [(service["serviceName"], service["desiredCount"]) for service in services] == [
        (family, 0) for family in families
    ]
    assert ecs.list_tasks(cluster=named.ingestion_cluster)["taskArns"] == []
    scheduler = client(project.session, "scheduler")
    for schedule in ("reconcile", "compact"):
        found = scheduler.get_schedule(Name=f"{named.project}-{schedule}")
        assert found["State"] == "DISABLED"
        assert found["Target"]["EcsParameters"]["LaunchType"] == "FARGATE"


def _is_watched(project: Project, workload: str, stage: str) -> None:
    """A stage is evaluated every hour, and its alarms are there and tell people."""
    named, session = project.names, project.session
    described = client(session, "scheduler").get_schedule(Name=named.schedule(workload, stage))
    assert json.loads(described["Target"]["Input"])["stage"] == stage
    assert described["Target"]["Arn"] == named.function_arn("evaluations")
    watching = [named.monitor_alarm(workload, stage, alarm) for alarm in names.MONITOR_ALARMS]
    found = client(session, "cloudwatch").describe_alarms(AlarmNames=watching)["MetricAlarms"]
    assert sorted(alarm["AlarmName"] for alarm in found) == sorted(watching)
    assert all(alarm["AlarmActions"] == [named.notices_topic_arn] for alarm in found)
    [quality] = [alarm for alarm in found if "Metrics" in alarm]
    wanted = getattr(project.configuration.workloads, workload).monitoring.quality_alarm
    assert (quality["EvaluationPeriods"], quality["DatapointsToAlarm"]) == (wanted.hours, wanted.breaches)


def test_a_changed_function_is_deployed_and_nothing_else(stack: Any) -> None:
    project, _ = stack
    code = client(project.session, "lambda")
    before = code.get_function(FunctionName=project.names.function("approvals"))["Configuration"]["CodeSha256"]
    file = project.root / "pipelines" / "deploy" / "functions" / "approvals.py"
    file.write_text(file.read_text() + "\n# changed\n")
    [made] = _provision(project)
    assert made == f"the stack {project.names.stack}: 7 updated"
    after = code.get_function(FunctionName=project.names.function("approvals"))["Configuration"]["CodeSha256"]
    assert after != before


def test_a_template_that_is_wrong_is_refused_with_its_resource(stack: Any) -> None:
    project, _ = stack
    file = project.root / "template" / "project.yml"
    text = file.read_text()
    file.write_text(text.replace("      BillingMode: PAY_PER_REQUEST\n", "      BilingMode: PAY_PER_REQUEST\n"))
    with pytest.raises(ServiceError, match="BilingMode"):
        _provision(project)
    file.write_text(text)
    assert _provision(project) == []


def test_a_stack_that_cannot_be_made_says_why_and_can_be_made_when_that_is_mended(project: Any) -> None:
    place = {"LocationConstraint": project.names.region}
    s3 = client(project.session, "s3")
    s3.create_bucket(Bucket=project.names.bucket, CreateBucketConfiguration=place)

    def deploy() -> list[str]:
        return provision.deploy(
            project.session, project.configuration, ROOT, tracking_uri="http://127.0.0.1:9", poll_seconds=0.05
        )

    with pytest.raises(ServiceError, match=f"Bucket: .*{project.names.bucket}.*exists"):
        deploy()
    s3.delete_bucket(Bucket=project.names.bucket)
    assert all(change.startswith("created ") for change in deploy())


def test_a_stack_that_is_being_rolled_back_is_waited_for_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    statuses = iter(["ROLLBACK_IN_PROGRESS", "ROLLBACK_IN_PROGRESS", "ROLLBACK_COMPLETE"])
    cloudformation = SimpleNamespace(describe_stacks=lambda **_: {"Stacks": [{"StackStatus": next(statuses)}]})
    assert infrastructure._Stack(cloudformation, "mlops-demo", 0.001)._settled() == "ROLLBACK_COMPLETE"
    monkeypatch.setattr(infrastructure, "_PATIENCE_SECONDS", -1.0)
    statuses = iter(["UPDATE_IN_PROGRESS"])
    with pytest.raises(ServiceError, match="`mlops-demo` is UPDATE_IN_PROGRESS: somebody else changes it"):
        infrastructure._Stack(cloudformation, "mlops-demo", 0.001)._settled()


def test_several_who_make_a_stack_at_once_all_end_well(project: Any) -> None:
    name = f"{project.names.project}--shared"
    value = {"Type": "AWS::SSM::Parameter", "Properties": {"Name": f"/{name}", "Type": "String", "Value": "1"}}
    body = json.dumps({"Resources": {"Value": value}})
    # Somebody's who was cut off before it was executed.
    client(project.session, "cloudformation").create_change_set(
        StackName=name, ChangeSetName="left", ChangeSetType="CREATE", TemplateBody=body
    )
    arguments = (project.session, project.names, name, infrastructure.Wanted(body, {}), 0.02)
    with ThreadPoolExecutor(4) as threads:
        made = [threads.submit(infrastructure.deploy, *arguments) for _ in range(4)]
    assert sorted(one.result() for one in made)[-1] == ["created SSM::Parameter Value"]
    assert client(project.session, "ssm").get_parameter(Name=f"/{name}")["Parameter"]["Value"] == "1"


def test_a_projects_stacks_are_no_other_projects() -> None:
    """A stack that is taken for one's own is changed to one's own template: what else it had is gone."""
    ours, theirs = (names.Names(project, "1" * 12, "eu-west-1") for project in ("fraud", "fraud-api"))
    assert len({ours.stack, ours.api_stack, theirs.stack, theirs.api_stack, names.ADMIN_STACK}) == 5
    for stack in (ours.api_stack, theirs.api_stack, names.ADMIN_STACK):
        with pytest.raises(ValueError, match="single hyphens"):
            names.Names(stack, "1" * 12, "eu-west-1")


def test_the_template_has_no_resource_that_names_do_not_know() -> None:
    """What the template names is made of the project's name, so that two projects share an account."""
    for logical, resource in template.read()["Resources"].items():
        for member, value in resource.get("Properties", {}).items():
            if member in ("BucketName", "RoleName", "QueueName", "TableName", "FunctionName", "AlarmName", "Name"):
                assert "${SageMakerProjectName}" in str(value) or "Ref" in str(value), (logical, member)


def test_the_same_tree_gives_the_same_code(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines", ignore=shutil.ignore_patterns("__pycache__"))
    packed = [functions.pack(root, functions.PIPELINES) for root in (tmp_path, ROOT)]
    assert functions.key(packed[0]) == functions.key(packed[1])


def test_our_image_stands_in_for_sagemakers_deepar_and_the_newest_does(project: Any) -> None:
    place = {"LocationConstraint": project.names.region}
    client(project.session, "s3").create_bucket(Bucket=project.names.bucket, CreateBucketConfiguration=place)
    (project.root / "seed_code" / "cardholders").rename(project.root / "seed_code" / "forecaster")
    file = project.root / "seed_code" / "forecaster" / "Dockerfile"
    file.write_text(file.read_text().replace("seed_code/cardholders", "seed_code/forecaster"))
    ecr = client(project.session, "ecr")

    def standing_in() -> str:
        for _ in range(2):  # again changes nothing
            [registered] = provision.register_images(project.session, project.names, project.root)
        found = ecr.batch_get_image(
            repositoryName="forecasting-deepar", imageIds=[{"imageTag": "1"}], registryId=project.names.account_id
        )
        tag = registered.uri.rsplit(":", 1)[-1]
        assert tag in found["images"][0]["imageManifest"]
        return tag

    first = standing_in()
    assert images.discover(project.root) == ["forecaster"]
    (project.root / "seed_code" / "forecaster" / "program.py").write_text("print('changed')\n")
    assert standing_in() != first
