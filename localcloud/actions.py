"""A call in IAM's terms: the action that a policy would have to allow, and the resources that it would have to name.

Source: "Actions, resources, and condition keys for AWS services" in the Service Authorization Reference. An action
whose resource is not told by the request, or that has none, is on `*`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from localcloud import s3_actions
from localcloud.codebuild import names as codebuild_names
from localcloud.codepipeline import names as codepipeline_names
from localcloud.iam import passing
from localcloud.iam.facts import tags_of
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
    **{
        ("budgets", operation): "ModifyBudget"
        for operation in ("CreateBudget", "CreateNotification", "CreateSubscriber", "DeleteBudget", "UpdateBudget")
    },
    ("budgets", "DescribeBudget"): "ViewBudget",
    ("lambda", "Invoke"): "InvokeFunction",
    ("sqs", "ChangeMessageVisibilityBatch"): "ChangeMessageVisibility",
    ("sqs", "DeleteMessageBatch"): "DeleteMessage",
    ("sqs", "SendMessageBatch"): "SendMessage",
}
# Members of requests that name a resource: what its ARN says after the account. Of several the first that is there.
_MEMBERS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "athena": (("WorkGroup", "workgroup/{}"), ("ResourceARN", "{}")),
    "cloudformation": (("StackName", "stack/{}/*"),),
    "cloudwatch": (("AlarmName", "alarm:{}"), ("AlarmNames", "alarm:{}"), ("ResourceARN", "{}")),
    "codecommit": (("resourceArn", "{}"), ("repositoryName", "{}"), ("oldName", "{}")),
    "codeconnections": (("ConnectionArn", "{}"), ("ResourceArn", "{}")),
    "codestar-connections": (("ConnectionArn", "{}"), ("ResourceArn", "{}")),
    "cognito-idp": (("UserPoolId", "userpool/{}"), ("ResourceArn", "{}")),
    "dynamodb": (("TableName", "table/{}"), ("ResourceArn", "{}")),
    "ecr": (("repositoryName", "repository/{}"), ("repositoryNames", "repository/{}"), ("resourceArn", "{}")),
    "firehose": (("DeliveryStreamName", "deliverystream/{}"),),
    "iam": (
        ("RoleName", "role/{}"),
        ("PolicyArn", "{}"),
        ("PolicyName", "policy/{}"),
        ("OpenIDConnectProviderArn", "{}"),
        ("UserName", "user/{}"),
    ),
    "kinesisanalytics": (("ResourceARN", "{}"), ("ApplicationName", "application/{}")),
    "kinesis": (("StreamARN", "stream/{}"), ("StreamName", "stream/{}"), ("ResourceARN", "{}")),
    "kms": (("KeyId", "key/{}"), ("AliasName", "{}"), ("TargetKeyId", "key/{}")),
    "lambda": (("UUID", "event-source-mapping:{}"), ("FunctionName", "function:{}"), ("Resource", "{}")),
    "secretsmanager": (("SecretId", "secret:{}"), ("Name", "secret:{}")),
    "sns": (("TopicArn", "{}"), ("Name", "{}")),
    "sqs": (("QueueUrl", "{}"), ("QueueName", "{}")),
    "ssm": (
        ("Name", "parameter{}"),
        ("Names", "parameter{}"),
        ("Path", "parameter{}"),
        ("ResourceId", "parameter{}"),
    ),
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
    "Project": "project",
    "TrainingJob": "training-job",
    "TransformJob": "transform-job",
}
_GLOBAL = ("budgets", "iam", "sts")
_BY_STATEMENT = ("BatchExecuteStatement", "ExecuteStatement", "ExecuteTransaction")
_STATEMENT = re.compile(
    r"""\s*(INSERT\s+INTO|UPDATE|DELETE\s+FROM|SELECT\b.*?\bFROM)\s+"?([\w.-]+)""", re.IGNORECASE | re.DOTALL
)


