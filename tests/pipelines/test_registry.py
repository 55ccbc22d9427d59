"""Model packages and decisions on them, in the registry of localcloud."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from pipelines import registry
from pipelines.errors import UsageError
from pipelines.registry import Package

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
LATER = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


class Group:
    """A model package group of its own, and what is registered in it."""

    def __init__(self, sagemaker: Any, name: str) -> None:
        self.sagemaker, self.name = sagemaker, name
        sagemaker.create_model_package_group(ModelPackageGroupName=name)

    def register(self, **metadata: str) -> Package:
        container = {
            "Image": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/demo/cardholders:1",
            "ModelDataUrl": "s3://models/model.tar.gz",
        }
        self.sagemaker.create_model_package(
            ModelPackageGroupName=self.name,
            ModelApprovalStatus="PendingManualApproval",
            InferenceSpecification={
                "Containers": [container],
                "SupportedContentTypes": ["application/json"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
            **({"CustomerMetadataProperties": metadata} if metadata else {}),
        )
        return self.known()[0]

    def known(self) -> list[Package]:
        return registry.packages(self.sagemaker, self.name)

    def decide(self, package: Package, decision: registry.Decision, **changes: Any) -> bool:
        given = {"who": "Ada <ada@example.org>", "why": "better on the holdout", "now": NOW, **changes}
        return registry.decide(self.sagemaker, package, decision, **given)


@pytest.fixture
def group(project: Any) -> Group:
    return Group(project.session.client("sagemaker"), project.names.package_group("cardholders"))


def test_packages_are_newest_first_with_figures_and_versions(group: Group) -> None:
    group.register(roc_auc="0.8")
    group.register(
        roc_auc="0.9",
        brier="not measured",
        mlflow_clusters_model="demo-clusters",
        mlflow_clusters_version="7",
    )
    second, first = group.known()
    assert (second.version, first.version) == (2, 1)
    assert second.figure("roc_auc") == 0.9
    assert second.figure("brier") is None
    assert second.figure("silhouette") is None
    assert second.mlflow_versions == {"clusters": "7"}
    assert second.mlflow_model("clusters") == {"name": "demo-clusters", "version": "7"}
    assert second.model_uri == "s3://models/model.tar.gz"
    assert second.approval == registry.WAITING
    assert registry.champion([second, first], None) is None


def test_a_group_that_does_not_exist_has_none(group: Group) -> None:
    assert registry.packages(group.sagemaker, "no-such-group") == []


def test_an_approval_keeps_who_when_and_why(group: Group) -> None:
    assert group.decide(group.register(roc_auc="0.8"), registry.APPROVED)
    (package,) = group.known()
    assert package.approval == "Approved"
    assert package.why == "better on the holdout"
    assert package.decided_by == "Ada <ada@example.org>"
    assert package.metadata["approved_at"] == NOW.isoformat()
    assert package.metadata["roc_auc"] == "0.8"  # what the pipeline kept stays
    assert registry.champion(group.known(), None) == package


def test_the_same_decision_again_changes_nothing(group: Group) -> None:
    group.decide(group.register(), registry.APPROVED)
    (before,) = group.known()
    assert not group.decide(before, registry.APPROVED, who="Bob", why="me too", now=LATER)
    assert group.known() == [before]


def test_the_opposite_decision_takes_its_place(group: Group) -> None:
    group.decide(group.register(), registry.APPROVED)
    assert group.decide(group.known()[0], registry.REJECTED, who="Bob", why="it drifted", now=LATER)
    (package,) = group.known()
    assert (package.approval, package.why, package.decided_by) == ("Rejected", "it drifted", "Bob")
    assert not {"approved_by", "approved_at"} & set(package.metadata)
    assert registry.champion([package], None) is None


def test_the_champion_is_the_newest_approved(group: Group) -> None:
    for _ in range(3):
        group.register()
    third, second, first = group.known()
    group.decide(first, registry.APPROVED)
    group.decide(second, registry.APPROVED)
    group.decide(third, registry.REJECTED)
    champion = registry.champion(group.known(), None)
    assert champion is not None
    assert champion.version == 2


def test_the_champion_is_what_production_serves_whatever_is_approved(group: Group) -> None:
    for _ in range(2):
        group.decide(group.register(), registry.APPROVED)
    newest, served = group.known()
    assert registry.champion([newest, served], served.arn) == served
    assert registry.champion([newest, served], "arn:of-a-package-that-was-deleted") == newest


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"why": "  "}, "--why"),
        ({"why": "x" * 1025}, "1025 characters, expected at most 1024"),
        ({"who": ""}, "--who"),
        ({"who": "x" * 257}, "257 characters"),
    ],
)
def test_texts_that_cannot_be_kept_are_refused(group: Group, changes: dict[str, str], said: str) -> None:
    package = group.register()
    with pytest.raises(UsageError, match=said):
        group.decide(package, registry.APPROVED, **changes)
    assert group.known()[0].approval == registry.WAITING


@pytest.mark.parametrize("status", ["Pending", "InProgress", "Failed", "Deleting"])
def test_a_package_that_is_not_complete_cannot_be_decided_on(group: Group, status: str) -> None:
    package = replace(group.register(), status=status)
    with pytest.raises(registry.RegistryError, match=f"`{status}`, expected `Completed`"):
        group.decide(package, registry.APPROVED)


def test_versions_are_found_by_number_arn_and_latest(group: Group) -> None:
    with pytest.raises(UsageError, match="has no model packages"):
        registry.find(group.known(), "latest", group.name)
    group.register()
    newest = group.register()
    known = group.known()
    assert registry.find(known, "latest", group.name) == newest
    assert registry.find(known, newest.arn, group.name) == newest
    assert registry.find(known, "1", group.name).version == 1
    with pytest.raises(UsageError, match="no version `9`; expected one of 1, 2, or `latest`"):
        registry.find(known, "9", group.name)
