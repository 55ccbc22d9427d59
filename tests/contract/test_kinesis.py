"""Kinesis streams: records in their order, shards, iterators, limits; what survives; and functions that they feed."""

from __future__ import annotations

import base64
import json
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import Cloud, Running
from tests.contract.lambda_account import Functions
from tests.contract.sagemaker_account import Account, error_of, until
from tests.contract.stacks import Stacks, template
from tests.contract.test_functions import advance
from tests.roles import make_role

ARN = "arn:aws:kinesis:eu-west-1:123456789012:stream/"
# Sends what it was given to a queue, and fails where it is told to.
TAKE = """
import base64, json, os, boto3
sqs = boto3.client("sqs")

def handler(event, context):
    given = []
    for record in event["Records"]:
        data = base64.b64decode(record["kinesis"]["data"]).decode()
        if data == "report":
            number = record["kinesis"]["sequenceNumber"]
            send(given)
            return {"batchItemFailures": [{"itemIdentifier": number}]}
        given.append(data)
    if "poison" in given:
        raise ValueError("poison")
    send(given)

def send(given):
    if given:
        sqs.send_message(QueueUrl=os.environ["OUT"], MessageBody=json.dumps(given))
"""


@pytest.fixture(scope="module")
def kinesis(cloud: Cloud) -> Any:
    return cloud.client("kinesis")


@pytest.fixture
def stream(kinesis: Any) -> Iterator[str]:
    """A stream with two shards."""
    name = new_stream(kinesis, ShardCount=2)
    yield name
    kinesis.delete_stream(StreamName=name)


@pytest.fixture(scope="module")
def functions(cloud: Cloud) -> Functions:
    return Functions(cloud.client, cloud.role_arn)


@pytest.fixture(scope="module")
def out(functions: Functions) -> str:
    """The queue to which the function sends what it was given."""
    return functions.queue()[0]


@pytest.fixture(scope="module")
def take(functions: Functions, out: str) -> str:
    return functions.create(TAKE, Environment={"Variables": {"OUT": out}})


@pytest.fixture
def feed(cloud: Cloud, kinesis: Any, take: str) -> Iterator[Callable[..., tuple[str, str]]]:
    """Makes a stream of one shard whose records go to the function: `feed(BatchSize=…)` gives its name and the id of
    the mapping."""
    functions, made = cloud.client("lambda"), []

    def make(**settings: Any) -> tuple[str, str]:
        name = new_stream(kinesis, ShardCount=1)
        arn = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"]
        mapping = functions.create_event_source_mapping(
            FunctionName=take, EventSourceArn=arn, **{"StartingPosition": "TRIM_HORIZON", **settings}
        )
        made.append((name, mapping["UUID"]))
        return made[-1]

    yield make
    for name, mapping in made:
        functions.delete_event_source_mapping(UUID=mapping)
        kinesis.delete_stream(StreamName=name)


def new_stream(kinesis: Any, **settings: Any) -> str:
    name = f"test-{uuid.uuid4().hex[:12]}"
    kinesis.create_stream(StreamName=name, **settings)
    kinesis.get_waiter("stream_exists").wait(StreamName=name)
    return name


def put(kinesis: Any, stream: str, *texts: str, key: str = "one") -> list[dict[str, Any]]:
    """Put records, all with the same partition key."""
    answer = kinesis.put_records(
        StreamName=stream, Records=[{"Data": text.encode(), "PartitionKey": key} for text in texts]
    )
    assert answer["FailedRecordCount"] == 0
    return list(answer["Records"])


def iterator(kinesis: Any, stream: str, shard: str, kind: str = "TRIM_HORIZON", **members: Any) -> str:
    answer = kinesis.get_shard_iterator(StreamName=stream, ShardId=shard, ShardIteratorType=kind, **members)
    return str(answer["ShardIterator"])


def texts(kinesis: Any, at: str, **members: Any) -> list[str]:
    return [record["Data"].decode() for record in kinesis.get_records(ShardIterator=at, **members)["Records"]]


def shard_ids(shards: Sequence[dict[str, Any]]) -> list[str]:
    return [shard["ShardId"] for shard in shards]


