"""AWS::ECR::Repository."""

from __future__ import annotations

from typing import Any

from localcloud.cloudformation.resources.kind import (
    Call,
    Properties,
    ResourceType,
    changed,
    document,
    exists,
    pick,
    tag_list,
)


class Repository(ResourceType):
    name = "AWS::ECR::Repository"
    name_property = "RepositoryName"
    attributes = frozenset({"Arn", "RepositoryUri"})
    honours = frozenset(
        {
            "EmptyOnDelete", "EncryptionConfiguration", "ImageScanningConfiguration", "ImageTagMutability",
            "LifecyclePolicy", "RepositoryName", "RepositoryPolicyText", "Tags",
        }
    )  # fmt: skip

    def create(self, call: Call, properties: Properties) -> str:
        name = properties.get("RepositoryName") or call.new_name(256, lower=True)
        encryption = properties.get("EncryptionConfiguration")
        call.client("ecr").create_repository(
            repositoryName=name,
            imageTagMutability=properties.get("ImageTagMutability", "MUTABLE"),
            imageScanningConfiguration=_scanning(properties),
            tags=tag_list(call.tags),
            **({"encryptionConfiguration": _lower(encryption)} if encryption else {}),
        )
        return str(name)

    def finish(self, call: Call, physical_id: str, properties: Properties) -> None:
        self._policies(call.client("ecr"), physical_id, {}, properties)

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        ecr = call.client("ecr")
        if changed(before, after, "ImageTagMutability"):
            ecr.put_image_tag_mutability(
                repositoryName=physical_id, imageTagMutability=after.get("ImageTagMutability", "MUTABLE")
            )
        if changed(before, after, "ImageScanningConfiguration"):
            ecr.put_image_scanning_configuration(
                repositoryName=physical_id, imageScanningConfiguration=_scanning(after)
            )
        self._policies(ecr, physical_id, before, after)
        arn = call.arn("ecr", f"repository/{physical_id}")
        call.retag(
            lambda tags: ecr.tag_resource(resourceArn=arn, tags=tag_list(tags)),
            lambda keys: ecr.untag_resource(resourceArn=arn, tagKeys=keys),
        )

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("ecr").delete_repository(
            repositoryName=physical_id, force=bool(properties.get("EmptyOnDelete", False))
        )

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        return {
            "Arn": call.arn("ecr", f"repository/{physical_id}"),
            "RepositoryUri": f"{call.account_id}.dkr.ecr.{call.region}.amazonaws.com/{physical_id}",
        }

    def _policies(self, ecr: Any, name: str, before: Properties, after: Properties) -> None:
        if changed(before, after, "LifecyclePolicy"):
            text = (after.get("LifecyclePolicy") or {}).get("LifecyclePolicyText")
            if text:
                ecr.put_lifecycle_policy(repositoryName=name, lifecyclePolicyText=text)
            elif exists(lambda: ecr.get_lifecycle_policy(repositoryName=name)):
                ecr.delete_lifecycle_policy(repositoryName=name)
        if changed(before, after, "RepositoryPolicyText"):
            if "RepositoryPolicyText" in after:
                ecr.set_repository_policy(repositoryName=name, policyText=document(after["RepositoryPolicyText"]))
            elif exists(lambda: ecr.get_repository_policy(repositoryName=name)):
                ecr.delete_repository_policy(repositoryName=name)


def _scanning(properties: Properties) -> dict[str, Any]:
    return _lower(properties.get("ImageScanningConfiguration") or {"ScanOnPush": False})


def _lower(members: Any) -> dict[str, Any]:
    """ECR's own names of members begin in lower case."""
    return {f"{name[:1].lower()}{name[1:]}": value for name, value in pick(members, *members).items()}


TYPES = (Repository(),)
