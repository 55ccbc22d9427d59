"""The roles of the templates, as IAM would have them, and what they are recorded to have called (recorded_calls.py):
what of their policies a call needs, and what no call needs.

Conditions are not evaluated again: the record says which statements that have some applied. Policies of resources are
left out, as they only take away from what is recorded here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any

from localcloud.iam.evaluation import Policies, Role, decide
from localcloud.iam.patterns import matches
from localcloud.iam.policy import Actor, Statement, read
from tests.pipelines import template

PROJECT, ACCOUNT, REGION = "demo", "123456789012", "eu-west-1"
BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/mlops-boundary"

_GIVEN = {
    "SageMakerProjectName": PROJECT, "SeedBucket": "templates", "SeedKey": "seed.zip", "CodeBucket": "templates",
    "CodeKey": "functions.zip", "Retraining": "{}", "TemplateVersion": "1", "PermissionsBoundary": BOUNDARY,
    "MlflowTrackingUri": "http://127.0.0.1:5000", "Bucket": f"{PROJECT}-{ACCOUNT}-{REGION}",
    "ExecutionRoleName": f"{PROJECT}-execution", "FlinkCodeKey": "job.zip",
    "ImageUri": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{PROJECT}/ingestion@sha256:0", "AggregateBy": "operator",
    "Quantiles": "0.1,0.5,0.9",
}  # fmt: skip
LOOP = "CodeCommit"
"""The kind of project whose loop is recorded."""
VARIANTS: Mapping[str, Mapping[str, str]] = {
    LOOP: {"RepositoryProvider": "CodeCommit"},
    "none": {"RepositoryProvider": "None"},
    "GitHub": {"RepositoryProvider": "GitHub", "ConnectionArn": "arn:aws:codeconnections:::connection/x"},
    "GitHubActions": {"RepositoryProvider": "GitHubActions", "GitHubOidcProviderArn": "arn:aws:iam:::oidc-provider/x"},
    "in a network, with stages in other accounts, its own MLflow and a key that was there": {
        "RepositoryProvider": "CodeCommit", "VpcId": "vpc-1", "SubnetIds": "subnet-1", "SecurityGroupIds": "sg-1",
        "StagingAccountId": "222222222222", "ProdAccountId": "333333333333", "MlflowTrackingUri": "",
        "KmsKeyArn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/ID", "AggregateBy": "flink",
    },
}  # fmt: skip
"""Kinds of projects, of which each has statements that others lack: the parameters of their templates."""
TEMPLATES = ("admin", "project", "api", "ingestion", "stage")

_REGIONAL = f"arn:aws:{{}}:{REGION}:{ACCOUNT}:{{}}"
# The ARN of a resource, by its type; ids that services choose are any.
_ARNS = {
    "AWS::CodeBuild::Project": _REGIONAL.format("codebuild", "project/{Name}"),
    "AWS::CodeBuild::ReportGroup": _REGIONAL.format("codebuild", "report-group/{Name}"),
    "AWS::CodeCommit::Repository": _REGIONAL.format("codecommit", "{RepositoryName}"),
    "AWS::DynamoDB::Table": _REGIONAL.format("dynamodb", "table/{TableName}"),
    "AWS::Events::EventBus": _REGIONAL.format("events", "event-bus/{Name}"),
    "AWS::IAM::ManagedPolicy": f"arn:aws:iam::{ACCOUNT}:policy/{{ManagedPolicyName}}",
    "AWS::IAM::Role": f"arn:aws:iam::{ACCOUNT}:role/{{RoleName}}",
    "AWS::KMS::Key": _REGIONAL.format("kms", "key/*"),
    "AWS::Kinesis::Stream": _REGIONAL.format("kinesis", "stream/{Name}"),
    "AWS::Lambda::Function": _REGIONAL.format("lambda", "function:{FunctionName}"),
    "AWS::Logs::LogGroup": _REGIONAL.format("logs", "log-group:{LogGroupName}:*"),
    "AWS::S3::Bucket": "arn:aws:s3:::{BucketName}",
    "AWS::SNS::Topic": _REGIONAL.format("sns", "{TopicName}"),
    "AWS::SQS::Queue": _REGIONAL.format("sqs", "{QueueName}"),
    "AWS::SageMaker::MlflowTrackingServer": _REGIONAL.format("sagemaker", "mlflow-tracking-server/*"),
}


@dataclass(frozen=True)
class Made:
    """A kind of call that a role made and that was not denied."""

    role: str
    """Without the project's name."""
    action: str
    resource: str
    held: tuple[str, ...] = ()
    """The statements with conditions that applied, as `policy/Sid`."""


@dataclass(frozen=True)
class RoleOf:
    """A role of a template."""

    name: str
    """Without the project's name; of a role that the template does not name, the logical id."""
    template: str
    statements: tuple[Statement, ...]
    explained: Mapping[str, str] = field(default_factory=dict)
    """UnusedActions of its metadata and its managed policies': patterns of actions, and why they are there."""
    bounded: bool = False

    def allows(self, call: Made, without: Statement | None = None, boundary: Sequence[Statement] = ()) -> bool:
        """Whether a call is allowed by its statements, but for one, and by its boundary, if that is given."""
        # What a condition asks of the call is for the record to say.
        statements = [
            replace(one, conditions=())
            for one in self.statements
            if one is not without and (not one.conditions or one.name in call.held)
        ]
        arn = f"arn:aws:iam::{ACCOUNT}:role/{self.name}"
        role = Role(arn, Policies(statements), Policies(()), Policies(boundary) if boundary else None)
        actor = Actor(frozenset({arn}), account_id=ACCOUNT)
        return decide(call.action, call.resource, _within_the_region, actor=actor, role=role).allowed

    def allowing(self, call: Made) -> list[Statement]:
        """The statements of which each allows a call by itself."""
        return [
            one
            for one in self.statements
            if one.is_of_action(call.action)
            and one.is_of_resource(call.resource, _within_the_region)
            and (not one.conditions or one.name in call.held)
        ]

    def reason(self, action: str) -> str | None:
        """What the template says of an action that is not used."""
        found = (why for pattern, why in self.explained.items() if matches(pattern, action, ignore_case=True))
        return next(found, None)


