"""The model registry: groups, and model packages with versions, approval and metadata.

A package in a group is kept under `group/version`, one without a group under its own name; both are what stands after
`model-package/` in its ARN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from localcloud.context import Context, Request
from localcloud.errors import ServiceError, validation
from localcloud.jobs import transfer
from localcloud.jobs.images import Images
from localcloud.sagemaker import shapes
from localcloud.sagemaker.arns import Arns, name_of
from localcloud.sagemaker.crud import Document, Kind, Resources, listing, summary_members
from localcloud.signals import Event

GROUP = Kind(
    noun="ModelPackageGroup",
    resource="model-package-group",
    missing=lambda name, arn: validation(f"ModelPackageGroup {arn} does not exist."),
    duplicate=lambda name, arn: validation(f"Model Package Group already exists: {arn}"),
    default_order="Ascending",
    defaults={"ModelPackageGroupStatus": "Completed", "CreatedBy": {}, "LastVersion": 0},
)
PACKAGE = Kind(
    noun="ModelPackage",
    resource="model-package",
    missing=lambda name, arn: validation(f"ModelPackage {arn} does not exist."),
    duplicate=lambda name, arn: validation(f"Model Package already exists: {arn}"),
    default_order="Ascending",
)
_TOKENS = "sagemaker/model-package-token"
# What the event of a package says of it.
_TOLD = (
    "ModelPackageName",
    "ModelPackageGroupName",
    "ModelPackageVersion",
    "ModelPackageArn",
    "ModelPackageDescription",
    "CreationTime",
    "InferenceSpecification",
    "ModelPackageStatus",
    "ModelPackageStatusDetails",
    "CertifyForMarketplace",
    "ModelApprovalStatus",
    "ApprovalDescription",
    "MetadataProperties",
    "ModelMetrics",
    "LastModifiedTime",
    "CustomerMetadataProperties",
    "ModelLifeCycle",
)
_REPLACED_BY_UPDATE = (
    "ModelApprovalStatus",
    "ModelPackageRegistrationType",
    "ApprovalDescription",
    "InferenceSpecification",
    "SourceUri",
    "ModelCard",
    "ModelLifeCycle",
)


class ModelRegistry:
    """Operations on groups and packages."""

    def __init__(self, context: Context, arns: Arns, images: Callable[[], Images]) -> None:
        self._context, self._arns, self._images = context, arns, images
        self.groups = Resources(GROUP, context, arns)
        self.packages = Resources(PACKAGE, context, arns)

    def package(self, arn_or_name: str) -> Document:
        """A package by ARN or name. Raises ValidationException if there is none."""
        return self.packages.get(name_of(arn_or_name))

    def ensure_group(self, name: str) -> None:
        """Make the group if it is missing, as a pipeline's RegisterModel step does."""
        try:
            self.groups.add({"ModelPackageGroupName": name})
        except ServiceError:
            self.groups.get(name)

    def describe_group(self, request: Request) -> dict[str, Any]:
        """DescribeModelPackageGroup, by name or ARN."""
        document = self.groups.get(name_of(request.params["ModelPackageGroupName"]))
        return shapes.project(document, shapes.output_shape("DescribeModelPackageGroup").name)

    def delete_group(self, request: Request) -> dict[str, Any]:
        """DeleteModelPackageGroup: an empty one only."""
        name = name_of(request.params["ModelPackageGroupName"])
        with self._context.store.transaction():
            versions = self._context.store.list(PACKAGE.store, f"{name}/")
            if versions:
                raise ServiceError(
                    "ConflictException",
                    f"Cannot delete {self.groups.arn(name)}: it has {len(versions)} model packages. Delete them first",
                )
            self.groups.remove(name)
        return {}

    def create(self, request: Request) -> dict[str, Any]:
        """CreateModelPackage."""
        return {"ModelPackageArn": self.register(request.params)["ModelPackageArn"]}

    def register(self, params: Mapping[str, Any]) -> Document:
        """Store a new package: the next version of its group, or a package of its own name."""
        params = dict(params)
        token = params.pop("ClientToken", None)
        group, name = params.pop("ModelPackageGroupName", None), params.pop("ModelPackageName", None)
        if bool(group) == bool(name):
            raise validation("Specify one of ModelPackageGroupName and ModelPackageName, not both and not neither")
        if group and params.get("Tags"):
            raise validation("A versioned model package uses its group's tags: leave Tags out, and tag the group")
        specification = self._completed(params.pop("InferenceSpecification", None))
        with self._context.store.transaction():
            earlier = self._context.store.get(_TOKENS, token) if token else None
            if earlier is not None:
                return self.packages.get(earlier["Name"])
            members: Document = {
                "InferenceSpecification": specification,
                "ModelPackageStatus": "Completed",
                "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
                "CreatedBy": {},
            }
            if group:
                group = name_of(group)
                version = self.groups.change(group, _count)["LastVersion"]
                name = f"{group}/{version}"
                members |= {"ModelPackageGroupName": group, "ModelPackageVersion": version}
                params.setdefault("ModelApprovalStatus", "PendingManualApproval")
            document = self.packages.add({**params, "ModelPackageName": name}, **members)
            if token:
                self._context.store.put(_TOKENS, token, {"Name": name})
        self._tell(document)
        return document

    def describe(self, request: Request) -> dict[str, Any]:
        """DescribeModelPackage, by ARN or name."""
        return described(self.package(request.params["ModelPackageName"]))

    def list(self, request: Request) -> dict[str, Any]:
        """ListModelPackages: a group's versions, or the packages without a group (ModelPackageType says otherwise)."""
        params = request.params
        group = name_of(params["ModelPackageGroupName"]) if params.get("ModelPackageGroupName") else None
        if group:
            self.groups.get(group)
        wanted = params.get("ModelPackageType", "Versioned" if group else "Unversioned")
        documents = []
        members = summary_members(request.operation)
        for _, document in self._context.store.list(PACKAGE.store, f"{group}/" if group else "", members):
            versioned = "ModelPackageVersion" in document
            if wanted != "Both" and versioned != (wanted == "Versioned"):
                continue
            if params.get("ModelApprovalStatus") not in (None, document.get("ModelApprovalStatus")):
                continue
            documents.append(_named(document))
        # Within a group all have one name; by name then means by version, which is the order of the store.
        return listing(
            request.operation,
            documents,
            params,
            name="ModelPackageName",
            key="ModelPackageArn",
            default_order=PACKAGE.default_order,
        )

    def update(self, request: Request) -> dict[str, Any]:
        """UpdateModelPackage: approval, description, metadata (merged), specifications."""
        params = request.params

        def changed(document: Document) -> Document:
            for member in _REPLACED_BY_UPDATE:
                if params.get(member) is not None:
                    document[member] = params[member]
            metadata = {
                **document.get("CustomerMetadataProperties", {}),
                **params.get("CustomerMetadataProperties", {}),
            }
            for key in params.get("CustomerMetadataPropertiesToRemove", ()):
                metadata.pop(key, None)
            if metadata or "CustomerMetadataProperties" in document:
                document["CustomerMetadataProperties"] = metadata
            if params.get("AdditionalInferenceSpecificationsToAdd"):
                document["AdditionalInferenceSpecifications"] = [
                    *document.get("AdditionalInferenceSpecifications", ()),
                    *params["AdditionalInferenceSpecificationsToAdd"],
                ]
            document["LastModifiedBy"] = {}
            return document

        document = self.packages.change(name_of(params["ModelPackageArn"]), changed)
        self._tell(document)
        return {"ModelPackageArn": document["ModelPackageArn"]}

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteModelPackage, by ARN or name. A version's number is not given again."""
        self.packages.remove(name_of(request.params["ModelPackageName"]))
        return {}

    def _tell(self, document: Document) -> None:
        """Send the event of a package that is new or has changed, once it is stored."""
        detail = {member: document[member] for member in _TOLD if document.get(member) is not None}
        if "ModelPackageVersion" in detail:
            # A version has no name of its own.
            del detail["ModelPackageName"]
        resources = [document["ModelPackageArn"]]
        now = self._context.clock.now()
        self._context.signals.event(
            Event("aws.sagemaker", "SageMaker Model Package State Change", detail, now, resources)
        )

    def _completed(self, specification: Document | None) -> Document | None:
        """The specification with what AWS adds to its containers: the image's digest and the artifact's ETag."""
        if specification is None:
            return None
        containers = []
        for container in specification["Containers"]:
            added: Document = {}
            digest = self._images().digest(container["Image"]) if container.get("Image") else None
            if digest and "ImageDigest" not in container:
                added["ImageDigest"] = digest
            etag = self._etag(container["ModelDataUrl"]) if container.get("ModelDataUrl") else None
            if etag:
                added["ModelDataETag"] = etag
            containers.append({**container, **added})
        return {**specification, "Containers": containers}

    def _etag(self, uri: str) -> str | None:
        try:
            return transfer.etag(self._context.leaf.client("s3"), uri)
        except transfer.TransferError:
            return None


def described(document: Document) -> dict[str, Any]:
    """A stored package as DescribeModelPackage gives it."""
    return shapes.project(_named(document), "DescribeModelPackageOutput")


def _named(document: Document) -> Document:
    # A version answers to its group's name.
    return {**document, "ModelPackageName": document.get("ModelPackageGroupName") or document["ModelPackageName"]}


def _count(group: Document) -> Document:
    group["LastVersion"] += 1
    return group
