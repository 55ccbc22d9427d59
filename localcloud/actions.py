"""A call in IAM's terms: the action that a policy would have to allow, and the resources that it would have to name.

Source: "Actions, resources, and condition keys for AWS services" in the Service Authorization Reference. An action
whose resource is not told by the request, or that has none, is on `*`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any
from urllib.parse import parse_qs, quote, unquote

from localcloud.kinesis.iterators import ShardIterator
from localcloud.protocols import models
from localcloud.protocols.http import HttpRequest

Params = Mapping[str, Any]

# IAM's prefix where it is not botocore's name of the service.
_PREFIXES = {
    "kinesisanalyticsv2": "kinesisanalytics",
    "sagemaker-featurestore-runtime": "sagemaker",
    "sagemaker-runtime": "sagemaker",
}
# IAM's name of the action where it is not the operation's.
_ACTIONS = {
    ("lambda", "Invoke"): "InvokeFunction",
    ("s3", "CompleteMultipartUpload"): "PutObject",
    ("s3", "CopyObject"): "PutObject",
    ("s3", "CreateMultipartUpload"): "PutObject",
    ("s3", "DeleteObjects"): "DeleteObject",
    ("s3", "GetBucketEncryption"): "GetEncryptionConfiguration",
    ("s3", "GetBucketLifecycleConfiguration"): "GetLifecycleConfiguration",
    ("s3", "GetPublicAccessBlock"): "GetBucketPublicAccessBlock",
    ("s3", "HeadBucket"): "ListBucket",
    ("s3", "HeadObject"): "GetObject",
    ("s3", "ListBuckets"): "ListAllMyBuckets",
    ("s3", "ListMultipartUploads"): "ListBucketMultipartUploads",
    ("s3", "ListObjectVersions"): "ListBucketVersions",
    ("s3", "ListObjects"): "ListBucket",
    ("s3", "ListObjectsV2"): "ListBucket",
    ("s3", "ListParts"): "ListMultipartUploadParts",
    ("s3", "PutBucketEncryption"): "PutEncryptionConfiguration",
    ("s3", "PutBucketLifecycleConfiguration"): "PutLifecycleConfiguration",
    ("s3", "PutPublicAccessBlock"): "PutBucketPublicAccessBlock",
    ("s3", "UploadPart"): "PutObject",
    ("s3", "UploadPartCopy"): "PutObject",
    ("sqs", "ChangeMessageVisibilityBatch"): "ChangeMessageVisibility",
    ("sqs", "DeleteMessageBatch"): "DeleteMessage",
    ("sqs", "SendMessageBatch"): "SendMessage",
}
# Members of requests that name a resource: what its ARN says after the account. Of several the first that is there.
_MEMBERS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "athena": (("WorkGroup", "workgroup/{}"),),
    "cloudformation": (("StackName", "stack/{}/*"),),
    "cloudwatch": (("AlarmName", "alarm:{}"), ("AlarmNames", "alarm:{}")),
    "cognito-idp": (("UserPoolId", "userpool/{}"), ("ResourceArn", "{}")),
    "dynamodb": (("TableName", "table/{}"),),
    "ecr": (("repositoryName", "repository/{}"),),
    "events": (("Rule", "rule/{}"), ("EventBusName", "event-bus/{}"), ("Name", "rule/{}")),
    "firehose": (("DeliveryStreamName", "deliverystream/{}"),),
    "iam": (("PolicyArn", "policy/{}"), ("RoleName", "role/{}"), ("PolicyName", "policy/{}")),
    "kinesisanalytics": (("ResourceARN", "{}"), ("ApplicationName", "application/{}")),
    "kinesis": (("StreamARN", "stream/{}"), ("StreamName", "stream/{}"), ("ResourceARN", "{}")),
    "kms": (("KeyId", "key/{}"), ("AliasName", "{}")),
    "lambda": (("FunctionName", "function:{}"), ("UUID", "event-source-mapping:{}")),
    "logs": (("logGroupName", "log-group:{}"), ("logGroupNamePrefix", "log-group:{}*")),
    "secretsmanager": (("SecretId", "secret:{}"), ("Name", "secret:{}")),
    "sns": (("TopicArn", "{}"), ("Name", "{}")),
    "sqs": (("QueueUrl", "{}"), ("QueueName", "{}")),
    "ssm": (("Name", "parameter{}"), ("Names", "parameter{}"), ("Path", "parameter{}")),
    "sts": (("RoleArn", "role/{}"),),
    "wafv2": (
        ("WebACLArn", "{}"),
        ("ARN", "{}"),
        ("ResourceARN", "{}"),
        ("ResourceArn", "{}"),
        ("Name", "regional/webacl/{}/*"),
    ),
}
# Resources of SageMaker, as its operations call them, and as their ARNs do.
_SAGEMAKER = {
    "Endpoint": "endpoint",
    "EndpointConfig": "endpoint-config",
    "FeatureGroup": "feature-group",
    "Model": "model",
    "ModelPackage": "model-package",
    "ModelPackageGroup": "model-package-group",
    "Pipeline": "pipeline",
    "ProcessingJob": "processing-job",
    "TrainingJob": "training-job",
    "TransformJob": "transform-job",
}
_GLOBAL = ("iam", "sts")
_ROLES = (
    "RoleArn", "ExecutionRoleArn", "Role", "RoleARN", "ServiceExecutionRole", "taskRoleArn", "executionRoleArn",
)  # fmt: skip
_BY_STATEMENT = ("BatchExecuteStatement", "ExecuteStatement", "ExecuteTransaction")
_STATEMENT = re.compile(
    r"""\s*(INSERT\s+INTO|UPDATE|DELETE\s+FROM|SELECT\b.*?\bFROM)\s+"?([\w.-]+)""", re.IGNORECASE | re.DOTALL
)
_PASSING = re.compile(r"(Create|Update|Put|Start|Execute|Register)")


