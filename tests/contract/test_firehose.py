"""Firehose: from what is put, directly or to a Kinesis stream, to objects in S3."""

from __future__ import annotations

import base64
import gzip
import json
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from localcloud import instance
from tests.contract.sagemaker_account import error_of, until
from tests.roles import make_role

_TRUST = {"Effect": "Allow", "Principal": {"Service": "firehose.amazonaws.com"}, "Action": "sts:AssumeRole"}
_QUERY = '{day: (.time | strftime("%Y-%m-%d")), hour: (.time | strftime("%H"))}'
_PARTITIONED = {
    "Prefix": "raw/day=!{partitionKeyFromQuery:day}/hour=!{partitionKeyFromQuery:hour}/",
    "ErrorOutputPrefix": "errors/!{firehose:error-output-type}/!{timestamp:yyyy/MM}/",
    "BufferingHints": {"SizeInMBs": 64, "IntervalInSeconds": 60},
    "CompressionFormat": "GZIP",
    "DynamicPartitioningConfiguration": {"Enabled": True},
    "ProcessingConfiguration": {
        "Enabled": True,
        "Processors": [
            {
                "Type": "MetadataExtraction",
                "Parameters": [
                    {"ParameterName": "MetadataExtractionQuery", "ParameterValue": _QUERY},
                    {"ParameterName": "JsonParsingEngine", "ParameterValue": "JQ-1.6"},
                ],
            }
        ],
    },
}


