"""Artifacts: ZIP files in the bucket of a pipeline's artifact store, written and read as the action's role."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

from localcloud.codepipeline.refusals import REFUSALS, failure
from localcloud.codepipeline.turn import CONFIGURATION, ActionFailed, Turn

_ENCRYPT, _DECRYPT = "kms:GenerateDataKey", "kms:Decrypt"


def put(turn: Turn, name: str, content: bytes) -> None:
    """Write an output artifact. Raises ActionFailed."""
    place = turn.outputs[name]
    write(turn, place["bucket"], place["key"], content)


def write(turn: Turn, bucket: str, key: str, content: bytes) -> None:
    """Write an object into the artifact store, under the pipeline's KMS key if it has one. Raises ActionFailed."""
    encryption: dict[str, Any] = {}
    if turn.pipeline.key_id is not None:
        encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": turn.pipeline.key_id}
    try:
        _use_key(turn, _ENCRYPT, bucket, key)
        turn.client("s3").put_object(Bucket=bucket, Key=key, Body=content, **encryption)
    except REFUSALS as error:
        raise failure(error, f"writing the artifact s3://{bucket}/{key}") from error


def fetch(turn: Turn, name: str) -> bytes:
    """The content of an input artifact. Raises ActionFailed."""
    place = turn.inputs[name]
    try:
        _use_key(turn, _DECRYPT, place["bucket"], place["key"])
        found = turn.client("s3").get_object(Bucket=place["bucket"], Key=place["key"])
        content: bytes = found["Body"].read()
        return content
    except REFUSALS as error:
        raise failure(error, f"reading the artifact {name} at s3://{place['bucket']}/{place['key']}") from error


def file(turn: Turn, reference: str) -> bytes:
    """The content of `artifact::path`, a file in an input artifact. Raises ActionFailed."""
    name, _, path = reference.partition("::")
    return member(fetch(turn, name), name, path)


def member(archive: bytes, name: str, path: str) -> bytes:
    """A file of an artifact. Raises ActionFailed if the artifact is no ZIP file, or has no such file."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            return opened.read(path)
    except zipfile.BadZipFile:
        raise ActionFailed(
            CONFIGURATION, f"The artifact {name} is no ZIP file, so that {path} cannot be in it"
        ) from None
    except KeyError:
        raise ActionFailed(CONFIGURATION, f"File [{path}] does not exist in artifact [{name}]") from None


def json_object(text: bytes | str, what: str) -> dict[str, Any]:
    """A JSON object. Raises ActionFailed for anything else; `what` says whose it is."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ActionFailed(CONFIGURATION, f"{what} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise ActionFailed(CONFIGURATION, f"{what} must be a JSON object; got {json.dumps(found)[:200]}")
    return found


def zipped(name: str, content: bytes) -> bytes:
    """A ZIP file with one file."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return made.getvalue()


def _use_key(turn: Turn, action: str, bucket: str, key: str) -> None:
    """What S3 does with the key for the role."""
    if turn.pipeline.key_id is None:
        return
    context = turn.context
    arn = str(context.leaf.client("kms").describe_key(KeyId=turn.pipeline.key_id)["KeyMetadata"]["Arn"])
    facts = {
        "kms:ViaService": f"s3.{context.region}.amazonaws.com",
        "kms:EncryptionContext:aws:s3:arn": f"arn:aws:s3:::{bucket}/{key}",
    }
    context.authority.check(turn.role_arn, action, arn, facts)
