"""Publishing: what is filled in and checked, and what becomes of the bucket, once, again and after a change."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from pipelines import provision
from pipelines.config import Configuration, load
from pipelines.errors import ServiceError, UsageError
from pipelines.names import MLFLOW_TRACKING_URI_VARIABLE
from pipelines.publishing import catalog, templates, yaml_edit
from pipelines.publishing import publish as publishing
from pipelines.publishing.bucket import STUDIO_LOCATION_TAG, VISIBLE_TAG, TemplateBucket
from pipelines.publishing.publish import Published
from pipelines.publishing.release import Release, chosen_version, own_version
from pipelines.session import boto_session
from tests.conftest import Localcloud, point_at
from tests.pipelines import small_template

ACCOUNT_ID = "123456789012"
MLFLOW = "http://127.0.0.1:5000"


@pytest.fixture
def configuration() -> Configuration:
    environ = {"SAGEMAKER_PROJECT_NAME": f"publisher-{os.getpid()}", "AWS_ACCOUNT_ID": ACCOUNT_ID}
    return load(small_template.ROOT, environ=environ)


@pytest.fixture(scope="module")
def lint_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cfn-lint")


@pytest.fixture
def tree(tmp_path: Path, configuration: Configuration, lint_cache: Path) -> Path:
    return small_template.make(tmp_path / "tree", list(provision.configured(configuration)), lint_cache=lint_cache)


@pytest.fixture
def release(tree: Path, configuration: Configuration) -> Release:
    return publishing.prepare(configuration, tree, MLFLOW)


# --- values of a YAML text --------------------------------------------------------------------------------------------


def test_a_value_is_replaced_and_all_else_stays() -> None:
    text = "# about\na: 1 # one\nb:\n  c: 'x'   # see\n  d: [1, 2]\nf: {g: 1}\n"
    changed = yaml_edit.with_values(text, {("b", "c"): 'say "so"', ("a",): 2, ("b", "e"): True, ("f", "h"): "i"})
    assert changed == (
        '# about\na: 2 # one\nb:\n  c: "say \\"so\\""   # see\n  e: true\n  d: [1, 2]\nf: {g: 1, h: "i"}\n'
    )
    assert yaml.safe_load(changed)["b"] == {"c": 'say "so"', "e": True, "d": [1, 2]}


@pytest.mark.parametrize("path", [("a", "b"), ("nothing", "there"), ("block",), ("list",)])
def test_what_is_no_value_on_one_line_is_refused(path: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=r"expected a value on one line"):
        yaml_edit.with_values("a: 1\nblock: |\n  lines\nlist:\n  - 1\n", {path: "x"})


# --- the published template -------------------------------------------------------------------------------------------


def test_everything_but_the_name_has_a_default(release: Release) -> None:
    published = templates.parameters(release.published_template("1.2.0"))
    assert [name for name, default in published.items() if default is None] == ["SageMakerProjectName"]
    assert published["SeedKey"] is not None
    assert published["SeedKey"].startswith("1.2.0/seed/")
    assert published["CodeBucket"] == f"mlops-templates-{ACCOUNT_ID}-eu-west-1"
    assert published["PermissionsBoundary"] == f"arn:aws:iam::{ACCOUNT_ID}:policy/mlops-boundary"
    assert published["TemplateVersion"] == "1.2.0"
    assert published["MlflowTrackingUri"] == MLFLOW
    assert published["Greeting"] == "hello"


def test_mlflow_is_the_environments_unless_told(
    tree: Path, configuration: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MLFLOW_TRACKING_URI_VARIABLE, "http://127.0.0.1:4611")
    assert publishing.prepare(configuration, tree).defaults["MlflowTrackingUri"] == "http://127.0.0.1:4611"
    assert publishing.prepare(configuration, tree, "").defaults["MlflowTrackingUri"] == ""


def _edit(tree: Path, file: str, old: str, new: str) -> None:
    path = tree / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        (
            "template/project.yml",
            "Value: !Ref Greeting",
            "Valeu: !Ref Greeting",
            r"template/project\.yml:\d+: E\d+: .*Valeu",
        ),
        (
            "template/admin.yml",
            'Default: ""}\nConditions',
            'Default: "", Max: 3}\nConditions',
            r"template/admin\.yml:\d+: E",
        ),
        (
            "template/project.yml",
            "  Greeting: {Type: String, Default: hello}",
            "  Greeting: {Type: String}",
            "no default for `Greeting`",
        ),
        (
            "template/project.yml",
            "# of this template",
            "# buildspecs/checks.yml of this template",
            "runs buildspecs/checks.yml",
        ),
        ("setup.py", '"1.2.0"', '"one/two"', "version `one/two`"),
        ("setup.py", "version", "vision", "names no version"),
    ],
)
def test_a_working_copy_that_is_not_complete_is_not_published(
    tree: Path, configuration: Configuration, file: str, old: str, new: str, said: str
) -> None:
    _edit(tree, file, old, new)
    with pytest.raises(UsageError, match=said):
        publishing.prepare(configuration, tree, MLFLOW)


def test_what_cfn_lint_has_found_nothing_in_is_remembered(tree: Path, tmp_path: Path) -> None:
    file, kept = tree / "template" / "admin.yml", tmp_path / "kept"
    assert templates.lint([file], tree, "eu-west-1", kept) == []
    [known] = kept.iterdir()
    file.write_text(file.read_text().replace("AWS::S3::Bucket", "AWS::S3::Bukket"))
    assert "Bukket" in templates.lint([file], tree, "eu-west-1", kept)[0]
    assert list(kept.iterdir()) == [known]


def test_a_template_without_a_parameter_that_is_filled_is_refused() -> None:
    with pytest.raises(UsageError, match="no parameter `SeedKey`"):
        templates.filled("Parameters:\n  Name: {Type: String}\nResources: {}\n", {"SeedKey": "k"})


# --- versions ---------------------------------------------------------------------------------------------------------


def test_a_version_is_the_working_copys_until_another_content_bears_it(tree: Path) -> None:
    own, digest = own_version(tree), "3f2a91bc" + "0" * 56
    known: dict[str, str] = {}
    assert chosen_version(own, None, digest, known.get) == "1.2.0"
    known["1.2.0"] = digest
    assert chosen_version(own, None, digest, known.get) == "1.2.0"
    known["1.2.0"] = "another"
    assert chosen_version(own, None, digest, known.get) == "1.2.0-3f2a91bc"
    assert chosen_version(own, "2.0.0-rc1", digest, known.get) == "2.0.0-rc1"
    with pytest.raises(UsageError, match="stays as it is"):
        chosen_version(own, "1.2.0", digest, known.get)


# --- the account ------------------------------------------------------------------------------------------------------


@pytest.fixture
def session(localcloud: Localcloud, configuration: Configuration, monkeypatch: pytest.MonkeyPatch) -> boto3.Session:
    point_at(localcloud, monkeypatch)
    return boto_session(configuration.names)


@pytest.fixture
def publish(tree: Path, configuration: Configuration, session: boto3.Session) -> Callable[..., Published]:
    def run(**options: Any) -> Published:
        prepared = publishing.prepare(configuration, tree, MLFLOW)
        return publishing.publish(session, prepared, tree, **{"route": "s3", "poll_seconds": 0.05, **options})

    return run


def test_published_once_it_is_there_and_again_changes_nothing(
    tree: Path, configuration: Configuration, session: boto3.Session, publish: Callable[..., Published]
) -> None:
    (tree / "template" / "seed" / "README.md").write_text("# Of this test alone\n")
    first = publish()
    assert first.new
    bucket, s3 = TemplateBucket(session, configuration.names), session.client("s3")
    found = templates.parameters(bucket.template(first.version))
    for key in (found["SeedKey"], found["CodeKey"]):
        assert s3.head_object(Bucket=bucket.name, Key=key)["ContentLength"] > 0
    tags = s3.get_object_tagging(Bucket=bucket.name, Key="studio/project.yml")["TagSet"]
    assert tags == [{"Key": VISIBLE_TAG, "Value": "true"}]
    assert bucket.newest() == first.version

    again = publish()
    assert (again.version, again.new, again.account_changes) == (first.version, False, ())

    (tree / "seed_code" / "cardholders" / "bin" / "train").write_text("#!/bin/sh\necho trained better\n")
    changed = publish()
    assert changed.new
    assert changed.version.startswith("1.2.0-")
    assert bucket.newest() == changed.version
    assert templates.parameters(bucket.template(first.version)) == found

    with pytest.raises(UsageError, match="published already"):
        publish(version=first.version)


def test_domains_of_studio_show_it_unless_they_show_something_else(
    session: boto3.Session, publish: Callable[..., Published], configuration: Configuration
) -> None:
    sagemaker: Any = session.client("sagemaker")
    location = TemplateBucket(session, configuration.names).studio_location
    domains = {}
    for name, tags in (("new", []), ("elsewhere", [{"Key": STUDIO_LOCATION_TAG, "Value": "s3://other/"}])):
        domains[name] = sagemaker.create_domain(
            DomainName=f"{name}-{os.getpid()}",
            AuthMode="IAM",
            DefaultUserSettings={"ExecutionRole": f"arn:aws:iam::{ACCOUNT_ID}:role/mlops-people"},
            SubnetIds=["subnet-0123456789abcdef0"],
            VpcId="vpc-0123456789abcdef0",
            Tags=tags,
        )["DomainArn"]
    for _ in range(2):  # the second time it is tagged already
        shown = publish().studio
        assert shown is not None
        assert f"new-{os.getpid()}" in shown.domains
        assert (f"elsewhere-{os.getpid()}", "s3://other/") in shown.elsewhere
    found = {name: sagemaker.list_tags(ResourceArn=arn)["Tags"] for name, arn in domains.items()}
    assert found["new"] == [{"Key": STUDIO_LOCATION_TAG, "Value": location}]
    assert found["elsewhere"] == [{"Key": STUDIO_LOCATION_TAG, "Value": "s3://other/"}]
    for arn in domains.values():
        sagemaker.delete_domain(DomainId=arn.rpartition("/")[2], RetentionPolicy={"HomeEfsFileSystem": "Delete"})


def test_the_catalogs_product_gets_each_version(
    tree: Path, configuration: Configuration, session: boto3.Session, publish: Callable[..., Published]
) -> None:
    admin = tree / "template" / "admin.yml"
    admin.write_text(small_template.ADMIN.replace("Outputs:\n", small_template.CATALOG))
    first = publish(route="catalog")
    assert first.product_id is not None
    assert first.studio is None
    assert catalog.artifact(session, first.product_id, first.version) is not None
    (tree / "template" / "seed" / "README.md").write_text("# Another\n")
    second = publish(route="both")
    assert second.product_id == first.product_id
    versions = session.client("servicecatalog").list_provisioning_artifacts(ProductId=first.product_id)
    names = [artifact["Name"] for artifact in versions["ProvisioningArtifactDetails"]]
    assert sorted(names) == sorted({first.version, second.version})
    assert publish(route="both").account_changes == ()


def test_a_version_that_somebody_else_publishes_meanwhile_stays(
    configuration: Configuration, session: boto3.Session, publish: Callable[..., Published]
) -> None:
    published = publish(version="9.9.9")
    bucket = TemplateBucket(session, configuration.names)
    with pytest.raises(ServiceError, match="somebody else"):
        bucket.put_template("9.9.9", "other", "0" * 64)
    assert bucket.template(published.version) != "other"


def test_a_version_that_is_not_published_is_said(configuration: Configuration, session: boto3.Session) -> None:
    with pytest.raises(ServiceError, match=r"`0\.0\.9` is not published"):
        TemplateBucket(session, configuration.names).template("0.0.9")


def test_a_route_that_is_none_is_refused(publish: Callable[..., Published]) -> None:
    with pytest.raises(UsageError, match="expected one of s3, catalog, both"):
        publish(route="ftp")


def test_checking_alone_calls_nothing(
    tree: Path, mlops: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCOUNT_ID", ACCOUNT_ID)
    status, out, err = mlops(tree, "publish", "--check-only")
    assert status == 0, err
    assert "cfn-lint finds nothing" in out
