"""Model packages of a workload: their figures, the champion, and the decision that a person takes on them.

A decision is kept with the package itself: `ModelApprovalStatus`, why in `ApprovalDescription`, and who and when in the
customer metadata (`approved_by`, `approved_at`, or `rejected_…`). The event that a changed status gives is what a
deployment starts from, so that a decision which changes nothing is not written again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from pipelines.errors import ProjectError, UsageError
from pipelines.names import STAGING_REPORT_KEY

__all__ = [
    "Decision",
    "Package",
    "RegistryError",
    "approve_for_prod",
    "champion",
    "check_for_prod",
    "decide",
    "find",
    "packages",
]

APPROVED: Final = "Approved"
REJECTED: Final = "Rejected"
WAITING: Final = "PendingManualApproval"
WHY_LENGTH = 1024  # of ApprovalDescription
WHO_LENGTH = 256  # of a customer metadata value

Decision = Literal["Approved", "Rejected"]


class RegistryError(ProjectError):
    """A package that cannot be decided on as it is."""


@dataclass(frozen=True)
class Package:
    """A version of a model package group. `metadata` is what the pipeline kept with it, as texts."""

    arn: str
    version: int
    status: str
    approval: str
    created: datetime
    why: str | None
    metadata: Mapping[str, str]
    model_uri: str | None
    approved_for_prod: bool = False
    """Whether a person has let it go to production."""

    def figure(self, name: str) -> float | None:
        """A metric of the evaluation, from the metadata; None when it has none that is a number."""
        try:
            return float(self.metadata[name])
        except (KeyError, ValueError):
            return None

    @property
    def staging_report(self) -> str | None:
        """Where the report of the tests lies that it passed in staging."""
        return self.metadata.get(STAGING_REPORT_KEY)

    @property
    def decided_by(self) -> str | None:
        return self.metadata.get({APPROVED: "approved_by", REJECTED: "rejected_by"}.get(self.approval, ""))

    @property
    def mlflow_versions(self) -> dict[str, str]:
        """`{part: version}` of each part of the model that MLflow's registry holds."""
        parts = [key.removeprefix("mlflow_").removesuffix("_version") for key in self.metadata if _is_version(key)]
        return {part: self.metadata[f"mlflow_{part}_version"] for part in parts}

    def mlflow_model(self, part: str) -> dict[str, str]:
        """`{"name": …, "version": …}` of a part in MLflow's registry."""
        return {"name": self.metadata.get(f"mlflow_{part}_model", part), "version": self.mlflow_versions[part]}


def packages(sagemaker: Any, group: str) -> list[Package]:
    """All versions of a group, newest first; none when the group does not exist."""
    found = [_package(sagemaker.describe_model_package(ModelPackageName=arn)) for arn in _arns(sagemaker, group)]
    return sorted(found, key=lambda package: package.version, reverse=True)


def champion(known: list[Package], served: str | None) -> Package | None:
    """What new models are measured against: the package that production serves (`served`, its ARN), before the first
    deployment the newest approved one.
    """
    for package in known:
        if package.arn == served:
            return package
    return next((package for package in known if package.approval == APPROVED), None)


def find(known: list[Package], version: str, group: str) -> Package:
    """The package of a version, given as a number or as `latest`. Raises UsageError when there is none."""
    if not known:
        raise UsageError(f"the group `{group}` has no model packages; `mlops run` registers one when it is good enough")
    if version == "latest":
        return known[0]
    for package in known:
        if str(package.version) == version or package.arn == version:
            return package
    there = ", ".join(str(package.version) for package in reversed(known))
    raise UsageError(f"the group `{group}` has no version `{version}`; expected one of {there}, or `latest`")