def test_a_stream_is_described_in_two_ways(kinesis: Any, cloud: Cloud) -> None:
    name = new_stream(kinesis, ShardCount=3, Tags={"team": "a"})
    arn = f"arn:aws:kinesis:{cloud.region}:{cloud.account_id}:stream/{name}"
    described = kinesis.describe_stream(StreamARN=arn)["StreamDescription"]
    summary = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
    both = described.keys() & summary.keys()
    assert {member: described[member] for member in both} == {member: summary[member] for member in both}
    assert (described["StreamName"], described["StreamARN"], described["StreamStatus"]) == (name, arn, "ACTIVE")
    assert (summary["OpenShardCount"], summary["RetentionPeriodHours"]) == (3, 24)
    ranges = [shard["HashKeyRange"] for shard in described["Shards"]]
    assert ranges[0]["StartingHashKey"] == "0"
    assert int(ranges[2]["EndingHashKey"]) == 2**128 - 1
    assert int(ranges[0]["EndingHashKey"]) + 1 == int(ranges[1]["StartingHashKey"])
    listed = {one["StreamName"]: one for one in kinesis.list_streams()["StreamSummaries"]}
    assert listed[name]["StreamARN"] == arn
    assert error_of(kinesis.create_stream, StreamName=name, ShardCount=1)[0] == "ResourceInUseException"
    kinesis.delete_stream(StreamARN=arn)
    until(lambda: name not in kinesis.list_streams()["StreamNames"], "the stream is deleted")
    assert error_of(kinesis.describe_stream, StreamName=name)[0] == "ResourceNotFoundException"


def test_streams_and_shards_come_in_pages(kinesis: Any, stream: str) -> None:
    page = kinesis.list_shards(StreamName=stream, MaxResults=1)
    rest = kinesis.list_shards(NextToken=page["NextToken"])
    assert shard_ids([*page["Shards"], *rest["Shards"]]) == ["shardId-000000000000", "shardId-000000000001"]
    assert "NextToken" not in rest
    assert error_of(kinesis.list_shards, NextToken="x")[0] == "InvalidArgumentException"
    described = kinesis.describe_stream(StreamName=stream, Limit=1)["StreamDescription"]
    assert described["HasMoreShards"]
    described = kinesis.describe_stream(StreamName=stream, ExclusiveStartShardId="shardId-000000000000")
    assert shard_ids(described["StreamDescription"]["Shards"]) == ["shardId-000000000001"]
    first = kinesis.list_streams(Limit=1)
    assert len(first["StreamNames"]) == 1
    names = [name for page in kinesis.get_paginator("list_streams").paginate(Limit=1) for name in page["StreamNames"]]
    assert stream in names


def test_records_are_read_in_their_order(kinesis: Any, stream: str) -> None:
    results = put(kinesis, stream, *map(str, range(20)))
    (shard,) = {result["ShardId"] for result in results}
    numbers = [int(result["SequenceNumber"]) for result in results]
    assert numbers == sorted(set(numbers))
    one = kinesis.put_record(StreamName=stream, Data=b"20", PartitionKey="one")
    assert one["ShardId"] == shard
    assert int(one["SequenceNumber"]) > numbers[-1]
    answer = kinesis.get_records(ShardIterator=iterator(kinesis, stream, shard), Limit=15)
    assert [record["Data"] for record in answer["Records"]] == [str(n).encode() for n in range(15)]
    assert [int(record["SequenceNumber"]) for record in answer["Records"]] == numbers[:15]
    assert {record["PartitionKey"] for record in answer["Records"]} == {"one"}
    assert answer["MillisBehindLatest"] >= 0
    answer = kinesis.get_records(ShardIterator=answer["NextShardIterator"])
    assert [record["Data"] for record in answer["Records"]] == [b"15", b"16", b"17", b"18", b"19", b"20"]
    assert answer["MillisBehindLatest"] == 0
    following = kinesis.get_records(ShardIterator=answer["NextShardIterator"])
    assert (following["Records"], following["MillisBehindLatest"]) == ([], 0)


