"""The bucket of what stacks are made from: the code of functions, and templates that are too long to be sent.

It is apart from the project's own bucket, because the stack that makes that one cannot be made without the code.
"""

from __future__ import annotations

from typing import Any

import boto3
from botocore.exceptions import ClientError

from pipelines.names import Names
from pipelines.session import client

__all__ = ["put"]


def put(session: boto3.Session, names: Names, key: str, content: bytes) -> None:
    """Put an object there unless there is one of that key, which is made of the content; the bucket is made, too."""
    s3 = client(session, "s3")
    _ensure_bucket(s3, names)
    if not s3.list_objects_v2(Bucket=names.code_bucket, Prefix=key, MaxKeys=1).get("Contents"):
        s3.put_object(Bucket=names.code_bucket, Key=key, Body=content)


def _ensure_bucket(s3: Any, names: Names) -> None:
    try:
        s3.head_bucket(Bucket=names.code_bucket)
        return
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
    # us-east-1 is S3's default and refuses to be named.
    place = {} if names.region == "us-east-1" else {"LocationConstraint": names.region}
    s3.create_bucket(Bucket=names.code_bucket, **({"CreateBucketConfiguration": place} if place else {}))
    s3.put_public_access_block(
        Bucket=names.code_bucket,
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": True,
            "BlockPublicPolicy": True,
            "IgnorePublicAcls": True,
            "RestrictPublicBuckets": True,
        },
    )
