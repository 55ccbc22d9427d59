"""A project is brought to a newer version: what that changes is shown before, and the seed comes as a branch."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest

from pipelines import provision
from pipelines.config import Configuration
from pipelines.errors import UsageError
from pipelines.names import Names
from pipelines.projects import creation, reading, upgrade
from pipelines.publishing import publish as publishing
from pipelines.publishing.publish import Published
from tests.pipelines import small_template

Mlops = Callable[..., tuple[int, str, str]]
Git = Callable[..., str]


@pytest.fixture
def publish_newer(
    session: boto3.Session, configuration: Configuration, tmp_path: Path, lint_cache: Path
) -> Callable[[str, str], Published]:
    """Publishes a version whose template and seed differ; takes what makes them so."""

    def run(greeting: str, readme: str) -> Published:
        folder = tmp_path / f"newer-{greeting}"
        root = small_template.make(folder, [*provision.configured(configuration)], lint_cache=lint_cache)
        template = root / "template" / "project.yml"
        text = template.read_text().replace("Default: hello", f"Default: {greeting}")
        text = text.replace("Outputs:", _FAREWELL + "Outputs:").replace('-hourly"', '-half-hourly"')
        template.write_text(text)
        (root / "template" / "seed" / "README.md").write_text(readme)
        (root / "template" / "seed" / "NEW.md").write_text("new\n")
        release = publishing.prepare(configuration, root, "http://127.0.0.1:5000")
        return publishing.publish(session, release, root, route="s3", poll_seconds=0.05)

    return run


_FAREWELL = """\
  Farewell:
    Type: AWS::SSM::Parameter
    Properties: {Name: !Sub "/${SageMakerProjectName}/farewell", Type: String, Value: bye}
"""


@pytest.fixture(autouse=True)
def older(session: boto3.Session, configuration: Configuration, tree: Path) -> None:
    """Projects are made from the older version, whatever a test before has published."""
    release = publishing.prepare(configuration, tree, "http://127.0.0.1:5000")
    publishing.publish(session, release, tree, route="s3", poll_seconds=0.05)


@pytest.fixture
def git(session: boto3.Session) -> Git:
    def run(folder: Path, *arguments: str) -> str:
        author = ("-c", "user.name=Me", "-c", "user.email=me@localhost")
        words = ["git", "-C", str(folder), *author, *arguments]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout

    return run


def test_a_project_is_upgraded_after_its_changes_were_shown(
    session: boto3.Session,
    create: Callable[..., Names],
    publish_newer: Callable[[str, str], Published],
    mlops: Mlops,
    tree: Path,
    tmp_path: Path,
    git: Git,
) -> None:
    chosen, plain = create(None, "--parameter", "Greeting=good day"), create()
    # What a person did since the project was made.
    clone = tmp_path / "clone"
    assert mlops(tree, "project", "clone", plain.project, str(clone))[0] == 0
    (clone / "configs" / "mine.yml").write_text("mine: true\n")
    git(clone, "add", "--all")
    git(clone, "commit", "-q", "-m", "mine")
    git(clone, "push", "-q", "origin", "HEAD:main")

    newer = publish_newer("hi", "# A better project\n")
    assert newer.new

    status, out, err = mlops(tree, "project", "upgrade", plain.project)
    assert (status, "say --yes" in err) == (2, True)
    assert "Add     SSM::Parameter Farewell" in out
    assert "Modify  Events::Rule Hourly  (replaced)" in out
    assert "Greeting: 'hello' to 'hi'" in out
    assert "seed: 1 files added, 1 changed, 0 removed" in out

    status, out, err = mlops(tree, "project", "upgrade", plain.project, "--yes")
    assert status == 0, err
    assert f"the project {plain.project} is at version {newer.version}" in out
    assert session.client("ssm").get_parameter(Name=f"/{plain.project}/greeting")["Parameter"]["Value"] == "hi"
    upgraded = reading.describe(session, plain)
    assert upgraded is not None
    assert (upgraded.status, upgraded.version) == ("UpdateCompleted", newer.version)

    branch = f"template/{newer.version}"
    assert f"git fetch && git merge origin/{branch}" in out
    git(clone, "fetch", "-q")
    git(clone, "merge", "-q", "--no-edit", f"origin/{branch}")
    assert (clone / "README.md").read_text() == "# A better project\n"
    assert (clone / "NEW.md").exists()
    assert (clone / "configs" / "mine.yml").exists()

    # What somebody chose stays.
    status, out, err = mlops(tree, "project", "upgrade", chosen.project, "--yes", "--no-branch")
    assert status == 0, err
    assert "Greeting" not in out
    assert "the repository was left as it is" in out
    assert session.client("ssm").get_parameter(Name=f"/{chosen.project}/greeting")["Parameter"]["Value"] == "good day"

    status, out, _ = mlops(tree, "project", "upgrade", chosen.project, "--yes")
    assert (status, out) == (0, f"the project {chosen.project} is at version {newer.version}; nothing would change\n")


def test_an_upgrade_that_fails_leaves_the_project_as_it_was(
    session: boto3.Session,
    create: Callable[..., Names],
    publish_newer: Callable[[str, str], Published],
    mlops: Mlops,
    tree: Path,
) -> None:
    names = create()
    before = reading.describe(session, names)
    session.client("ssm").put_parameter(Name=f"/{names.project}/farewell", Value="in the way", Type="String")
    publish_newer("howdy", "# A project\n")
    status, _, err = mlops(tree, "project", "upgrade", names.project, "--yes")
    assert status == 1
    assert f"the project `{names.project}` is UpdateFailed" in err
    assert "Farewell: " in err
    after = reading.describe(session, names)
    assert after is not None
    assert before is not None
    assert after.version == before.version


def test_what_cannot_be_upgraded_is_refused(
    session: boto3.Session, made: Names, configuration: Configuration, mlops: Mlops, tree: Path
) -> None:
    status, _, err = mlops(tree, "project", "upgrade", made.project, "--to", "0.0.1")
    assert status == 1
    assert "version `0.0.1` is not published" in err
    with pytest.raises(UsageError, match="there is no project"):
        upgrade.plan(session, creation.project_names(f"gone-{os.getpid()}", configuration), None, 0.05)
