"""Calls in IAM's terms."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localcloud.actions import Actions
from localcloud.protocols.http import HttpRequest

ACTIONS = Actions("eu-west-1", "123456789012")
FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:f"
ROLE = "arn:aws:iam::123456789012:role/r"


def _arn(service: str, rest: str) -> str:
    return f"arn:aws:{service}:eu-west-1:123456789012:{rest}"


@pytest.mark.parametrize(
    ("service", "operation", "params", "expected"),
    [
        ("sagemaker", "ListPipelines", {}, [("sagemaker:ListPipelines", "*")]),
        (
            "sagemaker",
            "CreateModel",
            {"ModelName": "m", "ExecutionRoleArn": ROLE},
            [("sagemaker:CreateModel", _arn("sagemaker", "model/m")), ("iam:PassRole", ROLE)],
        ),
        (
            "scheduler",
            "CreateSchedule",
            {"Name": "s", "GroupName": "g", "Target": {"Arn": FUNCTION, "RoleArn": ROLE}},
            [("scheduler:CreateSchedule", _arn("scheduler", "schedule/g/s")), ("iam:PassRole", ROLE)],
        ),
        (
            "scheduler",
            "DeleteScheduleGroup",
            {"Name": "g"},
            [("scheduler:DeleteScheduleGroup", _arn("scheduler", "schedule-group/g"))],
        ),
        ("scheduler", "ListSchedules", {}, [("scheduler:ListSchedules", "*")]),
        (
            "dynamodb",
            "BatchExecuteStatement",
            {
                "Statements": [
                    {"Statement": "INSERT INTO \"seen\" VALUE {'hash': ?}"},
                    {"Statement": "insert into seen value {'hash': 'b'}"},
                    {"Statement": "UPDATE other SET a = 1 WHERE hash = 'c'"},
                ]
            },
            [
                ("dynamodb:PartiQLInsert", _arn("dynamodb", "table/seen")),
                ("dynamodb:PartiQLUpdate", _arn("dynamodb", "table/other")),
            ],
        ),
        (
            "dynamodb",
            "ExecuteStatement",
            {"Statement": 'SELECT hash\nFROM "seen"."index" WHERE hash = ?'},
            [("dynamodb:PartiQLSelect", _arn("dynamodb", "table/seen"))],
        ),
        (
            "ecs",
            "RunTask",
            {"cluster": "c", "taskDefinition": "f:1"},
            [("ecs:RunTask", _arn("ecs", "task-definition/f:1"))],
        ),
        (
            "ecs",
            "RegisterTaskDefinition",
            {"family": "f", "taskRoleArn": ROLE},
            [("ecs:RegisterTaskDefinition", "*"), ("iam:PassRole", ROLE)],
        ),
        (
            "ecs",
            "UpdateService",
            {"cluster": _arn("ecs", "cluster/c"), "service": "s"},
            [("ecs:UpdateService", _arn("ecs", "service/c/s"))],
        ),
        (
            "ecs",
            "DescribeTasks",
            {"tasks": ["a", _arn("ecs", "task/default/b")]},
            [("ecs:DescribeTasks", _arn("ecs", f"task/default/{name}")) for name in "ab"],
        ),
        ("ecs", "ListClusters", {}, [("ecs:ListClusters", "*")]),
        (
            "kinesisanalyticsv2",
            "CreateApplication",
            {"ApplicationName": "a", "ServiceExecutionRole": ROLE},
            [
                ("kinesisanalytics:CreateApplication", _arn("kinesisanalytics", "application/a")),
                ("iam:PassRole", ROLE),
            ],
        ),
        (
            "sagemaker",
            "CreateTransformJob",
            {"TransformJobName": "t", "ModelName": "m"},
            [("sagemaker:CreateTransformJob", _arn("sagemaker", "transform-job/t"))],
        ),
        (
            "sagemaker",
            "CreateEndpointConfig",
            {"EndpointConfigName": "c"},
            [("sagemaker:CreateEndpointConfig", _arn("sagemaker", "endpoint-config/c"))],
        ),
        (
            "sagemaker",
            "UpdateEndpoint",
            {"EndpointName": "e", "EndpointConfigName": "c"},
            [
                ("sagemaker:UpdateEndpoint", _arn("sagemaker", "endpoint/e")),
                ("sagemaker:UpdateEndpoint", _arn("sagemaker", "endpoint-config/c")),
            ],
        ),
        (
            "sagemaker-runtime",
            "InvokeEndpoint",
            {"EndpointName": "e"},
            [("sagemaker:InvokeEndpoint", _arn("sagemaker", "endpoint/e"))],
        ),
        (
            "sagemaker-featurestore-runtime",
            "PutRecord",
            {"FeatureGroupName": "f"},
            [("sagemaker:PutRecord", _arn("sagemaker", "feature-group/f"))],
        ),
        (
            "sagemaker-featurestore-runtime",
            "BatchGetRecord",
            {"Identifiers": [{"FeatureGroupName": "f", "RecordIdentifiersValueAsString": ["1"]}]},
            [("sagemaker:BatchGetRecord", _arn("sagemaker", "feature-group/f"))],
        ),
        ("lambda", "Invoke", {"FunctionName": "f"}, [("lambda:InvokeFunction", _arn("lambda", "function:f"))]),
        (
            "lambda",
            "Invoke",
            {"FunctionName": _arn("lambda", "function:f")},
            [("lambda:InvokeFunction", _arn("lambda", "function:f"))],
        ),
        ("cloudwatch", "PutMetricData", {"Namespace": "n"}, [("cloudwatch:PutMetricData", "*")]),
        ("cloudwatch", "DescribeAlarms", {}, [("cloudwatch:DescribeAlarms", _arn("cloudwatch", "alarm:*"))]),
        (
            "cloudwatch",
            "PutDashboard",
            {"DashboardName": "d"},
            [("cloudwatch:PutDashboard", "arn:aws:cloudwatch::123456789012:dashboard/d")],
        ),
        ("events", "PutRule", {"Name": "r"}, [("events:PutRule", _arn("events", "rule/r"))]),
        (
            "events",
            "PutTargets",
            {"Rule": "r", "EventBusName": "b", "Targets": [{"Id": "1", "Arn": FUNCTION, "RoleArn": ROLE}]},
            [("events:PutTargets", _arn("events", "rule/b/r")), ("iam:PassRole", ROLE)],
        ),
        (
            "events",
            "PutEvents",
            {"Entries": [{"EventBusName": "b"}, {"EventBusName": "b"}, {}]},
            [("events:PutEvents", _arn("events", f"event-bus/{name}")) for name in ("b", "default")],
        ),
        (
            "lambda",
            "CreateEventSourceMapping",
            {"FunctionName": "f", "EventSourceArn": "a"},
            [("lambda:CreateEventSourceMapping", "*")],
        ),
        (
            "lambda",
            "UpdateEventSourceMapping",
            {"FunctionName": "f", "UUID": "u"},
            [("lambda:UpdateEventSourceMapping", _arn("lambda", "event-source-mapping:u"))],
        ),
        (
            "codepipeline",
            "CreatePipeline",
            {
                "pipeline": {
                    "name": "p",
                    "roleArn": ROLE,
                    "stages": [{"actions": [{"roleArn": f"{ROLE}2", "configuration": {"RoleArn": f"{ROLE}3"}}]}],
                }
            },
            [
                ("codepipeline:CreatePipeline", _arn("codepipeline", "p")),
                ("iam:PassRole", ROLE),
                ("iam:PassRole", f"{ROLE}2"),
            ],
        ),
        ("iam", "GetRole", {"RoleName": "r"}, [("iam:GetRole", "arn:aws:iam::123456789012:role/r")]),
    ],
)
def test_an_owned_call(service: str, operation: str, params: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert list(ACTIONS.of(service, operation, params)) == expected


@pytest.mark.parametrize(
    ("method", "path", "query", "action", "resource"),
    [
        ("GET", "/", "x-id=ListBuckets", "s3:ListAllMyBuckets", "*"),
        ("PUT", "/b", "", "s3:CreateBucket", "arn:aws:s3:::b"),
        ("GET", "/b", "list-type=2&prefix=x", "s3:ListBucket", "arn:aws:s3:::b"),
        ("HEAD", "/b/k", "", "s3:GetObject", "arn:aws:s3:::b/k"),
        ("PUT", "/b/a%20b/c", "", "s3:PutObject", "arn:aws:s3:::b/a b/c"),
        ("PUT", "/b/k", "partNumber=1&uploadId=u", "s3:PutObject", "arn:aws:s3:::b/k"),
        ("POST", "/b/k", "uploads", "s3:PutObject", "arn:aws:s3:::b/k"),
        ("GET", "/b/k", "versionId=v", "s3:GetObjectVersion", "arn:aws:s3:::b/k"),
        ("DELETE", "/b/k", "versionId=v", "s3:DeleteObjectVersion", "arn:aws:s3:::b/k"),
        ("GET", "/b/k", "tagging", "s3:GetObjectTagging", "arn:aws:s3:::b/k"),
        ("PUT", "/b", "cors", "s3:PutBucketCORS", "arn:aws:s3:::b"),
        ("PUT", "/b", "policy", "s3:PutBucketPolicy", "arn:aws:s3:::b"),
        ("PUT", "/b", "encryption", "s3:PutEncryptionConfiguration", "arn:aws:s3:::b"),
        ("DELETE", "/b/k", "", "s3:DeleteObject", "arn:aws:s3:::b/k"),
    ],
)
def test_a_call_of_s3(method: str, path: str, query: str, action: str, resource: str) -> None:
    assert list(ACTIONS.of_request("s3", HttpRequest(method, path, query))) == [(action, resource)]


def test_many_keys_are_deleted_one_by_one() -> None:
    listed = "<Object><Key>a/1</Key></Object><Object><Key>b</Key><VersionId>v</VersionId></Object><Quiet>true</Quiet>"
    body = f'<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{listed}</Delete>'.encode()
    assert list(ACTIONS.of_request("s3", HttpRequest("POST", "/b", "delete", {}, body))) == [
        ("s3:DeleteObject", "arn:aws:s3:::b/a/1"),
        ("s3:DeleteObjectVersion", "arn:aws:s3:::b/b"),
    ]


def test_what_is_written_beside_an_object_is_asked_for() -> None:
    headers = {"x-amz-tagging": "a=b", "x-amz-acl": "bucket-owner-full-control"}
    assert [action for action, _ in ACTIONS.of_request("s3", HttpRequest("PUT", "/b/k", "", headers))] == [
        "s3:PutObject", "s3:PutObjectAcl", "s3:PutObjectTagging",
    ]  # fmt: skip


def test_a_copy_reads_its_source() -> None:
    request = HttpRequest("PUT", "/b/k", "", {"x-amz-copy-source": "/other/key%20x"})
    found = [("s3:PutObject", "arn:aws:s3:::b/k"), ("s3:GetObject", "arn:aws:s3:::other/key x")]
    assert list(ACTIONS.of_request("s3", request)) == found


def _json_call(service: str, target: str, members: dict[str, Any]) -> list[tuple[str, str]]:
    headers = {"x-amz-target": target, "content-type": "application/x-amz-json-1.1"}
    return list(ACTIONS.of_request(service, HttpRequest("POST", "/", "", headers, json.dumps(members).encode())))


def test_a_call_of_the_leaf() -> None:
    url = "http://127.0.0.1:4610/123456789012/q"
    assert _json_call("sqs", "AmazonSQS.SendMessage", {"QueueUrl": url}) == [("sqs:SendMessage", _arn("sqs", "q"))]
    assert _json_call("sqs", "AmazonSQS.DeleteMessageBatch", {"QueueUrl": url}) == [
        ("sqs:DeleteMessage", _arn("sqs", "q"))
    ]
    assert _json_call("ssm", "AmazonSSM.GetParameters", {"Names": ["/a", "b"]}) == [
        ("ssm:GetParameters", _arn("ssm", "parameter/a")),
        ("ssm:GetParameters", _arn("ssm", "parameter/b")),
    ]
    logs = {"logGroupName": "/g", "logStreamName": "s"}
    assert _json_call("logs", "Logs_20140328.PutLogEvents", logs) == [
        ("logs:PutLogEvents", _arn("logs", "log-group:/g:log-stream:s"))
    ]
    assert _json_call("logs", "Logs_20140328.CreateLogGroup", {"logGroupName": "/g"}) == [
        ("logs:CreateLogGroup", _arn("logs", "log-group:/g:log-stream:"))
    ]
    query = {"TableName": "t", "IndexName": "i"}
    assert _json_call("dynamodb", "DynamoDB_20120810.Query", query) == [
        ("dynamodb:Query", _arn("dynamodb", "table/t/index/i"))
    ]
    form = HttpRequest(
        "POST", "/", "", {"content-type": "application/x-www-form-urlencoded"}, b"Action=CreateRole&RoleName=r"
    )
    assert list(ACTIONS.of_request("iam", form)) == [("iam:CreateRole", "arn:aws:iam::123456789012:role/r")]
