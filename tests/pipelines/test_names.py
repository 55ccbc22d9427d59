"""Every name that a project can get is one that its service accepts."""

from __future__ import annotations

import re
from typing import Any

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.names import KINDS, STAGES, LocalPaths, Names

WORKLOADS = ("cardholders", "forecaster")
REGIONS = ("eu-west-1", "us-gov-west-1", "ap-southeast-1", "cn-northwest-1", "mx-central-1", "us-isof-south-1")
_loaded = botocore.session.get_session()


def _limits(service: str, shape: str) -> dict[str, Any]:
    return dict(_loaded.get_service_model(service).shape_for(shape).metadata)


def _accepted(name: str, limits: dict[str, Any]) -> bool:
    return limits["min"] <= len(name) <= limits["max"] and re.fullmatch(limits["pattern"], name) is not None


def _projects() -> st.SearchStrategy[str]:
    """All project names: words of letters and digits, joined by single hyphens, up to 32 characters."""
    characters = "abcdefghijklmnopqrstuvwxyz0123456789-"
    return (
        st.text(characters, min_size=1, max_size=32)
        .map(lambda text: re.sub("-+", "-", text).strip("-"))
        .filter(lambda text: re.match(r"[a-z]", text) and not text.startswith(("aws", "ssm", "xn-", "sthree-")))
    )


@given(_projects(), st.sampled_from(REGIONS))
def test_every_name_is_one_that_its_service_accepts(project: str, region: str) -> None:
    names = Names(project, "123456789012", region)
    assert 3 <= len(names.bucket) <= 63
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]*[a-z0-9]", names.bucket)
    assert not names.bucket.endswith(("-s3alias", "--ol-s3", "--x-s3"))
    assert re.fullmatch(r"[\w+=,.@-]{1,64}", names.role_name)
    assert re.fullmatch(_limits("sagemaker", "RoleArn")["pattern"], names.role_arn)
    for workload in WORKLOADS:
        assert _accepted(names.image_repository(workload), _limits("ecr", "RepositoryName"))
        assert _accepted(names.package_group(workload), _limits("sagemaker", "EntityName"))
        path = names.ssm_parameter(workload, "MinRocAuc")
        assert re.fullmatch(r"(/[a-zA-Z0-9_.-]+){3}", path)
        assert not re.match("/(aws|ssm)", path, re.IGNORECASE)
        for kind in KINDS:
            assert _accepted(names.pipeline(workload, kind), _limits("sagemaker", "PipelineName"))
        for stage in STAGES:
            assert _accepted(names.endpoint(workload, stage), _limits("sagemaker", "EndpointName"))
            config = names.endpoint_config(workload, stage, "0" * 64)
            assert _accepted(config, _limits("sagemaker", "EndpointConfigName"))


@given(st.lists(_projects(), min_size=2, max_size=2, unique=True))
def test_two_projects_share_no_name(projects: list[str]) -> None:
    def made(names: Names) -> set[str]:
        return {
            names.bucket,
            names.role_name,
            *(names.pipeline(workload, kind) for workload in WORKLOADS for kind in KINDS),
            *(names.endpoint(workload, stage) for workload in WORKLOADS for stage in STAGES),
            *(names.ssm_path(workload) for workload in WORKLOADS),
            *(names.image_repository(workload) for workload in WORKLOADS),
        }

    first, second = (Names(project, "123456789012", "eu-west-1") for project in projects)
    assert made(first).isdisjoint(made(second))


@pytest.mark.parametrize(
    "project",
    ["", "A", "1a", "a--b", "a-", "-a", "a_b", "aws-fraud", "ssmfraud", "é", "a" * 33, "fraud\n", "xn--a", "a b"],
)
def test_a_project_name_that_a_service_refuses_is_refused_here(project: str) -> None:
    with pytest.raises(ValueError, match="project name"):
        Names(project, "123456789012", "eu-west-1")


@pytest.mark.parametrize(
    ("account", "region", "named"),
    [
        ("12345678901", "eu-west-1", "account id"),
        ("123456789012", "Ireland", "region"),
        ("12345678901x", "eu-west-1", "account"),
    ],
)
def test_account_and_region_are_checked(account: str, region: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Names("fraud", account, region)


def test_a_workload_kind_or_stage_that_does_not_exist_is_refused() -> None:
    names = Names("fraud", "123456789012", "eu-west-1")
    with pytest.raises(ValueError, match="workload"):
        names.package_group("Card_Holders")
    with pytest.raises(ValueError, match="build, deploy-staging, deploy-prod, monitor"):
        names.pipeline("cardholders", "train")
    with pytest.raises(ValueError, match="staging, prod"):
        names.endpoint("cardholders", "test")


def test_addresses_of_one_project_in_full() -> None:
    names = Names("fraud", "123456789012", "eu-west-1")
    digest = "0123456789abcdef" * 4
    assert names.bucket == "fraud-123456789012-eu-west-1"
    assert names.role_arn == "arn:aws:iam::123456789012:role/fraud-execution"
    assert names.pipeline_arn("cardholders", "build") == (
        "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/fraud-cardholders-build"
    )
    assert names.image_uri("cardholders", digest) == (
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com/fraud/cardholders:sha-0123456789abcdef0123456789abcdef"
    )
    assert names.data_uri("cardholders") == "s3://fraud-123456789012-eu-west-1/cardholders/data"
    assert names.outputs_uri("cardholders", "build") == "s3://fraud-123456789012-eu-west-1/cardholders/build"


def test_china_and_the_us_government_have_their_own_partition_and_registry() -> None:
    china = Names("fraud", "123456789012", "cn-north-1")
    assert china.role_arn.startswith("arn:aws-cn:")
    assert ".amazonaws.com.cn/" in china.image_uri("cardholders", "0" * 64)
    assert Names("fraud", "123456789012", "us-gov-west-1").role_arn.startswith("arn:aws-us-gov:")


def test_a_tag_is_made_of_a_digest_only() -> None:
    names = Names("fraud", "123456789012", "eu-west-1")
    assert 1 <= len(names.image_tag("a" * 64)) <= 128
    with pytest.raises(ValueError, match="64 hexadecimal"):
        names.image_tag("latest")


def test_local_files_lie_in_the_working_copy(tmp_path: Any) -> None:
    paths = LocalPaths(tmp_path)
    for path in (paths.local_overrides, paths.dockerfile("cardholders"), paths.environment, paths.definitions_cache):
        assert path.is_relative_to(tmp_path)
