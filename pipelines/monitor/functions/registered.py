"""The model packages of a workload, as far as a retraining depends on what people have decided about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pipelines.carried.packages import describe
from pipelines.carried.project import client, log, names
from pipelines.names import STAGING_REPORT_KEY

# Packages newer than the one that production serves are looked at, so many at most.
_NEWEST = 20
_PENDING, _APPROVED, _REJECTED = "PendingManualApproval", "Approved", "Rejected"


def undecided(workload: str, served: int) -> int | None:
    """The newest version, above the one that production serves, that waits for a person's decision; None without one.

    It waits for approval, or was tested in staging and waits for that for production.
    """
    for summary in _newest(workload):
        version = int(summary["ModelPackageArn"].rpartition("/")[2])
        if version <= served:
            break
        package = describe(summary["ModelPackageArn"])
        if package is not None and _waits(package):
            return version
    return None


def rejected(arns: Iterable[str]) -> frozenset[str]:
    """Those of the packages that a person has rejected, for good or for production, or has deleted."""
    return frozenset(arn for arn in arns if _is_rejected(describe(arn)))


def approve_for_staging(arn: str, why: str) -> None:
    """Approve a package that nobody has decided on, so that it is deployed to staging."""
    package = describe(arn)
    if package is None or package.get("ModelApprovalStatus") != _PENDING:
        return
    client("sagemaker").update_model_package(
        ModelPackageArn=arn, ModelApprovalStatus=_APPROVED, ApprovalDescription=why[:1024]
    )
    log.info("approved for staging", extra={"package": arn})


def _waits(package: Mapping[str, Any]) -> bool:
    if package.get("ModelApprovalStatus") == _PENDING:
        return True
    if package.get("ModelApprovalStatus") != _APPROVED or _word_for_prod(package):
        return False
    return STAGING_REPORT_KEY in package.get("CustomerMetadataProperties", {})


def _is_rejected(package: Mapping[str, Any] | None) -> bool:
    return package is None or package.get("ModelApprovalStatus") == _REJECTED or _word_for_prod(package) == _REJECTED


def _word_for_prod(package: Mapping[str, Any]) -> str:
    """What was decided for production: `Approved`, `Rejected`, or nothing yet."""
    cycle = package.get("ModelLifeCycle") or {}
    word = cycle.get("StageStatus", "") if cycle.get("Stage") == "prod" else ""
    return word if word in (_APPROVED, _REJECTED) else ""


def _newest(workload: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client("sagemaker").list_model_packages(
        ModelPackageGroupName=names().package_group(workload),
        SortBy="CreationTime",
        SortOrder="Descending",
        MaxResults=_NEWEST,
    )["ModelPackageSummaryList"]
    return found
