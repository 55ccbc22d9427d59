"""The roles of template/project.yml and template/admin.yml: none without a boundary, none that may anything, none too
long for IAM; and those who make them may make all of them.

What each role needs, the tests that run it hold against it.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.pipelines import template

# The longest that names become.
LONGEST = {
    "SageMakerProjectName": "p" * 32, "SeedBucket": "b" * 63, "SeedKey": "k" * 63, "CodeBucket": "b" * 63,
    "CodeKey": "k" * 63, "Retraining": "{}", "VpcId": "vpc-1", "TemplateVersion": "1",
    "PermissionsBoundary": "arn:aws:iam::123456789012:policy/mlops-boundary",
    "ConnectionArn": "arn:aws:codeconnections:eu-west-1:123456789012:connection/" + "c" * 36,
    "RepositoryId": "owner/repository",
}  # fmt: skip
PROVIDERS = ("CodeCommit", "GitHub", "GitHubActions", "None")
TEMPLATES = [("admin", {}), *(("project", {"RepositoryProvider": provider}) for provider in PROVIDERS)]
# IAM's limits, in characters that are no white space ("IAM and AWS STS quotas").
MANAGED_POLICY, INLINE_POLICIES = 6144, 10_240
# An ARN that is an attribute stands in the template for so many characters.
ATTRIBUTE = "arn:aws:codebuild:ap-southeast-2:123456789012:report-group/" + "p" * 32 + "-checks-coverage"

Resources = dict[str, dict[str, Any]]


def resources(name: str, **given: str) -> Resources:
    known = template.read(name)["Parameters"].keys()
    return template.resources(name, {key: value for key, value in {**LONGEST, **given}.items() if key in known})


def of_type(found: Resources, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for logical, resource in found.items():
        if resource["Type"] == kind:
            yield logical, resource["Properties"]


def policies(found: Resources) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every statement, with the resource that it stands in."""
    for logical, properties in of_type(found, "AWS::IAM::ManagedPolicy"):
        for statement in properties["PolicyDocument"]["Statement"]:
            yield logical, statement
    for logical, properties in of_type(found, "AWS::IAM::Role"):
        for policy in properties.get("Policies", []):
            for statement in policy["PolicyDocument"]["Statement"]:
                yield logical, statement


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def length(document: dict[str, Any], found: Resources) -> int:
    """Of a policy, with the longest ARNs for what is named by its logical id only."""

    def spelt(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: spelt(item) for key, item in value.items()}
        if isinstance(value, list):
            return [spelt(item) for item in value]
        if isinstance(value, str) and value.split(".")[0] in found and "." in value:
            return ATTRIBUTE + value.partition("/")[2]
        return value.replace("eu-west-1", "ap-southeast-2") if isinstance(value, str) else value

    return len(json.dumps(spelt(document), separators=(",", ":")))


@pytest.mark.parametrize("name", ["project", "api", "ingestion"])
def test_every_role_of_a_project_is_under_the_boundary(name: str) -> None:
    boundary = {"Fn::If": ["HasBoundary", {"Ref": "PermissionsBoundary"}, {"Ref": "AWS::NoValue"}]}
    for logical, properties in of_type(template.read(name)["Resources"], "AWS::IAM::Role"):
        assert properties["PermissionsBoundary"] == boundary, logical


@pytest.mark.parametrize("provider", PROVIDERS)
def test_nobody_of_a_project_may_anything(provider: str) -> None:
    for logical, statement in policies(resources("project", RepositoryProvider=provider)):
        for action in listed(statement["Action"]):
            service, _, operation = action.partition(":")
            assert "*" not in service, (logical, action)
            assert operation != "*", (logical, action)


@pytest.mark.parametrize(("name", "given"), TEMPLATES)
def test_no_policy_is_too_long_for_iam(name: str, given: dict[str, str]) -> None:
    found = resources(name, **given)
    managed = {
        logical: length(properties["PolicyDocument"], found)
        for logical, properties in of_type(found, "AWS::IAM::ManagedPolicy")
    }
    assert {logical: size for logical, size in managed.items() if size > MANAGED_POLICY} == {}
    for logical, properties in of_type(found, "AWS::IAM::Role"):
        inline = sum(length(policy["PolicyDocument"], found) for policy in properties.get("Policies", []))
        assert inline <= INLINE_POLICIES, logical
        assert len(properties.get("ManagedPolicyArns", [])) <= 10, logical


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_launch_role_may_make_what_a_project_names(provider: str) -> None:
    found = resources("project", RepositoryProvider=provider)
    launch = [
        (listed(statement["Action"]), listed(statement["Resource"]))
        for logical, statement in policies(resources("admin"))
        if logical.startswith("Launch")
    ]

    def may(action: str, arn: str) -> bool:
        return any(action in actions and any(fnmatch.fnmatchcase(arn, one) for one in on) for actions, on in launch)

    account = "arn:aws:{}:eu-west-1:123456789012:{}"
    wanted = {
        "AWS::CodeBuild::Project": ("codebuild:CreateProject", account.format("codebuild", "project/{Name}")),
        "AWS::CodeBuild::ReportGroup": (
            "codebuild:CreateReportGroup", account.format("codebuild", "report-group/{Name}"),
        ),
        "AWS::CodePipeline::Pipeline": ("codepipeline:CreatePipeline", account.format("codepipeline", "{Name}")),
        "AWS::DynamoDB::Table": ("dynamodb:CreateTable", account.format("dynamodb", "table/{TableName}")),
        "AWS::ECR::Repository": ("ecr:CreateRepository", account.format("ecr", "repository/{RepositoryName}")),
        "AWS::IAM::ManagedPolicy": ("iam:CreatePolicy", "arn:aws:iam::123456789012:policy/{ManagedPolicyName}"),
        "AWS::IAM::Role": ("iam:CreateRole", "arn:aws:iam::123456789012:role/{RoleName}"),
        "AWS::Lambda::Function": ("lambda:CreateFunction", account.format("lambda", "function:{FunctionName}")),
        "AWS::S3::Bucket": ("s3:CreateBucket", "arn:aws:s3:::{BucketName}"),
        "AWS::SQS::Queue": ("sqs:CreateQueue", account.format("sqs", "{QueueName}")),
        "AWS::Scheduler::Schedule": (
            "scheduler:CreateSchedule", account.format("scheduler", "schedule/default/{Name}"),
        ),
    }  # fmt: skip
    for kind, (action, arn) in wanted.items():
        for logical, properties in of_type(found, kind):
            assert may(action, arn.format(**properties)), (logical, action)
    for role in template.read("admin")["Resources"]["LaunchRole"], template.read("admin")["Resources"]["Boundary"]:
        name = role["Properties"].get("RoleName") or role["Properties"]["ManagedPolicyName"]
        kind = "role" if "RoleName" in role["Properties"] else "policy"
        arn = f"arn:aws:iam::123456789012:{kind}/{name}"
        changing = ("iam:CreatePolicyVersion", "iam:PutRolePolicy", "iam:AttachRolePolicy", "iam:PassRole")
        assert not any(may(action, arn) for action in changing), "a project could widen what holds projects"
