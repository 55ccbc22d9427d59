"""Buffers and their delivery: what is taken is delivered once, whatever fails or ends in between."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from localcloud.context import Context
from localcloud.errors import ServiceError
from localcloud.firehose import destination
from localcloud.firehose.buffers import Buffers, Partition, Taken
from localcloud.firehose.delivery import Deliveries, Stream
from localcloud.protocols.http import HttpRequest, HttpResponse
from tests.surroundings import surroundings

_ARN = "arn:aws:firehose:eu-west-1:123456789012:deliverystream/s"
_BY_KIND = {
    "Prefix": "!{partitionKeyFromQuery:kind}/",
    "ErrorOutputPrefix": "errors/!{firehose:error-output-type}/",
    "BufferingHints": {"SizeInMBs": 64, "IntervalInSeconds": 60},
    "DynamicPartitioningConfiguration": {"Enabled": True},
    "ProcessingConfiguration": {
        "Enabled": True,
        "Processors": [
            {
                "Type": "MetadataExtraction",
                "Parameters": [
                    {"ParameterName": "MetadataExtractionQuery", "ParameterValue": "{kind: .kind}"},
                    {"ParameterName": "JsonParsingEngine", "ParameterValue": "JQ-1.6"},
                ],
            }
        ],
    },
}


def _stream(*, keeps: bool = False, **members: Any) -> Stream:
    config = {"RoleARN": "arn:aws:iam::123456789012:role/r", "BucketARN": "arn:aws:s3:::b", **members}
    return Stream(_ARN, "s", "1", destination.parse(destination.configured(config)), keeps)


@dataclass
class _Bucket:
    """Stands for S3: it keeps what is put, and fails as often as it is told to."""

    objects: dict[str, bytes] = field(default_factory=dict)
    failures: int = 0
    tries: int = 0

    def handle(self, request: HttpRequest) -> HttpResponse:
        assert request.method == "PUT"
        self.tries += 1
        if self.failures:
            self.failures -= 1
            return HttpResponse(503, [], b"<Error><Code>SlowDown</Code><Message>Slow down</Message></Error>")
        self.objects[unquote(request.path).removeprefix("/b/")] = request.body
        return HttpResponse(200, [("ETag", '"e"')])


@dataclass
class _Delivery:
    context: Context
    bucket: _Bucket
    stream: Stream
    deliveries: Deliveries
    buffers: Buffers

    def take(self, *records: bytes) -> None:
        now = self.context.clock.now().timestamp()
        self.deliveries.take(self.stream, [(now, record) for record in records])

    def advance(self, seconds: float) -> None:
        self.context.timetable.advance(seconds)

    def end(self) -> None:
        self.deliveries.close()
        self.buffers.close()

    def contents(self) -> Mapping[str, bytes]:
        """By prefix; objects of one prefix behind each other."""
        found: dict[str, bytes] = {}
        for key in sorted(self.bucket.objects):
            found[key.rpartition("/")[0]] = found.get(key.rpartition("/")[0], b"") + self.bucket.objects[key]
        return found


Begin = Callable[..., _Delivery]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Starts deliveries over the same file and the same bucket every time."""
    context, bucket = surroundings(tmp_path), _Bucket()
    context.clients.connect(bucket.handle)
    begun: list[_Delivery] = []

    def start(**members: Any) -> _Delivery:
        for before in begun:
            before.end()
        stream, buffers = _stream(**members), Buffers(tmp_path / "buffers.sqlite")
        deliveries = Deliveries(context, buffers, {_ARN: stream}.get)
        deliveries.start()
        begun.append(_Delivery(context, bucket, stream, deliveries, buffers))
        return begun[-1]

    yield start
    begun[-1].end()
    context.calls.close()
    context.store.close()


def test_each_partition_has_a_buffer_and_a_time_of_its_own(begin: Begin) -> None:
    one = begin(**_BY_KIND)
    one.take(b'{"kind": "a", "n": 1}')
    one.advance(40)
    one.take(b'{"kind": "b", "n": 2}', b'{"kind": "a", "n": 3}')
    one.advance(20)
    assert one.contents() == {"a": b'{"kind": "a", "n": 1}{"kind": "a", "n": 3}'}
    one.advance(40)
    assert set(one.contents()) == {"a", "b"}


def test_what_is_taken_outlives_the_process_and_is_delivered_once(begin: Begin) -> None:
    begin(Prefix="p/").take(b"1", b"2")
    two = begin(Prefix="p/")
    two.take(b"3")
    two.advance(300)
    assert list(two.contents().values()) == [b"123"]
    begin(Prefix="p/").advance(900)
    assert list(two.contents().values()) == [b"123"]