def test_every_type_of_iterator(kinesis: Any, stream: str) -> None:
    results = put(kinesis, stream, "a", "b", "c")
    shard, number = results[1]["ShardId"], results[1]["SequenceNumber"]
    latest = iterator(kinesis, stream, shard, "LATEST")
    at = iterator(kinesis, stream, shard, "AT_SEQUENCE_NUMBER", StartingSequenceNumber=number)
    after = iterator(kinesis, stream, shard, "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=number)
    put(kinesis, stream, "d")
    assert texts(kinesis, latest) == ["d"]
    assert texts(kinesis, at) == ["b", "c", "d"]
    assert texts(kinesis, after) == ["c", "d"]
    read = kinesis.get_records(ShardIterator=iterator(kinesis, stream, shard))["Records"]
    moment = read[-1]["ApproximateArrivalTimestamp"]
    since = iterator(kinesis, stream, shard, "AT_TIMESTAMP", Timestamp=moment)
    assert texts(kinesis, since)[-1] == "d"


def test_wrong_iterators_are_refused(kinesis: Any, stream: str) -> None:
    shard = put(kinesis, stream, "a")[0]["ShardId"]
    ask = {"StreamName": stream, "ShardId": shard}
    refused = "InvalidArgumentException"
    assert error_of(kinesis.get_records, ShardIterator="x")[0] == refused
    assert error_of(kinesis.get_shard_iterator, **ask, ShardIteratorType="AT_SEQUENCE_NUMBER")[0] == refused
    assert error_of(kinesis.get_shard_iterator, **ask, ShardIteratorType="AT_TIMESTAMP")[0] == refused
    foreign = {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": "1"}
    assert error_of(kinesis.get_shard_iterator, **ask, **foreign)[0] == refused
    later = {**foreign, "StartingSequenceNumber": f"4965{10**40:052d}"}
    assert "did not come from this stream" in error_of(kinesis.get_shard_iterator, **ask, **later)[1]
    ahead = datetime.now(UTC) + timedelta(days=4000)
    assert error_of(kinesis.get_shard_iterator, **ask, ShardIteratorType="AT_TIMESTAMP", Timestamp=ahead)[0] == refused
    missing = {**ask, "ShardId": "shardId-000000000009", "ShardIteratorType": "LATEST"}
    assert error_of(kinesis.get_shard_iterator, **missing)[0] == "ResourceNotFoundException"


def test_a_hash_key_decides_on_the_shard(kinesis: Any, stream: str) -> None:
    chosen = [
        kinesis.put_record(StreamName=stream, Data=b"x", PartitionKey="k", ExplicitHashKey=key)["ShardId"]
        for key in ("0", str(2**128 - 1))
    ]
    assert chosen == ["shardId-000000000000", "shardId-000000000001"]
    members = {"StreamName": stream, "Data": b"x", "PartitionKey": "k", "ExplicitHashKey": str(2**128)}
    assert error_of(kinesis.put_record, **members)[0] == "InvalidArgumentException"


def test_a_record_that_is_too_large_is_refused(kinesis: Any, stream: str) -> None:
    large = {"Data": b"x" * 1024 * 1024, "PartitionKey": "k"}
    assert error_of(kinesis.put_record, StreamName=stream, **large)[0] == "ValidationException"


def test_a_shard_takes_a_second_s_share(kinesis: Any, stream: str) -> None:
    """A megabyte in this case: of a request's records those beyond it are refused."""
    low, high = ({"Data": b"x" * 5_000, "PartitionKey": "k", "ExplicitHashKey": key} for key in ("0", str(2**127)))
    answer = kinesis.put_records(StreamName=stream, Records=[*[low] * 400, high])
    refused = [result for result in answer["Records"] if "ErrorCode" in result]
    assert answer["FailedRecordCount"] == len(refused)
    assert 0 < len(refused) < 400
    assert {result["ErrorCode"] for result in refused} == {"ProvisionedThroughputExceededException"}
    assert f"for shard shardId-000000000000 in stream {stream} under account" in refused[0]["ErrorMessage"]
    assert all("SequenceNumber" not in result for result in refused)
    # The other shard has its own share.
    assert answer["Records"][-1]["ShardId"] == "shardId-000000000001"


def test_a_shard_is_read_five_times_a_second(kinesis: Any, stream: str) -> None:
    at = iterator(kinesis, stream, "shardId-000000000000")
    outcomes = []
    for _ in range(40):
        try:
            kinesis.get_records(ShardIterator=at)
            outcomes.append("")
        except kinesis.exceptions.ProvisionedThroughputExceededException as error:
            outcomes.append(str(error))
    assert outcomes[:5] == [""] * 5
    assert "Rate exceeded for shard shardId-000000000000" in "".join(outcomes)


def test_a_split_shard_is_read_to_its_end_and_names_its_children(kinesis: Any, stream: str) -> None:
    shard = put(kinesis, stream, "a", "b")[0]["ShardId"]
    found = {one["ShardId"]: one for one in kinesis.list_shards(StreamName=stream)["Shards"]}
    low, high = (int(found[shard]["HashKeyRange"][f"{end}ingHashKey"]) for end in ("Start", "End"))
    split = {"StreamName": stream, "ShardToSplit": shard}
    assert error_of(kinesis.split_shard, **split, NewStartingHashKey=str(low))[0] == "InvalidArgumentException"
    kinesis.split_shard(**split, NewStartingHashKey=str((low + high) // 2))
    kinesis.get_waiter("stream_exists").wait(StreamName=stream)
    child = put(kinesis, stream, "c")[0]["ShardId"]
    assert child in ("shardId-000000000002", "shardId-000000000003")
    answer = kinesis.get_records(ShardIterator=iterator(kinesis, stream, shard))
    assert [record["Data"] for record in answer["Records"]] == [b"a", b"b"]
    assert "NextShardIterator" not in answer
    assert shard_ids(answer["ChildShards"]) == ["shardId-000000000002", "shardId-000000000003"]
    assert answer["ChildShards"][0]["ParentShards"] == [shard]
    assert texts(kinesis, iterator(kinesis, stream, child)) == ["c"]
    shards = {one["ShardId"]: one for one in kinesis.list_shards(StreamName=stream)["Shards"]}
    assert "EndingSequenceNumber" in shards[shard]["SequenceNumberRange"]
    assert shards[child]["ParentShardId"] == shard
    latest = kinesis.list_shards(StreamName=stream, ShardFilter={"Type": "AT_LATEST"})["Shards"]
    assert shard not in shard_ids(latest)
    assert error_of(kinesis.split_shard, **split, NewStartingHashKey=str((low + high) // 2))[0] == (
        "InvalidArgumentException"
    )


def test_two_shards_become_one(kinesis: Any, stream: str) -> None:
    first, second = "shardId-000000000000", "shardId-000000000001"
    kinesis.merge_shards(StreamName=stream, ShardToMerge=first, AdjacentShardToMerge=second)
    kinesis.get_waiter("stream_exists").wait(StreamName=stream)
    assert put(kinesis, stream, "a")[0]["ShardId"] == "shardId-000000000002"
    merged = kinesis.list_shards(StreamName=stream, ShardFilter={"Type": "AT_LATEST"})["Shards"]
    assert [(one["ParentShardId"], one["AdjacentParentShardId"]) for one in merged] == [(first, second)]
    assert merged[0]["HashKeyRange"] == {"StartingHashKey": "0", "EndingHashKey": str(2**128 - 1)}


def test_the_settings_of_a_stream(kinesis: Any, cloud: Cloud) -> None:
    name = new_stream(kinesis, StreamModeDetails={"StreamMode": "ON_DEMAND"})

    def summary() -> dict[str, Any]:
        found: dict[str, Any] = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
        return found

    assert (summary()["OpenShardCount"], summary()["StreamModeDetails"]) == (4, {"StreamMode": "ON_DEMAND"})
    split = {"ShardToSplit": "shardId-000000000000", "NewStartingHashKey": "9"}
    assert error_of(kinesis.split_shard, StreamName=name, **split)[0] == "ValidationException"
    kinesis.increase_stream_retention_period(StreamName=name, RetentionPeriodHours=48)
    assert summary()["RetentionPeriodHours"] == 48
    for hours in (24, 8761):
        code, _ = error_of(kinesis.increase_stream_retention_period, StreamName=name, RetentionPeriodHours=hours)
        assert code == "InvalidArgumentException"
    kinesis.decrease_stream_retention_period(StreamName=name, RetentionPeriodHours=24)
    code, message = error_of(kinesis.decrease_stream_retention_period, StreamName=name, RetentionPeriodHours=12)
    assert (code, "too short" in message) == ("InvalidArgumentException", True)
    key = cloud.client("kms").create_key()["KeyMetadata"]["Arn"]
    kinesis.start_stream_encryption(StreamName=name, EncryptionType="KMS", KeyId=key)
    assert (summary()["EncryptionType"], summary()["KeyId"]) == ("KMS", key)
    assert kinesis.put_record(StreamName=name, Data=b"x", PartitionKey="k")["EncryptionType"] == "KMS"
    kinesis.stop_stream_encryption(StreamName=name, EncryptionType="KMS", KeyId=key)
    assert summary()["EncryptionType"] == "NONE"
    nobody = {"EncryptionType": "KMS", "KeyId": str(uuid.uuid4())}
    assert error_of(kinesis.start_stream_encryption, StreamName=name, **nobody)[0] == "KMSNotFoundException"
    kinesis.delete_stream(StreamName=name)


def test_tags_by_both_of_their_names(kinesis: Any, stream: str) -> None:
    arn = kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamARN"]
    kinesis.add_tags_to_stream(StreamName=stream, Tags={"a": "1", "b": "2"})
    kinesis.tag_resource(ResourceARN=arn, Tags={"c": "3"})
    kinesis.remove_tags_from_stream(StreamName=stream, TagKeys=["b", "none"])
    assert kinesis.list_tags_for_resource(ResourceARN=arn)["Tags"] == [
        {"Key": "a", "Value": "1"},
        {"Key": "c", "Value": "3"},
    ]
    page = kinesis.list_tags_for_stream(StreamName=stream, Limit=1)
    assert (page["Tags"], page["HasMoreTags"]) == ([{"Key": "a", "Value": "1"}], True)
    kinesis.untag_resource(ResourceARN=arn, TagKeys=["a"])
    rest = kinesis.list_tags_for_stream(StreamName=stream)
    assert (rest["Tags"], rest["HasMoreTags"]) == ([{"Key": "c", "Value": "3"}], False)


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("create_stream", {"StreamName": "x"}),
        ("create_stream", {"StreamName": "x", "ShardCount": 1, "StreamModeDetails": {"StreamMode": "ON_DEMAND"}}),
        ("create_stream", {"StreamName": "x", "ShardCount": 1, "WarmThroughputMiBps": 5}),
        ("describe_stream_summary", {}),
        ("get_records", {"ShardIterator": "x", "Limit": 10_001}),
        ("register_stream_consumer", {"StreamARN": f"{ARN}x", "ConsumerName": "c"}),
    ],
)
def test_what_is_not_right_or_not_there_is_refused(
    localcloud_only: None, kinesis: Any, operation: str, members: dict[str, Any]
) -> None:
    code, _ = error_of(getattr(kinesis, operation), **members)
    assert code in ("ValidationException", "InvalidArgumentException", "UnknownOperationException")


def test_time_ends_iterators(localcloud_only: None, cloud: Cloud, kinesis: Any, stream: str) -> None:
    shard = put(kinesis, stream, "a")[0]["ShardId"]
    at = iterator(kinesis, stream, shard)
    advance(cloud.endpoint_url, 301)
    code, message = error_of(kinesis.get_records, ShardIterator=at)
    assert (code, "300000 milliseconds" in message) == ("ExpiredIteratorException", True)
    assert texts(kinesis, iterator(kinesis, stream, shard)) == ["a"]


# functions -----------------------------------------------------------------------------------------------------------


def received(functions: Functions, url: str, count: int) -> list[str]:
    """The texts that the function was given, so many at least."""
    found: list[str] = []
    while len(found) < count:
        for body in functions.bodies(url):
            found += body
    return found


def test_what_a_function_gets(
    cloud: Cloud, kinesis: Any, functions: Functions, feed: Callable[..., tuple[str, str]]
) -> None:
    url, _ = functions.queue()
    source = "import json, os, boto3\ndef handler(event, context):\n    boto3.client('sqs').send_message("
    echo = functions.create(
        source + "QueueUrl=os.environ['OUT'], MessageBody=json.dumps(event))", Environment={"Variables": {"OUT": url}}
    )
    name, mapping = feed()
    cloud.client("lambda").update_event_source_mapping(UUID=mapping, FunctionName=echo)
    result = put(kinesis, name, "tick", key="k")[0]
    (event,) = functions.bodies(url)
    (record,) = event["Records"]
    arn = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"]
    assert isinstance(record["kinesis"].pop("approximateArrivalTimestamp"), float)
    assert record == {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": "k",
            "sequenceNumber": result["SequenceNumber"],
            "data": base64.b64encode(b"tick").decode(),
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{result['ShardId']}:{result['SequenceNumber']}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": cloud.role_arn,
        "awsRegion": cloud.region,
        "eventSourceARN": arn,
    }


def test_a_mapping_is_described_with_what_it_does_by_default(
    cloud: Cloud, feed: Callable[..., tuple[str, str]]
) -> None:
    _, mapping = feed(StartingPosition="LATEST")
    found = cloud.client("lambda").get_event_source_mapping(UUID=mapping)
    assert {
        "BatchSize": 100,
        "BisectBatchOnFunctionError": False,
        "DestinationConfig": {},
        "MaximumBatchingWindowInSeconds": 0,
        "MaximumRecordAgeInSeconds": -1,
        "MaximumRetryAttempts": -1,
        "ParallelizationFactor": 1,
        "StartingPosition": "LATEST",
        "State": "Enabled",
    }.items() <= found.items()


def test_records_come_in_their_order_and_once(
    kinesis: Any, functions: Functions, out: str, feed: Callable[..., tuple[str, str]]
) -> None:
    name, _ = feed(BatchSize=7)
    expected = []
    for number in range(5):
        given = [f"{number}-{one}" for one in range(10)]
        put(kinesis, name, *given)
        expected += given
    assert received(functions, out, len(expected)) == expected


def test_where_a_mapping_begins(
    localcloud_only: None, cloud: Cloud, kinesis: Any, functions: Functions, out: str, take: str
) -> None:
    name = new_stream(kinesis, ShardCount=1)
    arn = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"]
    put(kinesis, name, "before")
    advance(cloud.endpoint_url, 60)
    moment = kinesis.get_records(ShardIterator=iterator(kinesis, name, "shardId-000000000000"))["Records"][0]
    functions_api, members = cloud.client("lambda"), {"FunctionName": take, "EventSourceArn": arn}
    since = moment["ApproximateArrivalTimestamp"] + timedelta(seconds=30)
    for start, expected in (
        ({"StartingPosition": "TRIM_HORIZON"}, ["before", "middle"]),
        ({"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": since}, ["middle"]),
        ({"StartingPosition": "LATEST"}, []),
    ):
        if len(expected) == 2:
            put(kinesis, name, "middle")
        mapping = functions_api.create_event_source_mapping(**members, **start)["UUID"]
        put(kinesis, name, "last")
        found = received(functions, out, len(expected) + 1)
        assert [text for text in found if text != "last"] == expected
        functions_api.delete_event_source_mapping(UUID=mapping)
    kinesis.delete_stream(StreamName=name)


def test_a_batch_with_poison_is_divided_until_it_stands_alone(
    kinesis: Any, functions: Functions, out: str, cloud: Cloud, feed: Callable[..., tuple[str, str]]
) -> None:
    dead_url, dead_arn = functions.queue()
    name, mapping = feed(
        BatchSize=8,
        BisectBatchOnFunctionError=True,
        MaximumRetryAttempts=1,
        DestinationConfig={"OnFailure": {"Destination": dead_arn}},
    )
    results = put(kinesis, name, "a", "b", "poison", "c", "d")
    assert received(functions, out, 4) == ["a", "b", "c", "d"]
    (told,) = functions.bodies(dead_url)
    assert told["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert told["requestContext"]["approximateInvokeCount"] == 2
    assert told["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}
    batch, number = told["KinesisBatchInfo"], results[2]["SequenceNumber"]
    assert (batch["startSequenceNumber"], batch["endSequenceNumber"], batch["batchSize"]) == (number, number, 1)
    assert batch["shardId"] == results[2]["ShardId"]
    assert batch["streamArn"].endswith(f":stream/{name}")
    assert cloud.client("lambda").get_event_source_mapping(UUID=mapping)["LastProcessingResult"] == "OK"


def test_from_the_reported_record_on_a_batch_is_tried_again(
    kinesis: Any, functions: Functions, out: str, feed: Callable[..., tuple[str, str]]
) -> None:
    dead_url, dead_arn = functions.queue()
    name, _ = feed(
        FunctionResponseTypes=["ReportBatchItemFailures"],
        MaximumRetryAttempts=2,
        DestinationConfig={"OnFailure": {"Destination": dead_arn}},
    )
    results = put(kinesis, name, "a", "b", "report", "c")
    (told,) = functions.bodies(dead_url)
    batch = told["KinesisBatchInfo"]
    assert (batch["startSequenceNumber"], batch["batchSize"]) == (results[2]["SequenceNumber"], 2)
    put(kinesis, name, "d")
    assert received(functions, out, 3) == ["a", "b", "d"]


def test_records_that_are_too_old_are_given_up(
    localcloud_only: None, cloud: Cloud, kinesis: Any, functions: Functions, out: str,
    feed: Callable[..., tuple[str, str]],
) -> None:  # fmt: skip
    dead_url, dead_arn = functions.queue()
    name, mapping = feed(
        MaximumRecordAgeInSeconds=60, Enabled=False, DestinationConfig={"OnFailure": {"Destination": dead_arn}}
    )
    put(kinesis, name, "old", "older")
    advance(cloud.endpoint_url, 61)
    put(kinesis, name, "new")
    cloud.client("lambda").update_event_source_mapping(UUID=mapping, Enabled=True)
    assert received(functions, out, 1) == ["new"]
    (told,) = functions.bodies(dead_url)
    assert told["requestContext"]["condition"] == "RecordAgeExceeded"
    assert told["KinesisBatchInfo"]["batchSize"] == 2


def test_a_window_gathers_records(
    localcloud_only: None, cloud: Cloud, kinesis: Any, functions: Functions, out: str,
    feed: Callable[..., tuple[str, str]],
) -> None:  # fmt: skip
    name, _ = feed(BatchSize=3, MaximumBatchingWindowInSeconds=300)
    put(kinesis, name, "a")
    put(kinesis, name, "b")
    assert functions.count(out) == 0
    put(kinesis, name, "c", "d")
    assert functions.bodies(out) == [["a", "b", "c"]]
    advance(cloud.endpoint_url, 300)
    assert functions.bodies(out) == [["d"]]


def test_filters_decide_on_the_data(
    kinesis: Any, functions: Functions, out: str, feed: Callable[..., tuple[str, str]]
) -> None:
    name, _ = feed(FilterCriteria={"Filters": [{"Pattern": json.dumps({"data": {"fee": [{"numeric": [">", 5]}]}})}]})
    put(kinesis, name, json.dumps({"fee": 1}), "no JSON", json.dumps({"fee": 9}))
    assert received(functions, out, 1) == [json.dumps({"fee": 9})]


def test_children_wait_for_their_parents(
    kinesis: Any, functions: Functions, out: str, cloud: Cloud, feed: Callable[..., tuple[str, str]]
) -> None:
    name, mapping = feed(Enabled=False, BatchSize=2)
    expected = [f"{number}" for number in range(9)]
    put(kinesis, name, *expected[:5])
    kinesis.split_shard(StreamName=name, ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**127))
    put(kinesis, name, *expected[5:8])
    kinesis.merge_shards(
        StreamName=name, ShardToMerge="shardId-000000000001", AdjacentShardToMerge="shardId-000000000002"
    )
    put(kinesis, name, expected[8])
    cloud.client("lambda").update_event_source_mapping(UUID=mapping, Enabled=True)
    assert received(functions, out, 9) == expected


def test_several_batches_of_a_shard_keep_the_order_of_a_key(
    kinesis: Any, functions: Functions, out: str, feed: Callable[..., tuple[str, str]]
) -> None:
    name, _ = feed(ParallelizationFactor=3, BatchSize=4)
    given = [f"{key}{number}" for number in range(8) for key in "abcde"]
    kinesis.put_records(StreamName=name, Records=[{"Data": text.encode(), "PartitionKey": text[0]} for text in given])
    found = received(functions, out, len(given))
    assert sorted(found) == sorted(given)
    for key in "abcde":
        assert [text for text in found if text[0] == key] == [f"{key}{number}" for number in range(8)]


def test_the_clock_waits_for_what_was_put(
    localcloud_only: None, cloud: Cloud, kinesis: Any, functions: Functions, out: str,
    feed: Callable[..., tuple[str, str]],
) -> None:  # fmt: skip
    name, _ = feed()
    put(kinesis, name, "a")
    advance(cloud.endpoint_url, 0)
    assert functions.count(out) == 1
    assert functions.bodies(out) == [["a"]]


def test_a_mapping_s_settings_that_do_not_go_together_are_refused(
    cloud: Cloud, kinesis: Any, stream: str, take: str
) -> None:
    functions = cloud.client("lambda")
    arn = kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamARN"]
    members = {"FunctionName": take, "EventSourceArn": arn}
    for wrong in (
        {},
        {"StartingPosition": "AT_TIMESTAMP"},
        {"StartingPosition": "LATEST", "StartingPositionTimestamp": datetime.now(UTC)},
        {"StartingPosition": "LATEST", "MaximumRecordAgeInSeconds": 10},
        {"StartingPosition": "LATEST", "TumblingWindowInSeconds": 60},
        {"StartingPosition": "LATEST", "EventSourceArn": f"{arn}-none"},
        {"StartingPosition": "LATEST", "FilterCriteria": {"Filters": [{"Pattern": "{"}]}},
        {"StartingPosition": "LATEST", "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:s3:::bucket"}}},
    ):
        code, _ = error_of(functions.create_event_source_mapping, **{**members, **wrong})
        assert code == "InvalidParameterValueException"


def test_lambda_reads_as_the_function_s_role(
    localcloud_only: None, cloud: Cloud, kinesis: Any, functions: Functions, out: str,
    feed: Callable[..., tuple[str, str]],
) -> None:  # fmt: skip
    name, _ = feed()
    put(kinesis, name, "a")
    assert received(functions, out, 1) == ["a"]
    arn = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"]
    called = {call["action"] for call in calls(cloud) if (call["principal"], call["resource"]) == (cloud.role_arn, arn)}
    assert called == {
        "kinesis:DescribeStream",
        "kinesis:DescribeStreamSummary",
        "kinesis:GetRecords",
        "kinesis:GetShardIterator",
        "kinesis:ListShards",
    }


def calls(cloud: Cloud) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{cloud.endpoint_url}/_localcloud/calls") as answer:
        found: list[dict[str, Any]] = json.load(answer)["calls"]
    return found


def test_a_killed_localcloud_has_what_it_answered_and_goes_on_where_it_was(
    localcloud_only: None,
    tmp_path: Path,
    start_localcloud: Callable[[Path], Running],
    client_of: Callable[..., Any],
) -> None:
    running = start_localcloud(tmp_path)
    role = make_role(client_of(running, "iam"), "r")
    account = Functions(lambda service: client_of(running, service), role)
    url, _ = account.queue()
    take = account.create(TAKE, Environment={"Variables": {"OUT": url}})
    kinesis = client_of(running, "kinesis")
    kinesis.create_stream(StreamName="s", ShardCount=1)
    arn = kinesis.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]["StreamARN"]
    mapping = {"FunctionName": take, "EventSourceArn": arn, "StartingPosition": "TRIM_HORIZON"}
    client_of(running, "lambda").create_event_source_mapping(**mapping)
    numbers = [result["SequenceNumber"] for result in put(kinesis, "s", "a", "b")]
    assert received(account, url, 2) == ["a", "b"]
    # The function's answer has come, and with it the position.
    advance(running.endpoint_url, 0)
    numbers += [result["SequenceNumber"] for result in put(kinesis, "s", "c")]
    kinesis.split_shard(StreamName="s", ShardToSplit="0", NewStartingHashKey=str(2**127))
    running.kill()
    again = start_localcloud(tmp_path)
    kinesis = client_of(again, "kinesis")
    read = kinesis.get_records(ShardIterator=iterator(kinesis, "s", "shardId-000000000000"))["Records"]
    assert [record["SequenceNumber"] for record in read] == numbers
    later = put(kinesis, "s", "d")[0]
    assert later["ShardId"] != "shardId-000000000000"
    assert int(later["SequenceNumber"]) > int(numbers[-1])
    account = Functions(lambda service: client_of(again, service), role)
    found: set[str] = set()
    while "d" not in found:
        found.update(received(account, url.replace(running.endpoint_url, again.endpoint_url), 1))
    # At least once: what was under way may come twice, what was answered before it does not.
    assert found == {"c", "d"}


# stacks --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def account(cloud: Cloud) -> Account:
    """The account under test, for stacks."""
    return Account.of(cloud)


def feeding(take: str, dead: str, stream: dict[str, Any], mapping: dict[str, Any]) -> dict[str, Any]:
    """A template of a stream and a mapping of it."""
    start = {"FunctionName": take, "EventSourceArn": {"Fn::GetAtt": ["S", "Arn"]}, "StartingPosition": "LATEST"}
    failures = {"DestinationConfig": {"OnFailure": {"Destination": dead}}}
    return template(
        S=("AWS::Kinesis::Stream", {"Tags": [{"Key": "a", "Value": "b"}], **stream}),
        M=("AWS::Lambda::EventSourceMapping", {**start, **failures, **mapping}),
    )


def test_a_stack_s_stream_and_mapping_are_changed_in_place(
    cloud: Cloud, kinesis: Any, functions: Functions, take: str, stacks: Stacks
) -> None:
    _, dead = functions.queue()
    key = {"EncryptionType": "KMS", "KeyId": "alias/aws/kinesis"}
    stack = stacks.made(
        feeding(
            take,
            dead,
            {"RetentionPeriodHours": 48, "StreamEncryption": key, "StreamModeDetails": {"StreamMode": "ON_DEMAND"}},
            {"BatchSize": 500, "BisectBatchOnFunctionError": True, "MaximumRetryAttempts": 3},
        )
    )
    name, mapping = stacks.physical(stack, "S"), stacks.physical(stack, "M")

    def stream() -> dict[str, Any]:
        found: dict[str, Any] = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
        return found

    assert (stream()["RetentionPeriodHours"], stream()["KeyId"], stream()["OpenShardCount"]) == (48, key["KeyId"], 4)
    assert {"Key": "a", "Value": "b"} in kinesis.list_tags_for_stream(StreamName=name)["Tags"]
    found = cloud.client("lambda").get_event_source_mapping(UUID=mapping)
    assert (found["BatchSize"], found["BisectBatchOnFunctionError"], found["MaximumRetryAttempts"]) == (500, True, 3)
    assert found["DestinationConfig"]["OnFailure"]["Destination"] == dead

    on_demand = {"StreamModeDetails": {"StreamMode": "ON_DEMAND"}}
    updated = stacks.update(stack, feeding(take, dead, {**on_demand, "Tags": []}, {"ParallelizationFactor": 2}))
    assert updated["StackStatus"] == "UPDATE_COMPLETE", stacks.reasons(stack)
    assert (stacks.physical(stack, "S"), stacks.physical(stack, "M")) == (name, mapping)
    assert (stream()["RetentionPeriodHours"], stream()["EncryptionType"]) == (24, "NONE")
    assert kinesis.list_tags_for_stream(StreamName=name)["Tags"] == []
    found = cloud.client("lambda").get_event_source_mapping(UUID=mapping)
    assert (found["BatchSize"], found["BisectBatchOnFunctionError"], found["MaximumRetryAttempts"]) == (100, False, -1)
    assert found["ParallelizationFactor"] == 2
    assert stacks.delete(stack)["StackStatus"] == "DELETE_COMPLETE"
    assert name not in kinesis.list_streams()["StreamNames"]


def test_a_template_does_not_change_the_number_of_shards(localcloud_only: None, stacks: Stacks) -> None:
    stack = stacks.made(template(S=("AWS::Kinesis::Stream", {"ShardCount": 2})))
    updated = stacks.update(stack, template(S=("AWS::Kinesis::Stream", {"ShardCount": 4})))
    assert updated["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert "use SplitShard and MergeShards" in stacks.reasons(stack)["S"]
