"""What CloudFormation's own schemas say, and that our resource types agree with them."""

from __future__ import annotations

from typing import Any

import pytest

from localcloud.cloudformation import schemas
from localcloud.cloudformation.resources import TYPES, not_honoured

REGION = "eu-west-1"


@pytest.mark.parametrize("name", sorted(TYPES))
def test_what_a_type_honours_is_what_the_schema_has(name: str) -> None:
    schema, kind = schemas.schema(name, REGION), TYPES[name]
    assert {path.partition(".")[0] for path in kind.honours} <= schema.properties
    assert set(schema.document.get("required") or ()) <= {path.partition(".")[0] for path in kind.honours}
    assert kind.name_property is None or kind.name_property in schema.properties
    assert kind.changing <= kind.attributes


def test_scalars_become_what_the_schema_asks_for() -> None:
    queue = schemas.schema("AWS::SQS::Queue", REGION)
    assert queue.coerce(
        {"DelaySeconds": "5", "FifoQueue": "true", "QueueName": 7, "Tags": [{"Key": 1, "Value": True}]}
    ) == {
        "DelaySeconds": 5,
        "FifoQueue": True,
        "QueueName": "7",
        "Tags": [{"Key": "1", "Value": "true"}],
    }
    alarm = schemas.schema("AWS::CloudWatch::Alarm", REGION)
    assert alarm.coerce({"Threshold": "0.5", "Period": "x"}) == {"Threshold": 0.5, "Period": "x"}


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({}, ["#: required key [Type] not found", "#: required key [Value] not found"]),
        ({"Type": "String", "Value": "x", "Colour": 1}, ["#: extraneous key [Colour] is not permitted"]),
        ({"Type": "Text", "Value": "x"}, ["#/Type: Text is not a valid enum value"]),
        ({"Type": "String", "Value": []}, ["#/Value: expected type: String, found: JSONArray"]),
        ({"Type": "String", "Value": "x", "Arn": "a"}, ["#: extraneous key [Arn] is not permitted"]),
        ({"Type": "String", "Value": "x"}, []),
    ],
)
def test_violations_are_told_as_cloudformation_does(properties: dict[str, Any], said: list[str]) -> None:
    found = schemas.schema("AWS::SSM::Parameter", REGION).violations(properties)
    assert len(found) == len(said)
    for expected in said:
        assert any(one.startswith(expected) for one in found), found


def test_what_cannot_be_changed_asks_for_a_new_resource() -> None:
    group = schemas.schema("AWS::SageMaker::FeatureGroup", REGION)
    before = {"FeatureGroupName": "a", "OnlineStoreConfig": {"EnableOnlineStore": True, "TtlDuration": {"Value": 1}}}
    after = {"FeatureGroupName": "a", "OnlineStoreConfig": {"EnableOnlineStore": True, "TtlDuration": {"Value": 2}}}
    assert group.replaced(before, after) == []
    after["OnlineStoreConfig"] = {"EnableOnlineStore": False}
    assert group.replaced(before, after) == ["OnlineStoreConfig.EnableOnlineStore"]


def test_a_property_that_would_be_dropped_is_named() -> None:
    given = {
        "BucketName": "b",
        "LifecycleConfiguration": {"Rules": [{"Status": "Enabled", "ObjectSizeGreaterThan": 1}]},
        "LoggingConfiguration": {},
        "BucketEncryption": {"Fn::If": ["C", {"ServerSideEncryptionConfiguration": [{"Other": 1}]}, {"Ref": "X"}]},
    }
    assert not_honoured("AWS::S3::Bucket", given) == [
        "BucketEncryption.ServerSideEncryptionConfiguration.Other",
        "LifecycleConfiguration.Rules.ObjectSizeGreaterThan",
        "LoggingConfiguration",
    ]
