"""Projects of a small template: made, listed, cloned; what is in the way of one is said before anything is made."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

from pipelines.config import Configuration
from pipelines.errors import ServiceError, UsageError
from pipelines.names import Names
from pipelines.projects import cloning, creation, reading
from pipelines.projects.creation import Wish

Mlops = Callable[..., tuple[int, str, str]]


def test_a_project_is_made_from_the_newest_version(
    session: boto3.Session, made: Names, mlops: Mlops, tree: Path
) -> None:
    project = reading.describe(session, made)
    assert project is not None
    assert project.status == "CreateCompleted"
    assert project.stack is not None
    assert project.stack.parameters["Greeting"] == "good day"
    assert project.stack.role_arn == made.launch_role_arn
    assert project.id.startswith("p-")

    status, out, _ = mlops(tree, "project", "list", "--json")
    assert status == 0
    [listed] = [one for one in json.loads(out) if one["name"] == made.project]
    assert listed["status"] == "CreateCompleted"
    assert listed["template_version"] == project.version
    assert listed["repository"].endswith(f"/v1/repos/{made.project}")
    assert made.project in mlops(tree, "project", "list")[1]


def test_its_repository_begins_with_the_seed_and_knows_whose_it_is(
    session: boto3.Session, made: Names, mlops: Mlops, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, err = mlops(tree, "project", "clone", made.project, str(tmp_path / "clone"))
    assert status == 0, err
    assert "cloned into" in out
    clone = tmp_path / "clone"
    assert (clone / "README.md").read_text() == "# A project\n"
    assert (clone / "seed_code/cardholders/bin/train").stat().st_mode & 0o100
    assert not (clone / "template").exists()
    environment = (clone / ".mlops" / "env").read_text()
    assert f"AWS_ENDPOINT_URL='{os.environ['AWS_ENDPOINT_URL']}'" in environment
    # `.mlops` is ignored: nothing is there to be committed.
    assert subprocess.run(["git", "-C", clone, "status", "--porcelain"], capture_output=True, check=True).stdout == b""

    for name in ("SAGEMAKER_PROJECT_NAME", "AWS_ACCOUNT_ID"):
        monkeypatch.delenv(name)
    status, out, err = mlops(clone, "params", "list", "cardholders", "--json")
    assert status == 0, err
    assert f"/{made.project}/cardholders/" in out

    status, _, err = mlops(tree, "project", "clone", made.project, str(clone))
    assert status == 2
    assert "is not empty" in err


def test_a_name_that_is_taken_is_said_with_all_that_has_it(
    session: boto3.Session, made: Names, configuration: Configuration
) -> None:
    with pytest.raises(ServiceError) as refused:
        creation.plan(session, made, configuration, Wish())
    for part in ("the project exists: CreateCompleted", "the stack SP-", f"bucket {made.bucket} exists", "repository"):
        assert part in str(refused.value)
    assert f"mlops project destroy {made.project}" in str(refused.value)


def test_a_project_that_there_is_not_is_said(session: boto3.Session, made: Names, mlops: Mlops, tree: Path) -> None:
    status, _, err = mlops(tree, "project", "clone", f"{made.project}-gone")
    assert status == 2
    assert f"there is no project `{made.project}-gone`" in err
    assert made.project in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("Fraud",), "project name 'Fraud'"),
        (("x" * 33,), "at most 32"),
        (("ok", "--repository", "Github"), "did you mean `GitHub`"),
        (("ok", "--repository", "GitHub"), "needs --connection-arn"),
        (("ok", "--repository-id", "me/mine"), "--repository-id does not go with --repository CodeCommit"),
        (("ok", "--route", "s4"), "route `s4` does not exist"),
        (("ok", "--parameter", "Greting=x"), "did you mean `Greeting`"),
        (("ok", "--parameter", "SageMakerProjectId=x"), "SageMaker's to give"),
        (("ok", "--parameter", "Greeting"), "expected NAME=VALUE"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    session: boto3.Session, tree: Path, mlops: Mlops, arguments: tuple[str, ...], said: str
) -> None:
    status, _, err = mlops(tree, "project", "create", *arguments)
    assert status == 2
    assert said in err


def test_a_creation_that_fails_says_why_and_what_to_do(session: boto3.Session, tree: Path, mlops: Mlops) -> None:
    name = f"fails-{os.getpid()}"
    session.client("ssm").put_parameter(Name=f"/{name}/greeting", Value="in the way", Type="String")
    status, _, err = mlops(tree, "project", "create", name)
    assert status == 1
    assert f"the project `{name}` is CreateFailed" in err
    assert "Greeted: " in err
    assert f"`mlops project destroy {name}` removes what was made" in err
    status, out, err = mlops(tree, "project", "destroy", name, "--yes")
    assert status == 0, err
    assert "nothing remains" in out


def test_overrides_are_those_of_the_environment_inside_the_tree(tree: Path) -> None:
    inside = {"MLOPS_OVERRIDES": str(tree / "configs" / "local.yml")}
    assert creation.overrides_inside(tree, inside) == "configs/local.yml"
    assert creation.overrides_inside(tree, {"MLOPS_OVERRIDES": "/elsewhere/local.yml"}) == ""
    assert creation.overrides_inside(tree, {}) == ""


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:4610/v1/repos/p", ["clone", "http://127.0.0.1:4610/v1/repos/p", "p"]),
        ("https://github.com/me/mine.git", ["clone", "https://github.com/me/mine.git", "p"]),
    ],
)
def test_git_is_asked_plainly_where_no_helper_is_needed(url: str, words: list[str]) -> None:
    assert cloning.arguments(url, "eu-west-1", Path("p")) == words


def test_codecommit_on_aws_needs_a_helper() -> None:
    words = cloning.arguments("https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/p", "eu-west-1", Path("p"))
    assert any("credential-helper" in word for word in words) or "codecommit::eu-west-1://p" in words


def test_credentials_are_passed_on_to_this_machine_only(configuration: Configuration, tmp_path: Path) -> None:
    names = creation.project_names("p", configuration)
    given: dict[str, str] = {"AWS_SECRET_ACCESS_KEY": "s", "AWS_ACCESS_KEY_ID": "k", "AWS_REGION": "eu-west-1"}

    def environment(endpoint: str) -> dict[str, Any]:
        return cloning.environment_for(names, tmp_path, tmp_path / "p", {**given, "AWS_ENDPOINT_URL": endpoint})

    assert environment("http://127.0.0.1:4610")["AWS_SECRET_ACCESS_KEY"] == "s"
    assert "AWS_SECRET_ACCESS_KEY" not in environment("https://aws.example.com")
    assert environment("") == {}


def test_a_project_name_is_checked(configuration: Configuration) -> None:
    with pytest.raises(UsageError, match="single hyphens"):
        creation.project_names("a--b", configuration)


def test_a_repository_on_github_is_begun_with_the_seed_where_it_holds_nothing(
    session: boto3.Session, create: Callable[..., Names], mlops: Mlops, tree: Path, tmp_path: Path
) -> None:
    arn = f"arn:aws:codeconnections:eu-west-1:123456789012:connection/{'0' * 8}-0000-0000-0000-{'0' * 12}"
    where = ("--repository", "GitHub", "--connection-arn", arn, "--repository-id", f"me/mine-{os.getpid()}")
    names = create(None, *where)
    begun, again = tmp_path / "begun", tmp_path / "again"
    status, out, err = mlops(tree, "project", "clone", names.project, str(begun))
    assert status == 0, err
    assert f"cd {begun} && git push -u origin main" in out
    assert f"SAGEMAKER_PROJECT_NAME='{names.project}'" in (begun / ".mlops" / "env").read_text()
    pushed = subprocess.run(
        ["git", "-C", begun, "push", "-u", "origin", "main"], capture_output=True, text=True, check=False
    )
    assert pushed.returncode == 0, pushed.stderr
    status, out, err = mlops(tree, "project", "clone", names.project, str(again))
    assert status == 0, err
    assert "cloned into" in out
    assert (again / "README.md").read_text() == "# A project\n"
    assert (again / "seed_code/cardholders/bin/train").stat().st_mode & 0o100