def test_an_object_that_may_have_been_written_is_written_again_under_its_name(begin: Begin) -> None:
    one = begin(Prefix="p/")
    one.take(b"1")
    one.bucket.failures = 1
    one.advance(300)
    assert one.bucket.objects == {}
    # It stands for a process that is killed between the two: the parcel is in the file.
    (parcel,) = one.buffers.parcels()
    one.bucket.objects[parcel.key] = b"1"
    two = begin(Prefix="p/")
    two.advance(0)
    assert two.bucket.objects == {parcel.key: b"1"}
    assert two.buffers.parcels() == []


def test_a_bucket_that_fails_is_asked_less_and_less_often(begin: Begin) -> None:
    one = begin(Prefix="p/")
    one.take(b"1")
    one.bucket.failures = 6
    one.advance(300)
    one.advance(5 + 10 + 20 + 40 + 80)
    assert (one.bucket.tries, one.contents()) == (6, {})
    one.advance(160)
    assert list(one.contents().values()) == [b"1"]


def test_after_a_day_what_was_put_is_given_up_and_what_came_from_a_stream_is_not(begin: Begin) -> None:
    for keeps in (False, True):
        one = begin(Prefix="p/", keeps=keeps)
        arrived = one.context.clock.now().timestamp() - 86_000
        one.deliveries.take(one.stream, [(arrived, b"1")])
        one.bucket.failures = 1_000_000
        one.advance(1000)
        one.bucket.failures = 0
        one.advance(600)
        assert list(one.contents().values()) == ([b"1"] if keeps else [])


def test_more_than_the_allowed_partitions_go_to_the_error_prefix(begin: Begin) -> None:
    one = begin(**_BY_KIND)
    one.take(*(json.dumps({"kind": str(number)}).encode() for number in range(503)))
    one.advance(60)
    failed = [json.loads(line) for line in one.contents().pop("errors/metadata-extraction-failed").splitlines()]
    assert [line["errorCode"] for line in failed] == ["DynamicPartitioning.ActivePartitionsLimitExceeded"] * 3
    assert len(one.contents()) == 501


def test_a_compressed_object_is_the_same_bytes_every_time(begin: Begin) -> None:
    contents = set()
    for _ in range(2):
        one = begin(Prefix="p/", CompressionFormat="GZIP")
        one.take(b"a" * 100_000)
        one.advance(300)
        contents |= set(one.bucket.objects.values())
    (found,) = contents
    assert len(found) < 1_000
    assert gzip.decompress(found) == b"a" * 100_000


def test_how_far_a_source_is_read_is_kept_with_what_was_taken(begin: Begin) -> None:
    one = begin()
    assert one.buffers.position(_ARN) is None
    one.deliveries.take(one.stream, [(0.0, b"1")], position=41)
    assert begin().buffers.position(_ARN) == 41


def test_a_stream_that_is_gone_leaves_nothing(begin: Begin) -> None:
    one = begin()
    one.deliveries.take(one.stream, [(0.0, b"1")], position=41)
    one.deliveries.forget(one.stream)
    one.advance(300)
    assert (one.contents(), one.buffers.position(_ARN), one.buffers.streams()) == ({}, None, set())


def test_partitions_are_read_back_as_they_were(tmp_path: Path) -> None:
    buffers = Buffers(tmp_path / "buffers.sqlite")
    partitions = [Partition.of({"b": "ü", "a": '"'}), Partition(), Partition(error_type="failed")]
    buffers.add(_ARN, [Taken(partition, 5.0, b"12") for partition in partitions])
    assert {(one.partition, one.size, one.arrived) for one in buffers.buffers()} == {
        (partition, 2, 5.0) for partition in partitions
    }
    buffers.close()


def test_a_delimiter_is_as_it_is_written(begin: Begin) -> None:
    for given, expected in (("\\n", b"1\n2\n"), ("||", b"1||2||"), ("\\t", b"1\t2\t")):
        parameters = [{"ParameterName": "Delimiter", "ParameterValue": given}]
        processors = [{"Type": "AppendDelimiterToRecord", "Parameters": parameters}]
        one = begin(ProcessingConfiguration={"Enabled": True, "Processors": processors})
        one.bucket.objects.clear()
        one.take(b"1", b"2")
        one.advance(300)
        assert list(one.contents().values()) == [expected]


def test_a_parameter_that_a_processor_does_not_have_is_refused() -> None:
    processors = [
        {"Type": "AppendDelimiterToRecord", "Parameters": [{"ParameterName": "LambdaArn", "ParameterValue": "a"}]}
    ]
    with pytest.raises(ServiceError, match="has no parameter LambdaArn; it has Delimiter"):
        _stream(ProcessingConfiguration={"Enabled": True, "Processors": processors})
