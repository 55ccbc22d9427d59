"""Managed Service for Apache Flink: applications as they are described, and a job that really runs (slow)."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import Running
from tests.contract.sagemaker_account import Account, error_of
from tests.contract.stacks import Stacks, template

PYTHON = Path(__file__).resolve().parents[2] / ".venvs" / "flink" / "bin" / "python"
LOG_STREAM = "arn:aws:logs:${AWS::Region}:${AWS::AccountId}:log-group:${Group}:log-stream:${Stream}"
JOB = """
import json, os
from pyflink.table import EnvironmentSettings, TableEnvironment

properties = json.load(open(os.environ["APPLICATION_PROPERTIES_PATH"]))
groups = {one["PropertyGroupId"]: one["PropertyMap"] for one in properties}
tables = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
for name in ("numbers", "doubled"):
    options = {**groups[name], "path": os.environ["MOUNT_ROOT"] + groups[name]["path"]}
    given = ", ".join(f"'{key}' = '{value}'" for key, value in options.items())
    tables.execute_sql(f"CREATE TABLE {name} (n BIGINT) WITH ({given})")
tables.execute_sql("INSERT INTO doubled SELECT n * 2 FROM numbers").wait()
"""


@pytest.fixture(scope="module")
def account(cloud: Any) -> Account:
    """The account under test."""
    return Account.of(cloud)


def zipped(text: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("main.py", text)
    return content.getvalue()


def configuration(account: Account, numbers: str = "numbers", doubled: str = "doubled") -> dict[str, Any]:
    """That of an application which doubles numbers; its code is put into the account's bucket."""
    key = f"tests/{account.name('flink')}.zip"
    account.s3.put_object(Bucket=account.bucket, Key=key, Body=zipped(JOB))
    files = {"connector": "filesystem", "format": "json"}
    groups = {
        "kinesis.analytics.flink.run.options": {"python": "main.py"},
        "numbers": {**files, "path": f"/streams/{numbers}", "source.monitor-interval": "1s"},
        "doubled": {
            **files,
            "path": f"/streams/{doubled}",
            "sink.rolling-policy.rollover-interval": "1s",
            "sink.rolling-policy.check-interval": "1s",
        },
    }
    return {
        "ApplicationCodeConfiguration": {
            "CodeContentType": "ZIPFILE",
            "CodeContent": {"S3ContentLocation": {"BucketARN": f"arn:aws:s3:::{account.bucket}", "FileKey": key}},
        },
        "FlinkApplicationConfiguration": {
            "CheckpointConfiguration": {
                "ConfigurationType": "CUSTOM",
                "CheckpointInterval": 1000,
                "MinPauseBetweenCheckpoints": 500,
            }
        },
        "EnvironmentProperties": {
            "PropertyGroups": [{"PropertyGroupId": name, "PropertyMap": group} for name, group in groups.items()]
        },
    }


def create(account: Account, **members: Any) -> str:
    name = account.name("application")
    account.client("kinesisanalyticsv2").create_application(
        ApplicationName=name,
        RuntimeEnvironment="FLINK-2_3",
        ServiceExecutionRole=account.role,
        **{"ApplicationConfiguration": configuration(account), **members},
    )
    return name


def test_an_application_is_described_as_it_was_made(account: Account) -> None:
    flink = account.client("kinesisanalyticsv2")
    name = create(account, Tags=[{"Key": "a", "Value": "b"}], ApplicationDescription="doubles")
    found = flink.describe_application(ApplicationName=name)["ApplicationDetail"]
    assert (found["ApplicationStatus"], found["ApplicationVersionId"]) == ("READY", 1)
    assert found["ApplicationDescription"] == "doubles"
    shown = found["ApplicationConfigurationDescription"]
    checkpoints = shown["FlinkApplicationConfigurationDescription"]["CheckpointConfigurationDescription"]
    assert checkpoints["CheckpointInterval"] == 1000
    assert shown["ApplicationSnapshotConfigurationDescription"] == {"SnapshotsEnabled": True}
    assert flink.list_tags_for_resource(ResourceARN=found["ApplicationARN"])["Tags"] == [{"Key": "a", "Value": "b"}]
    assert name in [one["ApplicationName"] for one in flink.list_applications(Limit=50)["ApplicationSummaries"]]
    after = flink.update_application(
        ApplicationName=name,
        CurrentApplicationVersionId=1,
        ApplicationConfigurationUpdate={
            "FlinkApplicationConfigurationUpdate": {
                "CheckpointConfigurationUpdate": {"ConfigurationTypeUpdate": "CUSTOM", "CheckpointIntervalUpdate": 2000}
            }
        },
    )["ApplicationDetail"]
    assert after["ApplicationVersionId"] == 2
    code, _ = error_of(
        flink.update_application,
        ApplicationName=name,
        CurrentApplicationVersionId=1,
        ServiceExecutionRoleUpdate=account.role,
    )
    assert code == "ConcurrentModificationException"
    flink.delete_application(ApplicationName=name, CreateTimestamp=found["CreateTimestamp"])
    assert error_of(flink.describe_application, ApplicationName=name)[0] == "ResourceNotFoundException"


def test_requests_that_cannot_be_are_refused(account: Account, localcloud_only: None) -> None:
    flink = account.client("kinesisanalyticsv2")
    name = create(account)
    code, message = error_of(flink.start_application, ApplicationName=name)
    assert (code, "--flink-python" in message) == ("InvalidApplicationConfigurationException", True)
    assert error_of(flink.stop_application, ApplicationName=name)[0] == "ResourceInUseException"
    given = {"RuntimeEnvironment": "FLINK-1_20", "ServiceExecutionRole": account.role}
    code, message = error_of(flink.create_application, ApplicationName="x", **given)
    assert (code, "FLINK-2_3" in message) == ("InvalidArgumentException", True)