@dataclass
class _Place:
    """A bucket, a role, and streams between them; all but the bucket's content is new for every test."""

    client: Callable[[str], Any]
    advance: Callable[[int], Any]
    bucket: str = field(default_factory=lambda: f"firehose-{uuid.uuid4().hex[:10]}")
    role: str = ""
    names: list[str] = field(default_factory=list)

    def furnish(self) -> None:
        region = self.client("s3").meta.region_name
        self.client("s3").create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": region})
        trust = json.dumps({"Version": "2012-10-17", "Statement": [_TRUST]})
        self.role = make_role(self.client("iam"), self.bucket, assumed_by=trust)

    def destination(self, **members: Any) -> dict[str, Any]:
        return {"RoleARN": self.role, "BucketARN": f"arn:aws:s3:::{self.bucket}", **members}

    def create(self, *, kinesis: str | None = None, **members: Any) -> str:
        name = f"stream-{uuid.uuid4().hex[:8]}"
        source: dict[str, Any] = {"DeliveryStreamType": "DirectPut"}
        if kinesis is not None:
            configuration = {"KinesisStreamARN": kinesis, "RoleARN": self.role}
            source = {"DeliveryStreamType": "KinesisStreamAsSource", "KinesisStreamSourceConfiguration": configuration}
        self.client("firehose").create_delivery_stream(
            DeliveryStreamName=name, ExtendedS3DestinationConfiguration=self.destination(**members), **source
        )
        self.names.append(name)
        return name

    def kinesis(self, shards: int = 1) -> str:
        name, client = f"source-{uuid.uuid4().hex[:8]}", self.client("kinesis")
        client.create_stream(StreamName=name, ShardCount=shards)
        client.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
        return str(client.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"])

    def put(self, name: str, *records: bytes) -> None:
        self.client("firehose").put_record_batch(
            DeliveryStreamName=name, Records=[{"Data": record} for record in records]
        )

    def objects(self, prefix: str = "") -> dict[str, bytes]:
        """The content of every object by its key; what is compressed is unpacked."""
        s3, found = self.client("s3"), {}
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
            for entry in page.get("Contents", []):
                body = s3.get_object(Bucket=self.bucket, Key=entry["Key"])["Body"].read()
                found[entry["Key"]] = gzip.decompress(body) if entry["Key"].endswith(".gz") else body
        return found


def _line(time: int | None, number: int = 0) -> bytes:
    return json.dumps({"hash": f"{number:064x}", "time": time, "fee": 5}).encode() + b"\n"


@pytest.fixture
def place(cloud: Any, localcloud_only: None) -> Iterator[_Place]:
    port = urlsplit(cloud.endpoint_url).port
    assert port is not None
    found = _Place(cloud.client, lambda seconds: instance.advance(port, seconds))
    found.furnish()
    yield found
    for name in found.names:
        cloud.client("firehose").delete_delivery_stream(DeliveryStreamName=name)


def test_what_is_put_is_an_object_when_the_interval_is_over(place: _Place) -> None:
    name = place.create(Prefix="plain/", BufferingHints={"SizeInMBs": 1, "IntervalInSeconds": 60})
    answer = place.client("firehose").put_record(DeliveryStreamName=name, Record={"Data": b"one,"})
    assert len(answer["RecordId"]) > 50
    place.advance(30)
    place.put(name, b"two,", b"three")
    assert place.objects() == {}
    place.advance(31)
    ((key, content),) = place.objects().items()
    assert content == b"one,two,three"
    # The default time, then name, version, moment and an id.
    assert re.fullmatch(rf"plain/\d{{4}}/\d\d/\d\d/\d\d/{name}-1-\d{{4}}(-\d\d){{5}}-[0-9a-f-]{{36}}", key)
    place.advance(3600)
    assert len(place.objects()) == 1


def test_a_buffer_that_is_full_is_delivered_before_its_time(place: _Place) -> None:
    name = place.create(BufferingHints={"SizeInMBs": 1, "IntervalInSeconds": 900})
    for _ in range(3):
        place.put(name, b"x" * 600_000)
    place.advance(0)
    assert [len(content) for content in place.objects().values()] == [1_200_000]
    place.advance(901)
    assert sorted(len(content) for content in place.objects().values()) == [600_000, 1_200_000]


def test_records_go_where_their_own_time_says(place: _Place) -> None:
    name = place.create(**_PARTITIONED)
    # 2025-11-22T14:00:00Z and on.
    times = [1763820000, 1763823599, 1763823600, 1763820001, 1763856000]
    place.put(name, *(_line(time, number) for number, time in enumerate(times)))
    place.advance(61)
    found = {key.rpartition("/")[0]: content for key, content in place.objects().items()}
    assert found == {
        "raw/day=2025-11-22/hour=14": _line(times[0], 0) + _line(times[1], 1) + _line(times[3], 3),
        "raw/day=2025-11-22/hour=15": _line(times[2], 2),
        "raw/day=2025-11-23/hour=00": _line(times[4], 4),
    }
    assert all(key.endswith(".gz") for key in place.objects())


def test_records_without_a_partition_go_to_the_error_prefix_with_the_reason(place: _Place) -> None:
    logs, group = place.client("logs"), f"/aws/kinesisfirehose/{uuid.uuid4().hex[:8]}"
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="delivery")
    name = place.create(
        **_PARTITIONED,
        CloudWatchLoggingOptions={"Enabled": True, "LogGroupName": group, "LogStreamName": "delivery"},
    )
    bad = [b"no json", b'{"time": 1}{"time": 2}', b'{"time": "noon"}', b'{"time": null}', b"\xff\xfe", b""]
    place.put(name, _line(1763820000), *bad[:-1])
    place.advance(61)
    assert len(place.objects("raw/")) == 1
    ((key, content),) = place.objects("errors/").items()
    assert re.match(r"errors/metadata-extraction-failed/\d{4}/\d\d/stream-", key)
    failed = [json.loads(line) for line in content.splitlines()]
    assert [base64.b64decode(one["rawData"]) for one in failed] == bad[:-1]
    assert {one["errorCode"] for one in failed} == {"DynamicPartitioning.MetadataExtractionFailed"}
    assert [one["errorMessage"] for one in failed[:2]] == ["Non JSON record provided"] * 2
    assert "strftime" in failed[2]["errorMessage"]
    events = logs.get_log_events(logGroupName=group, logStreamName="delivery")["events"]
    told = [json.loads(event["message"]) for event in events]
    assert [one["errorCode"] for one in told] == ["DynamicPartitioning.MetadataExtractionFailed"]
    assert told[0]["deliveryStreamARN"].endswith(f"deliverystream/{name}")


def test_delimiters_are_put_behind_records(place: _Place) -> None:
    processors = [{"Type": "AppendDelimiterToRecord", "Parameters": []}]
    name = place.create(ProcessingConfiguration={"Enabled": True, "Processors": processors})
    place.put(name, b"1", b"2")
    place.advance(301)
    assert list(place.objects().values()) == [b"1\n2\n"]


def test_a_kinesis_stream_is_delivered_from_when_the_firehose_stream_was_made(place: _Place) -> None:
    arn, kinesis = place.kinesis(), place.client("kinesis")
    kinesis.put_record(StreamARN=arn, Data=_line(1763820000, 1), PartitionKey="transactions")
    name = place.create(kinesis=arn, **_PARTITIONED)
    lines = [_line(1763820000 + number, number) for number in range(2, 300)]
    for start in range(0, len(lines), 100):
        records = [{"Data": line, "PartitionKey": "transactions"} for line in lines[start : start + 100]]
        assert kinesis.put_records(StreamARN=arn, Records=records)["FailedRecordCount"] == 0
    place.advance(61)
    assert b"".join(place.objects("raw/").values()) == b"".join(lines)
    refused = error_of(place.client("firehose").put_record, DeliveryStreamName=name, Record={"Data": b"1"})
    assert refused == (
        "InvalidArgumentException",
        "This operation is not permitted on KinesisStreamAsSource delivery stream type.",
    )
    kinesis.delete_stream(StreamARN=arn)