class Actions:
    """Says what calls are in IAM's terms, for one account and region."""

    def __init__(self, region: str, account_id: str) -> None:
        self._region, self._account_id = region, account_id

    def of(self, service: str, operation: str, params: Params) -> Iterator[tuple[str, str]]:
        """Pairs of action and resource. `params` are the request's members by their names in botocore's model."""
        if service == "apigateway":
            yield from self._of_apigateway(operation, params)
            return
        if service == "dynamodb" and operation in _BY_STATEMENT:
            yield from self._of_statements(params)
            return
        prefix = _PREFIXES.get(service, service)
        action = f"{prefix}:{_ACTIONS.get((service, operation), operation)}"
        for resource in self._resources(prefix, operation, params):
            yield action, resource
        if prefix == "wafv2":
            yield from self._of_web_acls(action, operation, params)
        if service not in _GLOBAL and _PASSING.match(operation):
            for member in _ROLES:
                role = params.get(member)
                if isinstance(role, str) and ":role/" in role:
                    yield "iam:PassRole", role
        if prefix == "scheduler" and params.get("Target"):
            yield "iam:PassRole", str(params["Target"]["RoleArn"])
        if prefix == "firehose":
            # Of what it reads, and of where it writes; most often it is one.
            given = [
                member["RoleARN"] for member in params.values() if isinstance(member, dict) and "RoleARN" in member
            ]
            for role in dict.fromkeys(given):
                yield "iam:PassRole", str(role)

    def of_request(self, service: str, request: HttpRequest) -> Iterator[tuple[str, str]]:
        """The same of a request that is not parsed: one for the leaf."""
        if service == "s3":
            yield from self._of_s3(request)
            return
        protocol = models.protocol_of(request) or models.QUERY
        yield from self.of(service, models.operation_name(request, protocol), _members(request, protocol))

    def _of_s3(self, request: HttpRequest) -> Iterator[tuple[str, str]]:
        action = f"s3:{_s3_action(request)}"
        bucket, _, key = unquote(request.path).lstrip("/").partition("/")
        if not bucket:
            yield action, "*"
        else:
            yield action, f"arn:aws:s3:::{bucket}/{key}" if key else f"arn:aws:s3:::{bucket}"
        source = request.headers.get("x-amz-copy-source")
        if source is not None:
            yield "s3:GetObject", f"arn:aws:s3:::{unquote(source).partition('?')[0].lstrip('/')}"

    def _of_statements(self, params: Params) -> Iterator[tuple[str, str]]:
        """PartiQL's actions are called after the statements, each with the table that it names."""
        given = params.get("Statements") or params.get("TransactStatements") or [params]
        texts = [str(one.get("Statement")) for one in given if isinstance(one, dict)]
        for verb, table in dict.fromkeys(_verb_and_table(text) for text in texts):
            yield f"dynamodb:PartiQL{verb}", self._arn("dynamodb", "table/{}", table) if table else "*"

    def _of_web_acls(self, action: str, operation: str, params: Params) -> Iterator[tuple[str, str]]:
        """What they ask for beside themselves: the managed rule groups in them, and the stage that one is for."""
        statements = [rule.get("Statement") or {} for rule in params.get("Rules") or ()]
        if any("ManagedRuleGroupStatement" in statement for statement in statements):
            yield action, self._arn("wafv2", "regional/managedruleset/{}", "*/*")
        if operation in ("AssociateWebACL", "DisassociateWebACL"):
            yield "apigateway:SetWebACL", str(params["ResourceArn"])

    def _of_apigateway(self, operation: str, params: Params) -> Iterator[tuple[str, str]]:
        """Its actions are the methods of HTTP, its resources the addresses."""
        model = models.service_model("apigateway").operation_model(operation)
        path = str(model.http["requestUri"]).partition("?")[0]
        for name, member in model.input_shape.members.items() if model.input_shape is not None else ():
            wire_name = member.serialization.get("name", name)
            if member.serialization.get("location") == "uri" and isinstance(params.get(name), str):
                path = path.replace(f"{{{wire_name}}}", quote(params[name], safe=""))
        yield f"apigateway:{model.http['method']}", f"arn:aws:apigateway:{self._region}::{path}"
        if operation == "UpdateAccount":
            for patch in params.get("patchOperations") or ():
                if ":role/" in str(patch.get("value")):
                    yield "iam:PassRole", patch["value"]

    def _resources(self, prefix: str, operation: str, params: Params) -> Iterator[str]:
        if prefix == "sagemaker":
            found = self._of_sagemaker(operation, params)
        elif prefix == "scheduler":
            found = self._of_scheduler(operation, params)
        elif prefix == "ecs":
            found = self._of_ecs(operation, params)
        elif prefix == "dynamodb" and isinstance(params.get("RequestItems"), dict):
            found = [self._arn("dynamodb", "table/{}", name) for name in params["RequestItems"]]
        elif prefix == "kinesis" and "ShardIterator" in params:
            found = self._of_iterator(params)
        else:
            found = self._of_members(prefix, params)
        yield from found or ["*"]

    def _of_scheduler(self, operation: str, params: Params) -> list[str]:
        """A schedule's ARN names its group."""
        if params.get("ResourceArn"):
            return [str(params["ResourceArn"])]
        if not params.get("Name"):
            return []
        if operation.endswith("Group"):
            return [self._arn("scheduler", "schedule-group/{}", params["Name"])]
        return [self._arn("scheduler", f"schedule/{params.get('GroupName', 'default')}/{{}}", params["Name"])]

    def _of_iterator(self, params: Params) -> list[str]:
        """What reads a stream by an iterator need not name the stream."""
        at = ShardIterator.decoded(str(params["ShardIterator"]))
        return [self._arn("kinesis", "stream/{}", at.stream)] if at is not None else []

    def _of_ecs(self, operation: str, params: Params) -> list[str]:
        """A service's ARN and a task's name their cluster; task definitions cannot be named when they are registered,
        described or deregistered."""
        cluster = str(params.get("cluster") or params.get("clusterName") or "default").rpartition("/")[2]
        if params.get("resourceArn"):
            return [str(params["resourceArn"])]
        if operation == "RunTask":
            return [self._arn("ecs", "task-definition/{}", params.get("taskDefinition", "*"))]
        if operation in ("StopTask", "DescribeTasks"):
            names = params.get("tasks") or [params.get("task")]
            return [self._arn("ecs", f"task/{cluster}/{{}}", str(name)) for name in names]
        if operation in ("CreateService", "UpdateService", "DeleteService", "DescribeServices"):
            names = params.get("services") or [params.get("service") or params.get("serviceName")]
            return [self._arn("ecs", f"service/{cluster}/{{}}", str(name)) for name in names]
        if "Cluster" in operation and operation != "ListClusters":
            return [self._arn("ecs", "cluster/{}", name) for name in params.get("clusters") or [cluster]]
        return []

    def _of_members(self, prefix: str, params: Params) -> list[str]:
        for member, form in _MEMBERS.get(prefix, ()):
            value = params.get(member)
            given = value if isinstance(value, list) else [value]
            names = [name for name in given if isinstance(name, str) and name]
            if names:
                return [self._arn(prefix, form, name) for name in names]
        return []

    def _of_sagemaker(self, operation: str, params: Params) -> list[str]:
        named: dict[str, str] = {}
        for noun, resource in _SAGEMAKER.items():
            for member in (f"{noun}Name", f"{noun}Arn"):
                name = params.get(member)
                if isinstance(name, str) and name:
                    named[noun] = self._arn("sagemaker", f"{resource}/{{}}", name)
        if operation in ("CreateEndpoint", "UpdateEndpoint"):
            return list(named.values())
        if operation == "BatchGetRecord":
            groups = (one.get("FeatureGroupName") for one in params.get("Identifiers", []))
            return [self._arn("sagemaker", "feature-group/{}", name) for name in groups if name]
        # The resource that the operation is about, and not one that its request mentions.
        about = sorted((noun for noun in named if noun in operation), key=len) or sorted(named, key=len)
        if about:
            return [named[about[-1]]]
        for member in ("ResourceArn", "PipelineExecutionArn"):
            if isinstance(params.get(member), str):
                return [params[member]]
        return []

    def _arn(self, prefix: str, form: str, name: str) -> str:
        if name.startswith("arn:"):
            return name
        if prefix == "sqs":
            name = name.rpartition("/")[2]
        if prefix == "ssm" and not name.startswith("/"):
            name = f"/{name}"
        region = "" if prefix in _GLOBAL else self._region
        return f"arn:aws:{prefix}:{region}:{self._account_id}:{form.format(name)}"


