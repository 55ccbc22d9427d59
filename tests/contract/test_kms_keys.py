"""Keys of KMS in stacks, and what is encrypted by them: objects, queues, topics and streams."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from tests.contract.sagemaker_account import Account
from tests.contract.stacks import Stacks, template

_KEY = "AWS::KMS::Key"


@pytest.fixture(scope="module")
def account(cloud: Any) -> Account:
    return Account.of(cloud)


@pytest.fixture
def key(account: Account) -> str:
    """The ARN of a key."""
    return str(account.client("kms").create_key()["KeyMetadata"]["Arn"])


def test_a_key_is_made_changed_and_waits_for_its_deletion(account: Account, stacks: Stacks) -> None:
    kms = account.client("kms")
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{account.number}:root"},
                "Action": "kms:*",
                "Resource": "*",
            }
        ],
    }
    alias = f"alias/{account.name('key')}"
    properties = {"Description": "first", "KeyPolicy": policy, "EnableKeyRotation": True, "PendingWindowInDays": 7}
    resources: dict[str, Any] = {
        "Key": (_KEY, properties),
        "Alias": ("AWS::KMS::Alias", {"AliasName": alias, "TargetKeyId": {"Ref": "Key"}}),
    }
    stack_id = stacks.made(template(**resources), Tags=[{"Key": "project", "Value": "test"}])
    found = kms.describe_key(KeyId=alias)["KeyMetadata"]
    assert found["KeyId"] == stacks.physical(stack_id, "Key")
    assert (found["Description"], found["KeyState"]) == ("first", "Enabled")
    assert json.loads(kms.get_key_policy(KeyId=found["KeyId"], PolicyName="default")["Policy"]) == policy
    assert kms.get_key_rotation_status(KeyId=found["KeyId"])["KeyRotationEnabled"]
    tags = {tag["TagKey"]: tag["TagValue"] for tag in kms.list_resource_tags(KeyId=found["KeyId"])["Tags"]}
    assert tags["project"] == "test"

    policy["Statement"][0]["Sid"] = "Own"
    properties.update(Description="second", EnableKeyRotation=False, Enabled=False)
    stack = stacks.update(stack_id, template(**resources))
    assert stack["StackStatus"] == "UPDATE_COMPLETE", stacks.reasons(stack_id)
    changed = kms.describe_key(KeyId=alias)["KeyMetadata"]
    assert (changed["KeyId"], changed["Description"], changed["Enabled"]) == (found["KeyId"], "second", False)
    assert json.loads(kms.get_key_policy(KeyId=found["KeyId"], PolicyName="default")["Policy"]) == policy
    assert not kms.get_key_rotation_status(KeyId=found["KeyId"])["KeyRotationEnabled"]

    stack = stacks.update(stack_id, template(**{**resources, "Key": (_KEY, {**properties, "KeySpec": "RSA_2048"})}))
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert stacks.reasons(stack_id)["Key"].startswith("You cannot change the KeySpec of an existing KMS key")

    assert stacks.delete(stack_id)["StackStatus"] == "DELETE_COMPLETE"
    assert kms.describe_key(KeyId=found["KeyId"])["KeyMetadata"]["KeyState"] == "PendingDeletion"
    with pytest.raises(kms.exceptions.NotFoundException):
        kms.describe_key(KeyId=alias)


def test_an_alias_of_somebody_else_fails_the_stack(account: Account, stacks: Stacks, key: str) -> None:
    alias = f"alias/{account.name('key')}"
    account.client("kms").create_alias(AliasName=alias, TargetKeyId=key)
    stack_id = stacks.create(template(Alias=("AWS::KMS::Alias", {"AliasName": alias, "TargetKeyId": key})))
    assert stacks.settled(stack_id)["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "already exists" in stacks.reasons(stack_id)["Alias"]
    stacks.delete(stack_id)
    assert account.client("kms").describe_key(KeyId=alias)["KeyMetadata"]["Arn"] == key
    account.client("kms").delete_alias(AliasName=alias)


def test_objects_are_written_and_read_by_a_key(account: Account, cloud: Any, key: str) -> None:
    s3, name = account.s3, f"contract/encrypted/{uuid.uuid4()}"
    s3.put_object(Bucket=cloud.bucket, Key=name, Body=b"secret", ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    read = s3.get_object(Bucket=cloud.bucket, Key=name)
    assert (read["Body"].read(), read["ServerSideEncryption"], read["SSEKMSKeyId"]) == (b"secret", "aws:kms", key)
    s3.copy_object(Bucket=cloud.bucket, Key=f"{name}-copy", CopySource={"Bucket": cloud.bucket, "Key": name})
    assert s3.get_object(Bucket=cloud.bucket, Key=f"{name}-copy")["Body"].read() == b"secret"


def test_queues_and_topics_have_a_key_and_pass_messages_on(account: Account, key: str) -> None:
    sqs, sns, name = account.client("sqs"), account.client("sns"), account.name("encrypted")
    attributes = {"KmsMasterKeyId": key, "KmsDataKeyReusePeriodSeconds": "3600"}
    url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert {member: found[member] for member in attributes} == attributes
    topic = sns.create_topic(Name=name, Attributes={"KmsMasterKeyId": key})["TopicArn"]
    assert sns.get_topic_attributes(TopicArn=topic)["Attributes"]["KmsMasterKeyId"] == key
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": found["QueueArn"],
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=found["QueueArn"], Attributes={"RawMessageDelivery": "true"})
    sns.publish(TopicArn=topic, Message="hello")
    (message,) = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10)["Messages"]
    assert message["Body"] == "hello"
    sns.delete_topic(TopicArn=topic)
    sqs.delete_queue(QueueUrl=url)


def test_a_stream_is_encrypted_by_a_key(account: Account, key: str) -> None:
    kinesis, name = account.client("kinesis"), account.name("encrypted")
    kinesis.create_stream(StreamName=name, ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
    kinesis.start_stream_encryption(StreamName=name, EncryptionType="KMS", KeyId=key)
    answer = kinesis.put_records(StreamName=name, Records=[{"Data": b"1", "PartitionKey": "p"}])
    assert (answer["FailedRecordCount"], answer["EncryptionType"]) == (0, "KMS")
    kinesis.delete_stream(StreamName=name)