# What who makes something with tags must be allowed beside, where it is not part of making it.
_TAGGING: Mapping[str, str] = {
    "athena": "TagResource",
    "budgets": "TagResource",
    "cloudwatch": "TagResource",
    "codecommit": "TagResource",
    "codepipeline": "TagResource",
    "dynamodb": "TagResource",
    "ecr": "TagResource",
    "ecs": "TagResource",
    "events": "TagResource",
    "firehose": "TagDeliveryStream",
    "kinesisanalytics": "TagResource",
    "kms": "TagResource",
    "lambda": "TagResource",
    "logs": "TagResource",
    "sagemaker": "AddTags",
    "scheduler": "TagResource",
    "secretsmanager": "TagResource",
    "sns": "TagResource",
    "sqs": "TagQueue",
    "ssm": "AddTagsToResource",
    "wafv2": "TagResource",
}
# What has no name before it is made: its tags are put on any one of its kind.
_NAMED_BY_THE_SERVICE = {"kms": "key/{}", "lambda": "event-source-mapping:{}"}
_MAKING = frozenset(
    {
        "PutCompositeAlarm",
        "PutDashboard",
        "PutMetricAlarm",
        "PutParameter",
        "PutRule",
        "RegisterTaskDefinition",
        "RunTask",
    }
)


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
        prefix = prefix_of(service)
        action = f"{prefix}:{_ACTIONS.get((service, operation), operation)}"
        for resource in self._resources(prefix, operation, params):
            yield action, resource
        if prefix == "codecommit" and operation == "CreateRepository" and params.get("tags"):
            yield "codecommit:TagResource", self._arn(prefix, "{}", params["repositoryName"])
        if prefix == "wafv2":
            yield from self._of_web_acls(action, operation, params)
        if (tagging := _tagging(prefix, operation)) and tags_of(params):
            for resource in self._resources(prefix, operation, params):
                of_its_kind = _NAMED_BY_THE_SERVICE.get(prefix) if resource == "*" else None
                yield f"{prefix}:{tagging}", self._arn(prefix, of_its_kind, "*") if of_its_kind else resource
        for role in passing.roles(prefix, operation, params):
            yield "iam:PassRole", role

    def of_request(self, service: str, request: HttpRequest) -> Iterator[tuple[str, str]]:
        """The same of a request that is not parsed: one for the leaf."""
        if service == "s3":
            yield from s3_actions.actions(request)
            return
        protocol = models.protocol_of(request) or models.QUERY
        yield from self.of(service, models.operation_name(request, protocol), members_of(request))

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
        elif prefix in _OWN_WAYS:
            found = _OWN_WAYS[prefix](self, operation, params)
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

    def _of_dynamodb(self, operation: str, params: Params) -> list[str]:
        """What names an index is about that alone."""
        if isinstance(params.get("RequestItems"), dict):
            return [self._arn("dynamodb", "table/{}", name) for name in params["RequestItems"]]
        if params.get("IndexName"):
            return [self._arn("dynamodb", f"table/{{}}/index/{params['IndexName']}", str(params.get("TableName")))]
        return self._of_members("dynamodb", params)

    def _of_ec2(self, operation: str, params: Params) -> list[str]:
        """Of what our templates make there, security groups; its descriptions are on no resource."""
        if operation.startswith("Describe"):
            return []
        if operation == "CreateSecurityGroup":
            vpc = str(params.get("VpcId") or "*")
            return [self._arn("ec2", "security-group/{}", "*"), self._arn("ec2", "vpc/{}", vpc)]
        given = params.get("ResourceId") or params.get("Resources") or [params.get("GroupId")]
        groups = [str(one) for one in given if str(one).startswith("sg-")]
        return [self._arn("ec2", "security-group/{}", group) for group in groups]

    def _of_events(self, operation: str, params: Params) -> list[str]:
        """A rule's ARN names its bus, unless that is the account's own."""
        if params.get("ResourceARN"):
            return [str(params["ResourceARN"])]
        if operation == "PutEvents":
            buses = (entry.get("EventBusName") or "default" for entry in params.get("Entries") or ())
            return [self._arn("events", "event-bus/{}", name) for name in dict.fromkeys(buses)]
        bus = str(params.get("EventBusName") or "default").rpartition("/")[2]
        if operation.endswith("EventBus"):
            return [self._arn("events", "event-bus/{}", str(params.get("Name") or "default"))]
        name = (
            params.get("Rule")
            or params.get("Name")
            or (f"{params.get('NamePrefix', '')}*" if "Rule" in operation else "")
        )
        return [self._arn("events", "rule/{}" if bus == "default" else f"rule/{bus}/{{}}", name)] if name else []

    def _of_lambda(self, operation: str, params: Params) -> list[str]:
        """Event source mappings are known by their id, and before they have one by nothing."""
        if operation in ("CreateEventSourceMapping", "ListEventSourceMappings"):
            return []
        return self._of_members("lambda", params)

    def _of_logs(self, operation: str, params: Params) -> list[str]:
        """As CloudWatch Logs has it: with a stream, even where the request names none."""
        if params.get("resourceArn"):
            return [f"{str(params['resourceArn']).removesuffix(':*')}:log-stream:"]
        group = params.get("logGroupName") or params.get("logGroupIdentifier") or ""
        group = str(group).rpartition(":log-group:")[2].removesuffix(":*")
        if not group and not operation.startswith("DescribeLogGroups"):
            return []
        return [self._arn("logs", f"log-group:{group}:log-stream:{{}}", str(params.get("logStreamName") or ""))]

    def _of_athena(self, operation: str, params: Params) -> list[str]:
        """A query is of the group that it was started in, of which there is one."""
        found = self._of_members("athena", params)
        of_query = "QueryExecution" in operation or operation.startswith("GetQuery")
        return found or ([self._arn("athena", "workgroup/{}", "primary")] if of_query else [])

    def _of_cloudwatch(self, operation: str, params: Params) -> list[str]:
        """Dashboards have no region; alarms that are not named are all of them."""
        names = params.get("DashboardNames") or [params.get("DashboardName")]
        if names[0]:
            return [f"arn:aws:cloudwatch::{self._account_id}:dashboard/{name}" for name in names]
        found = self._of_members("cloudwatch", params)
        return found or ([self._arn("cloudwatch", "alarm:{}", "*")] if operation.startswith("DescribeAlarm") else [])

    def _of_budgets(self, operation: str, params: Params) -> list[str]:
        if params.get("ResourceARN"):
            return [str(params["ResourceARN"])]
        budget = params.get("Budget") or params.get("NewBudget") or params
        return [self._arn("budgets", "budget/{}", str(budget["BudgetName"]))] if budget.get("BudgetName") else []

    def _of_codebuild(self, operation: str, params: Params) -> list[str]:
        return [self._arn("codebuild", "{}", name) for name in codebuild_names.in_policies(operation, params)]

    def _of_codepipeline(self, operation: str, params: Params) -> list[str]:
        return [self._arn("codepipeline", "{}", name) for name in codepipeline_names.in_policies(operation, params)]

    def _of_iam(self, operation: str, params: Params) -> list[str]:
        """What has a path has it in its ARN. A policy is put on a role: the role is what the call is about."""
        path = str(params.get("Path") or "/").lstrip("/")
        if operation == "CreateServiceLinkedRole":
            return [self._arn("iam", f"role/aws-service-role/{params.get('AWSServiceName')}/{{}}", "*")]
        if operation == "CreateOpenIDConnectProvider":
            return [self._arn("iam", "oidc-provider/{}", str(params.get("Url", "")).removeprefix("https://"))]
        if operation in ("CreateRole", "CreatePolicy"):
            noun = operation.removeprefix("Create")
            return [self._arn("iam", f"{noun.lower()}/{path}{{}}", str(params.get(f"{noun}Name", "")))]
        return self._of_members("iam", params)

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
        if isinstance(params.get("DomainId"), str):
            return [self._arn("sagemaker", "domain/{}", params["DomainId"])]
        for member in ("ResourceArn", "PipelineExecutionArn"):
            if isinstance(params.get(member), str):
                return [params[member]]
        return []

    def _of_servicecatalog(self, operation: str, params: Params) -> list[str]:
        """Products and portfolios; their ARNs are those of a service of another name."""
        for member in ("ProductId", "PortfolioId", "Id"):
            name = str(params.get(member))
            kind = {"port": "portfolio", "prod": "product"}.get(name.partition("-")[0])
            if kind is not None:
                return [self._arn("catalog", f"{kind}/{{}}", name)]
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


