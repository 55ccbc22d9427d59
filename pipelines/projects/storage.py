"""What a project keeps outside of SageMaker: buckets, images, parameters, logs, its repository, keys."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from pipelines.names import (
    API_FUNCTIONS,
    BUILD_PROJECTS,
    COMPACT,
    FUNCTIONS,
    INGESTION_FUNCTIONS,
    OPERATOR,
    POLLER,
    REPLAY,
    STAGES,
)
from pipelines.projects.things import WORKLOADS, Account, Kind, Thing, unless_absent

__all__ = ["ARTIFACTS", "KINDS_OF_STORAGE"]

_MOST_COUNTED = 10_000
_AT_ONCE = 1000  # objects that S3 deletes by one call
_TRIES = 5  # to delete a bucket that somebody has written to since it was emptied: what ends late still tells of it
_WINDOW_DAYS = 7  # the shortest after which KMS deletes a key
_TAG = "sagemaker:project-name"


# --- buckets ----------------------------------------------------------------------------------------------------------


def _bucket_things(account: Account, *buckets: str) -> Iterator[Thing]:
    for bucket in buckets:
        with unless_absent():
            account.client("s3").head_bucket(Bucket=bucket)
            counted = sum(1 for _ in islice(_versions(account, bucket), _MOST_COUNTED + 1))
            note = f"more than {_MOST_COUNTED:,} objects" if counted > _MOST_COUNTED else f"{counted:,} objects"
            yield Thing("bucket", bucket, note)


def _versions(account: Account, bucket: str) -> Iterator[dict[str, str]]:
    """Every version of every object, and what marks one as deleted."""
    for page in account.client("s3").get_paginator("list_object_versions").paginate(Bucket=bucket):
        for found in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
            yield {"Key": found["Key"], "VersionId": found["VersionId"]}


def _remove_bucket(account: Account, thing: Thing) -> None:
    s3 = account.client("s3")
    with unless_absent():
        for upload in account.pages("s3", "list_multipart_uploads", "Uploads", Bucket=thing.name):
            s3.abort_multipart_upload(Bucket=thing.name, Key=upload["Key"], UploadId=upload["UploadId"])
        for tries_left in reversed(range(_TRIES)):
            _empty(account, thing.name)
            try:
                s3.delete_bucket(Bucket=thing.name)
                return
            except s3.exceptions.ClientError as error:
                if error.response["Error"]["Code"] != "BucketNotEmpty" or not tries_left:
                    raise


def _empty(account: Account, bucket: str) -> None:
    """Delete all there is. Listed anew for each call: what is deleted changes the pages that come after."""
    while batch := list(islice(_versions(account, bucket), _AT_ONCE)):
        answer = account.client("s3").delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True})
        if errors := answer.get("Errors"):
            raise RuntimeError(f"{errors[0]['Key']}: {errors[0]['Message']}")


def _artifacts(account: Account) -> Iterator[Thing]:
    return _bucket_things(account, account.names.artifacts_bucket)


def _code(account: Account) -> Iterator[Thing]:
    return _bucket_things(account, account.names.code_bucket)


def _data(account: Account) -> Iterator[Thing]:
    return _bucket_things(account, account.names.bucket)


# --- images -----------------------------------------------------------------------------------------------------------


def _images(account: Account) -> Iterator[Thing]:
    beginning = f"{account.names.project}/"
    for found in account.pages("ecr", "describe_repositories", "repositories"):
        name = found["repositoryName"]
        if name.startswith(beginning):
            count = sum(1 for _ in account.pages("ecr", "list_images", "imageIds", repositoryName=name))
            yield Thing("image repository", name, f"{count} images")


def _remove_images(account: Account, thing: Thing) -> None:
    with unless_absent():
        account.client("ecr").delete_repository(repositoryName=thing.name, force=True)


# --- the repository ---------------------------------------------------------------------------------------------------


def _repository(account: Account) -> Iterator[Thing]:
    with unless_absent():
        found = account.client("codecommit").get_repository(repositoryName=account.names.repository)
        yield Thing("repository", found["repositoryMetadata"]["repositoryName"], "with all that was pushed to it")


def _remove_repository(account: Account, thing: Thing) -> None:
    with unless_absent():
        account.client("codecommit").delete_repository(repositoryName=thing.name)


# --- parameters -------------------------------------------------------------------------------------------------------


def _parameters(account: Account) -> Iterator[Thing]:
    path = f"/{account.names.project}/"
    for found in account.pages("ssm", "get_parameters_by_path", "Parameters", Path=path, Recursive=True):
        yield Thing("parameter", found["Name"])


def _remove_parameter(account: Account, thing: Thing) -> None:
    with unless_absent():
        account.client("ssm").delete_parameter(Name=thing.name)


# --- logs -------------------------------------------------------------------------------------------------------------


def _logs(account: Account) -> Iterator[Thing]:
    names = account.names
    functions = (*FUNCTIONS, *API_FUNCTIONS, *INGESTION_FUNCTIONS)
    groups = {
        *(f"/aws/lambda/{names.function(function)}" for function in functions),
        *(f"/aws/codebuild/{names.build_project(project)}" for project in BUILD_PROJECTS),
        *(f"/aws/sagemaker/Endpoints/{names.endpoint(workload, stage)}" for workload in WORKLOADS for stage in STAGES),
        *(f"/ecs/{names.task_family(program)}" for program in (POLLER, OPERATOR, REPLAY, COMPACT)),
        f"/aws/kinesisfirehose/{names.archive_delivery}",
        f"/aws/kinesis-analytics/{names.flink_application}",
        f"/aws/apigateway/{names.project}-api",
    }
    for place in sorted({group[: group.rindex("/") + 1] for group in groups}):
        beginning = f"{place}{names.project}-"
        for found in account.pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=beginning):
            if found["logGroupName"] in groups:
                yield Thing("log group", found["logGroupName"])


def _remove_log_group(account: Account, thing: Thing) -> None:
    with unless_absent():
        account.client("logs").delete_log_group(logGroupName=thing.name)


# --- keys -------------------------------------------------------------------------------------------------------------


def _keys(account: Account) -> Iterator[Thing]:
    """Keys that bear the project's tag; those that are to be deleted already are not counted."""
    kms = account.client("kms")
    for key in account.pages("kms", "list_keys", "Keys"):
        with unless_absent():
            metadata: dict[str, Any] = kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
            if metadata["KeyManager"] != "CUSTOMER" or metadata["KeyState"] == "PendingDeletion":
                continue
            tags = {tag["TagKey"]: tag["TagValue"] for tag in kms.list_resource_tags(KeyId=key["KeyId"])["Tags"]}
            if tags.get(_TAG) == account.names.project:
                yield Thing("key", key["KeyId"], metadata.get("Description", ""))


def _remove_key(account: Account, thing: Thing) -> None:
    with unless_absent():
        account.client("kms").schedule_key_deletion(KeyId=thing.name, PendingWindowInDays=_WINDOW_DAYS)


ARTIFACTS = Kind("what CodePipeline's actions hand on", _artifacts, _remove_bucket)
KINDS_OF_STORAGE = (
    ARTIFACTS,
    Kind("code of functions", _code, _remove_bucket),
    Kind("images", _images, _remove_images, data=True),
    Kind("repository", _repository, _remove_repository, data=True),
    Kind("data", _data, _remove_bucket, data=True),
    Kind("parameters", _parameters, _remove_parameter, data=True),
    Kind("logs", _logs, _remove_log_group),
    Kind("keys, deleted after the days that KMS waits", _keys, _remove_key, data=True),
)
