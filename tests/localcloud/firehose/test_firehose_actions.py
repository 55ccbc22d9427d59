"""Calls in IAM's terms: those of Firehose, and of what stands around a stream."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localcloud.actions import Actions, operation_of
from localcloud.protocols.http import HttpRequest

_ACTIONS = Actions("eu-west-1", "123456789012")
_ROLE, _OTHER = "arn:aws:iam::123456789012:role/r", "arn:aws:iam::123456789012:role/o"
_STREAM = "arn:aws:firehose:eu-west-1:123456789012:deliverystream/s"


@pytest.mark.parametrize(("source", "passed"), [(_ROLE, [_ROLE]), (_OTHER, [_OTHER, _ROLE])])
def test_a_firehose_stream_is_given_its_roles(source: str, passed: list[str]) -> None:
    params = {
        "DeliveryStreamName": "s",
        "KinesisStreamSourceConfiguration": {"KinesisStreamARN": "a", "RoleARN": source},
        "ExtendedS3DestinationConfiguration": {"BucketARN": "b", "RoleARN": _ROLE},
    }
    found = list(_ACTIONS.of("firehose", "CreateDeliveryStream", params))
    assert found == [("firehose:CreateDeliveryStream", _STREAM), *(("iam:PassRole", role) for role in passed)]


def _request(target: str, body: Any) -> HttpRequest:
    return HttpRequest("POST", "/", "", {"x-amz-target": target}, json.dumps(body).encode())


def test_batches_are_of_their_tables_and_aliases_of_themselves() -> None:
    batch = _request("DynamoDB_20120810.BatchGetItem", {"RequestItems": {"a": {}, "b": {}}})
    tables = [f"arn:aws:dynamodb:eu-west-1:123456789012:table/{name}" for name in "ab"]
    assert list(_ACTIONS.of_request("dynamodb", batch)) == [("dynamodb:BatchGetItem", table) for table in tables]
    alias = _request("TrentService.CreateAlias", {"AliasName": "alias/a", "TargetKeyId": "k"})
    expected = "arn:aws:kms:eu-west-1:123456789012:alias/a"
    assert list(_ACTIONS.of_request("kms", alias)) == [("kms:CreateAlias", expected)]


@pytest.mark.parametrize(
    ("service", "request_", "operation"),
    [
        ("s3", HttpRequest("PUT", "/b/k"), "PutObject"),
        ("s3", HttpRequest("POST", "/b/k", "uploadId=1"), "CompleteMultipartUpload"),
        ("s3", HttpRequest("GET", "/b", "list-type=2"), "ListObjectsV2"),
        ("s3", HttpRequest("GET", "/"), "ListBuckets"),
        ("dynamodb", _request("DynamoDB_20120810.PutItem", {}), "PutItem"),
        ("sns", HttpRequest("POST", "/", "Action=Publish"), "Publish"),
        ("ec2", HttpRequest("POST", "/", "Action=DescribeVpcs"), "DescribeVpcs"),
    ],
)
def test_the_operation_of_a_request_for_the_leaf_is_known(service: str, request_: HttpRequest, operation: str) -> None:
    assert operation_of(service, request_) == operation
