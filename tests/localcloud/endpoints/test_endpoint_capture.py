"""What is captured, how it is written, and when."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.context import Context
from localcloud.sagemaker.endpoints.background import Background
from localcloud.sagemaker.endpoints.capture import Capture, Invocation
from tests.surroundings import surroundings

MOMENT = datetime(2026, 3, 4, 5, 59, 58, 7000, tzinfo=UTC)
CONFIG = {
    "InitialSamplingPercentage": 100,
    "DestinationS3Uri": "s3://bucket/some/prefix/",
    "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
    "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]},
}


class Bucket:
    """Takes objects."""

    def __init__(self) -> None:
        self.objects: dict[str, list[dict[str, Any]]] = {}
        self.params: list[dict[str, Any]] = []
        self.refuses = False

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, **params: Any) -> None:
        if self.refuses:
            raise ClientError({"Error": {"Code": "NoSuchBucket", "Message": "none"}}, "PutObject")
        self.objects[f"s3://{Bucket}/{Key}"] = [json.loads(line) for line in Body.splitlines()]
        self.params.append(params)


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    found = surroundings(tmp_path)
    yield found
    found.calls.close()


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


def capture(context: Context, bucket: Bucket, chance: Random | None = None, **config: Any) -> Capture:
    """A capture of the variant `v` of the endpoint `e`."""
    background = Background(context.timetable)
    return Capture("e", "v", {**CONFIG, **config}, lambda: bucket, background, chance or Random(1))


def invocation(moment: datetime = MOMENT, **members: Any) -> Invocation:
    """A CSV request that was answered in JSON."""
    given = {"content_type": "text/csv", "body": b"1,2", "answer_type": "application/json", "answer": b'{"a": 1}'}
    return Invocation(moment, **{**given, **members})


def only(bucket: Bucket) -> dict[str, Any]:
    """The one line of the one object."""
    ((line,),) = bucket.objects.values()
    return line


def test_a_line_says_what_awss_says(context: Context, bucket: Bucket) -> None:
    one = capture(context, bucket)
    one.add(invocation(inference_id="i-1", custom_attributes="trace=7"))
    one.flush()
    line = only(bucket)
    assert line["eventMetadata"].pop("eventId")
    assert line == {
        "captureData": {
            "endpointInput": {"observedContentType": "text/csv", "mode": "INPUT", "data": "1,2", "encoding": "CSV"},
            "endpointOutput": {
                "observedContentType": "application/json",
                "mode": "OUTPUT",
                "data": '{"a": 1}',
                "encoding": "JSON",
            },
        },
        "eventMetadata": {
            "inferenceId": "i-1",
            "customAttributes": ["trace=7"],
            "inferenceTime": "2026-03-04T05:59:58Z",
        },
        "eventVersion": "0",
    }
    (place,) = bucket.objects
    assert place.startswith("s3://bucket/some/prefix/e/v/2026/03/04/05/59-58-007-")
    assert place.endswith(".jsonl")


def test_lines_wait_a_few_seconds_for_each_other(context: Context, bucket: Bucket) -> None:
    one = capture(context, bucket)
    one.add(invocation())
    one.add(invocation())
    assert not bucket.objects
    context.timetable.advance(5)
    assert [len(lines) for lines in bucket.objects.values()] == [2]
    one.add(invocation())
    context.timetable.advance(5)
    assert sum(len(lines) for lines in bucket.objects.values()) == 3


def test_every_hour_has_objects_of_its_own(context: Context, bucket: Bucket) -> None:
    one = capture(context, bucket)
    one.add(invocation())
    one.add(invocation(MOMENT + timedelta(seconds=3)))
    one.flush()
    assert [place.split("/")[-2] for place in bucket.objects] == ["05", "06"]


@pytest.mark.parametrize(
    ("content_type", "body", "encoding", "data"),
    [
        ("application/json; charset=utf-8", b"{}", "JSON", "{}"),
        ("TEXT/CSV", b"1", "CSV", "1"),
        ("application/x-npy", b"\x00\xff", "BASE64", "AP8="),
        ("text/csv", b"\xff", "BASE64", "/w=="),
        ("", b"1", "BASE64", "MQ=="),
    ],
)
def test_data_is_text_where_its_type_says_so(
    context: Context, bucket: Bucket, content_type: str, body: bytes, encoding: str, data: str
) -> None:
    one = capture(context, bucket)
    one.add(invocation(content_type=content_type, body=body))
    one.flush()
    found = only(bucket)["captureData"]["endpointInput"]
    assert (found["observedContentType"], found["encoding"], found["data"]) == (content_type, encoding, data)


@pytest.mark.parametrize(
    ("mode", "members"), [("Input", ["endpointInput"]), ("InputAndOutput", ["endpointInput", "endpointOutput"])]
)
def test_only_what_is_asked_for(context: Context, bucket: Bucket, mode: str, members: list[str]) -> None:
    one = capture(context, bucket, CaptureOptions=[{"CaptureMode": mode}])
    one.add(invocation())
    one.flush()
    assert list(only(bucket)["captureData"]) == members


def test_a_part_is_sampled(context: Context, bucket: Bucket) -> None:
    one = capture(context, bucket, Random(7), InitialSamplingPercentage=25)
    for _ in range(1000):
        one.add(invocation())
    one.flush()
    chance = Random(7)
    expected = sum(chance.random() < 0.25 for _ in range(1000))
    assert [len(lines) for lines in bucket.objects.values()] == [expected]
    none = capture(context, bucket, InitialSamplingPercentage=0)
    none.add(invocation())
    none.flush()
    assert len(bucket.objects) == 1


def test_a_key_encrypts(context: Context, bucket: Bucket) -> None:
    one = capture(context, bucket, KmsKeyId="key")
    one.add(invocation())
    one.flush()
    assert bucket.params == [{"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "key"}]


def test_what_s3_refuses_is_logged_and_hurts_nobody(
    context: Context, bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    bucket.refuses = True
    one = capture(context, bucket)
    one.add(invocation())
    one.flush()
    assert "data capture: 1 lines for s3://bucket/some/prefix/e/v" in caplog.text
    assert "NoSuchBucket" in caplog.text
