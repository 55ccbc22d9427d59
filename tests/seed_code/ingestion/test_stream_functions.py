"""The stream's Lambda functions as they are packed, on a localcloud: what they carry, and that they work."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from pipelines import functions
from tests.conftest import ROOT, Localcloud
from tests.contract.sagemaker_account import Account, until

PARTS = sorted((ROOT / "seed_code" / "ingestion" / "functions").glob("*.py"))


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.stem)
def test_what_is_imported(part: Path) -> None:
    allowed = {*sys.stdlib_module_names, "aws_lambda_powertools", "boto3", "botocore"}
    ours = {"seed_code.ingestion", "seed_code.ingestion.transactions"}
    for node in ast.walk(ast.parse(part.read_text())):
        names = (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [str(node.module)] if isinstance(node, ast.ImportFrom) else []
        )  # fmt: skip
        for name in names:
            mine = name in ours or name.startswith("seed_code.ingestion.functions")
            assert mine or name.partition(".")[0] in allowed, name


@dataclass(frozen=True)
class Stack:
    """What template/ingestion.yml makes around the two functions, by the names that it has here."""

    client: Callable[[str], Any]
    name: str
    minute: datetime
    """An hour ago by the account's clock, which other tests may have moved."""

    @property
    def observed_at(self) -> int:
        """A moment in that minute."""
        return int(self.minute.timestamp()) + 10

    @property
    def transactions(self) -> str:
        return f"{self.name}-transactions"

    @property
    def minutes(self) -> str:
        return f"{self.name}-minutes"

    @property
    def queue_url(self) -> str:
        return str(self.client("sqs").get_queue_url(QueueName=self.name)["QueueUrl"])

    def invoke(self, function: str, event: dict[str, Any]) -> Any:
        """Call a function; its answer."""
        answer = self.client("lambda").invoke(FunctionName=f"{self.name}-{function}", Payload=json.dumps(event))
        found = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, found
        return found

    def records(self) -> list[dict[str, Any]]:
        """What is on the stream of transactions."""
        kinesis = self.client("kinesis")
        (shard,) = kinesis.list_shards(StreamName=self.transactions)["Shards"]
        place = kinesis.get_shard_iterator(
            StreamName=self.transactions, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )
        found = kinesis.get_records(ShardIterator=place["ShardIterator"])["Records"]
        assert {one["PartitionKey"] for one in found} <= {"transactions"}
        return [json.loads(one["Data"]) for one in found]

    def metric(self, name: str, at: datetime, statistic: str = "Sum") -> float | None:
        """A metric's value in a minute."""
        found = self.client("cloudwatch").get_metric_statistics(
            Namespace="MLOps/Ingestion", MetricName=name, Dimensions=[{"Name": "Project", "Value": self.name}],
            StartTime=at, EndTime=at + timedelta(minutes=1), Period=60, Statistics=[statistic],
        )["Datapoints"]  # fmt: skip
        return float(found[0][statistic]) if found else None


