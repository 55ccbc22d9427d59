"""The policies of docs/guides/first-hour-aws.md: IAM takes them, and they suffice for the verbs that the page names.

A block ```json policy=NAME of the page is a policy, for the account 111122223333, eu-west-1 and the project `fraud`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from botocore.session import get_session

from pipelines.config import Configuration
from pipelines.names import Names
from pipelines.projects import creation
from pipelines.publishing import publish as publishing
from pipelines.session import boto_session, client
from tests.conftest import Localcloud, point_at
from tests.pipelines.deploy.loop import started
from tests.roles import trust

Mlops = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "guides" / "first-hour-aws.md"
POLICIES: dict[str, dict[str, Any]] = {
    found["name"]: json.loads(found["text"])
    for found in re.finditer(
        r"^```json policy=(?P<name>\w+)\n(?P<text>.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
}
# "IAM and AWS STS quotas": white space does not count.
LONGEST = 6_144
# What botocore calls the services otherwise than IAM does.
SERVICES = {
    "application-autoscaling": ["application-autoscaling"],
    "s3": ["s3"],
    "sagemaker": ["sagemaker", "sagemaker-runtime", "sagemaker-featurestore-runtime"],
}
# Actions that are no operation's name.
OTHERS = {
    "apigateway:GET", "apigateway:PATCH", "cloudformation:TagResource", "codecommit:GitPull", "codecommit:GitPush",
    "iam:PassRole", "s3:DeleteObjectVersion", "s3:GetBucketCORS", "s3:GetBucketPublicAccessBlock",
    "s3:GetEncryptionConfiguration", "s3:GetLifecycleConfiguration", "s3:ListBucket", "s3:ListBucketMultipartUploads",
    "s3:ListBucketVersions", "s3:PutBucketCORS", "s3:PutBucketPublicAccessBlock", "s3:PutEncryptionConfiguration",
    "s3:PutLifecycleConfiguration", "sagemaker-mlflow:*", "servicecatalog:TagResource",
}  # fmt: skip


def _statements(policy: Mapping[str, Any]) -> Iterator[tuple[str, list[str], list[str]]]:
    for one in policy["Statement"]:
        action, resource = one["Action"], one["Resource"]
        yield (
            one["Sid"],
            [action] if isinstance(action, str) else action,
            [resource] if isinstance(resource, str) else resource,
        )


def _for(name: str, names: Names) -> str:
    """A policy of the page, with another account, region and project."""
    text = json.dumps(POLICIES[name]).replace("111122223333", names.account_id).replace("eu-west-1", names.region)
    return re.sub(r"\bfraud\b", names.project, text)


def test_the_page_has_a_policy_for_everybody() -> None:
    assert set(POLICIES) == {"administrator", "projects", "engineer", "destroy"}


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_is_one_that_iam_takes(name: str) -> None:
    policy = POLICIES[name]
    assert policy["Version"] == "2012-10-17"
    assert len(re.sub(r"\s", "", json.dumps(policy))) <= LONGEST
    sids = [sid for sid, _, _ in _statements(policy)]
    assert len(sids) == len(set(sids))
    for sid, _, resources in _statements(policy):
        assert re.fullmatch(r"[A-Za-z0-9]+", sid)
        for resource in resources:
            assert resource == "*" or re.fullmatch(
                r"arn:aws:(s3|iam|apigateway|[a-z-]+):(eu-west-1)?:(111122223333)?:.+", resource
            )


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_names_actions_that_there_are(name: str) -> None:
    session = get_session()
    unknown: list[str] = []
    for sid, actions, _ in _statements(POLICIES[name]):
        assert "*" not in actions
        for action in actions:
            service, _, operation = action.partition(":")
            models = (session.get_service_model(one) for one in SERVICES.get(service, [service]))
            if action not in OTHERS and not any(operation in model.operation_names for model in models):
                unknown.append(f"{sid}: {action}")
    assert unknown == []


def _assume(session: boto3.Session, patch: pytest.MonkeyPatch, names: Names, *policies: str) -> str:
    """Make a role of some of the page's policies, and sign with it from now on; gives its ARN."""
    iam, sts = client(session, "iam"), client(session, "sts")
    role = f"documented-{names.project}"
    arn: str = iam.create_role(RoleName=role, AssumeRolePolicyDocument=trust(names.account_id))["Role"]["Arn"]
    for policy in policies:
        iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=_for(policy, names))
    keys = sts.assume_role(RoleArn=arn, RoleSessionName="reader")["Credentials"]
    patch.setenv("AWS_ACCESS_KEY_ID", keys["AccessKeyId"])
    patch.setenv("AWS_SECRET_ACCESS_KEY", keys["SecretAccessKey"])
    patch.setenv("AWS_SESSION_TOKEN", keys["SessionToken"])
    return arn


def _denied(localcloud: Localcloud, arn: str) -> list[str]:
    """What a role was not allowed."""
    answer = requests.get(f"{localcloud.endpoint}/_localcloud/calls", params={"principal": arn}, timeout=30)
    calls = answer.json()["calls"]
    return [f"{call['action']} {call['resource']}" for call in calls if "Denied" in (call["error"] or "")]


def test_who_has_the_policies_for_projects_makes_upgrades_and_destroys_one(
    session: boto3.Session,
    tree: Path,
    configuration: Configuration,
    mlops: Mlops,
    account: Localcloud,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = creation.project_names(f"shown-{os.getpid()}", configuration)
    release = publishing.prepare(configuration, tree, "http://127.0.0.1:5001")
    publishing.publish(session, release, tree, route="s3", version="0.0.1-shown", poll_seconds=0.05)
    arn = _assume(session, monkeypatch, names, "projects", "destroy")
    for words in (
        ("create", names.project),
        ("list",),
        ("clone", names.project, str(tmp_path / "clone")),
        ("upgrade", names.project, "--to", "0.0.1-shown", "--yes"),
        ("destroy", names.project, "--yes"),
    ):
        status, out, err = mlops(tree, "project", *words)
        assert status == 0, f"{words}: {out}{err}"
    assert _denied(account, arn) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_who_has_the_administrators_policy_publishes(
    configuration: Configuration, mlops: Mlops, monkeypatch: pytest.MonkeyPatch
) -> None:
    with started() as localcloud:
        point_at(localcloud, monkeypatch)
        monkeypatch.setenv("SAGEMAKER_PROJECT_NAME", "shown")
        monkeypatch.setenv("AWS_ACCOUNT_ID", configuration.names.account_id)
        names = creation.project_names("shown", configuration)
        arn = _assume(boto_session(names), monkeypatch, names, "administrator")
        for _ in range(2):
            status, out, err = mlops(ROOT, "publish", "--mlflow-tracking-uri", "http://127.0.0.1:5001")
            assert status == 0, out + err
        assert _denied(localcloud, arn) == []
