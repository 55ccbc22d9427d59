"""AWS::SageMaker::ModelPackageGroup and AWS::SageMaker::FeatureGroup."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from localcloud.cloudformation.errors import ResourceFailed
from localcloud.cloudformation.resources.kind import Call, Properties, ResourceType, code_of, is_missing, pick, tag_list

_FEATURE_GROUP = (
    "Description", "EventTimeFeatureName", "FeatureDefinitions", "FeatureGroupName", "OfflineStoreConfig",
    "OnlineStoreConfig", "RecordIdentifierFeatureName", "RoleArn", "ThroughputConfig",
)  # fmt: skip


class ModelPackageGroup(ResourceType):
    name = "AWS::SageMaker::ModelPackageGroup"
    name_property = "ModelPackageGroupName"
    attributes = frozenset({"CreationTime", "ModelPackageGroupArn", "ModelPackageGroupStatus"})
    honours = frozenset({"ModelPackageGroupDescription", "ModelPackageGroupName", "Tags"})

    def create(self, call: Call, properties: Properties) -> str:
        answer = call.client("sagemaker").create_model_package_group(
            **pick(properties, "ModelPackageGroupName", "ModelPackageGroupDescription"),
            **({"Tags": tag_list(call.tags)} if call.tags else {}),
        )
        return str(answer["ModelPackageGroupArn"])

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        _retag(call, physical_id)

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        _gone(
            lambda: call.client("sagemaker").delete_model_package_group(
                ModelPackageGroupName=properties["ModelPackageGroupName"]
            )
        )

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        group = call.client("sagemaker").describe_model_package_group(
            ModelPackageGroupName=properties["ModelPackageGroupName"]
        )
        return {
            "CreationTime": group["CreationTime"].isoformat(),
            "ModelPackageGroupArn": physical_id,
            "ModelPackageGroupStatus": group["ModelPackageGroupStatus"],
        }


class FeatureGroup(ResourceType):
    name = "AWS::SageMaker::FeatureGroup"
    name_property = "FeatureGroupName"
    attributes = frozenset({"CreationTime", "FeatureGroupStatus"})
    honours = frozenset({*_FEATURE_GROUP, "Tags"})

    def create(self, call: Call, properties: Properties) -> str:
        call.client("sagemaker").create_feature_group(
            **pick(properties, *_FEATURE_GROUP), **({"Tags": tag_list(call.tags)} if call.tags else {})
        )
        return str(properties["FeatureGroupName"])

    def finish(self, call: Call, physical_id: str, properties: Properties) -> None:
        sagemaker = call.client("sagemaker")

        def created() -> bool:
            group = sagemaker.describe_feature_group(FeatureGroupName=physical_id)
            if group["FeatureGroupStatus"] == "CreateFailed":
                raise ResourceFailed(group.get("FailureReason", "the feature group could not be created"))
            return bool(group["FeatureGroupStatus"] == "Created")

        call.until(created, f"the feature group {physical_id} is Created")

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        sagemaker = call.client("sagemaker")
        group = {"FeatureGroupName": physical_id}
        if added := _added_features(call, sagemaker.describe_feature_group(**group)["FeatureDefinitions"], after):
            sagemaker.update_feature_group(**group, FeatureAdditions=added)
        online = after.get("OnlineStoreConfig") or {}
        if (before.get("OnlineStoreConfig") or {}).get("TtlDuration") != online.get("TtlDuration"):
            sagemaker.update_feature_group(**group, OnlineStoreConfig=pick(online, "TtlDuration"))
        if before.get("ThroughputConfig") != after.get("ThroughputConfig"):
            sagemaker.update_feature_group(**group, ThroughputConfig=after.get("ThroughputConfig", {}))
        _retag(call, call.arn("sagemaker", f"feature-group/{physical_id}"))

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        sagemaker = call.client("sagemaker")
        _gone(lambda: sagemaker.delete_feature_group(FeatureGroupName=physical_id))

        def deleted() -> bool:
            found: list[dict[str, Any]] = []

            def ask() -> None:
                found.append(sagemaker.describe_feature_group(FeatureGroupName=physical_id))

            _gone(ask)
            if found and found[0]["FeatureGroupStatus"] == "DeleteFailed":
                raise ResourceFailed(found[0].get("FailureReason", "the feature group could not be deleted"))
            return not found

        call.until(deleted, f"the feature group {physical_id} is deleted")

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        group = call.client("sagemaker").describe_feature_group(FeatureGroupName=physical_id)
        return {
            "CreationTime": group["CreationTime"].isoformat(),
            "FeatureGroupStatus": group["FeatureGroupStatus"],
        }


def _added_features(call: Call, there: list[dict[str, Any]], after: Properties) -> list[dict[str, Any]]:
    """The features that the group lacks. Raises ResourceFailed for others that would have to go: a group only grows."""
    types = {feature["FeatureName"]: feature["FeatureType"] for feature in there}
    wanted = {feature["FeatureName"]: feature for feature in after["FeatureDefinitions"]}
    for name, kind in types.items():
        # What an update added stays when the update is rolled back.
        if name not in wanted and not call.taking_back:
            raise ResourceFailed(f"The feature {name!r} cannot be removed from a feature group")
        if name in wanted and wanted[name]["FeatureType"] != kind:
            raise ResourceFailed(
                f"The type of the feature {name!r} is {kind}; it cannot become {wanted[name]['FeatureType']}"
            )
    return [feature for name, feature in wanted.items() if name not in types]


def _retag(call: Call, arn: str) -> None:
    sagemaker = call.client("sagemaker")
    call.retag(
        lambda tags: sagemaker.add_tags(ResourceArn=arn, Tags=tag_list(tags)),
        lambda keys: sagemaker.delete_tags(ResourceArn=arn, TagKeys=keys),
    )


def _gone(delete: Any) -> None:
    """SageMaker says of some things that are not there that the request is invalid."""
    try:
        delete()
    except ClientError as error:
        said = str(error.response["Error"].get("Message", ""))
        if is_missing(error) or (code_of(error) == "ValidationException" and "does not exist" in said):
            return
        raise


TYPES = (ModelPackageGroup(), FeatureGroup())
