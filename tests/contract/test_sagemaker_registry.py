"""The model registry, models, and their tags."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.sagemaker_account import Account, error_of


@pytest.fixture(scope="module")
def account(cloud: Any) -> Account:
    """The account under test."""
    return Account.of(cloud)


@pytest.fixture
def group(account: Account) -> str:
    """A new, empty group."""
    name = account.name("group")
    account.sagemaker.create_model_package_group(
        ModelPackageGroupName=name, ModelPackageGroupDescription="for tests", Tags=[{"Key": "team", "Value": "a"}]
    )
    return name


def specification(account: Account) -> dict[str, Any]:
    return {
        "Containers": [
            {"Image": account.image, "ModelDataUrl": account.put("model", "model.tar.gz") + "/model.tar.gz"}
        ],
        "SupportedContentTypes": ["application/json"],
        "SupportedResponseMIMETypes": ["application/json"],
    }


def register(account: Account, group: str, **members: Any) -> str:
    answer = account.sagemaker.create_model_package(
        ModelPackageGroupName=group, InferenceSpecification=specification(account), **members
    )
    return str(answer["ModelPackageArn"])


def versions(account: Account, group: str, **params: Any) -> list[int]:
    answer = account.sagemaker.list_model_packages(ModelPackageGroupName=group, **params)
    return [entry["ModelPackageVersion"] for entry in answer["ModelPackageSummaryList"]]


def test_packages_of_a_group_are_numbered(account: Account, group: str) -> None:
    arns = [register(account, group, ModelPackageDescription=f"number {number}") for number in (1, 2)]
    assert [arn.rpartition("/")[2] for arn in arns] == ["1", "2"]
    package = account.sagemaker.describe_model_package(ModelPackageName=arns[1])
    assert (package["ModelPackageGroupName"], package["ModelPackageVersion"]) == (group, 2)
    assert package["ModelPackageName"] == group
    assert package["ModelPackageStatus"] == "Completed"
    assert package["ModelApprovalStatus"] == "PendingManualApproval"
    container = package["InferenceSpecification"]["Containers"][0]
    assert container["ImageDigest"].startswith("sha256:")
    # A deleted version's number is not given again.
    account.sagemaker.delete_model_package(ModelPackageName=arns[1])
    assert register(account, group).rpartition("/")[2] == "3"
    assert error_of(account.sagemaker.describe_model_package, ModelPackageName=arns[1])[0] == "ValidationException"


def test_packages_are_filtered_and_sorted(account: Account, group: str) -> None:
    arns = [register(account, group) for _ in range(3)]
    account.sagemaker.update_model_package(ModelPackageArn=arns[1], ModelApprovalStatus="Approved")
    assert versions(account, group, SortBy="CreationTime", SortOrder="Descending") == [3, 2, 1]
    assert versions(account, group, SortBy="CreationTime", SortOrder="Ascending") == [1, 2, 3]
    assert versions(account, group, ModelApprovalStatus="Approved") == [2]
    assert versions(account, group, ModelApprovalStatus="Rejected") == []
    group_arn = account.sagemaker.describe_model_package_group(ModelPackageGroupName=group)["ModelPackageGroupArn"]
    assert sorted(versions(account, group_arn)) == [1, 2, 3]
    pages = account.sagemaker.get_paginator("list_model_packages").paginate(
        ModelPackageGroupName=group, SortOrder="Ascending", PaginationConfig={"PageSize": 2}
    )
    listed = [[entry["ModelPackageVersion"] for entry in page["ModelPackageSummaryList"]] for page in pages]
    assert listed == [[1, 2], [3]]
    assert arns[0] not in [
        entry["ModelPackageArn"] for entry in account.sagemaker.list_model_packages()["ModelPackageSummaryList"]
    ], "without a group, packages without a group are listed"


def test_approval_and_metadata_are_updated(account: Account, group: str) -> None:
    metrics = {
        "ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": "s3://bucket/evaluation.json"}}
    }
    arn = register(
        account,
        group,
        CustomerMetadataProperties={"auc": "0.9", "old": "x"},
        ModelMetrics=metrics,
        MetadataProperties={"CommitId": "abc"},
    )
    account.sagemaker.update_model_package(
        ModelPackageArn=arn,
        ModelApprovalStatus="Approved",
        ApprovalDescription="looks right",
        CustomerMetadataProperties={"auc": "0.91", "version": "7"},
        CustomerMetadataPropertiesToRemove=["old"],
    )
    package = account.sagemaker.describe_model_package(ModelPackageName=arn)
    assert (package["ModelApprovalStatus"], package["ApprovalDescription"]) == ("Approved", "looks right")
    assert package["CustomerMetadataProperties"] == {"auc": "0.91", "version": "7"}
    assert package["ModelMetrics"] == metrics
    assert package["MetadataProperties"]["CommitId"] == "abc"
    assert package["LastModifiedTime"] >= package["CreationTime"]


def test_a_group_with_packages_is_not_deleted(account: Account, group: str) -> None:
    arn = register(account, group)
    assert error_of(account.sagemaker.delete_model_package_group, ModelPackageGroupName=group)[0] == "ConflictException"
    account.sagemaker.delete_model_package(ModelPackageName=arn)
    account.sagemaker.delete_model_package_group(ModelPackageGroupName=group)
    code, message = error_of(account.sagemaker.describe_model_package_group, ModelPackageGroupName=group)
    assert (code, group in message) == ("ValidationException", True)


def test_groups_are_listed_and_named_once(account: Account, group: str) -> None:
    code, message = error_of(account.sagemaker.create_model_package_group, ModelPackageGroupName=group)
    assert code == "ValidationException"
    assert "already exists" in message
    listed = account.sagemaker.list_model_package_groups(NameContains=group)["ModelPackageGroupSummaryList"]
    assert [(entry["ModelPackageGroupName"], entry["ModelPackageGroupStatus"]) for entry in listed] == [
        (group, "Completed")
    ]
    arn = listed[0]["ModelPackageGroupArn"]
    assert account.sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "a"}]


def test_a_version_has_its_groups_tags_only(account: Account, group: str) -> None:
    code, message = error_of(
        account.sagemaker.create_model_package,
        ModelPackageGroupName=group,
        InferenceSpecification=specification(account),
        Tags=[{"Key": "a", "Value": "b"}],
    )
    assert code == "ValidationException"
    assert "group" in message


def test_registering_in_no_group_is_refused(account: Account) -> None:
    code, message = error_of(
        account.sagemaker.create_model_package,
        ModelPackageGroupName="no-such-group",
        InferenceSpecification=specification(account),
    )
    assert (code, "no-such-group" in message) == ("ValidationException", True)


def test_models(account: Account, group: str) -> None:
    name = account.name("model")
    container = specification(account)["Containers"][0]
    params = {"ModelName": name, "ExecutionRoleArn": account.role, "PrimaryContainer": container}
    arn = account.sagemaker.create_model(**params)["ModelArn"]
    assert account.sagemaker.describe_model(ModelName=name)["PrimaryContainer"] == container
    assert [entry["ModelArn"] for entry in account.sagemaker.list_models(NameContains=name)["Models"]] == [arn]
    code, message = error_of(account.sagemaker.create_model, **params)
    assert (code, message) == ("ValidationException", f'Cannot create already existing model "{arn}".')
    account.sagemaker.delete_model(ModelName=name)
    code, message = error_of(account.sagemaker.describe_model, ModelName=name)
    assert (code, message) == ("ValidationException", f'Could not find model "{arn}".')


def test_a_model_of_a_package(account: Account, group: str) -> None:
    name, package = account.name("model"), register(account, group)
    container = {"ModelPackageName": package}
    account.sagemaker.create_model(ModelName=name, ExecutionRoleArn=account.role, Containers=[container])
    assert account.sagemaker.describe_model(ModelName=name)["Containers"] == [container]
    code, _ = error_of(
        account.sagemaker.create_model,
        ModelName=account.name("model"),
        ExecutionRoleArn=account.role,
        Containers=[{"ModelPackageName": package.rpartition("/")[0] + "/99"}],
    )
    assert code == "ValidationException"


def test_a_model_needs_its_artifact(account: Account) -> None:
    uri = account.new_prefix() + "/model.tar.gz"
    code, message = error_of(
        account.sagemaker.create_model,
        ModelName=account.name("model"),
        ExecutionRoleArn=account.role,
        PrimaryContainer={"Image": account.image, "ModelDataUrl": uri},
    )
    assert (code, message) == ("ValidationException", f"Could not find model data at {uri}.")


def test_a_model_data_url_without_a_key_is_no_artifact(account: Account, localcloud_only: None) -> None:
    code, message = error_of(
        account.sagemaker.create_model,
        ModelName=account.name("model"),
        ExecutionRoleArn=account.role,
        PrimaryContainer={"Image": account.image, "ModelDataUrl": "s3://bucket"},
    )
    assert (code, message) == ("ValidationException", "Could not find model data at s3://bucket.")


@pytest.mark.parametrize("repository", ["a", "A B", "x/" * 200 + "y"])
def test_an_image_of_a_repository_that_cannot_be_has_no_digest(
    account: Account, group: str, localcloud_only: None, repository: str
) -> None:
    image = f"{account.number}.dkr.ecr.{account.region}.amazonaws.com/{repository}:1"
    wanted = specification(account)
    wanted["Containers"][0]["Image"] = image[:255].replace(" ", "_")
    arn = account.sagemaker.create_model_package(ModelPackageGroupName=group, InferenceSpecification=wanted)
    container = account.sagemaker.describe_model_package(ModelPackageName=arn["ModelPackageArn"])[
        "InferenceSpecification"
    ]["Containers"][0]
    assert "ImageDigest" not in container
