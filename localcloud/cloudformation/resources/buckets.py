"""AWS::S3::Bucket and AWS::S3::BucketPolicy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from localcloud.cloudformation.errors import ResourceFailed
from localcloud.cloudformation.resources.kind import (
    Call,
    Properties,
    ResourceType,
    code_of,
    document,
    exists,
    is_missing,
    pick,
    tag_list,
)


class Bucket(ResourceType):
    name = "AWS::S3::Bucket"
    name_property = "BucketName"
    attributes = frozenset({"Arn", "DomainName", "DualStackDomainName", "RegionalDomainName", "WebsiteURL"})
    honours = frozenset(
        {
            "BucketEncryption.ServerSideEncryptionConfiguration.BucketKeyEnabled",
            "BucketEncryption.ServerSideEncryptionConfiguration.ServerSideEncryptionByDefault",
            "BucketName",
            "CorsConfiguration",
            *(
                f"LifecycleConfiguration.Rules.{name}"
                for name in (
                    "AbortIncompleteMultipartUpload", "ExpirationDate", "ExpirationInDays", "ExpiredObjectDeleteMarker",
                    "Id", "NoncurrentVersionExpiration", "NoncurrentVersionExpirationInDays",
                    "NoncurrentVersionTransitions", "Prefix", "Status", "TagFilters", "Transitions",
                )
            ),
            "OwnershipControls",
            "PublicAccessBlockConfiguration",
            "Tags",
            "VersioningConfiguration",
        }
    )  # fmt: skip

    def create(self, call: Call, properties: Properties) -> str:
        s3 = call.client("s3")
        bucket = properties.get("BucketName") or call.new_name(63, lower=True)
        # S3 lets an owner make a bucket again, in us-east-1; a stack does not take over one that is there.
        if exists(lambda: s3.head_bucket(Bucket=bucket)):
            raise ResourceFailed(f"{bucket} already exists")
        place = {} if call.region == "us-east-1" else {"LocationConstraint": call.region}
        s3.create_bucket(Bucket=bucket, **({"CreateBucketConfiguration": place} if place else {}))
        return str(bucket)

    def finish(self, call: Call, physical_id: str, properties: Properties) -> None:
        self.update(call, physical_id, {}, properties)

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        s3 = call.client("s3")
        bucket = {"Bucket": physical_id}

        def setting(name: str, put: Callable[[Any], Any], remove: Callable[[], Any]) -> None:
            if before.get(name) == after.get(name):
                return
            if name in after:
                put(after[name])
            else:
                remove()

        setting(
            "BucketEncryption",
            lambda value: s3.put_bucket_encryption(**bucket, ServerSideEncryptionConfiguration=_encryption(value)),
            lambda: s3.delete_bucket_encryption(**bucket),
        )
        setting(
            "VersioningConfiguration",
            lambda value: s3.put_bucket_versioning(**bucket, VersioningConfiguration=value),
            # A bucket that had versions once keeps them: S3 can only suspend.
            lambda: s3.put_bucket_versioning(**bucket, VersioningConfiguration={"Status": "Suspended"}),
        )
        setting(
            "PublicAccessBlockConfiguration",
            lambda value: s3.put_public_access_block(**bucket, PublicAccessBlockConfiguration=value),
            lambda: s3.delete_public_access_block(**bucket),
        )
        setting(
            "OwnershipControls",
            lambda value: s3.put_bucket_ownership_controls(**bucket, OwnershipControls=value),
            lambda: s3.delete_bucket_ownership_controls(**bucket),
        )
        setting(
            "LifecycleConfiguration",
            lambda value: s3.put_bucket_lifecycle_configuration(
                **bucket, LifecycleConfiguration={"Rules": [_rule(rule) for rule in value["Rules"]]}
            ),
            lambda: s3.delete_bucket_lifecycle(**bucket),
        )
        setting(
            "CorsConfiguration",
            lambda value: s3.put_bucket_cors(
                **bucket, CORSConfiguration={"CORSRules": [_cors(rule) for rule in value["CorsRules"]]}
            ),
            lambda: s3.delete_bucket_cors(**bucket),
        )
        if call.tags != call.tags_before:
            if call.tags:
                s3.put_bucket_tagging(**bucket, Tagging={"TagSet": tag_list(call.tags)})
            else:
                s3.delete_bucket_tagging(**bucket)

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("s3").delete_bucket(Bucket=physical_id)

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        return {
            "Arn": f"arn:aws:s3:::{physical_id}",
            "DomainName": f"{physical_id}.s3.amazonaws.com",
            "DualStackDomainName": f"{physical_id}.s3.dualstack.{call.region}.amazonaws.com",
            "RegionalDomainName": f"{physical_id}.s3.{call.region}.amazonaws.com",
            "WebsiteURL": f"http://{physical_id}.s3-website-{call.region}.amazonaws.com",
        }


class BucketPolicy(ResourceType):
    name = "AWS::S3::BucketPolicy"
    honours = frozenset({"Bucket", "PolicyDocument"})

    def create(self, call: Call, properties: Properties) -> str:
        s3 = call.client("s3")
        bucket = str(properties["Bucket"])
        if _has_policy(s3, bucket):
            raise ResourceFailed(f"The bucket policy already exists on bucket {bucket}.")
        s3.put_bucket_policy(Bucket=bucket, Policy=document(properties["PolicyDocument"]))
        return bucket

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        call.client("s3").put_bucket_policy(Bucket=physical_id, Policy=document(after["PolicyDocument"]))

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("s3").delete_bucket_policy(Bucket=physical_id)


def _has_policy(s3: Any, bucket: str) -> bool:
    try:
        s3.get_bucket_policy(Bucket=bucket)
    except ClientError as error:
        if is_missing(error) and code_of(error) != "NoSuchBucket":
            return False
        raise
    return True


def _encryption(value: Mapping[str, Any]) -> dict[str, Any]:
    rules = []
    for rule in value["ServerSideEncryptionConfiguration"]:
        found = pick(rule, "BucketKeyEnabled")
        if "ServerSideEncryptionByDefault" in rule:
            found["ApplyServerSideEncryptionByDefault"] = rule["ServerSideEncryptionByDefault"]
        rules.append(found)
    return {"Rules": rules}


def _rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    found = pick(rule, "Status", "AbortIncompleteMultipartUpload", "NoncurrentVersionExpiration")
    if "Id" in rule:
        found["ID"] = rule["Id"]
    expiration = {
        wanted: rule[name]
        for name, wanted in (
            ("ExpirationInDays", "Days"),
            ("ExpirationDate", "Date"),
            ("ExpiredObjectDeleteMarker", "ExpiredObjectDeleteMarker"),
        )
        if name in rule
    }
    if expiration:
        found["Expiration"] = expiration
    if "NoncurrentVersionExpirationInDays" in rule:
        found["NoncurrentVersionExpiration"] = {"NoncurrentDays": rule["NoncurrentVersionExpirationInDays"]}
    if "Transitions" in rule:
        found["Transitions"] = [_transition(one, "Days") for one in rule["Transitions"]]
    if "NoncurrentVersionTransitions" in rule:
        found["NoncurrentVersionTransitions"] = [
            _transition(one, "NoncurrentDays") for one in rule["NoncurrentVersionTransitions"]
        ]
    return {**found, "Filter": _filter(rule)}


def _transition(one: Mapping[str, Any], days: str) -> dict[str, Any]:
    names = {"TransitionInDays": days, "TransitionDate": "Date"}
    return {names.get(name, name): value for name, value in one.items()}


def _filter(rule: Mapping[str, Any]) -> dict[str, Any]:
    tags = rule.get("TagFilters") or []
    prefix = rule.get("Prefix", "")
    if not tags:
        return {"Prefix": prefix}
    if len(tags) == 1 and not prefix:
        return {"Tag": tags[0]}
    return {"And": {"Prefix": prefix, "Tags": tags}}


def _cors(rule: Mapping[str, Any]) -> dict[str, Any]:
    names = {"Id": "ID", "ExposedHeaders": "ExposeHeaders", "MaxAge": "MaxAgeSeconds"}
    return {names.get(name, name): value for name, value in rule.items()}


TYPES = (Bucket(), BucketPolicy())
