"""The KMS key of what a build reads and writes in S3, which S3 uses for the build's service role."""

from __future__ import annotations

from botocore.exceptions import ClientError

from localcloud.codebuild.errors import PhaseError
from localcloud.context import Context
from localcloud.errors import ServiceError

ENCRYPT, DECRYPT = "kms:GenerateDataKey", "kms:Decrypt"
_OF_S3 = "alias/aws/s3"


def members(key: str) -> dict[str, str]:
    """How PutObject names a project's key; S3's own needs no name."""
    if key.endswith(_OF_S3):
        return {"ServerSideEncryption": "aws:kms"}
    return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key}


def use(context: Context, role_arn: str, action: str, key: str | None, bucket: str, name: str) -> None:
    """What S3 asks KMS for, for a role and an object. key: its id, ARN or alias; of S3's own every role may make use.
    Raises PhaseError (CLIENT_ERROR) for a key that is not there, or that the role may not use."""
    if not key or key.endswith(_OF_S3):
        return
    try:
        arn = str(context.leaf.client("kms").describe_key(KeyId=key)["KeyMetadata"]["Arn"])
        facts = {
            "kms:ViaService": f"s3.{context.region}.amazonaws.com",
            "kms:EncryptionContext:aws:s3:arn": f"arn:aws:s3:::{bucket}/{name}",
        }
        context.authority.check(role_arn, action, arn, facts)
    except ClientError as error:
        detail = error.response["Error"]
        message = f"KMS.{detail['Code']}: {detail['Message']} (the key {key} for s3://{bucket}/{name})"
        raise PhaseError("CLIENT_ERROR", message) from error
    except ServiceError as error:
        raise PhaseError("CLIENT_ERROR", f"AccessDenied: {error.message} for s3://{bucket}/{name}") from error