def test_a_stream_describes_itself_and_is_changed_and_found(place: _Place) -> None:
    firehose, arn = place.client("firehose"), place.kinesis()
    name = place.create(kinesis=arn, **_PARTITIONED)
    found = firehose.describe_delivery_stream(DeliveryStreamName=name)["DeliveryStreamDescription"]
    assert (found["DeliveryStreamStatus"], found["VersionId"], found["DeliveryStreamType"]) == (
        "ACTIVE",
        "1",
        "KinesisStreamAsSource",
    )
    assert found["Source"]["KinesisStreamSourceDescription"]["KinesisStreamARN"] == arn
    extended = found["Destinations"][0]["ExtendedS3DestinationDescription"]
    assert {key: extended[key] for key in _PARTITIONED} == _PARTITIONED
    assert name in firehose.list_delivery_streams(DeliveryStreamType="KinesisStreamAsSource")["DeliveryStreamNames"]
    update = {
        "DeliveryStreamName": name,
        "DestinationId": found["Destinations"][0]["DestinationId"],
        "ExtendedS3DestinationUpdate": {"BufferingHints": {"SizeInMBs": 128, "IntervalInSeconds": 120}},
    }
    firehose.update_destination(CurrentDeliveryStreamVersionId="1", **update)
    found = firehose.describe_delivery_stream(DeliveryStreamName=name)["DeliveryStreamDescription"]
    extended = found["Destinations"][0]["ExtendedS3DestinationDescription"]
    assert (found["VersionId"], extended["BufferingHints"]["SizeInMBs"], extended["Prefix"]) == (
        "2",
        128,
        _PARTITIONED["Prefix"],
    )
    stale = error_of(firehose.update_destination, CurrentDeliveryStreamVersionId="1", **update)
    assert stale[0] == "ConcurrentModificationException"
    firehose.tag_delivery_stream(DeliveryStreamName=name, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b"}])
    firehose.untag_delivery_stream(DeliveryStreamName=name, TagKeys=["b", "c"])
    tags = firehose.list_tags_for_delivery_stream(DeliveryStreamName=name)["Tags"]
    assert tags == [{"Key": "a", "Value": "1"}]
    assert error_of(place.client("firehose").delete_delivery_stream, DeliveryStreamName="none")[0] == (
        "ResourceNotFoundException"
    )
    place.client("kinesis").delete_stream(StreamARN=arn)


def test_what_was_taken_is_delivered_as_it_was_to_be_when_the_stream_changes(place: _Place) -> None:
    name = place.create(Prefix="before/")
    place.put(name, b"1")
    place.client("firehose").update_destination(
        DeliveryStreamName=name,
        CurrentDeliveryStreamVersionId="1",
        DestinationId="destinationId-000000000001",
        ExtendedS3DestinationUpdate={"Prefix": "after/"},
    )
    place.put(name, b"2")
    place.advance(301)
    assert list(place.objects("before/").values()) == [b"1"]
    assert list(place.objects("after/").values()) == [b"2"]
    assert "-2-" in next(iter(place.objects("after/")))


def test_a_bucket_that_is_not_there_is_tried_again_and_nothing_is_lost(place: _Place) -> None:
    other = f"{place.bucket}-late"
    name = place.create(BucketARN=f"arn:aws:s3:::{other}")
    place.put(name, b"1")
    place.advance(600)
    region = place.client("s3").meta.region_name
    place.client("s3").create_bucket(Bucket=other, CreateBucketConfiguration={"LocationConstraint": region})
    place.advance(301)
    listed = place.client("s3").list_objects_v2(Bucket=other)["Contents"]
    assert len(listed) == 1


def test_objects_are_encrypted_by_the_key(place: _Place) -> None:
    key = place.client("kms").create_key()["KeyMetadata"]["Arn"]
    name = place.create(EncryptionConfiguration={"KMSEncryptionConfig": {"AWSKMSKeyARN": key}})
    place.put(name, b"1")
    place.advance(301)
    (found,) = place.objects()
    head = place.client("s3").head_object(Bucket=place.bucket, Key=found)
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", key)


_PROCESSOR = _PARTITIONED["ProcessingConfiguration"]


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"CompressionFormat": "ZIP"}, "CompressionFormat GZIP and UNCOMPRESSED; got ZIP"),
        ({"CustomTimeZone": "Asia/Tokyo"}, "CustomTimeZone UTC only"),
        ({"S3BackupMode": "Enabled"}, "S3BackupMode Disabled only"),
        ({"Prefix": "!{firehose:error-output-type}/"}, "Prefix cannot contain"),
        ({"Prefix": "!{timestamp:QQ}/"}, "localcloud has no 'QQ'"),
        ({"Prefix": "!{partitionKeyFromLambda:a}/"}, "no functions that transform"),
        ({"Prefix": "!{partitionKeyFromQuery:day}/"}, "DynamicPartitioningConfiguration is not enabled"),
        ({"Prefix": "!{broken/"}, "may only begin an expression"),
        ({**_PARTITIONED, "Prefix": "raw/"}, "Prefix must have a !{partitionKeyFromQuery"),
        ({**_PARTITIONED, "ErrorOutputPrefix": "e/!{timestamp:yyyy}/"}, "must contain !{firehose:error-output-type}"),
        ({**_PARTITIONED, "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 60}}, "at least 64"),
        ({**_PARTITIONED, "ProcessingConfiguration": {"Enabled": False}}, "needs a processor MetadataExtraction"),
        ({"ProcessingConfiguration": _PROCESSOR}, "needs DynamicPartitioningConfiguration"),
        (
            {"ProcessingConfiguration": {"Enabled": True, "Processors": [{"Type": "RecordDeAggregation"}]}},
            "got RecordDeAggregation",
        ),
        ({"RoleARN": "arn:aws:iam::123456789012:role/contract-role"}, "unable to assume role"),
        ({"CloudWatchLoggingOptions": {"Enabled": True}}, "needs LogGroupName and LogStreamName"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(place: _Place, members: dict[str, Any], said: str) -> None:
    code, message = error_of(place.create, **members)
    assert (code, said in message) == ("InvalidArgumentException", True), message


def test_a_query_that_is_none_is_refused_with_what_jq_says(place: _Place) -> None:
    parameters = [
        {"ParameterName": "MetadataExtractionQuery", "ParameterValue": "{day: "},
        {"ParameterName": "JsonParsingEngine", "ParameterValue": "JQ-1.6"},
    ]
    processing = {"Enabled": True, "Processors": [{"Type": "MetadataExtraction", "Parameters": parameters}]}
    code, message = error_of(place.create, **{**_PARTITIONED, "ProcessingConfiguration": processing})
    assert code == "InvalidArgumentException"
    assert "syntax error" in message


def test_limits_of_records_are_kept(place: _Place) -> None:
    firehose, name = place.client("firehose"), place.create()
    too_long = {"Data": b"x" * (1_000 * 1024 + 1)}
    assert error_of(firehose.put_record, DeliveryStreamName=name, Record=too_long)[0] == "InvalidArgumentException"
    half = {"Data": b"x" * 900_000}
    refused = error_of(firehose.put_record_batch, DeliveryStreamName=name, Records=[half] * 5)
    assert refused == ("InvalidArgumentException", "Records size exceeds 4 MB limit: got 4500000 bytes")


def test_nothing_is_lost_or_doubled_when_localcloud_is_killed(
    start_localcloud: Callable[[Path], Any], client_of: Callable[..., Any], tmp_path: Path
) -> None:
    running = start_localcloud(tmp_path / "state")

    def client(service: str) -> Any:
        return client_of(running, service)

    place = _Place(client, lambda seconds: instance.advance(running.port, seconds))
    place.furnish()
    arn = place.kinesis()
    place.create(kinesis=arn, **_PARTITIONED)
    direct = place.create(Prefix="direct/")
    place.put(direct, b"1")
    lines = [_line(1763820000 + number, number) for number in range(40)]
    for line in lines[:20]:
        client("kinesis").put_record(StreamARN=arn, Data=line, PartitionKey="transactions")
    running.kill()
    running = start_localcloud(tmp_path / "state")
    for line in lines[20:]:
        client("kinesis").put_record(StreamARN=arn, Data=line, PartitionKey="transactions")
    place.advance(301)
    assert b"".join(place.objects("raw/").values()) == b"".join(lines)
    assert list(place.objects("direct/").values()) == [b"1"]


def test_time_alone_delivers_too(place: _Place) -> None:
    name = place.create(BufferingHints={"SizeInMBs": 1, "IntervalInSeconds": 0})
    place.put(name, b"1")
    until(lambda: place.objects(), "the object is there")
