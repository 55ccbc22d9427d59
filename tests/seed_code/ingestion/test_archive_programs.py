"""The replay and the compaction as a task runs them, on a localcloud with a feature group."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import boto3
import pytest
from botocore.config import Config

from seed_code.common import clients
from seed_code.ingestion import compact, replay
from tests.conftest import ROOT, Localcloud
from tests.contract.sagemaker_account import Account, until
from tests.seed_code.ingestion.archived import PREFIX, at, deliver, heartbeat, transaction
from tests.seed_code.ingestion.fake_s3 import S3

SPAN = ("--from", "2026-11-22T14:00:00Z", "--to", "2026-11-22T14:04:00Z")


@dataclass(frozen=True)
class Task:
    """Runs the programs, with the environment that their task definitions give them."""

    account: Account
    group: str
    environment: dict[str, str]

    def run(self, program: str, *arguments: str) -> dict[str, Any]:
        """Run one to its end, in a process of its own; the result that it printed and put to S3."""
        ended = subprocess.run(
            [sys.executable, "-m", f"seed_code.ingestion.{program}", *arguments, "--id", "the-result"],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stderr
        found: dict[str, Any] = json.loads(ended.stdout)
        assert json.loads(self.account.text(f"{self.environment['RESULT_URI']}/the-result.json")) == found
        return found

    @property
    def files(self) -> list[str]:
        """Those of the offline store."""
        store = self.account.sagemaker.describe_feature_group(FeatureGroupName=self.group)["OfflineStoreConfig"]
        return list(self.account.keys(store["S3StorageConfig"]["ResolvedOutputS3Uri"]))

    def versions(self) -> list[dict[str, Any]]:
        """All that a query sees in the offline store."""
        athena = self.account.client("athena")
        table = self.account.sagemaker.describe_feature_group(FeatureGroupName=self.group)
        name = table["OfflineStoreConfig"]["DataCatalogConfig"]["TableName"]
        query = athena.start_query_execution(
            QueryString=f'SELECT * FROM "sagemaker_featurestore"."{name}" ORDER BY tx_minute, api_invocation_time',
            ResultConfiguration={"OutputLocation": self.account.new_prefix()},
        )["QueryExecutionId"]
        status = until(
            lambda: (
                (found := athena.get_query_execution(QueryExecutionId=query)["QueryExecution"]["Status"])["State"]
                in ("SUCCEEDED", "FAILED")
                and found
            ),
            "the query has ended",
        )
        assert status["State"] == "SUCCEEDED", status
        rows = athena.get_query_results(QueryExecutionId=query)["ResultSet"]["Rows"]
        names, *texts = [[one.get("VarCharValue") for one in row["Data"]] for row in rows]
        return [dict(zip(names, row, strict=True)) for row in texts]


@pytest.fixture(scope="module")
def task(localcloud: Localcloud) -> Task:
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-west-1")

    def client(service: str) -> Any:
        return session.client(
            service, endpoint_url=localcloud.endpoint, config=Config(retries={"total_max_attempts": 1})
        )

    account = Account(client, "eu-west-1")
    name, bucket = account.name("minutes"), account.bucket
    account.sagemaker.create_feature_group(
        FeatureGroupName=name,
        RecordIdentifierFeatureName="tx_minute",
        EventTimeFeatureName="event_time",
        FeatureDefinitions=[
            {"FeatureName": "tx_minute", "FeatureType": "String"},
            {"FeatureName": "total_nb_trx_1min", "FeatureType": "Integral"},
            {"FeatureName": "total_fee_1min", "FeatureType": "Fractional"},
            {"FeatureName": "avg_fee_1min", "FeatureType": "Fractional"},
            {"FeatureName": "event_time", "FeatureType": "String"},
        ],
        OnlineStoreConfig={"EnableOnlineStore": True},
        OfflineStoreConfig={"S3StorageConfig": {"S3Uri": f"s3://{bucket}/feature-store"}},
        RoleArn=account.role,
    )
    until(
        lambda: account.sagemaker.describe_feature_group(FeatureGroupName=name)["FeatureGroupStatus"] == "Created",
        f"{name} is Created",
    )
    environment = {
        **localcloud.environment,
        "ARCHIVE_URI": f"s3://{bucket}/{PREFIX}",
        "FEATURE_GROUP": name,
        "RESULT_URI": f"s3://{bucket}/ingestion/replays",
    }
    return Task(account, name, environment)


def put(account: Account, s3: S3) -> None:
    for key, content in s3.objects.items():
        account.s3.put_object(Bucket=account.bucket, Key=key, Body=content)


def test_minutes_are_written_replaced_and_their_files_made_one(task: Task) -> None:
    archive = S3()
    deliver(archive, transaction("a", at("14:00:01"), 100), transaction("b", at("14:02:59"), None))
    deliver(archive, heartbeat(at("14:03:00")), heartbeat(at("14:06:00")))
    put(task.account, archive)
    found = task.run("replay", *SPAN, "--at", "2026-11-22T14:10:00Z", "--write")
    assert (found["missing"], found["quiet"], found["written"]) == (3, 1, 3)
    until(lambda: len(task.files) == 1, "the offline store has a file")

    deliver(late := S3(), transaction("c", at("14:00:02"), 300))
    put(task.account, late)
    found = task.run("replay", *SPAN, "--at", "2026-11-22T14:10:00Z", "--write")
    assert (found["same"], found["different"], found["written"]) == (2, 1, 1)
    until(lambda: len(task.files) == 2, "the offline store has two files")

    before = task.versions()
    assert [(row["tx_minute"][14:16], row["total_nb_trx_1min"], row["event_time"][14:]) for row in before] == [
        ("00", "1", "10:00Z"),
        ("00", "2", "10:00.001Z"),
        ("02", "1", "10:00Z"),
        ("03", "0", "10:00Z"),
    ]
    found = task.run("compact", "--at", "2026-11-24T03:40:00Z")
    assert (found["compacted"], found["files_before"], found["files_after"], found["rows"]) == (1, 2, 1, 4)
    (file,) = task.files
    assert file.startswith("year=2026/month=11/day=22/hour=14/")
    assert task.versions() == before


@pytest.mark.parametrize(
    ("program", "group", "error"),
    [
        (replay, "", "error: FEATURE_GROUP is not in the environment; template/ingestion.yml sets it"),
        (replay, "nobody-s", "error: the minutes of the feature group `nobody-s` could not be read: "),
        (compact, "nobody-s", "error: the feature group `nobody-s` cannot be looked at: "),
    ],
)
def test_what_is_wrong_is_told_in_a_line(
    task: Task,
    aws: Localcloud,
    program: ModuleType,
    group: str,
    error: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clients.session.cache_clear()  # it keeps the environment of whoever made its first client
    for variable, value in {**task.environment, "FEATURE_GROUP": group}.items():
        monkeypatch.setenv(variable, value)
    arguments = SPAN if program is replay else ("--at", "2026-11-24")
    monkeypatch.setattr("sys.argv", ["program", *arguments])
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert told.startswith(error)
    assert told.count("\n") == 1