def _members(request: HttpRequest, protocol: str) -> Params:
    if protocol != models.JSON:
        return models.form(request)
    try:
        found = json.loads(request.body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def operation_of(service: str, request: HttpRequest) -> str:
    """The operation that a request for the leaf asks for, by its name in the service's model; of S3 in path style."""
    if service == "s3":
        return _s3_operation(request)
    return models.operation_name(request, models.protocol_of(request) or models.QUERY)


def _verb_and_table(statement: str) -> tuple[str, str]:
    """As `("Insert", "a-table")`; a statement that is none reads nothing."""
    found = _STATEMENT.match(statement)
    return (found[1].split()[0].capitalize(), found[2]) if found is not None else ("Select", "")


def _s3_action(request: HttpRequest) -> str:
    operation = _s3_operation(request)
    return _ACTIONS.get(("s3", operation), operation)


def _s3_operation(request: HttpRequest) -> str:
    """The operation whose address fits; S3's model gives each a method, a path and perhaps a subresource."""
    bucket, _, key = request.path.lstrip("/").partition("/")
    level = "key" if key else "bucket" if bucket else "service"
    fields = parse_qs(request.query, keep_blank_values=True)
    for method, at, names, operation, copies in _s3_operations():
        if method == request.method and at == level and names <= fields.keys():
            if copies != ("x-amz-copy-source" in request.headers) and operation in ("CopyObject", "PutObject"):
                continue
            return operation
    return request.method


@cache
def _s3_operations() -> tuple[tuple[str, str, frozenset[str], str, bool], ...]:
    """Method, level, query fields, name, and whether it copies; those with the most query fields first."""
    model = models.service_model("s3")
    found = []
    for name in model.operation_names:
        operation = model.operation_model(name)
        path, _, query = str(operation.http["requestUri"]).partition("?")
        level = "key" if "{Key+}" in path else "bucket" if "{Bucket}" in path else "service"
        names = frozenset(part.partition("=")[0] for part in query.split("&") if part) - {"x-id"}
        members = operation.input_shape.members if operation.input_shape is not None else {}
        required = operation.input_shape.required_members if operation.input_shape is not None else []
        names |= {
            member.serialization["name"]
            for key, member in members.items()
            if key in required and member.serialization.get("location") == "querystring"
        }
        found.append((operation.http["method"], level, frozenset(names), name, "CopySource" in required))
    return tuple(sorted(found, key=lambda one: -len(one[2])))
