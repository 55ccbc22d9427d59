"""Bringing the working tree into the account before an execution: its image, its data, its pipeline.

Each does nothing when the account already has the same, so that an unchanged tree changes nothing there, and the step
cache holds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import boto3
from boto3.s3.transfer import TransferConfig

from pipelines.errors import UsageError
from pipelines.names import Names
from pipelines.session import client

__all__ = ["content_name", "upload", "upsert"]


def upsert(session: boto3.Session, request: Mapping[str, Any]) -> Literal["created", "updated", "unchanged"]:
    """Make the account's pipeline what `request` says (the arguments of CreatePipeline, `definitions.request`)."""
    sagemaker = client(session, "sagemaker")
    try:
        there = sagemaker.describe_pipeline(PipelineName=request["PipelineName"])
    except sagemaker.exceptions.ResourceNotFound:
        sagemaker.create_pipeline(ClientRequestToken=_token(request), **request)
        return "created"
    same = (
        json.loads(there["PipelineDefinition"]) == json.loads(request["PipelineDefinition"])
        and there["RoleArn"] == request["RoleArn"]
        and there.get("ParallelismConfiguration", {}) == request.get("ParallelismConfiguration", {})
    )
    if same:
        return "unchanged"
    sagemaker.update_pipeline(**request)
    return "updated"


def upload(session: boto3.Session, names: Names, workload: str, file: Path) -> str:
    """Put a data file into the project's bucket under a key made of its content; gives the folder's S3 URI.

    The same bytes have the same URI wherever they come from, so that the step cache knows them again; a file that is
    there already is not sent again.
    Raises UsageError when the file is none that can be read.
    """
    prefix = f"{names.uploads_prefix(workload)}/{content_name(file)}"
    key = f"{prefix}/{file.name}"
    s3 = client(session, "s3")
    listed = s3.list_objects_v2(Bucket=names.bucket, Prefix=f"{prefix}/", MaxKeys=1).get("Contents", [])
    # Another name for the same bytes would make two files of one: the name that came first stays.
    if not listed:
        # In one part where S3 allows it: the bytes then lie there as they are, and threads are not worth their start.
        config = TransferConfig(multipart_threshold=1 << 30, use_threads=False)
        s3.upload_file(str(file), names.bucket, key, Config=config)
    return f"s3://{names.bucket}/{prefix}/"


def content_name(file: Path) -> str:
    """`sha256-…`, 32 characters of the digest of a file's bytes. Raises UsageError when it cannot be read."""
    try:
        with file.open("rb") as content:
            return f"sha256-{hashlib.file_digest(content, 'sha256').hexdigest()[:32]}"
    except IsADirectoryError:
        raise UsageError(f"--data `{file}` is a folder, expected a .csv or .csv.gz file") from None
    except OSError as error:
        raise UsageError(f"--data `{file}` cannot be read: {error.strerror}; expected a .csv or .csv.gz file") from None


def _token(request: Mapping[str, Any]) -> str:
    """An idempotency token of a request: sent twice, it makes one pipeline."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
