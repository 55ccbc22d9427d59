"""SageMaker projects from templates in S3: made, described, changed and deleted with their stacks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from tests.contract.sagemaker_account import Account, error_of, until
from tests.contract.stacks import template

TEMPLATE = {
    "Parameters": {
        "SageMakerProjectName": {"Type": "String"},
        "SageMakerProjectId": {"Type": "String"},
        "Threshold": {"Type": "String", "Default": "5"},
    },
    "Resources": {
        "Kept": {
            "Type": "AWS::SSM::Parameter",
            "Properties": {
                "Name": {"Fn::Sub": "/${SageMakerProjectName}/threshold"},
                "Type": "String",
                "Value": {"Ref": "Threshold"},
            },
        },
        "Role": {
            "Type": "AWS::IAM::Role",
            "Properties": {
                "RoleName": {"Fn::Sub": "${SageMakerProjectName}-${SageMakerProjectId}"},
                "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": []},
            },
        },
    },
}
WORKING = ("Pending", "CreateInProgress", "UpdateInProgress", "DeleteInProgress")


@pytest.fixture(scope="module")
def account(cloud: Any) -> Account:
    """The account under test."""
    return Account.of(cloud)


class Projects:
    """What the tests do with projects."""

    def __init__(self, account: Account) -> None:
        self.account, self.sagemaker = account, account.sagemaker
        self.names: list[str] = []

    def url(self, document: Any) -> str:
        """The address of a template, after it has been put into the bucket."""
        uri = self.account.put(json.dumps(document), "template.json")
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        return f"https://{bucket}.s3.{self.account.region}.amazonaws.com/{prefix}/template.json"

    def provider(self, url: str, **members: Any) -> list[dict[str, Any]]:
        return [{"CfnTemplateProvider": {"TemplateName": "mlops", "TemplateURL": url, **members}}]

    def create(self, document: Any = TEMPLATE, name: str | None = None, **params: Any) -> str:
        """Begin to make a project; gives its name."""
        name = name or self.account.name("p")
        members = {member: params.pop(member) for member in ("RoleARN", "Parameters") if member in params}
        provider = self.provider(self.url(document), **members)
        self.sagemaker.create_project(ProjectName=name, TemplateProviders=provider, **params)
        self.names.append(name)
        return name

    def settled(self, name: str) -> dict[str, Any]:
        """The project when nothing is under way."""

        def over() -> dict[str, Any] | None:
            project: dict[str, Any] = self.sagemaker.describe_project(ProjectName=name)
            return project if project["ProjectStatus"] not in WORKING else None

        found: dict[str, Any] = until(over, f"the project {name} has settled")
        return found

    def delete(self, name: str) -> dict[str, Any]:
        self.sagemaker.delete_project(ProjectName=name)
        return self.settled(name)

    def threshold(self, name: str) -> str:
        return str(self.account.client("ssm").get_parameter(Name=f"/{name}/threshold")["Parameter"]["Value"])


@pytest.fixture
def projects(account: Account) -> Iterator[Projects]:
    """Projects; those that are left are deleted at the end."""
    found = Projects(account)
    yield found
    for name in found.names:
        if found.settled(name)["ProjectStatus"] != "DeleteCompleted":
            found.delete(name)


def detail_of(project: dict[str, Any]) -> dict[str, Any]:
    (one,) = project["TemplateProviderDetails"]
    detail: dict[str, Any] = one["CfnTemplateProviderDetail"]
    return detail


def test_a_project_is_a_stack_of_its_template(account: Account, projects: Projects) -> None:
    name = projects.create(
        ProjectDescription="Fees",
        Parameters=[{"Key": "Threshold", "Value": "7"}],
        Tags=[{"Key": "team", "Value": "fees"}],
    )
    project = projects.settled(name)
    assert project["ProjectStatus"] == "CreateCompleted", detail_of(project)
    assert re.fullmatch(r"p-[a-z0-9]{12}", project["ProjectId"])
    assert project["ProjectArn"].endswith(f":project/{name}")
    assert project["ProjectDescription"] == "Fees"
    assert project["CreatedBy"]["IamIdentity"]["Arn"].startswith("arn:aws:")
    detail = detail_of(project)
    assert (detail["TemplateName"], detail["Parameters"]) == ("mlops", [{"Key": "Threshold", "Value": "7"}])
    assert detail["StackDetail"]["Name"] == f"SP-{name}-{project['ProjectId']}"
    assert detail["StackDetail"]["StatusMessage"] == "CREATE_COMPLETE"

    (stack,) = account.client("cloudformation").describe_stacks(StackName=detail["StackDetail"]["Id"])["Stacks"]
    given = {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]}
    assert given == {"SageMakerProjectName": name, "SageMakerProjectId": project["ProjectId"], "Threshold": "7"}
    tags = {tag["Key"]: tag["Value"] for tag in stack["Tags"]}
    assert tags == {
        "team": "fees",
        "sagemaker:project-name": name,
        "sagemaker:project-id": project["ProjectId"],
        "sagemaker:project-arn": project["ProjectArn"],
    }
    assert projects.threshold(name) == "7"
    found = account.client("ssm").list_tags_for_resource(ResourceType="Parameter", ResourceId=f"/{name}/threshold")
    assert {tag["Key"]: tag["Value"] for tag in found["TagList"]}["sagemaker:project-name"] == name
    assert account.sagemaker.list_tags(ResourceArn=project["ProjectArn"])["Tags"] == [{"Key": "team", "Value": "fees"}]

    assert projects.delete(name)["ProjectStatus"] == "DeleteCompleted"
    (stack,) = account.client("cloudformation").describe_stacks(StackName=detail["StackDetail"]["Id"])["Stacks"]
    assert stack["StackStatus"] == "DELETE_COMPLETE"


def test_projects_are_listed(account: Account, projects: Projects) -> None:
    first, second = projects.create(), projects.create()
    third = projects.create(name=f"{account.name('other')}")
    for name in (first, second, third):
        projects.settled(name)
    listed = account.sagemaker.list_projects(NameContains="other", MaxResults=100)["ProjectSummaryList"]
    assert third in [one["ProjectName"] for one in listed]
    assert first not in [one["ProjectName"] for one in listed]
    names: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = account.sagemaker.list_projects(MaxResults=1, SortBy="CreationTime", SortOrder="Ascending", **token)
        names += [one["ProjectName"] for one in page["ProjectSummaryList"]]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert [name for name in names if name in (first, second, third)] == [first, second, third]
    for name in (first, second, third):
        projects.delete(name)


def test_the_stack_is_made_as_the_role_that_is_named(
    account: Account, projects: Projects, localcloud_only: None
) -> None:
    launch = role(account, "cloudformation.amazonaws.com", {"Effect": "Allow", "Action": "*", "Resource": "*"})
    name = projects.create(RoleARN=launch)
    project = projects.settled(name)
    assert project["ProjectStatus"] == "CreateCompleted", detail_of(project)
    assert detail_of(project)["RoleARN"] == launch
    (stack,) = account.client("cloudformation").describe_stacks(StackName=detail_of(project)["StackDetail"]["Id"])[
        "Stacks"
    ]
    assert stack["RoleARN"] == launch


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (
            {
                **TEMPLATE,
                "Resources": {
                    "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"VisibilityTimeout": 99999999}},
                },
            },
            r"ROLLBACK_COMPLETE: Queue: .*",
        ),
        (template(Queue=("AWS::SQS::Queue", {})), r"Parameters: \[SageMakerProject.*\] do not exist in the template"),
    ],
)
def test_a_project_that_cannot_be_made_tells_why(projects: Projects, document: dict[str, Any], said: str) -> None:
    name = projects.create(document)
    project = projects.settled(name)
    assert project["ProjectStatus"] == "CreateFailed"
    assert re.fullmatch(said, detail_of(project)["StackDetail"]["StatusMessage"])
    assert projects.delete(name)["ProjectStatus"] == "DeleteCompleted"


def test_a_template_that_is_not_there_fails_the_project(account: Account, projects: Projects) -> None:
    name = account.name("p")
    url = f"https://{account.bucket}.s3.{account.region}.amazonaws.com/tests/no-such-template.yml"
    account.sagemaker.create_project(ProjectName=name, TemplateProviders=projects.provider(url))
    projects.names.append(name)
    project = projects.settled(name)
    assert project["ProjectStatus"] == "CreateFailed"
    assert "S3 error" in detail_of(project)["StackDetail"]["StatusMessage"]
    assert "Id" not in detail_of(project)["StackDetail"]


def test_an_update_brings_another_template_and_other_parameters(account: Account, projects: Projects) -> None:
    name = projects.create(Parameters=[{"Key": "Threshold", "Value": "7"}])
    before = projects.settled(name)
    newer = json.loads(json.dumps(TEMPLATE))
    newer["Resources"]["More"] = {
        "Type": "AWS::SSM::Parameter",
        "Properties": {"Name": {"Fn::Sub": "/${SageMakerProjectName}/more"}, "Type": "String", "Value": "1"},
    }
    url = projects.url(newer)
    account.sagemaker.update_project(
        ProjectName=name,
        ProjectDescription="Newer",
        TemplateProvidersToUpdate=projects.provider(url),
        Tags=[{"Key": "team", "Value": "fees"}],
    )
    project = projects.settled(name)
    assert (project["ProjectStatus"], project["ProjectDescription"]) == ("UpdateCompleted", "Newer")
    assert project["ProjectId"] == before["ProjectId"]
    assert detail_of(project)["TemplateURL"] == url
    # Parameters that are not given stay.
    assert detail_of(project)["Parameters"] == [{"Key": "Threshold", "Value": "7"}]
    assert projects.threshold(name) == "7"
    assert account.client("ssm").get_parameter(Name=f"/{name}/more")["Parameter"]["Value"] == "1"
    assert account.sagemaker.list_tags(ResourceArn=project["ProjectArn"])["Tags"] == [{"Key": "team", "Value": "fees"}]

    # Nothing to change is no failure.
    account.sagemaker.update_project(
        ProjectName=name,
        TemplateProvidersToUpdate=projects.provider(url, Parameters=[{"Key": "Threshold", "Value": "7"}]),
    )
    assert projects.settled(name)["ProjectStatus"] == "UpdateCompleted"


def test_an_update_that_fails_leaves_the_project_as_it_was(account: Account, projects: Projects) -> None:
    name = projects.create()
    before = detail_of(projects.settled(name))
    broken = json.loads(json.dumps(TEMPLATE))
    broken["Resources"]["Queue"] = {"Type": "AWS::SQS::Queue", "Properties": {"VisibilityTimeout": 99999999}}
    account.sagemaker.update_project(
        ProjectName=name, TemplateProvidersToUpdate=projects.provider(projects.url(broken))
    )
    project = projects.settled(name)
    assert project["ProjectStatus"] == "UpdateFailed"
    detail = detail_of(project)
    assert detail["TemplateURL"] == before["TemplateURL"]
    assert detail["StackDetail"]["StatusMessage"].startswith("UPDATE_ROLLBACK_COMPLETE: Queue: ")
    # What it was before is no failure.
    account.sagemaker.update_project(
        ProjectName=name, TemplateProvidersToUpdate=projects.provider(before["TemplateURL"])
    )
    assert projects.settled(name)["ProjectStatus"] == "UpdateCompleted"


def test_a_project_whose_stack_cannot_go_says_so_and_goes_when_it_can(account: Account, projects: Projects) -> None:
    document = json.loads(json.dumps(TEMPLATE))
    document["Resources"]["Bucket"] = {
        "Type": "AWS::S3::Bucket",
        "Properties": {"BucketName": {"Fn::Sub": "${SageMakerProjectName}-${AWS::AccountId}"}},
    }
    name = projects.create(document)
    projects.settled(name)
    bucket = f"{name}-{account.number}"
    account.s3.put_object(Bucket=bucket, Key="kept", Body=b"x")
    project = projects.delete(name)
    assert project["ProjectStatus"] == "DeleteFailed"
    message = detail_of(project)["StackDetail"]["StatusMessage"]
    assert message.startswith("DELETE_FAILED: Bucket: ")
    assert "not empty" in message
    account.s3.delete_object(Bucket=bucket, Key="kept")
    assert projects.delete(name)["ProjectStatus"] == "DeleteCompleted"


def test_a_name_is_one_projects_until_it_is_deleted(account: Account, projects: Projects) -> None:
    name = projects.create()
    first = projects.settled(name)
    code, message = error_of(
        account.sagemaker.create_project,
        ProjectName=name,
        TemplateProviders=projects.provider(projects.url(TEMPLATE)),
    )
    assert (code, message) == ("ValidationException", f"Project already exists: {first['ProjectArn']}")
    projects.delete(name)
    code, message = error_of(account.sagemaker.delete_project, ProjectName=name)
    assert (code, message) == ("ValidationException", "Cannot delete Project in DeleteCompleted status")
    projects.create(name=name)
    assert projects.settled(name)["ProjectId"] != first["ProjectId"]


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, "exactly one of ServiceCatalogProvisioningDetails and TemplateProviders; got neither"),
        (
            {"parameters": [{"Key": "SageMakerProjectId", "Value": "p-1"}]},
            "SageMaker gives SageMakerProjectId itself",
        ),
        ({"parameters": [{"Key": "SageMakerProjectName", "Value": "other"}]}, "SageMakerProjectName itself"),
        ({"parameters": [{"Key": "A", "Value": "1"}, {"Key": "A", "Value": "2"}]}, "A given more than once"),
    ],
)
def test_a_request_that_is_none_is_refused(
    account: Account, projects: Projects, params: dict[str, Any], said: str
) -> None:
    given: dict[str, Any] = {}
    if "parameters" in params:
        url = f"https://{account.bucket}.s3.{account.region}.amazonaws.com/t.yml"
        given["TemplateProviders"] = projects.provider(url, Parameters=params["parameters"])
    code, message = error_of(account.sagemaker.create_project, ProjectName="p", **given)
    assert code == "ValidationException"
    assert said in message


def test_a_project_that_is_not_there_is_told(account: Account) -> None:
    for call in (
        account.sagemaker.describe_project,
        account.sagemaker.update_project,
        account.sagemaker.delete_project,
    ):
        code, message = error_of(call, ProjectName="no-such-project")
        assert code == "ValidationException"
        assert "does not exist" in message


@pytest.mark.slow
def test_a_project_goes_on_where_a_process_was_killed(
    tmp_path: Any, start_localcloud: Callable[..., Any], client_of: Callable[..., Any]
) -> None:
    running = start_localcloud(tmp_path)
    projects = Projects(Account(partial(client_of, running), "eu-west-1"))
    name = projects.create()
    running.kill()
    running = start_localcloud(tmp_path)
    again = Projects(Account(partial(client_of, running), "eu-west-1"))
    # What the stack had begun is taken back; what had not begun is begun.
    project = again.settled(name)
    assert project["ProjectStatus"] in ("CreateCompleted", "CreateFailed")
    assert again.delete(name)["ProjectStatus"] == "DeleteCompleted"


def test_a_domain_tells_where_templates_lie(account: Account, localcloud_only: None) -> None:
    sagemaker = account.sagemaker
    name = account.name("domain")
    made = sagemaker.create_domain(DomainName=name, AuthMode="IAM", DefaultUserSettings={"ExecutionRole": account.role})
    assert made["DomainId"] in [one["DomainId"] for one in sagemaker.list_domains()["Domains"]]
    location = [{"Key": "sagemaker:projectS3TemplatesLocation", "Value": f"s3://{account.bucket}/templates/"}]
    sagemaker.add_tags(ResourceArn=made["DomainArn"], Tags=location)
    assert sagemaker.list_tags(ResourceArn=made["DomainArn"])["Tags"] == location
    domain = sagemaker.describe_domain(DomainId=made["DomainId"])
    assert (domain["DomainName"], domain["Status"]) == (name, "InService")
    sagemaker.delete_domain(DomainId=made["DomainId"])
    assert error_of(sagemaker.describe_domain, DomainId=made["DomainId"])[0] == "ResourceNotFound"


ENGINEER = (
    {"Effect": "Allow", "Action": "sagemaker:*", "Resource": "*"},
    {
        "Effect": "Allow",
        "Action": [
            "cloudformation:CreateStack",
            "cloudformation:DeleteStack",
            "cloudformation:DescribeStacks",
            "cloudformation:TagResource",
            "cloudformation:UpdateStack",
        ],
        "Resource": "arn:aws:cloudformation:*:*:stack/SP-*",
    },
    {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::*/tests/*"},
)


@pytest.mark.parametrize("may_pass", [True, False])
def test_an_engineer_needs_the_stack_the_template_and_to_pass_the_launch_role(
    account: Account,
    projects: Projects,
    cloud: Any,
    client_of: Callable[..., Any],
    localcloud_only: None,
    may_pass: bool,
) -> None:
    launch = role(account, "cloudformation.amazonaws.com", {"Effect": "Allow", "Action": "*", "Resource": "*"})
    passes = {
        "Effect": "Allow",
        "Action": "iam:PassRole",
        "Resource": launch,
        "Condition": {"StringEquals": {"iam:PassedToService": "cloudformation.amazonaws.com"}},
    }
    engineer = role(account, None, *ENGINEER, *([passes] if may_pass else []))
    keys = account.client("sts").assume_role(RoleArn=engineer, RoleSessionName="engineer")["Credentials"]
    theirs = client_of(cloud, "sagemaker", access_key=keys["AccessKeyId"])
    name = account.name("p")
    asked = {
        "ProjectName": name,
        "TemplateProviders": projects.provider(projects.url(TEMPLATE), RoleARN=launch),
    }
    if not may_pass:
        code, message = error_of(theirs.create_project, **asked)
        assert code == "AccessDeniedException"
        assert "iam:PassRole" in message
        return
    theirs.create_project(**asked)
    projects.names.append(name)
    project = projects.settled(name)
    assert project["ProjectStatus"] == "CreateCompleted", detail_of(project)
    theirs.delete_project(ProjectName=name)
    assert projects.settled(name)["ProjectStatus"] == "DeleteCompleted"


def role(account: Account, service: str | None, *statements: dict[str, Any]) -> str:
    """The ARN of a new role with these rights, for a service or for people."""
    principal = {"Service": service} if service else {"AWS": f"arn:aws:iam::{account.number}:root"}
    trust = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    iam, name = account.client("iam"), account.name("role")
    made = iam.create_role(
        RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )["Role"]
    policy = {"Version": "2012-10-17", "Statement": list(statements)}
    iam.put_role_policy(RoleName=name, PolicyName="rights", PolicyDocument=json.dumps(policy))
    return str(made["Arn"])
