"""Every call that is signed as a role's is one that the role's policies allow."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.contract.conftest import Cloud
from tests.contract.lambda_account import package
from tests.contract.sagemaker_account import Account, error_of
from tests.roles import make_role, policy, trust

Statement = dict[str, Any]


@dataclass
class Someone:
    """A role, and the credentials of a session of it."""

    cloud: Cloud
    name: str
    arn: str
    session: boto3.Session
    clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        if service not in self.clients:
            config = Config(retries={"total_max_attempts": 1})
            self.clients[service] = self.session.client(service, endpoint_url=self.cloud.endpoint_url, config=config)
        return self.clients[service]

    def may(self, *statements: Statement) -> None:
        """Let it do this, and no more."""
        self.cloud.client("iam").put_role_policy(
            RoleName=self.name, PolicyName="may", PolicyDocument=policy(statements)
        )

    @property
    def shown(self) -> str:
        """As messages name it."""
        return f"arn:aws:sts::{self.cloud.account_id}:assumed-role/{self.name}/tests"


def allow(action: Any, resource: Any = "*", **members: Any) -> Statement:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **members}


def deny(action: Any, resource: Any = "*", **members: Any) -> Statement:
    return {**allow(action, resource, **members), "Effect": "Deny"}


def session_of(answer: dict[str, Any], region: str) -> boto3.Session:
    given = answer["Credentials"]
    return boto3.Session(
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
        region_name=region,
    )


@pytest.fixture
def someone(cloud: Cloud, localcloud_only: None) -> Someone:
    name = f"someone-{uuid.uuid4().hex[:10]}"
    arn = make_role(cloud.client("iam"), name, may=())
    answer = cloud.client("sts").assume_role(RoleArn=arn, RoleSessionName="tests")
    return Someone(cloud, name, arn, session_of(answer, cloud.region))


@pytest.fixture
def key(cloud: Cloud) -> str:
    """An object in the bucket."""
    name = f"tests/{uuid.uuid4().hex}/a"
    cloud.client("s3").put_object(Bucket=cloud.bucket, Key=name, Body=b"a")
    return name


def allowed(call: Callable[..., Any], **params: Any) -> bool:
    """Whether a call is allowed, be it answered or refused for another reason."""
    try:
        call(**params)
    except ClientError as error:
        return not error.response["Error"]["Code"].startswith(("AccessDenied", "AuthorizationError"))
    return True


def test_who_a_session_is(someone: Someone) -> None:
    identity = someone.client("sts").get_caller_identity()
    assert identity["Arn"] == someone.shown
    assert identity["Account"] == someone.cloud.account_id
    assert identity["UserId"].startswith("AROA")
    assert identity["UserId"].endswith(":tests")


# --- how a denial is said --------------------------------------------------------------------------------------------


def test_each_service_says_it_its_own_way(someone: Someone, key: str) -> None:
    cloud = someone.cloud
    place = f"{cloud.region}:{cloud.account_id}"
    calls = [
        ("sagemaker", "describe_endpoint", {"EndpointName": "e"}, "AccessDeniedException", 400,
         "sagemaker:DescribeEndpoint", f"arn:aws:sagemaker:{place}:endpoint/e"),
        ("lambda", "get_function", {"FunctionName": "f"}, "AccessDeniedException", 403,
         "lambda:GetFunction", f"arn:aws:lambda:{place}:function:f"),
        ("dynamodb", "get_item", {"TableName": "t", "Key": {"a": {"S": "b"}}}, "AccessDeniedException", 400,
         "dynamodb:GetItem", f"arn:aws:dynamodb:{place}:table/t"),
        ("iam", "get_role", {"RoleName": "contract-role"}, "AccessDenied", 403,
         "iam:GetRole", f"arn:aws:iam::{cloud.account_id}:role/contract-role"),
        ("cloudformation", "describe_stacks", {"StackName": "s"}, "AccessDenied", 403,
         "cloudformation:DescribeStacks", f"arn:aws:cloudformation:{place}:stack/s/*"),
        ("cloudwatch", "put_metric_data", {"Namespace": "N", "MetricData": [{"MetricName": "m", "Value": 1}]},
         "AccessDenied", 403, "cloudwatch:PutMetricData", "*"),
        ("sqs", "list_queues", {}, "AccessDenied", 403, "sqs:ListQueues", "*"),
        ("sns", "publish", {"TopicArn": f"arn:aws:sns:{place}:t", "Message": "m"}, "AuthorizationError", 403,
         "sns:Publish", f"arn:aws:sns:{place}:t"),
        ("s3", "get_object", {"Bucket": cloud.bucket, "Key": key}, "AccessDenied", 403,
         "s3:GetObject", f'"arn:aws:s3:::{cloud.bucket}/{key}"'),
    ]  # fmt: skip
    for service, operation, params, code, status, action, resource in calls:
        with pytest.raises(ClientError) as caught:
            getattr(someone.client(service), operation)(**params)
        answer = caught.value.response
        assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (code, status), service
        assert answer["Error"]["Message"] == (
            f"User: {someone.shown} is not authorized to perform: {action} on resource: {resource} because no"
            f" identity-based policy allows the {action} action"
        )


def test_a_denied_call_is_not_done_and_is_recorded(someone: Someone, key: str) -> None:
    cloud = someone.cloud
    someone.may(allow("s3:*"), deny("s3:DeleteObject", Sid="Never"))
    code, told = error_of(someone.client("s3").delete_object, Bucket=cloud.bucket, Key=key)
    assert code == "AccessDenied"
    assert told.endswith("with an explicit deny in an identity-based policy")
    assert someone.client("s3").get_object(Bucket=cloud.bucket, Key=key)["Body"].read() == b"a"
    (role,) = report(cloud, "--role", someone.arn)
    resource = f"arn:aws:s3:::{cloud.bucket}/{key}"
    assert role["denied"] == [{"action": "s3:DeleteObject", "resource": resource, "count": 1, "by": ["may/Never"]}]


# --- identity policies, boundaries, sessions --------------------------------------------------------------------------


def test_policies_hold_from_the_next_call_on(someone: Someone) -> None:
    iam, ssm = someone.cloud.client("iam"), someone.client("ssm")
    ask = {"Name": f"/{someone.name}/a"}
    assert not allowed(ssm.get_parameter, **ask)
    someone.may(allow("ssm:GetParameter", f"arn:aws:ssm:*:*:parameter/{someone.name}/*"))
    assert allowed(ssm.get_parameter, **ask)
    assert not allowed(ssm.get_parameter, Name="/another")
    iam.delete_role_policy(RoleName=someone.name, PolicyName="may")
    assert not allowed(ssm.get_parameter, **ask)
    arn = iam.create_policy(PolicyName=someone.name, PolicyDocument=policy([allow("ssm:PutParameter")]))["Policy"][
        "Arn"
    ]
    iam.attach_role_policy(RoleName=someone.name, PolicyArn=arn)
    assert not allowed(ssm.get_parameter, **ask)
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=policy([allow("ssm:Get*")]), SetAsDefault=True)
    assert allowed(ssm.get_parameter, **ask)
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v1")
    assert not allowed(ssm.get_parameter, **ask)
    iam.detach_role_policy(RoleName=someone.name, PolicyArn=arn)


def test_a_boundary_bounds(someone: Someone) -> None:
    iam, sqs = someone.cloud.client("iam"), someone.client("sqs")
    someone.may(allow("sqs:*"))
    assert allowed(sqs.list_queues)
    arn = iam.create_policy(PolicyName=someone.name, PolicyDocument=policy([allow("s3:*")]))["Policy"]["Arn"]
    iam.put_role_permissions_boundary(RoleName=someone.name, PermissionsBoundary=arn)
    assert error_of(sqs.list_queues)[1].endswith("because no permissions boundary allows the sqs:ListQueues action")
    iam.delete_role_permissions_boundary(RoleName=someone.name)
    assert allowed(sqs.list_queues)


def test_a_role_that_is_gone_may_nothing(someone: Someone) -> None:
    iam, sqs = someone.cloud.client("iam"), someone.client("sqs")
    someone.may(allow("*"))
    assert allowed(sqs.list_queues)
    iam.delete_role_policy(RoleName=someone.name, PolicyName="may")
    iam.delete_role(RoleName=someone.name)
    assert error_of(sqs.list_queues)[1].endswith("; the role does not exist")
    assert error_of(someone.client("sts").get_caller_identity)[0] == "InvalidClientTokenId"


def test_what_a_role_makes_stays_within_its_boundary(someone: Someone) -> None:
    """The way of a launch role: roles only under a boundary, passed on only to one service."""
    cloud, iam = someone.cloud, someone.cloud.client("iam")
    boundary = iam.create_policy(PolicyName=someone.name, PolicyDocument=policy([allow("s3:*")]))["Policy"]["Arn"]
    roles = f"arn:aws:iam::{cloud.account_id}:role/{someone.name}-*"
    bounded = {"StringEquals": {"iam:PermissionsBoundary": boundary}}
    passed = {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}
    someone.may(
        allow(["iam:CreateRole", "iam:PutRolePolicy"], roles, Condition=bounded),
        allow("iam:PassRole", roles, Condition=passed),
        allow(["lambda:CreateFunction", "sagemaker:CreateModel"]),
    )
    mine = someone.client("iam")
    name = f"{someone.name}-f"
    new = {"RoleName": name, "AssumeRolePolicyDocument": trust()}
    assert not allowed(mine.create_role, **new)
    assert not allowed(mine.create_role, **new, PermissionsBoundary="arn:aws:iam::aws:policy/AdministratorAccess")
    made = mine.create_role(**new, PermissionsBoundary=boundary)["Role"]["Arn"]
    document = {"PolicyName": "p", "PolicyDocument": policy([allow("s3:GetObject")])}
    mine.put_role_policy(RoleName=name, **document)
    free = make_role(iam, f"{someone.name}-free")
    assert not allowed(mine.put_role_policy, RoleName=f"{someone.name}-free", **document)
    function = {
        "FunctionName": name, "Runtime": "python3.11", "Handler": "index.handler", "Code": {"ZipFile": b"none"},
    }  # fmt: skip
    assert allowed(someone.client("lambda").create_function, **function, Role=free)
    code, told = error_of(someone.client("lambda").create_function, **function, Role=cloud.role_arn)
    assert (code, "iam:PassRole" in told, cloud.role_arn in told) == ("AccessDeniedException", True, True)
    model = {"ModelName": name, "PrimaryContainer": {"Image": "i"}}
    assert not allowed(someone.client("sagemaker").create_model, **model, ExecutionRoleArn=made)


def test_conditions_have_the_values_of_the_call(someone: Someone, key: str) -> None:
    cloud = someone.cloud
    bucket = f"arn:aws:s3:::{cloud.bucket}"
    someone.may(
        allow("s3:ListBucket", bucket, Condition={"StringLike": {"s3:prefix": "tests/*"}}),
        allow("cloudwatch:PutMetricData", Condition={"StringEquals": {"cloudwatch:namespace": "Mine"}}),
        allow("events:PutEvents", Condition={"ForAllValues:StringEquals": {"events:source": ["a", "b"]}}),
        allow(
            "ssm:PutParameter",
            Condition={
                "StringEquals": {"aws:RequestTag/team": "a"},
                "ForAllValues:StringEquals": {"aws:TagKeys": "team"},
            },
        ),
        allow("ssm:AddTagsToResource"),
        allow("sqs:ListQueues", Condition={"StringEquals": {"aws:RequestedRegion": "us-east-1"}}),
        allow(
            "sagemaker:UpdateModelPackage",
            Condition={"StringEquals": {"sagemaker:ModelApprovalStatus": "Rejected"}},
        ),
    )
    s3, events = someone.client("s3"), someone.client("events")
    assert allowed(s3.list_objects_v2, Bucket=cloud.bucket, Prefix="tests/x")
    assert not allowed(s3.list_objects_v2, Bucket=cloud.bucket, Prefix="other")
    assert not allowed(s3.list_objects_v2, Bucket=cloud.bucket)
    put = someone.client("cloudwatch").put_metric_data
    data = [{"MetricName": "m", "Value": 1}]
    assert allowed(put, Namespace="Mine", MetricData=data)
    assert not allowed(put, Namespace="Yours", MetricData=data)
    entry = {"DetailType": "t", "Detail": "{}"}
    assert allowed(events.put_events, Entries=[{**entry, "Source": "a"}, {**entry, "Source": "b"}])
    assert not allowed(events.put_events, Entries=[{**entry, "Source": "a"}, {**entry, "Source": "c"}])
    new = {"Name": f"/{someone.name}", "Value": "1", "Type": "String"}
    assert not allowed(someone.client("ssm").put_parameter, **new)
    assert not allowed(someone.client("ssm").put_parameter, **new, Tags=[{"Key": "team", "Value": "b"}])
    assert allowed(someone.client("ssm").put_parameter, **new, Tags=[{"Key": "team", "Value": "a"}])
    assert not allowed(someone.client("sqs").list_queues)
    update = someone.client("sagemaker").update_model_package
    package = f"arn:aws:sagemaker:{cloud.region}:{cloud.account_id}:model-package/g/1"
    assert allowed(update, ModelPackageArn=package, ModelApprovalStatus="Rejected")
    assert not allowed(update, ModelPackageArn=package, ModelApprovalStatus="Approved")


def test_a_key_by_its_alias_and_its_own_policy(someone: Someone) -> None:
    cloud, kms = someone.cloud, someone.cloud.client("kms")
    made = kms.create_key()["KeyMetadata"]
    alias = f"alias/{someone.name}"
    kms.create_alias(AliasName=alias, TargetKeyId=made["KeyId"])
    keys = f"arn:aws:kms:{cloud.region}:{cloud.account_id}:key/*"
    someone.may(allow("kms:Decrypt", keys, Condition={"ForAnyValue:StringEquals": {"kms:ResourceAliases": alias}}))
    other = kms.create_key()["KeyMetadata"]["KeyId"]
    secret = {name: kms.encrypt(KeyId=name, Plaintext=b"s")["CiphertextBlob"] for name in (made["KeyId"], other)}
    assert someone.client("kms").decrypt(CiphertextBlob=secret[made["KeyId"]])["Plaintext"] == b"s"
    assert not allowed(someone.client("kms").decrypt, CiphertextBlob=secret[other])
    assert not allowed(someone.client("kms").encrypt, KeyId=alias, Plaintext=b"s")
    someone.may(allow("kms:*"))
    assert allowed(someone.client("kms").encrypt, KeyId=alias, Plaintext=b"s")
    root = {"AWS": f"arn:aws:iam::{cloud.account_id}:root"}
    admin = {"Effect": "Allow", "Principal": root, "Action": "kms:Put*", "Resource": "*"}
    kms.put_key_policy(KeyId=made["KeyId"], PolicyName="default", Policy=policy([admin]))
    code, told = error_of(someone.client("kms").encrypt, KeyId=alias, Plaintext=b"s")
    assert code == "AccessDeniedException"
    assert told.endswith("because no resource-based policy allows the kms:Encrypt action")


def test_policies_of_buckets_and_queues(someone: Someone, key: str) -> None:
    cloud = someone.cloud
    sqs, queue = cloud.client("sqs"), cloud.client("sqs").create_queue(QueueName=someone.name)["QueueUrl"]
    arn = f"arn:aws:sqs:{cloud.region}:{cloud.account_id}:{someone.name}"
    send = someone.client("sqs").send_message
    assert not allowed(send, QueueUrl=queue, MessageBody="m")
    mine = {"Effect": "Allow", "Principal": {"AWS": someone.arn}, "Action": "sqs:SendMessage", "Resource": arn}
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy([mine])})
    assert allowed(send, QueueUrl=queue, MessageBody="m")
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": ""})
    assert not allowed(send, QueueUrl=queue, MessageBody="m")

    s3, bucket = cloud.client("s3"), f"policies-{uuid.uuid4().hex[:10]}"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": cloud.region})
    s3.put_object(Bucket=bucket, Key="a", Body=b"a")
    resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    everybody = {"Principal": "*", "Resource": resources}
    insecure = {
        **everybody,
        "Effect": "Deny",
        "Action": "s3:*",
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    kept = {**everybody, "Effect": "Deny", "Action": "s3:DeleteObject"}
    s3.put_bucket_policy(Bucket=bucket, Policy=policy([insecure, kept]))
    someone.may(allow("s3:*"))
    assert allowed(someone.client("s3").get_object, Bucket=bucket, Key="a")
    # Everybody is everybody, the account's root included, who may take the policy away.
    for client in (someone.client("s3"), s3):
        code, told = error_of(client.delete_object, Bucket=bucket, Key="a")
        assert (code, told.endswith("with an explicit deny in a resource-based policy")) == ("AccessDenied", True)
    s3.delete_bucket_policy(Bucket=bucket)
    someone.client("s3").delete_object(Bucket=bucket, Key="a")


def test_many_keys_are_deleted_as_far_as_that_is_allowed(someone: Someone) -> None:
    cloud, prefix = someone.cloud, f"tests/{uuid.uuid4().hex}"
    for name in ("a", "b"):
        cloud.client("s3").put_object(Bucket=cloud.bucket, Key=f"{prefix}/{name}", Body=b"a")
    someone.may(allow("s3:DeleteObject", f"arn:aws:s3:::{cloud.bucket}/{prefix}/a"))
    given = {"Objects": [{"Key": f"{prefix}/{name}"} for name in ("a", "b")]}
    answer = someone.client("s3").delete_objects(Bucket=cloud.bucket, Delete=given)
    assert [one["Key"] for one in answer["Deleted"]] == [f"{prefix}/a"]
    assert [(one["Key"], one["Code"]) for one in answer["Errors"]] == [(f"{prefix}/b", "AccessDenied")]
    left = cloud.client("s3").list_objects_v2(Bucket=cloud.bucket, Prefix=prefix)["Contents"]
    assert [one["Key"] for one in left] == [f"{prefix}/b"]
    assert not allowed(someone.client("s3").get_object, Bucket=cloud.bucket, Key=f"{prefix}/a")


def test_a_missing_object_is_told_to_those_who_may_list(someone: Someone) -> None:
    bucket = someone.cloud.bucket
    ask = {"Bucket": bucket, "Key": f"tests/{uuid.uuid4().hex}"}
    someone.may(allow("s3:GetObject"))
    assert error_of(someone.client("s3").get_object, **ask)[0] == "AccessDenied"
    assert error_of(someone.client("s3").head_object, **ask)[0] == "403"
    someone.may(allow(["s3:GetObject", "s3:ListBucket"]))
    assert error_of(someone.client("s3").get_object, **ask)[0] == "NoSuchKey"


def test_an_encrypted_object_takes_the_right_to_its_key(someone: Someone) -> None:
    cloud, s3 = someone.cloud, someone.cloud.client("s3")
    key = cloud.client("kms").create_key()["KeyMetadata"]["Arn"]
    bucket = f"encrypted-{uuid.uuid4().hex[:10]}"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": cloud.region})
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    mine, put = someone.client("s3"), {"Bucket": bucket, "Key": "a", "Body": b"a"}
    by_s3 = {"StringEquals": {"kms:ViaService": f"s3.{cloud.region}.amazonaws.com"}}
    someone.may(allow("s3:*"))
    code, told = error_of(mine.put_object, **put)
    assert (code, f"kms:GenerateDataKey on resource: {key}" in told) == ("AccessDenied", True)
    someone.may(allow("s3:*"), allow("kms:GenerateDataKey", key, Condition=by_s3))
    mine.put_object(**put)
    mine.put_object(**put, ServerSideEncryption="AES256")
    assert allowed(mine.get_object, Bucket=bucket, Key="a")
    mine.put_object(**put)
    assert "kms:Decrypt" in error_of(mine.get_object, Bucket=bucket, Key="a")[1]
    assert allowed(mine.head_object, Bucket=bucket, Key="a")
    someone.may(allow("s3:*"), allow("kms:Decrypt", key, Condition=by_s3))
    assert mine.get_object(Bucket=bucket, Key="a")["Body"].read() == b"a"
    s3.delete_bucket_encryption(Bucket=bucket)
    assert allowed(mine.put_object, **put)


# --- assuming roles ---------------------------------------------------------------------------------------------------


def test_a_role_is_assumed_by_those_whom_it_trusts(someone: Someone) -> None:
    cloud, iam = someone.cloud, someone.cloud.client("iam")
    account = {"Effect": "Allow", "Principal": {"AWS": cloud.account_id}, "Action": "sts:AssumeRole"}
    asks = {**account, "Condition": {"StringEquals": {"sts:ExternalId": "known"}}}
    name = f"{someone.name}-other"
    other = make_role(iam, name, [allow("sqs:ListQueues")], assumed_by=policy([asks]))
    sts = someone.client("sts")
    take = {"RoleArn": other, "RoleSessionName": "next", "ExternalId": "known"}
    code, told = error_of(sts.assume_role, **take)
    assert code == "AccessDenied"
    assert told == f"User: {someone.shown} is not authorized to perform: sts:AssumeRole on resource: {other}"
    someone.may(allow("sts:AssumeRole", other))
    assert not allowed(sts.assume_role, **{**take, "ExternalId": "unknown"})
    session = session_of(sts.assume_role(**take), cloud.region)
    own = {"endpoint_url": cloud.endpoint_url}
    assert session.client("sts", **own).get_caller_identity()["Arn"].endswith(f":assumed-role/{name}/next")
    assert allowed(session.client("sqs", **own).list_queues)
    assert not allowed(session.client("ssm", **own).describe_parameters)
    # Trusted by name, it needs no policy of its own.
    iam.update_assume_role_policy(
        RoleName=name, PolicyDocument=policy([{**account, "Principal": {"AWS": someone.arn}}])
    )
    someone.may(allow("sqs:ListQueues"))
    assert allowed(sts.assume_role, RoleArn=other, RoleSessionName="named")
    assert not allowed(cloud.client("sts").assume_role, RoleArn=other, RoleSessionName="root")
    missing = f"arn:aws:iam::{cloud.account_id}:role/{someone.name}-missing"
    assert error_of(cloud.client("sts").assume_role, RoleArn=missing, RoleSessionName="none")[0] == "AccessDenied"


def test_a_session_may_be_limited_and_ends(someone: Someone) -> None:
    cloud, sts = someone.cloud, someone.cloud.client("sts")
    someone.may(allow("sqs:*"), allow("ssm:*"))
    only = policy([allow("sqs:*"), allow("s3:*")])
    answer = sts.assume_role(RoleArn=someone.arn, RoleSessionName="limited", Policy=only, DurationSeconds=900)
    session, own = session_of(answer, cloud.region), {"endpoint_url": cloud.endpoint_url}
    assert allowed(session.client("sqs", **own).list_queues)
    told = error_of(session.client("ssm", **own).describe_parameters)[1]
    assert told.endswith("because no session policy allows the ssm:DescribeParameters action")
    assert not allowed(session.client("s3", **own).list_buckets)
    bad = error_of(sts.assume_role, RoleArn=someone.arn, RoleSessionName="xx", Policy="{}}")
    assert bad[0] == "MalformedPolicyDocument"
    assert (
        error_of(sts.assume_role, RoleArn=someone.arn, RoleSessionName="xx", DurationSeconds=7200)[0]
        == "ValidationError"
    )
    localcloud(cloud, "advance", "15m")
    assert error_of(session.client("sqs", **own).list_queues)[0].startswith("ExpiredToken")


def test_a_role_is_assumed_with_a_token(someone: Someone) -> None:
    cloud, iam = someone.cloud, someone.cloud.client("iam")
    host = f"token-{uuid.uuid4().hex[:10]}.example.com"
    take = {"RoleArn": someone.arn, "RoleSessionName": "push", "WebIdentityToken": token(host)}
    assume = cloud.client("sts").assume_role_with_web_identity
    assert error_of(assume, **take)[0] == "InvalidIdentityToken"
    provider = iam.create_open_id_connect_provider(Url=f"https://{host}", ClientIDList=["sts.amazonaws.com"])[
        "OpenIDConnectProviderArn"
    ]
    assert error_of(assume, **take)[0] == "AccessDenied"
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": provider},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {
            "StringEquals": {f"{host}:aud": "sts.amazonaws.com"},
            "StringLike": {f"{host}:sub": "repo:owner/name:*"},
        },
    }
    iam.update_assume_role_policy(RoleName=someone.name, PolicyDocument=policy([statement]))
    someone.may(allow("sqs:*"))
    session = session_of(assume(**take), cloud.region)
    assert allowed(session.client("sqs", endpoint_url=cloud.endpoint_url).list_queues)
    for claims, code in (
        ({"sub": "repo:owner/other:ref:refs/heads/main"}, "AccessDenied"),
        ({"aud": "another"}, "InvalidIdentityToken"),
        ({"exp": 1}, "ExpiredTokenException"),
    ):
        assert error_of(assume, **{**take, "WebIdentityToken": token(host, **claims)})[0] == code
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=provider)


def token(host: str, **claims: Any) -> str:
    given = {
        "iss": f"https://{host}", "aud": "sts.amazonaws.com", "sub": "repo:owner/name:ref:refs/heads/main",
        "exp": time.time() + 10_000_000, **claims,
    }  # fmt: skip
    parts = ({"alg": "RS256"}, given)
    return ".".join([*(base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in parts), "x"])


# --- what is put ------------------------------------------------------------------------------------------------------


def test_policies_that_are_none_are_refused(cloud: Cloud, someone: Someone) -> None:
    iam, s3, kms, sqs = (cloud.client(name) for name in ("iam", "s3", "kms", "sqs"))
    bad = policy([{**allow("s3:*"), "Effect": "Perhaps"}])
    put = {"RoleName": someone.name, "PolicyName": "p"}
    assert error_of(iam.put_role_policy, **put, PolicyDocument=bad)[0] == "MalformedPolicyDocument"
    assert error_of(iam.create_policy, PolicyName="p", PolicyDocument=bad)[0] == "MalformedPolicyDocument"
    own = policy([allow("s3:*")])
    new = {"RoleName": f"{someone.name}-x", "AssumeRolePolicyDocument": own}
    assert error_of(iam.create_role, **new)[0] == "MalformedPolicyDocument"
    assert error_of(s3.put_bucket_policy, Bucket=cloud.bucket, Policy=own)[0] == "MalformedPolicy"
    assert error_of(kms.create_key, Policy=own)[0] == "MalformedPolicyDocumentException"
    queue = sqs.create_queue(QueueName=someone.name)["QueueUrl"]
    given = {"QueueUrl": queue, "Attributes": {"Policy": own}}
    assert error_of(sqs.set_queue_attributes, **given)[0] == "InvalidAttributeValue"
    long = [allow(f"s3:{'a' * 100}{number}") for number in range(60)]
    iam.put_role_policy(**put, PolicyDocument=policy(long))
    code, told = error_of(iam.put_role_policy, RoleName=someone.name, PolicyName="q", PolicyDocument=policy(long))
    assert (code, told) == ("LimitExceeded", f"Maximum policy size of 10240 bytes exceeded for role {someone.name}")


# --- what services do for a role --------------------------------------------------------------------------------------


def test_a_job_reads_and_writes_as_its_role(someone: Someone) -> None:
    account = Account.of(someone.cloud)
    source, result = account.put("text\n", "a.txt"), account.new_prefix()
    request = account.processing(
        "copy processing/in/a.txt processing/out/a.txt",
        ProcessingInputs=[account.input(source, "in")],
        ProcessingOutputConfig=account.outputs(out=result),
    )
    request["RoleArn"] = someone.arn
    bucket = f"arn:aws:s3:::{account.bucket}"
    pull = allow(
        [
            "ecr:BatchCheckLayerAvailability",
            "ecr:BatchGetImage",
            "ecr:GetAuthorizationToken",
            "ecr:GetDownloadUrlForLayer",
        ]
    )
    reading = allow(["s3:GetObject", "s3:ListBucket"], [bucket, f"{bucket}/*"])
    writing = allow("s3:PutObject", f"{result.replace('s3://', 'arn:aws:s3:::')}/*")

    def reason(*statements: Statement) -> str:
        someone.may(*statements)
        name = account.name("rights")
        account.sagemaker.create_processing_job(ProcessingJobName=name, **request)
        return str(account.processing_end(name).get("FailureReason", ""))

    assert "ecr:GetAuthorizationToken" in reason(reading, writing)
    assert "s3:ListBucket" in reason(pull, writing)
    assert "s3:PutObject" in reason(pull, reading)
    assert account.keys(result) == []
    # It has no log, and goes on without.
    assert reason(pull, reading, writing) == ""
    assert account.keys(result) == ["a.txt"]


def test_a_service_takes_on_roles_that_trust_it(someone: Someone) -> None:
    cloud, iam = someone.cloud, someone.cloud.client("iam")
    code = {"Code": {"ZipFile": package("def handler(event, context): pass")}}
    function = {"FunctionName": someone.name, "Runtime": "python3.11", "Handler": "index.handler", **code}
    model = {"ModelName": someone.name, "PrimaryContainer": {"Image": "i"}}
    statement = {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}
    iam.update_assume_role_policy(RoleName=someone.name, PolicyDocument=policy([statement]))
    for role in (someone.arn, f"{someone.arn}-missing"):
        code, told = error_of(cloud.client("lambda").create_function, **function, Role=role)
        assert code == "InvalidParameterValueException"
        assert told.startswith("The role defined for the function cannot be assumed by Lambda.")
        code, told = error_of(cloud.client("sagemaker").create_model, **model, ExecutionRoleArn=role)
        assert (code, told.startswith(f"Could not assume role {role}.")) == ("ValidationException", True)
    of = f"arn:aws:lambda:{cloud.region}:{cloud.account_id}:function:{someone.name}"
    conditions = {"StringEquals": {"aws:SourceAccount": cloud.account_id}, "ArnLike": {"aws:SourceArn": of}}
    trusted = {**statement, "Principal": {"Service": "lambda.amazonaws.com"}, "Condition": conditions}
    iam.update_assume_role_policy(RoleName=someone.name, PolicyDocument=policy([trusted]))
    cloud.client("lambda").create_function(**function, Role=someone.arn)
    cloud.client("lambda").delete_function(FunctionName=someone.name)


# --- the report -------------------------------------------------------------------------------------------------------


def localcloud(cloud: Cloud, *arguments: str) -> subprocess.CompletedProcess[str]:
    assert cloud.endpoint_url is not None
    port = cloud.endpoint_url.rpartition(":")[2]
    return subprocess.run(
        [sys.executable, "-m", "localcloud", *arguments, "--port", port], capture_output=True, text=True, check=False
    )


def report(cloud: Cloud, *arguments: str) -> list[dict[str, Any]]:
    answer = localcloud(cloud, "iam", "report", "--json", *arguments)
    found: list[dict[str, Any]] = json.loads(answer.stdout)
    return found


@pytest.fixture
def stacked(someone: Someone) -> Iterator[Someone]:
    """Someone whom a stack has made, which explains what is not used."""
    cloud, name = someone.cloud, f"{someone.name}-stack"
    template = {
        "Resources": {
            "Role": {
                "Type": "AWS::IAM::Role",
                "Metadata": {"UnusedActions": {"sqs:SendMessage": "nothing fails here"}},
                "Properties": {
                    "RoleName": name,
                    "AssumeRolePolicyDocument": json.loads(trust()),
                    "Policies": [
                        {
                            "PolicyName": "rights",
                            "PolicyDocument": json.loads(
                                policy(
                                    [
                                        allow(["sqs:ListQueues", "sqs:SendMessage"], Sid="Queues"),
                                        allow("ssm:*", "arn:aws:ssm:*:*:parameter/x", Sid="Values"),
                                    ]
                                )
                            ),
                        }
                    ],
                },
            }
        }
    }
    cloudformation = cloud.client("cloudformation")
    made = {"StackName": name, "TemplateBody": json.dumps(template), "Capabilities": ["CAPABILITY_NAMED_IAM"]}
    cloudformation.create_stack(**made)
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    arn = f"arn:aws:iam::{cloud.account_id}:role/{name}"
    answer = cloud.client("sts").assume_role(RoleArn=arn, RoleSessionName="tests")
    yield Someone(cloud, name, arn, session_of(answer, cloud.region))
    cloudformation.delete_stack(StackName=name)


def test_the_report_knows_what_is_said_of_managed_policies_and_of_several_actions_at_once(someone: Someone) -> None:
    cloud, name = someone.cloud, f"{someone.name}-managed"
    resources = {
        "Shared": {
            "Type": "AWS::IAM::ManagedPolicy",
            "Metadata": {"UnusedActions": {"ec2:*": "there is no network", "sqs:*": "a queue", "s3:*": "no bucket"}},
            "Properties": {
                "ManagedPolicyName": f"{name}-shared",
                "PolicyDocument": json.loads(
                    policy([allow(["ec2:DescribeSubnets", "ec2:DescribeVpcs", "sqs:ListQueues"], Sid="Shared")])
                ),
            },
        },
        "Role": {
            "Type": "AWS::IAM::Role",
            "Metadata": {"UnusedActions": {"ec2:DescribeVpcs": "its own reason"}},
            "Properties": {
                "RoleName": name,
                "AssumeRolePolicyDocument": json.loads(trust()),
                "ManagedPolicyArns": [{"Ref": "Shared"}],
            },
        },
    }
    cloudformation = cloud.client("cloudformation")
    made = {"TemplateBody": json.dumps({"Resources": resources}), "Capabilities": ["CAPABILITY_NAMED_IAM"]}
    cloudformation.create_stack(StackName=name, **made)
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    arn = f"arn:aws:iam::{cloud.account_id}:role/{name}"
    answer = cloud.client("sts").assume_role(RoleArn=arn, RoleSessionName="tests")
    Someone(cloud, name, arn, session_of(answer, cloud.region)).client("sqs").list_queues()
    (role,) = report(cloud, "--role", name)
    cloudformation.delete_stack(StackName=name)
    (statement,) = role["statements"]
    assert {one["action"]: one["reason"] for one in statement["actions"]} == {
        "ec2:DescribeSubnets": "there is no network",
        "ec2:DescribeVpcs": "its own reason",
        "sqs:ListQueues": None,
    }
    assert role["unexplained"] == []
    assert (role["explained_but_used"], role["explained_but_not_allowed"]) == (["sqs:*"], ["s3:*"])


def test_the_report_says_what_was_used_and_what_never_was(stacked: Someone) -> None:
    cloud = stacked.cloud
    for _ in range(2):
        stacked.client("sqs").list_queues()
    assert not allowed(stacked.client("sns").list_topics)
    (role,) = report(cloud, "--role", stacked.name)
    assert (role["role"], role["stack"], role["unexplained"]) == (stacked.arn, stacked.name, ["ssm:*"])
    queues, values = role["statements"]
    assert (queues["statement"], queues["uses"], queues["alone"]) == ("rights/Queues", 2, 2)
    assert queues["resources"] == [{"resource": "*", "uses": 2}]
    assert [(one["action"], one["uses"], one["reason"]) for one in queues["actions"]] == [
        ("sqs:ListQueues", 2, None),
        ("sqs:SendMessage", 0, "nothing fails here"),
    ]
    assert [one["unused"] for one in values["actions"]] == [True]
    assert [one["action"] for one in role["denied"]] == ["sns:ListTopics"]

    shown = localcloud(cloud, "iam", "report", "--role", stacked.name)
    assert shown.returncode == 0
    assert shown.stdout.splitlines() == [
        f"{stacked.arn}  (stack {stacked.name})",
        "  Allow  rights/Queues",
        "    sqs:ListQueues  2",
        "    sqs:SendMessage  unused: nothing fails here",
        "      on *  2",
        "  Allow  rights/Values",
        "    ssm:*  UNUSED",
        "      on arn:aws:ssm:*:*:parameter/x  0",
        "  denied  sns:ListTopics  *  1",
    ]
    unused = localcloud(cloud, "iam", "report", "--role", stacked.name, "--unused")
    assert unused.returncode == 1
    assert unused.stdout.splitlines() == [
        f"{stacked.arn}  (stack {stacked.name})", "  Allow  rights/Values", "    ssm:*  UNUSED",
    ]  # fmt: skip
    assert "UnusedActions" in unused.stderr
    with pytest.raises(ClientError):
        stacked.client("ssm").get_parameter(Name="/x")
    assert localcloud(cloud, "iam", "report", "--role", stacked.name, "--unused").returncode == 0
    missing = localcloud(cloud, "iam", "report", "--role", "nobody")
    assert missing.returncode == 1
    assert missing.stderr.startswith("error: there is no role nobody")