@pytest.fixture(scope="module")
def stack(localcloud: Localcloud) -> Stack:
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-west-1")
    clients: dict[str, Any] = {}

    def client(service: str) -> Any:
        if service not in clients:
            config = Config(retries={"total_max_attempts": 1})
            clients[service] = session.client(service, endpoint_url=localcloud.endpoint, config=config)
        return clients[service]

    account = Account(client, "eu-west-1")
    said = client("sts").get_caller_identity()["ResponseMetadata"]["HTTPHeaders"]["date"]
    minute = parsedate_to_datetime(said).replace(second=0) - timedelta(hours=1)
    made = Stack(client, account.name("stream"), minute)
    for stream in (made.transactions, made.minutes):
        client("kinesis").create_stream(StreamName=stream, ShardCount=1)
    client("dynamodb").create_table(
        TableName=made.name,
        KeySchema=[{"AttributeName": "hash", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "hash", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    client("sqs").create_queue(QueueName=made.name)
    _feature_group(account, made.name)
    for stream in (made.transactions, made.minutes):
        client("kinesis").get_waiter("stream_exists").wait(StreamName=stream, WaiterConfig={"Delay": 0.1})
    code = functions.pack(ROOT, functions.INGESTION)
    environments = {
        "deduplicate": {"TRANSACTIONS_STREAM": made.transactions, "SEEN_TABLE": made.name, "DEDUPE_HOURS": "6"},
        "write_minutes": {"FEATURE_GROUP": made.name, "DEAD_LETTER_QUEUE_URL": made.queue_url},
    }
    role = _role(client, account)
    for function, environment in environments.items():
        client("lambda").create_function(
            FunctionName=f"{made.name}-{function}",
            Runtime="python3.11",
            Role=role,
            Handler=f"seed_code.ingestion.functions.{function}.handler",
            Code={"ZipFile": code},
            Timeout=30,
            MemorySize=256,
            Environment={"Variables": {"PROJECT": made.name, **environment}},
        )
    client("lambda").get_waiter("function_active_v2").wait(
        FunctionName=f"{made.name}-write_minutes", WaiterConfig={"Delay": 1}
    )
    return made


def _feature_group(account: Account, name: str) -> None:
    types = {"tx_minute": "String", "event_time": "String", "total_nb_trx_1min": "Integral"}
    types |= {"total_fee_1min": "Fractional", "avg_fee_1min": "Fractional"}
    account.sagemaker.create_feature_group(
        FeatureGroupName=name,
        RecordIdentifierFeatureName="tx_minute",
        EventTimeFeatureName="event_time",
        FeatureDefinitions=[{"FeatureName": one, "FeatureType": kind} for one, kind in types.items()],
        OnlineStoreConfig={"EnableOnlineStore": True},
    )
    until(
        lambda: account.sagemaker.describe_feature_group(FeatureGroupName=name)["FeatureGroupStatus"] == "Created",
        f"{name} is Created",
    )


def _role(client: Callable[[str], Any], account: Account) -> str:
    """A role that may do what the functions do, and read the stream of minutes."""
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    name = account.name("stream-functions")
    role = client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]
    allowed = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    client("iam").put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=json.dumps(allowed))
    return str(role["Arn"])


def event(observed_at: int, *names: str) -> dict[str, Any]:
    """What EventBridge gives to the function."""
    found = [{"hash": name, "time": observed_at - 1, "fee": 900, "inputs": [], "out": []} for name in names]
    return {
        "version": "0",
        "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
        "detail-type": "Unconfirmed Transactions",
        "source": "mlops.ingestion",
        "account": "123456789012",
        "time": "2026-11-22T14:04:00Z",
        "region": "eu-west-1",
        "resources": [],
        "detail": {"schema_version": 1, "observed_at": observed_at, "transactions": found},
    }


def test_a_transaction_of_two_pages_is_passed_on_once(stack: Stack) -> None:
    now = stack.observed_at
    assert stack.invoke("deduplicate", event(now, "b", "a")) == {"received": 2, "duplicates": 0, "published": 2}
    later = event(now + 1, "a", "b", "c")
    assert stack.invoke("deduplicate", later) == {"received": 3, "duplicates": 2, "published": 1}
    assert stack.invoke("deduplicate", event(now + 2)) == {"received": 0, "duplicates": 0, "published": 0}
    assert [record["hash"] for record in stack.records()] == ["a", "b", None, "c", None, None]
    assert stack.records()[0] == event(now, "a")["detail"]["transactions"][0]
    item = stack.client("dynamodb").get_item(TableName=stack.name, Key={"hash": {"S": "c"}})["Item"]
    assert item == {"hash": {"S": "c"}, "expires": {"N": str(now + 1 + 6 * 3600)}}
    assert [stack.metric(name, stack.minute) for name in ("Received", "Duplicates", "Published")] == [5.0, 2.0, 3.0]


def test_minutes_on_the_stream_come_into_the_feature_store(stack: Stack) -> None:
    kinesis, lambdas, queue_url = stack.client("kinesis"), stack.client("lambda"), stack.queue_url
    stream = kinesis.describe_stream_summary(StreamName=stack.minutes)["StreamDescriptionSummary"]
    lambdas.create_event_source_mapping(
        EventSourceArn=stream["StreamARN"],
        FunctionName=f"{stack.name}-write_minutes",
        StartingPosition="TRIM_HORIZON",
        BatchSize=10,
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )
    texts = [f"{stack.minute + timedelta(minutes=number):%Y-%m-%dT%H:%M:00Z}" for number in range(2)]
    rows = [
        {"tx_minute": texts[0], "total_nb_trx_1min": 2, "total_fee_1min": 900, "avg_fee_1min": 900.0},
        {"tx_minute": texts[0], "total_nb_trx_1min": 0, "total_fee_1min": 900, "avg_fee_1min": 900.0},
        {"late_hash": "a", "late_time": stack.observed_at, "late_minute": texts[0]},
        {"tx_minute": texts[1], "total_nb_trx_1min": 0, "total_fee_1min": 0, "avg_fee_1min": None},
    ]
    kinesis.put_records(
        StreamName=stack.minutes,
        Records=[{"Data": json.dumps(row).encode() + b"\n", "PartitionKey": "minutes"} for row in rows],
    )

    def stored(text: str) -> dict[str, str]:
        answer = stack.client("sagemaker-featurestore-runtime").get_record(
            FeatureGroupName=stack.name, RecordIdentifierValueAsString=text
        )
        return {one["FeatureName"]: one["ValueAsString"] for one in answer.get("Record", [])}

    until(lambda: stored(texts[1]), "the last minute is in the store")
    first = {"tx_minute": texts[0], "total_nb_trx_1min": "2", "total_fee_1min": "900.0", "avg_fee_1min": "900.0"}
    assert stored(texts[0]) == {**first, "event_time": texts[1]}
    assert "avg_fee_1min" not in stored(texts[1])
    (message,) = stack.client("sqs").receive_message(QueueUrl=queue_url)["Messages"]
    assert json.loads(message["Body"])["reason"] == "`total_fee_1min` is 900 of 0 transactions; expected 0"
    end = stack.minute + timedelta(minutes=1)
    until(lambda: stack.metric("MinutesWritten", end) == 1.0, "the metrics are there")
    age = stack.metric("MinuteAgeSeconds", end, "Maximum")
    assert age is not None
    assert 3500 < age < 3900
    assert stack.metric("QuietMinutes", end + timedelta(minutes=1)) == 1.0
