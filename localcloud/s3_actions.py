"""A request to S3 in IAM's terms: S3 tells its operations apart by method, address and headers.

Source: "Actions, resources, and condition keys for Amazon S3" in the Service Authorization Reference, "Required
permissions for Amazon S3 API operations" in the S3 User Guide.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from urllib.parse import parse_qs, unquote
from xml.etree import ElementTree

from localcloud.protocols import models
from localcloud.protocols.http import HttpRequest

# IAM's name of the action where it is not the operation's.
_ACTIONS = {
    "CompleteMultipartUpload": "PutObject",
    "CopyObject": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "DeleteBucketCors": "PutBucketCORS",
    "DeleteBucketEncryption": "PutEncryptionConfiguration",
    "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    "DeleteBucketTagging": "PutBucketTagging",
    "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetBucketCors": "GetBucketCORS",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "GetBucketLifecycle": "GetLifecycleConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "GetBucketNotificationConfiguration": "GetBucketNotification",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "HeadBucket": "ListBucket",
    "HeadObject": "GetObject",
    "ListBuckets": "ListAllMyBuckets",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "ListObjectVersions": "ListBucketVersions",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListParts": "ListMultipartUploadParts",
    "PutBucketCors": "PutBucketCORS",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "PutBucketLifecycle": "PutLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "PutBucketNotificationConfiguration": "PutBucketNotification",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "UploadPart": "PutObject",
    "UploadPartCopy": "PutObject",
}
# Of an object in a version that the request names.
_OF_VERSIONS = {
    "DeleteObject": "DeleteObjectVersion",
    "DeleteObjectTagging": "DeleteObjectVersionTagging",
    "GetObject": "GetObjectVersion",
    "GetObjectAcl": "GetObjectVersionAcl",
    "GetObjectAttributes": "GetObjectVersionAttributes",
    "GetObjectTagging": "GetObjectVersionTagging",
    "PutObjectAcl": "PutObjectVersionAcl",
    "PutObjectTagging": "PutObjectVersionTagging",
}
# What a request that writes may ask for beside.
_BY_HEADERS = {"x-amz-acl": "PutObjectAcl", "x-amz-tagging": "PutObjectTagging"}


def actions(request: HttpRequest) -> Iterator[tuple[str, str]]:
    """Pairs of action and resource, of a request in path style."""
    operation = operation_of(request)
    action = _ACTIONS.get(operation, operation)
    bucket, _, key = unquote(request.path).lstrip("/").partition("/")
    arn = f"arn:aws:s3:::{bucket}"
    if operation == "DeleteObjects":
        for one, version in deleted(request.body):
            yield f"s3:{'DeleteObjectVersion' if version else 'DeleteObject'}", f"{arn}/{one}"
        return
    fields = parse_qs(request.query, keep_blank_values=True)
    if "versionId" in fields:
        action = _OF_VERSIONS.get(action, action)
    yield f"s3:{action}", "*" if not bucket else f"{arn}/{key}" if key else arn
    if action == "PutObject" and operation != "UploadPart":
        for header, beside in _BY_HEADERS.items():
            if request.headers.get(header):
                yield f"s3:{beside}", f"{arn}/{key}"
    source = request.headers.get("x-amz-copy-source")
    if source is not None:
        place, _, query = source.partition("?")
        read = "GetObjectVersion" if "versionId=" in query else "GetObject"
        yield f"s3:{read}", f"arn:aws:s3:::{unquote(place).lstrip('/')}"


def deleted(body: bytes) -> list[tuple[str, str]]:
    """The keys that a DeleteObjects lists, each with its version or an empty text; none where it is no such list."""
    try:
        # Without a document type, of which S3 has none, an entity cannot be defined.
        root = ElementTree.fromstring(body) if b"<!DOCTYPE" not in body else None
    except ElementTree.ParseError:
        root = None
    found = []
    for one in root.iter() if root is not None else ():
        if one.tag.rpartition("}")[2] == "Object":
            members = {member.tag.rpartition("}")[2]: member.text or "" for member in one}
            found.append((members.get("Key", ""), members.get("VersionId", "")))
    return found


def operation_of(request: HttpRequest) -> str:
    """The operation whose address fits; S3's model gives each a method, a path and perhaps a subresource."""
    bucket, _, key = request.path.lstrip("/").partition("/")
    level = "key" if key else "bucket" if bucket else "service"
    fields = parse_qs(request.query, keep_blank_values=True)
    for method, at, names, operation, copies in _operations():
        if method == request.method and at == level and names <= fields.keys():
            if copies != ("x-amz-copy-source" in request.headers) and operation in ("CopyObject", "PutObject"):
                continue
            return operation
    return request.method


@cache
def _operations() -> tuple[tuple[str, str, frozenset[str], str, bool], ...]:
    """Method, level, query fields, name, and whether it copies; those with the most query fields first."""
    model = models.service_model("s3")
    found = []
    for name in model.operation_names:
        operation = model.operation_model(name)
        path, _, query = str(operation.http["requestUri"]).partition("?")
        level = "key" if "{Key+}" in path else "bucket" if "{Bucket}" in path else "service"
        names = frozenset(part.partition("=")[0] for part in query.split("&") if part) - {"x-id"}
        members = operation.input_shape.members if operation.input_shape is not None else {}
        required = operation.input_shape.required_members if operation.input_shape is not None else []
        names |= {
            member.serialization["name"]
            for key, member in members.items()
            if key in required and member.serialization.get("location") == "querystring"
        }
        found.append((operation.http["method"], level, frozenset(names), name, "CopySource" in required))
    return tuple(sorted(found, key=lambda one: -len(one[2])))