def test_a_stack_has_an_application_with_its_log(account: Account, stacks: Stacks) -> None:
    name = account.name("application")
    made = template(
        Group=("AWS::Logs::LogGroup", {"LogGroupName": f"/tests/{name}"}),
        Stream=("AWS::Logs::LogStream", {"LogGroupName": {"Ref": "Group"}, "LogStreamName": "application"}),
        Application=(
            "AWS::KinesisAnalyticsV2::Application",
            {
                "ApplicationName": name,
                "RuntimeEnvironment": "FLINK-2_3",
                "ServiceExecutionRole": account.role,
                "ApplicationConfiguration": configuration(account),
            },
        ),
        Logging=(
            "AWS::KinesisAnalyticsV2::ApplicationCloudWatchLoggingOption",
            {
                "ApplicationName": {"Ref": "Application"},
                "CloudWatchLoggingOption": {"LogStreamARN": {"Fn::Sub": LOG_STREAM}},
            },
        ),
    )
    stack = stacks.made(made)
    flink = account.client("kinesisanalyticsv2")
    found = flink.describe_application(ApplicationName=name)["ApplicationDetail"]
    (option,) = found["CloudWatchLoggingOptionDescriptions"]
    assert option["LogStreamARN"].endswith(f":log-group:/tests/{name}:log-stream:application")
    changed = configuration(account)
    changed["FlinkApplicationConfiguration"]["CheckpointConfiguration"]["CheckpointInterval"] = 3000
    made["Resources"]["Application"]["Properties"]["ApplicationConfiguration"] = changed
    assert stacks.update(stack, made)["StackStatus"] == "UPDATE_COMPLETE"
    shown = flink.describe_application(ApplicationName=name)["ApplicationDetail"]["ApplicationConfigurationDescription"]
    checkpoints = shown["FlinkApplicationConfigurationDescription"]["CheckpointConfigurationDescription"]
    assert checkpoints["CheckpointInterval"] == 3000
    assert stacks.delete(stack)["StackStatus"] == "DELETE_COMPLETE"
    assert error_of(flink.describe_application, ApplicationName=name)[0] == "ResourceNotFoundException"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not PYTHON.exists(), reason="no environment with PyFlink was made: `make .venvs/flink/.installed`")
def test_a_job_goes_on_after_a_stop_and_after_a_kill(
    start_localcloud: Callable[..., Running], client_of: Callable[..., Any], tmp_path: Path
) -> None:
    doubling = Doubling(start_localcloud(tmp_path, "--flink-python", str(PYTHON)), client_of)
    for stream in ("numbers", "doubled"):
        doubling.kinesis.create_stream(StreamName=stream, ShardCount=1)
    name = create(doubling.account)
    doubling.put(1, 2, 3)
    doubling.flink.start_application(ApplicationName=name)
    doubling.reaches(name, "RUNNING")
    doubling.gives(2, 4, 6)
    doubling.flink.stop_application(ApplicationName=name)
    doubling.reaches(name, "READY")
    (snapshot,) = doubling.flink.list_application_snapshots(ApplicationName=name)["SnapshotSummaries"]
    assert snapshot["SnapshotStatus"] == "READY"
    doubling.put(4)
    doubling.flink.start_application(ApplicationName=name)
    doubling.reaches(name, "RUNNING")
    doubling.gives(2, 4, 6, 8)
    doubling.running.kill()
    again = Doubling(start_localcloud(tmp_path, "--flink-python", str(PYTHON)), client_of)
    again.put(5)
    again.gives(2, 4, 6, 8, 10)


class Doubling:
    """A localcloud of its own, and the streams of the job there."""

    def __init__(self, running: Running, client_of: Callable[..., Any]) -> None:
        self.running = running
        self.account = Account(lambda service: client_of(running, service), "eu-west-1")
        self.kinesis, self.flink = self.account.client("kinesis"), self.account.client("kinesisanalyticsv2")

    def put(self, *numbers: int) -> None:
        entries = [{"Data": json.dumps({"n": one}).encode() + b"\n", "PartitionKey": "k"} for one in numbers]
        assert not self.kinesis.put_records(StreamName="numbers", Records=entries)["FailedRecordCount"]

    def doubled(self) -> list[int]:
        shard = self.kinesis.list_shards(StreamName="doubled")["Shards"][0]["ShardId"]
        iterator = self.kinesis.get_shard_iterator(
            StreamName="doubled", ShardId=shard, ShardIteratorType="TRIM_HORIZON"
        )
        records = self.kinesis.get_records(ShardIterator=iterator["ShardIterator"])["Records"]
        return [json.loads(record["Data"])["n"] for record in records]

    def gives(self, *numbers: int) -> None:
        """Wait for as many numbers, which must be these."""
        patiently(lambda: len(self.doubled()) >= len(numbers), f"{numbers} have come")
        assert self.doubled() == list(numbers)

    def reaches(self, name: str, status: str) -> None:
        def there() -> bool:
            found = self.flink.describe_application(ApplicationName=name)["ApplicationDetail"]
            return bool(found["ApplicationStatus"] == status)

        patiently(there, f"{name} is {status}")


def patiently(ask: Callable[[], Any], what: str) -> None:
    """As `until`, for what takes Flink's time; asked once a second."""
    never = threading.Event()
    for _ in range(240):
        if ask():
            return
        never.wait(1)
    raise AssertionError(f"after minutes still not: {what}")
