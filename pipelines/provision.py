"""What an account must have before a pipeline can run, made by boto3: bucket, role, package groups, runtime values.

On this machine only, by `mlops up` and `mlops demo`; on AWS the project's stack makes them, with rights that are
narrower than these. Everything is made when it is missing, and left alone when it is there.
"""

from __future__ import annotations

import json
from typing import Any

import boto3

from pipelines import definitions, parameters
from pipelines.config import Configuration
from pipelines.names import Names
from pipelines.session import client

__all__ = ["provision"]


def provision(session: boto3.Session, configuration: Configuration) -> list[str]:
    """Make what is missing; gives what was made, as people call it."""
    names = configuration.names
    made = [
        *_bucket(client(session, "s3"), names),
        *_role(client(session, "iam"), names),
        *_package_groups(client(session, "sagemaker"), names),
    ]
    created = parameters.ensure(session, configuration)
    return [*made, f"{len(created)} runtime values in Parameter Store"] if created else made


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
