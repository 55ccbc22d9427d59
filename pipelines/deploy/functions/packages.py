"""Model packages: described, and verified before anything is made of them."""

from __future__ import annotations

import os
import re
from typing import Any

from pipelines import names as n
from pipelines.carried.packages import describe
from pipelines.carried.project import client, names
from pipelines.deploy.functions.outcome import Refused

_IMAGE = re.compile(r"(?P<account>\d{12})\.dkr\.ecr\.[^/]+/(?P<repository>[^:@]+)(:(?P<tag>[^@]+))?(@(?P<digest>.+))?")


def still_there(arn: str) -> dict[str, Any]:
    """A package that is being deployed. Raises Refused if it was deleted meanwhile."""
    described = describe(arn)
    if described is None:
        raise Refused(f"the model package {arn} was deleted while it was deployed")
    return described


def verify(arn: str, workload: str, stage: str) -> dict[str, Any]:
    """The package, if it may be deployed: approved, of this project and workload, unchanged since it was registered,
    and for production tested in staging. Raises Refused otherwise, with the reason.
    """
    _verify_account(stage)
    package = describe(arn)
    if package is None:
        raise Refused(f"the model package {arn} does not exist; it was deleted after its approval")
    group = names().package_group(workload)
    if package.get("ModelPackageGroupName") != group:
        raise Refused(
            f"the model package {arn} is in the group {package.get('ModelPackageGroupName')}, expected {group}"
        )
    if package["ModelPackageStatus"] != "Completed":
        raise Refused(f"the model package {arn} is {package['ModelPackageStatus']}, expected Completed")
    if package.get("ModelApprovalStatus") != "Approved":
        raise Refused(f"the model package {arn} is {package.get('ModelApprovalStatus')}, expected Approved")
    metadata = package.get("CustomerMetadataProperties", {})
    if n.GOLDEN_REQUESTS_KEY not in metadata:
        raise Refused(
            f"the model package {arn} has no {n.GOLDEN_REQUESTS_KEY} in its metadata, expected the requests that it is "
            "tested by; register it by the build pipeline"
        )
    if stage == "prod" and n.STAGING_REPORT_KEY not in metadata:
        raise Refused(f"the model package {arn} was not tested in staging, which comes before prod")
    containers = package.get("InferenceSpecification", {}).get("Containers", [])
    if len(containers) != 1:
        raise Refused(f"the model package {arn} has {len(containers)} containers, expected one")
    _verify_image(containers[0])
    _verify_artifact(containers[0])
    return package


def _verify_account(stage: str) -> None:
    """Raises Refused for a stage that lies in another account: the roles for it are there, and not yet the way."""
    account = os.environ.get(f"{stage.upper()}_ACCOUNT_ID", "")
    if account not in ("", names().account_id):
        raise Refused(
            f"{stage} lies in the account {account}, and deployments are made in {names().account_id} only; expected "
            f"the template's parameter {stage.capitalize()}AccountId to be empty"
        )


def newest_approved(workload: str, *, but: str, stage: str) -> str | None:
    """The ARN of the newest approved package that a stage may serve, other than `but`; None when there is none."""
    pages = (
        client("sagemaker")
        .get_paginator("list_model_packages")
        .paginate(
            ModelPackageGroupName=names().package_group(workload),
            ModelApprovalStatus="Approved",
            SortBy="CreationTime",
            SortOrder="Descending",
        )
    )
    for page in pages:
        for summary in page["ModelPackageSummaryList"]:
            arn = str(summary["ModelPackageArn"])
            if arn == but:
                continue
            package = describe(arn)
            if package is not None and (
                stage != "prod" or n.STAGING_REPORT_KEY in package.get("CustomerMetadataProperties", {})
            ):
                return arn
    return None


def _verify_image(container: dict[str, Any]) -> None:
    """The image's tag still means what it meant when the package was registered."""
    found = _IMAGE.fullmatch(container["Image"])
    digest = container.get("ImageDigest")
    # A foreign account's image, such as SageMaker's own, cannot be asked about.
    if found is None or digest is None or found["account"] != names().account_id:
        return
    if found["tag"] is None:
        return
    ecr = client("ecr")
    try:
        described = ecr.describe_images(repositoryName=found["repository"], imageIds=[{"imageTag": found["tag"]}])
    except (ecr.exceptions.ImageNotFoundException, ecr.exceptions.RepositoryNotFoundException):
        raise Refused(f"the image {container['Image']} is not in its repository any more") from None
    there = described["imageDetails"][0]["imageDigest"]
    if there != digest:
        raise Refused(f"the image {container['Image']} is {there}, and was {digest} when the package was registered")


def _verify_artifact(container: dict[str, Any]) -> None:
    """The model's file is the one that was registered."""
    uri, etag = container.get("ModelDataUrl", ""), container.get("ModelDataETag")
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    s3 = client("s3")
    try:
        there = s3.head_object(Bucket=bucket, Key=key)["ETag"].strip('"')
    except s3.exceptions.ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound", "NoSuchBucket"):
            raise Refused(f"the model's file {uri} does not exist any more") from None
        raise
    if etag is not None and etag.strip('"') != there:
        raise Refused(f"the model's file {uri} was changed after the package was registered")
