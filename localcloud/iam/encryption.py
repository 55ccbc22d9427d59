"""What S3 asks KMS for in the name of who reads or writes: the key of an object, where that is a customer's own.

    writes    kms:GenerateDataKey on the key that the request names, or that the bucket has for all; parts of an
              upload kms:Decrypt, too
    reads     kms:Decrypt on the key by which the object is encrypted

S3's own key is everybody's who may use the bucket.

Source: "Using server-side encryption with AWS KMS keys" in the S3 User Guide, "Multipart upload and permissions" there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from localcloud.calls import Call
from localcloud.iam.authority import Authority
from localcloud.iam.facts import Asked
from localcloud.principals import Caller
from localcloud.protocols import models
from localcloud.protocols.http import HttpRequest, HttpResponse

_ENCRYPT, _DECRYPT = "kms:GenerateDataKey", "kms:Decrypt"
_WRITES = {
    "CompleteMultipartUpload": (_DECRYPT,),
    "CopyObject": (_ENCRYPT,),
    "CreateMultipartUpload": (_ENCRYPT,),
    "PutObject": (_ENCRYPT,),
    "UploadPart": (_DECRYPT,),
    "UploadPartCopy": (_DECRYPT,),
}
_READS = ("GetObject",)
_CHANGES = ("PutBucketEncryption", "DeleteBucketEncryption", "CreateBucket", "DeleteBucket")
_NAMED, _USED = "x-amz-server-side-encryption-aws-kms-key-id", "x-amz-server-side-encryption"


class Encryption:
    """The keys of one S3. Any thread may ask; it may wait for moto."""

    def __init__(self, authority: Authority, leaf: Callable[[str], Any], region: str) -> None:
        """leaf: gives the clients that read settings and find keys."""
        self._authority, self._leaf, self._region = authority, leaf, region
        self._of_buckets: dict[str, str | None] = {}
        self._changes = 0
        self._lock = threading.Lock()

    def check_writing(self, caller: Caller, operation: str, bucket: str, http: HttpRequest) -> Sequence[Call]:
        """The calls to KMS that a request brings with it. Raises ServiceError (AccessDenied)."""
        actions = _WRITES.get(operation)
        if caller.is_root or actions is None:
            return ()
        named = http.headers.get(_NAMED)
        if named is None and _USED in http.headers:
            return ()
        key = named or self._of_bucket(bucket)
        return self._checked(caller, actions, key, f"arn:aws:s3:::{bucket}") if key else ()

    def check_reading(self, caller: Caller, operation: str, bucket: str, response: HttpResponse) -> Sequence[Call]:
        """The same of an object that has been read, before its content is given away."""
        if caller.is_root or operation not in _READS or response.status >= 400:
            return ()
        key = response.header(_NAMED)
        return self._checked(caller, (_DECRYPT,), key, f"arn:aws:s3:::{bucket}") if key else ()

    def called(self, operation: str) -> None:
        """A call to S3 was made, which may have changed a bucket's encryption."""
        if operation in _CHANGES:
            with self._lock:
                self._changes += 1
                self._of_buckets = {}

    def _checked(self, caller: Caller, actions: Sequence[str], key: str, context: str) -> Sequence[Call]:
        arn = self._arn(key)
        if arn is None:
            return ()
        facts = {
            "kms:viaservice": [f"s3.{self._region}.amazonaws.com"],
            "kms:encryptioncontext:aws:s3:arn": [context],
            "kms:encryptioncontextkeys": ["aws:s3:arn"],
            "kms:calleraccount": [self._authority.account_id],
        }
        pairs = [(action, arn) for action in actions]
        return self._authority.authorise(caller, "kms", models.REST_XML, Asked("kms", ""), pairs, facts)

    def _of_bucket(self, bucket: str) -> str | None:
        try:
            return self._of_buckets[bucket]
        except KeyError:
            pass
        changes, found = self._changes, None
        try:
            rules = self._leaf("s3").get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
            default = rules[0].get("ApplyServerSideEncryptionByDefault", {}) if rules else {}
            found = default.get("KMSMasterKeyID") if default.get("SSEAlgorithm", "").startswith("aws:kms") else None
        except (ClientError, BotoCoreError):
            pass
        with self._lock:
            if self._changes == changes:
                self._of_buckets[bucket] = found
        return found

    def _arn(self, key: str) -> str | None:
        """None for S3's own, and for one that is not there, as KMS says itself."""
        if key.endswith("alias/aws/s3"):
            return None
        if ":key/" in key:
            return key
        try:
            found: str = self._leaf("kms").describe_key(KeyId=key)["KeyMetadata"]["Arn"]
        except (ClientError, BotoCoreError):
            return None
        return found
