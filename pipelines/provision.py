"""What an account must have before a pipeline can run, made by boto3: bucket, role, package groups, feature groups,
runtime values.

On this machine only, by `mlops up` and `mlops demo`; on AWS the project's stack makes them, with rights that are
narrower than these. Everything is made when it is missing, and left alone when it is there.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import boto3

from pipelines import definitions, feature_groups, parameters
from pipelines.config import Configuration
from pipelines.names import Names
from pipelines.session import client

__all__ = ["provision", "stand_in_for_deepar"]

DEEPAR_REPOSITORY, DEEPAR_TAG = "forecasting-deepar", "1"


def provision(session: boto3.Session, configuration: Configuration) -> list[str]:
    """Make what is missing; gives what was made, as people call it."""
    names = configuration.names
    made = [
        *_bucket(client(session, "s3"), names),
        *_role(client(session, "iam"), names),
        *_package_groups(client(session, "sagemaker"), names),
        *_feature_groups(client(session, "sagemaker"), names),
    ]
    created = parameters.ensure(session, configuration)
    return [*made, f"{len(created)} runtime values in Parameter Store"] if created else made


def stand_in_for_deepar(session: boto3.Session, names: Names, image_uri: str) -> None:
    """Put an image where SageMaker's DeepAR is looked for: under its repository's name.

    image_uri: the forecaster's own, registered before; it keeps DeepAR's contract. AWS has the true one, in an account
    of its own.
    """
    ecr = client(session, "ecr")
    _, _, name = image_uri.partition("/")
    repository, _, tag = name.rpartition(":")
    [image] = ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageTag": tag}])["images"]
    with suppress(ecr.exceptions.RepositoryAlreadyExistsException):
        ecr.create_repository(repositoryName=DEEPAR_REPOSITORY)
    with suppress(ecr.exceptions.ImageAlreadyExistsException):
        ecr.put_image(
            repositoryName=DEEPAR_REPOSITORY,
            imageManifest=image["imageManifest"],
            imageManifestMediaType=image["imageManifestMediaType"],
            imageTag=DEEPAR_TAG,
        )


def _bucket(s3: Any, names: Names) -> list[str]:
    try:
        s3.head_bucket(Bucket=names.bucket)
        return []
    except s3.exceptions.ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
    # us-east-1 is S3's default and refuses to be named.
    place = {} if names.region == "us-east-1" else {"LocationConstraint": names.region}
    s3.create_bucket(Bucket=names.bucket, **({"CreateBucketConfiguration": place} if place else {}))
    return [f"bucket {names.bucket}"]


def _role(iam: Any, names: Names) -> list[str]:
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    try:
        iam.get_role(RoleName=names.role_name)
        return []
    except iam.exceptions.NoSuchEntityException:
        iam.create_role(RoleName=names.role_name, AssumeRolePolicyDocument=json.dumps(trust))
        return [f"role {names.role_name}"]


def _package_groups(sagemaker: Any, names: Names) -> list[str]:
    made = []
    for workload in sorted({workload for workload, _ in definitions.PIPELINES}):
        group = names.package_group(workload)
        try:
            sagemaker.describe_model_package_group(ModelPackageGroupName=group)
        except sagemaker.exceptions.ClientError as error:
            # AWS says ValidationException where others say ResourceNotFound.
            if "does not exist" not in str(error) and "ResourceNotFound" not in str(error):
                raise
            sagemaker.create_model_package_group(ModelPackageGroupName=group)
            made.append(f"model package group {group}")
    return made


def _feature_groups(sagemaker: Any, names: Names) -> list[str]:
    return [made for group in feature_groups.FEATURE_GROUPS for made in feature_groups.ensure(sagemaker, names, group)]
