"""What a test needs of a project's account, without the stack that makes it elsewhere: bucket, role, groups, values."""

from __future__ import annotations

import boto3

from pipelines import parameters
from pipelines.config import Configuration, Workloads
from pipelines.feature_groups import MINUTES
from pipelines.session import client
from tests.roles import make_role


def furnish(session: boto3.Session, configuration: Configuration) -> None:
    """Make them."""
    names = configuration.names
    place = {"LocationConstraint": names.region}
    client(session, "s3").create_bucket(Bucket=names.bucket, CreateBucketConfiguration=place)
    make_role(client(session, "iam"), names.role_name)
    sagemaker = client(session, "sagemaker")
    for workload in Workloads.model_fields:
        sagemaker.create_model_package_group(ModelPackageGroupName=names.package_group(workload))
    sagemaker.create_feature_group(
        FeatureGroupName=MINUTES.name(names),
        RecordIdentifierFeatureName=MINUTES.record_identifier,
        EventTimeFeatureName=MINUTES.event_time,
        FeatureDefinitions=[{"FeatureName": key, "FeatureType": value} for key, value in MINUTES.features.items()],
        OnlineStoreConfig={"EnableOnlineStore": True},
        OfflineStoreConfig={"S3StorageConfig": {"S3Uri": names.feature_store_uri}, "DisableGlueTableCreation": False},
        RoleArn=names.role_arn,
    )
    parameters.ensure(session, configuration)
