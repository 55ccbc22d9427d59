"""The checks of `mlops doctor`, each against what it may find; and all of them against an account on this machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from botocore.stub import Stubber

from pipelines.config import load
from pipelines.doctor import account, examine, machine, quotas
from pipelines.doctor.finding import BAD, GOOD, HINT, UNCHECKED, Finding, good
from pipelines.names import Names
from pipelines.publishing.bucket import TemplateBucket
from tests.pipelines.conftest import ROOT, Project

NAMES = Names("fraud", "123456789012", "eu-west-1")
SESSION = boto3.Session(region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")


@contextmanager
def answering(service: str) -> Iterator[tuple[Any, Stubber]]:
    client = SESSION.client(service, endpoint_url="https://aws.invalid")
    with Stubber(client) as stub:
        yield client, stub
        stub.assert_no_pending_responses()


# --- this machine -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "verdict"), [((3, 10), BAD), ((3, 11), GOOD), ((3, 13), HINT)])
def test_python(version: tuple[int, int], verdict: str) -> None:
    assert machine.python(version).verdict == verdict


def test_git_and_docker() -> None:
    assert machine.git(lambda _: None).verdict == BAD
    assert machine.git(lambda _: "git version 2.39.5") == good("Git", "2.39.5")
    assert machine.docker(lambda _: None, on_aws=True).verdict == HINT
    assert machine.docker(lambda _: None, on_aws=False).verdict == GOOD
    assert machine.docker(lambda _: "28.1", on_aws=True) == good("Docker", "28.1")
    assert machine.program(["git", "--version"])
    assert machine.program(["git", "no-such-verb"]) is None
    assert machine.program(["no-such-program"]) is None


def test_versions_are_held_against_the_lock() -> None:
    installed = {"boto3": "1.0", "torch": "2.0+cpu", "uv": "9"}

    def version(name: str) -> str:
        try:
            return installed[name]
        except KeyError:
            raise PackageNotFoundError(name) from None

    lines = (
        "# made by uv",
        "boto3==1.0",
        "torch==2.0",
        "moto[s3]==5",
        'colorama==0.4 ; sys_platform == "win32"',
        "uv==8",
    )
    lock = "\n".join((*lines, "    # via x"))
    found = machine.versions(lock, version)
    assert found.verdict == BAD
    assert found.found == "moto is missing, uv 9 in place of 8"
    assert machine.versions("boto3==1.0\ntorch==2.0\n", version) == good("packages", "2 as in requirements/base.txt")
    many = "".join(f"missing{number}==1\n" for number in range(9))
    assert machine.versions(many, version).found.endswith("missing4 is missing and 4 more")


def test_disk_and_ports() -> None:
    assert machine.disk(4_900_000_000).verdict == BAD
    assert machine.disk(72_000_000_000) == good("disk", "72.0 GB free")
    busy = machine.ports(lambda port: port == 4611, 4610, 3, ours=False)
    assert (busy.verdict, busy.found) == (HINT, "4611 of 4610 to 4612 in use")
    assert machine.ports(lambda _: False, 4610, 3, ours=False).verdict == GOOD
    assert machine.ports(lambda _: True, 4610, 3, ours=True).verdict == GOOD


# --- the account ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "verdict"), [("123456789012", GOOD), ("999999999999", BAD)])
def test_credentials_are_of_the_configured_account(number: str, verdict: str) -> None:
    with answering("sts") as (sts, stub):
        arn = f"arn:aws:sts::{number}:assumed-role/admin/x"
        stub.add_response("get_caller_identity", {"Account": number, "Arn": arn, "UserId": "U"})
        assert account.credentials(sts, NAMES).verdict == verdict


def test_clocks_that_are_apart() -> None:
    now = datetime(2026, 11, 22, 14, tzinfo=UTC)
    assert account.clock(now, now, on_aws=True).verdict == GOOD
    assert account.clock(now + timedelta(minutes=4), now, on_aws=True).verdict == GOOD
    late = account.clock(now + timedelta(minutes=6), now, on_aws=True)
    assert (late.verdict, late.found) == (BAD, "360 s behind the account's")
    assert account.clock(now - timedelta(days=9), now, on_aws=True).found.endswith("ahead of the account's")
    assert account.clock(now + timedelta(days=9), now, on_aws=False).verdict == GOOD


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ("UPDATE_COMPLETE", GOOD),
        ("UPDATE_IN_PROGRESS", HINT),
        ("UPDATE_ROLLBACK_COMPLETE", HINT),
        ("UPDATE_ROLLBACK_FAILED", BAD),
        ("ROLLBACK_COMPLETE", BAD),
        (None, HINT),
    ],
)
def test_the_administrators_stack(status: str | None, verdict: str) -> None:
    with answering("cloudformation") as (cloudformation, stub):
        if status is None:
            message = "Stack with id mlops--admin does not exist"
            stub.add_client_error("describe_stacks", "ValidationError", message)
        else:
            stack = {"StackName": "mlops--admin", "StackStatus": status, "CreationTime": datetime.now(UTC)}
            stub.add_response("describe_stacks", {"Stacks": [stack]}, {"StackName": "mlops--admin"})
        assert account.admin_stack(cloudformation).verdict == verdict


def test_another_refusal_is_none_of_a_missing_stack() -> None:
    with answering("cloudformation") as (cloudformation, stub):
        stub.add_client_error("describe_stacks", "AccessDenied", "no")
        with pytest.raises(ClientError):
            account.admin_stack(cloudformation)


def role(*services: str) -> dict[str, Any]:
    statements = [{"Effect": "Allow", "Principal": {"Service": list(services)}, "Action": "sts:AssumeRole"}]
    document = {"Version": "2012-10-17", "Statement": statements}
    times = {"CreateDate": datetime.now(UTC)}
    arn = NAMES.launch_role_arn
    return {
        "Role": {
            "RoleName": "mlops-launch",
            "RoleId": "A" * 16,
            "Path": "/",
            "Arn": arn,
            "AssumeRolePolicyDocument": json.dumps(document),
            **times,
        }
    }


def test_the_launch_role_is_there_and_trusted() -> None:
    trusted = ("sagemaker.amazonaws.com", "servicecatalog.amazonaws.com", "cloudformation.amazonaws.com")
    with answering("iam") as (iam, stub):
        stub.add_client_error("get_role", "NoSuchEntity", "no")
        assert account.launch_role(iam, NAMES).verdict == HINT
        # botocore hands out what IAM has URL-encoded as a mapping; the stub leaves an answer as it is.
        found = role(*trusted)
        found["Role"]["AssumeRolePolicyDocument"] = json.loads(found["Role"]["AssumeRolePolicyDocument"])
    assert account.launch_role(_Iam(found), NAMES) == good("launch role", "mlops-launch")
    found["Role"]["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]["Service"] = trusted[0]
    weak = account.launch_role(_Iam(found), NAMES)
    assert (weak.verdict, weak.found) == (
        BAD,
        "`mlops-launch` does not trust cloudformation.amazonaws.com, servicecatalog.amazonaws.com",
    )


class _Iam:
    """IAM with one role."""

    class exceptions:
        class NoSuchEntityException(Exception):
            pass

    def __init__(self, found: dict[str, Any]) -> None:
        self._found = found

    def get_role(self, **_: str) -> dict[str, Any]:
        return self._found


def test_the_permissions_boundary() -> None:
    with answering("iam") as (iam, stub):
        stub.add_client_error("get_policy", "NoSuchEntity", "no")
        assert account.boundary(iam, NAMES).verdict == HINT
        stub.add_response("get_policy", {"Policy": {"PolicyName": "mlops-boundary"}}, {"PolicyArn": NAMES.boundary_arn})
        assert account.boundary(iam, NAMES) == good("permissions boundary", "mlops-boundary")


def test_the_repository_and_the_connections() -> None:
    with answering("codecommit") as (codecommit, stub):
        stub.add_client_error("get_repository", "RepositoryDoesNotExistException", "no")
        assert account.repository(codecommit, NAMES).verdict == HINT
        stub.add_response("get_repository", {"repositoryMetadata": {"cloneUrlHttp": "https://x"}})
        assert account.repository(codecommit, NAMES) == good("repository", "https://x")
    with answering("codeconnections") as (connections, stub):
        stub.add_response("list_connections", {"Connections": []})
        assert account.connections(connections).verdict == GOOD
        both = [
            {"ConnectionName": "github", "ConnectionStatus": "PENDING"},
            {"ConnectionName": "other", "ConnectionStatus": "AVAILABLE"},
        ]
        stub.add_response("list_connections", {"Connections": both})
        found = account.connections(connections)
        assert (found.verdict, found.found) == (HINT, "github not available")
        stub.add_response("list_connections", {"Connections": both[1:]})
        assert account.connections(connections) == good("connections", "other")


def test_mlflow_answers_in_the_version_of_the_lock() -> None:
    def silent(url: str) -> str:
        raise OSError("refused")

    assert account.mlflow(None, "3.17.2", None, silent).verdict == HINT
    assert account.mlflow("http://x", "3.17.2", None, silent).verdict == BAD
    asked: list[str] = []
    found = account.mlflow("http://x/", "3.17.2", None, lambda url: asked.append(url) or "3.16.0\n")  # type: ignore[func-returns-value]
    assert (found, asked) == (good("MLflow", "3.16.0 at http://x/"), ["http://x/version"])
    assert account.mlflow("http://x", "3.17.2", None, lambda _: "2.22.0").verdict == BAD
    arn = "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-tracking-server/fraud"
    with answering("sagemaker") as (sagemaker, stub):
        for active, verdict in (("Active", GOOD), ("Inactive", BAD)):
            server = {"TrackingServerStatus": "Created", "IsActive": active, "MlflowVersion": "3.0"}
            stub.add_response("describe_mlflow_tracking_server", server, {"TrackingServerName": "fraud"})
            assert account.mlflow(arn, "3.17.2", sagemaker, silent).verdict == verdict


def test_studio_shows_the_templates_where_its_domains_say_so() -> None:
    location = "s3://mlops-templates-123456789012-eu-west-1/studio/"
    domain = {"DomainArn": "arn:aws:sagemaker:eu-west-1:123456789012:domain/d-x", "DomainName": "team"}
    with answering("sagemaker") as (sagemaker, stub):
        stub.add_response("list_domains", {"Domains": []})
        assert account.studio(sagemaker, location).found == "no domain in this region"
        for value, verdict in ((location, GOOD), ("s3://other/", HINT)):
            stub.add_response("list_domains", {"Domains": [domain]})
            tags = [{"Key": "sagemaker:projectS3TemplatesLocation", "Value": value}]
            stub.add_response("list_tags", {"Tags": tags}, {"ResourceArn": domain["DomainArn"]})
            assert account.studio(sagemaker, location).verdict == verdict


# --- quotas -----------------------------------------------------------------------------------------------------------


def test_machines_at_once_are_counted_with_the_fleet_of_an_update(copy: Path) -> None:
    needed = quotas.needed(load(copy, environ={}))
    assert needed["hosting", "ml.m5.large"] == 2 * 4 + 4  # two workloads' production at full scale, one of them updated
    assert needed["hosting", "ml.t2.medium"] == 2 * 1 + 1
    assert needed["processing", "ml.t3.medium"] == 3  # the hour's evaluations: forecaster's stages, cardholders' prod
    assert needed["training", "ml.m5.xlarge"] == 2
    assert needed["training", "ml.m5.large"] == 1


def test_each_quota_that_is_too_small_is_named(copy: Path) -> None:
    configuration = load(copy, environ={})
    values = {
        {
            "hosting": f"{machine} for endpoint usage",
            "processing": f"{machine} for processing job usage",
            "training": f"{machine} for training job usage",
            "transform": f"{machine} for transform job usage",
        }[use]: count
        for (use, machine), count in quotas.needed(configuration).items()
    }

    def listed(**changed: float | None) -> list[Finding]:
        pages = [
            [],
            [
                {"QuotaName": name, "Value": float(value)}
                for name, value in {**values, **changed}.items()
                if value is not None
            ],
        ]
        with answering("service-quotas") as (service, stub):
            stub.add_response(
                "list_service_quotas", {"Quotas": pages[0], "NextToken": "1"}, {"ServiceCode": "sagemaker"}
            )
            stub.add_response(
                "list_service_quotas", {"Quotas": pages[1]}, {"ServiceCode": "sagemaker", "NextToken": "1"}
            )
            return quotas.quotas(service, configuration)

    [enough] = listed()
    assert enough.verdict == GOOD
    [short] = listed(**{"ml.m5.large for endpoint usage": 0})
    assert (short.verdict, short.found) == (
        BAD,
        "`ml.m5.large for endpoint usage` is 0, and up to 12 are asked for at once",
    )
    [unknown] = listed(**{"ml.t3.medium for processing job usage": None})
    assert unknown.verdict == UNCHECKED


# --- all of them ------------------------------------------------------------------------------------------------------


def refused(code: str) -> Callable[[], Finding]:
    def check() -> Finding:
        raise ClientError({"Error": {"Code": code, "Message": "no"}}, "GetRole")

    return check


def unreachable() -> Finding:
    raise EndpointConnectionError(endpoint_url="http://127.0.0.1:9")


def without_credentials() -> Finding:
    raise NoCredentialsError


@pytest.mark.parametrize(
    ("check", "verdict", "said"),
    [
        (refused("AccessDenied"), UNCHECKED, "no right to GetRole"),
        (refused("UnknownOperationException"), UNCHECKED, "what answers here has no GetRole"),
        (refused("ExpiredToken"), BAD, "AWS does not take the credentials: no"),
        (refused("Throttling"), UNCHECKED, "GetRole: Throttling: no"),
        (unreachable, BAD, "http://127.0.0.1:9"),
        (without_credentials, BAD, "there are none"),
    ],
)
def test_what_keeps_a_check_from_being_made_is_its_finding(
    check: Callable[[], Finding], verdict: str, said: str
) -> None:
    first, second = examine.attempted([("one", check), ("two", lambda: good("two", "fine"))])
    assert (first.check, first.verdict) == ("one", verdict)
    assert said in first.found
    assert second == good("two", "fine")


def test_an_account_that_nothing_was_published_in(project: Project) -> None:
    found = examine.of_account(project.session, project.configuration, ROOT, {"AWS_ENDPOINT_URL": "http://x"})
    by_name = {finding.check: finding for finding in found}
    assert by_name["credentials"].verdict == GOOD
    assert by_name["clock"].verdict == GOOD
    assert by_name["MLflow"].verdict == HINT
    assert by_name["quotas"].verdict == UNCHECKED
    assert [finding for finding in found if finding.verdict == BAD] == []
    assert {"administrator's stack", "template", "launch role", "permissions boundary", "Studio"} <= set(by_name)


def test_a_template_that_studio_hides(project: Project) -> None:
    bucket = TemplateBucket(project.session, Names(project.names.project, "123456789012", "eu-west-1"))
    s3 = project.session.client("s3")
    bucket.name = f"{project.names.project}-templates"  # of this test alone
    assert account.template(bucket, s3).verdict == HINT
    s3.create_bucket(Bucket=bucket.name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    bucket.show_in_studio("0.9", "x", "y")
    assert account.template(bucket, s3) == good("template", f"version 0.9 in s3://{bucket.name}")
    s3.delete_object_tagging(Bucket=bucket.name, Key="studio/project.yml")
    assert account.template(bucket, s3).verdict == BAD


def test_the_verb_shows_what_is_wrong_and_ends_with_it(
    copy: Path, aws: object, mlops: Callable[..., tuple[int, str, str]]
) -> None:
    (copy / "requirements").mkdir()
    (copy / "requirements" / "base.txt").write_text("boto3==0.1\n")
    status, out, _ = mlops(copy, "doctor")
    assert status == 1
    assert "in place of 0.1" in out
    assert "→ run `make setup`: it installs requirements/base.txt" in out
    assert "but the project is in 111122223333" in out
    assert "2 to be put right" in out
    (copy / "configs" / "project.yml").write_text("name: x\n")
    status, out, _ = mlops(copy, "doctor", "--json")
    configuration = json.loads(out)[-1]
    assert (status, configuration["check"], configuration["verdict"]) == (1, "configuration", "bad")
    assert "account_id" in configuration["found"]