def decide(sagemaker: Any, package: Package, decision: Decision, *, who: str, why: str, now: datetime) -> bool:
    """Approve or reject a package; False when it was so already, and nothing was changed.

    who: a person or a machine, at most 256 characters. why: at most 1,024 characters, not empty. now: aware.
    Raises UsageError for texts that cannot be kept, RegistryError for a package that is not complete.
    """
    who, why = signature(who, why)
    if package.status != "Completed":
        raise RegistryError(
            f"version {package.version} is `{package.status}`, expected `Completed`: only a package that was "
            "registered in full can be decided on"
        )
    if package.approval == decision:
        return False
    word, other = ("approved", "rejected") if decision == APPROVED else ("rejected", "approved")
    request: dict[str, Any] = {
        "ModelPackageArn": package.arn,
        "ModelApprovalStatus": decision,
        "ApprovalDescription": why,
        "CustomerMetadataProperties": {f"{word}_by": who, f"{word}_at": now.isoformat(timespec="seconds")},
    }
    # Of two opposite decisions the last one holds; the other's signature must not stay beside it.
    stale = [key for key in (f"{other}_by", f"{other}_at") if key in package.metadata]
    if decision == REJECTED and package.approved_for_prod:
        request["ModelLifeCycle"] = {"Stage": "prod", "StageStatus": REJECTED, "StageDescription": why}
        stale += [key for key in ("prod_approved_by", "prod_approved_at") if key in package.metadata]
    if stale:
        request["CustomerMetadataPropertiesToRemove"] = stale
    sagemaker.update_model_package(**request)
    return True


def approve_for_prod(sagemaker: Any, package: Package, *, who: str, why: str, now: datetime) -> bool:
    """Let a package that was tested in staging go to production; False when it was so already.

    The decision is kept as the package's life cycle, whose event the deployment starts from. The arguments are those of
    `decide`. Raises UsageError for texts that cannot be kept, RegistryError for a package that is not that far.
    """
    who, why = signature(who, why)
    check_for_prod(package)
    if package.approved_for_prod:
        return False
    sagemaker.update_model_package(
        ModelPackageArn=package.arn,
        ModelLifeCycle={"Stage": "prod", "StageStatus": APPROVED, "StageDescription": why},
        CustomerMetadataProperties={
            "prod_approved_by": who,
            "prod_approved_at": now.isoformat(timespec="seconds"),
        },
    )
    return True


def check_for_prod(package: Package) -> None:
    """Raises RegistryError for a package that is not far enough to go to production."""
    if package.approval != APPROVED:
        raise RegistryError(
            f"version {package.version} is `{package.approval}`, expected `Approved`: it goes to staging before prod; "
            f'`mlops approve {package.version} --why "…"` approves it'
        )
    if package.staging_report is None:
        raise RegistryError(
            f"version {package.version} was not tested in staging, which comes before prod; `mlops status` shows how "
            f"far it is, `mlops deploy {package.version} --stage staging` deploys it again"
        )


def signature(who: str, why: str) -> tuple[str, str]:
    """A signature without its outer spaces. Raises UsageError when it cannot be kept."""
    who, why = who.strip(), why.strip()
    if not why:
        raise UsageError('a decision needs its reason; expected --why "…"')
    if len(why) > WHY_LENGTH:
        raise UsageError(f"--why has {len(why)} characters, expected at most {WHY_LENGTH}")
    if not who or len(who) > WHO_LENGTH:
        raise UsageError(f"--who has {len(who)} characters, expected 1 to {WHO_LENGTH}")
    return who, why


def _arns(sagemaker: Any, group: str) -> Iterator[str]:
    arguments: dict[str, Any] = {"ModelPackageGroupName": group, "MaxResults": 100}
    while True:
        try:
            page = sagemaker.list_model_packages(**arguments)
        except sagemaker.exceptions.ClientError as error:
            # The group is made by the first registration; AWS says ValidationException of one that does not exist.
            if "does not exist" in str(error) or "ResourceNotFound" in str(error):
                return
            raise
        yield from (summary["ModelPackageArn"] for summary in page["ModelPackageSummaryList"])
        if not page.get("NextToken"):
            return
        arguments["NextToken"] = page["NextToken"]


def _package(described: Mapping[str, Any]) -> Package:
    containers = described.get("InferenceSpecification", {}).get("Containers", [])
    cycle = described.get("ModelLifeCycle", {})
    return Package(
        arn=described["ModelPackageArn"],
        version=int(described.get("ModelPackageVersion", 0)),
        status=described["ModelPackageStatus"],
        approval=described.get("ModelApprovalStatus", WAITING),
        created=described["CreationTime"],
        why=described.get("ApprovalDescription"),
        metadata=described.get("CustomerMetadataProperties", {}),
        model_uri=containers[0].get("ModelDataUrl") if containers else None,
        approved_for_prod=(cycle.get("Stage"), cycle.get("StageStatus")) == ("prod", APPROVED),
    )


def _is_version(key: str) -> bool:
    return key.startswith("mlflow_") and key.endswith("_version")
