"""Faults on purpose: what a client sees of them, and that nothing is done that was refused."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from localcloud import instance
from localcloud.cli import main
from localcloud.errors import LocalcloudError
from tests.contract.lambda_account import Functions
from tests.contract.sagemaker_account import error_of, until


@pytest.fixture
def port(cloud: Any, localcloud_only: None) -> Iterator[int]:
    """The port of the localcloud under test, which has no faults at the end."""
    found = urlsplit(cloud.endpoint_url).port
    assert found is not None
    yield found
    instance.faults(found, "[]")


def _set(port: int, *rules: dict[str, Any]) -> None:
    instance.faults(port, json.dumps(rules))


def _rule(service: str, operation: str, kind: str, share: float = 1, seed: int = 0) -> dict[str, Any]:
    return {"service": service, "operation": operation, "kind": kind, "share": share, "seed": seed}


_THROTTLED: list[tuple[str, str, str, dict[str, Any], str]] = [
    ("s3", "ListBuckets", "list_buckets", {}, "SlowDown"),
    ("s3", "PutObject", "put_object", {"Bucket": "contract-bucket", "Key": "k"}, "SlowDown"),
    ("dynamodb", "ListTables", "list_tables", {}, "ProvisionedThroughputExceededException"),
    ("sns", "ListTopics", "list_topics", {}, "Throttled"),
    ("sqs", "ListQueues", "list_queues", {}, "RequestThrottled"),
    ("ec2", "DescribeVpcs", "describe_vpcs", {}, "RequestLimitExceeded"),
    ("kinesis", "ListStreams", "list_streams", {}, "ProvisionedThroughputExceededException"),
    ("firehose", "ListDeliveryStreams", "list_delivery_streams", {}, "ServiceUnavailableException"),
    ("ssm", "GetParameters", "get_parameters", {"Names": ["n"]}, "ThrottlingException"),
    ("lambda", "ListFunctions", "list_functions", {}, "TooManyRequestsException"),
    ("events", "ListRules", "list_rules", {}, "ThrottlingException"),
    ("cloudwatch", "ListDashboards", "list_dashboards", {}, "Throttling"),
    ("sagemaker", "ListModels", "list_models", {}, "ThrottlingException"),
]


@pytest.mark.parametrize(("service", "operation", "method", "params", "code"), _THROTTLED)
def test_a_throttled_call_is_refused_with_the_services_own_code(
    cloud: Any, port: int, service: str, operation: str, method: str, params: dict[str, Any], code: str
) -> None:
    _set(port, _rule(service, operation, "throttle"))
    assert error_of(getattr(cloud.client(service), method), **params)[0] == code


@pytest.mark.parametrize(
    ("service", "method", "params"),
    [
        ("s3", "head_bucket", {"Bucket": "contract-bucket"}),
        ("dynamodb", "list_tables", {}),
        ("lambda", "list_functions", {}),
        ("sns", "list_topics", {}),
        ("cloudwatch", "put_metric_data", {"Namespace": "Test", "MetricData": [{"MetricName": "m", "Value": 1}]}),
    ],
)
def test_a_failing_service_answers_with_a_status_of_500(
    cloud: Any, port: int, service: str, method: str, params: dict[str, Any]
) -> None:
    _set(port, _rule(service, "*", "error"))
    with pytest.raises(ClientError) as raised:
        getattr(cloud.client(service), method)(**params)
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500


def test_a_share_of_the_calls_is_hit_and_the_same_ones_for_the_same_seed(cloud: Any, port: int) -> None:
    def hits(seed: int) -> list[bool]:
        _set(port, _rule("sqs", "ListQueues", "throttle", 0.3, seed))
        found = []
        for _ in range(40):
            try:
                cloud.client("sqs").list_queues(QueueNamePrefix="none")
                found.append(False)
            except ClientError:
                found.append(True)
        (told,) = instance.faults(port)
        assert (told["calls"], told["faults"]) == (40, sum(found))
        return found

    first = hits(1)
    assert first == hits(1)
    assert first != hits(2)
    assert 4 <= sum(first) <= 20


def test_what_was_refused_is_not_done(cloud: Any, port: int) -> None:
    s3, key = cloud.client("s3"), f"contract/faults/{uuid.uuid4()}"
    for kind in ("throttle", "error"):
        _set(port, _rule("s3", "PutObject", kind))
        with pytest.raises(ClientError):
            s3.put_object(Bucket=cloud.bucket, Key=key, Body=b"1")
    _set(port)
    assert error_of(s3.head_object, Bucket=cloud.bucket, Key=key)[0] == "404"
    s3.put_object(Bucket=cloud.bucket, Key=key, Body=b"1")


@pytest.fixture
def bus(cloud: Any, account: Functions) -> tuple[str, Callable[[], list[int]]]:
    """A bus, and what comes out of it: the `n` of every event that its queue has received by now."""
    events, sqs = cloud.client("events"), cloud.client("sqs")
    name = f"faults-{uuid.uuid4().hex[:8]}"
    events.create_event_bus(Name=name)
    url, arn = account.queue()
    account.let_events_in(url, arn)
    events.put_rule(Name="all", EventBusName=name, EventPattern='{"source": ["test.faults"]}')
    events.put_targets(Rule="all", EventBusName=name, Targets=[{"Id": "queue", "Arn": arn}])

    def received() -> list[int]:
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(message["Body"])["detail"]["n"] for message in messages]

    return name, received


@pytest.fixture(scope="module")
def account(cloud: Any) -> Functions:
    return Functions(cloud.client, cloud.role_arn)


def test_events_are_put_in_part_and_the_others_come_through(cloud: Any, port: int, bus: Any) -> None:
    name, received = bus
    _set(port, _rule("events", "PutEvents", "partial", 0.5, 3))
    entries = [
        {"Source": "test.faults", "DetailType": "Test", "Detail": json.dumps({"n": n}), "EventBusName": name}
        for n in range(10)
    ]
    answer = cloud.client("events").put_events(Entries=entries)
    failed = {n for n, entry in enumerate(answer["Entries"]) if entry.get("ErrorCode") == "ThrottlingException"}
    assert answer["FailedEntryCount"] == len(failed)
    assert 0 < len(failed) < 10
    assert all("EventId" in entry for n, entry in enumerate(answer["Entries"]) if n not in failed)
    found: set[int] = set()

    def all_came() -> bool:
        found.update(received())
        return len(found) == 10 - len(failed)

    until(all_came, "what was put has come")
    assert found == set(range(10)) - failed


def test_records_are_put_in_part_and_the_others_are_read(cloud: Any, port: int) -> None:
    kinesis, name = cloud.client("kinesis"), f"faults-{uuid.uuid4().hex[:8]}"
    kinesis.create_stream(StreamName=name, ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
    _set(port, _rule("kinesis", "PutRecords", "partial", 0.5, 4))
    records = [{"Data": str(n).encode(), "PartitionKey": "p"} for n in range(20)]
    answer = kinesis.put_records(StreamName=name, Records=records)
    code = "ProvisionedThroughputExceededException"
    failed = {n for n, record in enumerate(answer["Records"]) if record.get("ErrorCode") == code}
    assert answer["FailedRecordCount"] == len(failed)
    assert 0 < len(failed) < 20
    iterator = kinesis.get_shard_iterator(
        StreamName=name, ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    found = [int(record["Data"]) for record in kinesis.get_records(ShardIterator=iterator)["Records"]]
    assert found == [n for n in range(20) if n not in failed]
    kinesis.delete_stream(StreamName=name)


def test_a_request_whose_every_entry_is_hit_does_nothing(cloud: Any, port: int) -> None:
    _set(port, _rule("events", "PutEvents", "partial"))
    entry = {"Source": "test.faults", "DetailType": "Test", "Detail": "{}"}
    answer = cloud.client("events").put_events(Entries=[entry, entry])
    assert answer["FailedEntryCount"] == 2


def test_items_are_written_in_part_and_the_others_are_unprocessed(cloud: Any, port: int) -> None:
    dynamodb, table = cloud.client("dynamodb"), f"faults-{uuid.uuid4().hex[:8]}"
    dynamodb.create_table(
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "key", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "key", "KeyType": "HASH"}],
    )
    _set(port, _rule("dynamodb", "BatchWriteItem", "partial", 0.5, 5))
    puts = [{"PutRequest": {"Item": {"key": {"S": str(n)}}}} for n in range(10)]
    answer = dynamodb.batch_write_item(RequestItems={table: puts})
    left = [one["PutRequest"]["Item"]["key"]["S"] for one in answer["UnprocessedItems"][table]]
    assert 0 < len(left) < 10
    written = {item["key"]["S"] for item in dynamodb.scan(TableName=table)["Items"]}
    assert written == {str(n) for n in range(10)} - set(left)
    _set(port, _rule("dynamodb", "BatchWriteItem", "partial"))
    answer = dynamodb.batch_write_item(RequestItems={table: puts})
    assert answer["UnprocessedItems"] == {table: puts}
    dynamodb.delete_table(TableName=table)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("{}", r"expected a list of rules"),
        ("nonsense", r"the rules are no JSON"),
        ("[1]", r"rule 1: expected an object, got 1"),
        ('[{"service": "s3"}]', r"operation is missing; rule 1: kind is missing; rule 1: share is missing"),
        (json.dumps([_rule("s4", "PutObject", "error")]), r'does not have the service "s4"; it has .*s3'),
        (json.dumps([_rule("s3", "PutObjects", "error")]), r's3 has no operation "PutObjects"'),
        (json.dumps([_rule("s3", "PutObject", "slow")]), r'the kind is "slow", expected one of throttle, error'),
        (json.dumps([_rule("s3", "PutObject", "partial")]), r"PutObject of s3 is not done in part"),
        (json.dumps([_rule("s3", "PutObject", "error", 1.5)]), r"the share is 1.5, expected a number from 0 to 1"),
        (json.dumps([{**_rule("s3", "PutObject", "error"), "when": 1}]), r"there is no member 'when'"),
    ],
)
def test_rules_that_are_wrong_are_refused_by_name_and_change_nothing(port: int, rules: str, said: str) -> None:
    _set(port, _rule("sqs", "ListQueues", "throttle", 0.5))
    with pytest.raises(LocalcloudError, match=said):
        instance.faults(port, rules)
    assert [rule["service"] for rule in instance.faults(port)] == ["sqs"]


def test_the_command_sets_shows_and_ends_faults(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def faults(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["localcloud", "faults", *arguments, "--port", str(port)])
        with pytest.raises(SystemExit) as raised:
            main()
        return int(raised.value.code or 0), *capsys.readouterr()

    (tmp_path / "rules.json").write_text(json.dumps([_rule("sqs", "ListQueues", "throttle", 0.5, 7)]))
    line = "sqs  ListQueues  throttle  share 0.5  seed 7  0 of 0\n"
    assert faults(str(tmp_path / "rules.json")) == (0, line, "")
    assert faults() == (0, line, "")
    assert faults("off") == (0, "", "no faults are set\n")
    status, _, said = faults(str(tmp_path / "missing.json"))
    assert (status, "missing.json cannot be read" in said) == (1, True)