_OWN_WAYS: Mapping[str, Callable[[Actions, str, Params], list[str]]] = {
    "athena": Actions._of_athena,
    "budgets": Actions._of_budgets,
    "codebuild": Actions._of_codebuild,
    "codepipeline": Actions._of_codepipeline,
    "cloudwatch": Actions._of_cloudwatch,
    "dynamodb": Actions._of_dynamodb,
    "ec2": Actions._of_ec2,
    "events": Actions._of_events,
    "iam": Actions._of_iam,
    "lambda": Actions._of_lambda,
    "logs": Actions._of_logs,
    "servicecatalog": Actions._of_servicecatalog,
}


def prefix_of(service: str) -> str:
    """IAM's prefix of a service, by its botocore name."""
    return _PREFIXES.get(service, service)


def _tagging(prefix: str, operation: str) -> str | None:
    """The action that who makes something with tags must be allowed beside."""
    if not operation.startswith("Create") and operation not in _MAKING:
        return None
    if prefix == "iam":
        return f"Tag{operation.removeprefix('Create')}"
    return _TAGGING.get(prefix)


def members_of(request: HttpRequest) -> Params:
    """The members of a request for the leaf: of a query request its fields, as they are named there."""
    if (models.protocol_of(request) or models.QUERY) != models.JSON:
        return models.form(request)
    try:
        found = json.loads(request.body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def operation_of(service: str, request: HttpRequest) -> str:
    """The operation that a request for the leaf asks for, by its name in the service's model; of S3 in path style."""
    if service == "s3":
        return s3_actions.operation_of(request)
    return models.operation_name(request, models.protocol_of(request) or models.QUERY)


def _verb_and_table(statement: str) -> tuple[str, str]:
    """As `("Insert", "a-table")`; a statement that is none reads nothing."""
    found = _STATEMENT.match(statement)
    return (found[1].split()[0].capitalize(), found[2]) if found is not None else ("Select", "")