@dataclass(frozen=True)
class Use:
    """What of a role's statements was used."""

    role: RoleOf
    calls: Sequence[Made]

    @cached_property
    def used(self) -> frozenset[tuple[str, str]]:
        """Statements, by name, and of each the actions that something called by it."""
        return frozenset(
            (statement.name, action)
            for call in self.calls
            for statement in self.role.allowing(call)
            for action in statement.actions
            if matches(action, call.action, ignore_case=True)
        )

    @cached_property
    def unused(self) -> Mapping[str, list[str]]:
        """Of each statement with some, the actions that nothing called by it."""
        found = {
            one.name: [action for action in one.actions if (one.name, action) not in self.used]
            for one in self.role.statements
        }
        return {name: actions for name, actions in found.items() if actions}

    def unexplained(self) -> list[str]:
        """Actions that are not used, and of which the template says nothing: `statement  action`."""
        return [
            f"{name}  {action}"
            for name, actions in self.unused.items()
            for action in actions
            if self.role.reason(action) is None
        ]

    def idle_explanations(self) -> list[str]:
        """What the template explains though it is used, or not allowed."""
        unused = {action for actions in self.unused.values() for action in actions}
        return [
            pattern
            for pattern in self.role.explained
            if not any(matches(pattern, action, ignore_case=True) for action in unused)
        ]


def _within_the_region(key: str) -> Sequence[str] | None:
    """What every call has, whatever it is."""
    return {"aws:requestedregion": [REGION], "iam:permissionsboundary": [BOUNDARY]}.get(key.lower())


@cache
def roles(variant: str = LOOP) -> Mapping[str, RoleOf]:
    """The roles of all templates in a kind of project, by name."""
    found = [role for name in TEMPLATES for role in _roles(name, variant)]
    by_name = {role.name: role for role in found}
    assert len(by_name) == len(found), "two roles have one name"
    return by_name


def boundary() -> tuple[Statement, ...]:
    """The statements of the boundary under which a project's roles are."""
    resources = _resources("admin", LOOP)
    return read(_filled(resources["Boundary"]["Properties"]["PolicyDocument"], resources), "boundary")


def boundary_explained() -> Mapping[str, str]:
    """What the template says of actions that the boundary allows and that are not used."""
    return _explained(_resources("admin", LOOP)["Boundary"])


def _resources(name: str, variant: str) -> dict[str, dict[str, Any]]:
    known: Mapping[str, Mapping[str, Any]] = template.read(name).get("Parameters", {})
    given = {key: value for key, value in {**_GIVEN, **VARIANTS[variant]}.items() if key in known}
    # What is left says how large things are, and no policy names it.
    others = {key: "1" for key, one in known.items() if "Default" not in one and key not in given}
    return template.resources(name, {**others, **given})


def _roles(name: str, variant: str) -> Iterator[RoleOf]:
    resources = _resources(name, variant)
    for logical, resource in resources.items():
        if resource["Type"] != "AWS::IAM::Role":
            continue
        properties = resource["Properties"]
        statements: list[Statement] = []
        explained = _explained(resource)
        for policy in properties.get("Policies", []):
            statements += read(_filled(policy["PolicyDocument"], resources), policy["PolicyName"])
        for managed in properties.get("ManagedPolicyArns", []):
            of_policy = resources[managed]["Properties"]
            explained = _explained(resources[managed]) | explained
            document = _filled(of_policy["PolicyDocument"], resources)
            statements += read(document, of_policy["ManagedPolicyName"].removeprefix(f"{PROJECT}-"))
        yield RoleOf(
            name=properties.get("RoleName", logical).removeprefix(f"{PROJECT}-"),
            template=name,
            statements=tuple(statements),
            explained=explained,
            bounded="PermissionsBoundary" in properties,
        )


def _explained(resource: Mapping[str, Any]) -> dict[str, str]:
    return dict(resource.get("Metadata", {}).get("UnusedActions", {}))


def _filled(document: Mapping[str, Any], resources: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A policy in which resources stand by their ARNs, where template.resources leaves `{logical id}.{attribute}`."""

    def arn(text: str) -> str:
        head, slash, tail = text.partition("/")
        found = resources.get(head.partition(".")[0])
        return text if found is None else _arn(found) + slash + tail

    def statement(one: Mapping[str, Any]) -> dict[str, Any]:
        named = one["Resource"]
        return {**one, "Resource": arn(named) if isinstance(named, str) else [arn(each) for each in named]}

    return {**document, "Statement": [statement(one) for one in document["Statement"]]}


def _arn(resource: Mapping[str, Any]) -> str:
    kind, properties = resource["Type"], resource.get("Properties", {})
    found = _ARNS[kind].format(**properties)
    return found.replace(":*:*", ":*")
