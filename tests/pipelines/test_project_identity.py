"""Which project a working copy is of, where its configuration leaves that open."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines import identity
from pipelines.config import load
from pipelines.errors import ConfigurationError
from tests.conftest import Localcloud
from tests.pipelines import small_template


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository whose configuration names no project."""
    folder = small_template.make(tmp_path / "clone", [])
    file = folder / "configs" / "project.yml"
    text = file.read_text().replace("name: mlops-demo", 'name: ""').replace('account_id: "111122223333"', "account_id:")
    file.write_text(text)
    return folder


def _origin(folder: Path, url: str) -> None:
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    subprocess.run(["git", "-C", str(folder), "remote", "add", "origin", url], check=True)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/fraud", "fraud"),
        ("ssh://APKA@git-codecommit.eu-west-1.amazonaws.com/v1/repos/fraud", "fraud"),
        ("codecommit::eu-west-1://fraud", "fraud"),
        ("codecommit://someone@fraud", "fraud"),
        ("http://127.0.0.1:4610/v1/repos/fraud-x/", "fraud-x"),
        ("https://github.com/me/fraud.git", None),
        ("git@github.com:me/fraud.git", None),
        ("", None),
    ],
)
def test_the_repositorys_name_is_the_projects(url: str, name: str | None) -> None:
    assert identity.repository_name(url) == name


def test_name_and_account_are_found(clone: Path, aws: Localcloud) -> None:
    _origin(clone, f"{aws.endpoint}/v1/repos/fraud")
    environ = dict(aws.environment)
    identity.complete(clone, environ)
    assert (environ["SAGEMAKER_PROJECT_NAME"], environ["AWS_ACCOUNT_ID"]) == ("fraud", "123456789012")
    assert (clone / ".mlops" / "account").is_file()


def test_the_account_is_asked_for_once(clone: Path, aws: Localcloud, monkeypatch: pytest.MonkeyPatch) -> None:
    identity.complete(clone, dict(aws.environment))
    monkeypatch.setattr("socket.socket", None)  # whoever connects now, fails
    environ = dict(aws.environment)
    identity.complete(clone, environ)
    assert environ["AWS_ACCOUNT_ID"] == "123456789012"


def test_what_the_environment_or_the_file_says_stays(clone: Path, aws: Localcloud) -> None:
    _origin(clone, f"{aws.endpoint}/v1/repos/fraud")
    environ = {**aws.environment, "SAGEMAKER_PROJECT_NAME": "other", "AWS_ACCOUNT_ID": "222222222222"}
    before = dict(environ)
    identity.complete(clone, environ)
    assert environ == before

    environ = {}
    identity.complete(small_template.ROOT, environ)
    assert environ == {}


def test_a_folder_inside_another_repository_is_not_that_one(tmp_path: Path, clone: Path) -> None:
    _origin(tmp_path, "codecommit::eu-west-1://outer")
    environ: dict[str, str] = {}
    identity.complete(clone, environ, account=False)
    assert environ == {}


def test_what_cannot_be_found_is_said_with_what_to_set(
    clone: Path, mlops: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SAGEMAKER_PROJECT_NAME", "AWS_ACCOUNT_ID"):
        monkeypatch.delenv(name, raising=False)
    # Nobody answers there.
    for name, value in (
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
    ):
        monkeypatch.setenv(name, value)
    status, _, err = mlops(clone, "params", "list")
    assert status == 2
    assert "configs/project.yml:2: name: is empty, SAGEMAKER_PROJECT_NAME is not set" in err
    assert "account_id: is empty, AWS_ACCOUNT_ID is not set, and STS does not tell" in err


def test_an_empty_name_is_no_name_by_itself(clone: Path) -> None:
    with pytest.raises(ConfigurationError, match="2 mistakes"):
        load(clone, environ={})
    environ = {"SAGEMAKER_PROJECT_NAME": "fraud", "AWS_ACCOUNT_ID": "123456789012"}
    assert load(clone, environ=environ).names.project == "fraud"
