"""Small objects in S3: written, read and listed by their URI.

An object that is not there is no mistake (`None`); an S3 that does not answer is one: which address, and what it said.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import BotoCoreError
from botocore.exceptions import ClientError as AwsError

from seed_code.common.errors import ClientError

_NOT_THERE = ("NoSuchKey", "404")
_AT_ONCE = 8  # of many small objects: what each of them takes is waiting


def split(uri: str) -> tuple[str, str]:
    """Bucket and key (or the beginning of keys, without a slash at its end) of `s3://bucket/key`.

    Raises:
        ClientError: when it is none of S3's.
    """
    scheme, _, place = uri.partition("://")
    bucket, _, key = place.partition("/")
    if scheme != "s3" or not bucket:
        raise ClientError(f"`{uri}` is no address in S3; expected s3://bucket/key")
    return bucket, key.rstrip("/")


class Objects:
    """S3, by URI."""

    def __init__(self, client: Any) -> None:
        """client: boto3's for S3."""
        self._client = client

    def put(self, uri: str, content: bytes, content_type: str = "application/json") -> None:
        """Write an object, over the one that may be there.

        Raises:
            ClientError: when S3 refuses or does not answer.
        """
        bucket, key = split(uri)
        try:
            self._client.put_object(Bucket=bucket, Key=key, Body=content, ContentType=content_type)
        except (BotoCoreError, AwsError) as error:
            raise ClientError(f"{uri} could not be written: {error}") from error

    def get(self, uri: str) -> bytes | None:
        """An object's content; None when there is no such object.

        Raises:
            ClientError: when S3 refuses or does not answer.
        """
        bucket, key = split(uri)
        try:
            content: bytes = self._client.get_object(Bucket=bucket, Key=key)["Body"].read()
        except AwsError as error:
            if error.response["Error"]["Code"] in _NOT_THERE:
                return None
            raise ClientError(f"{uri} could not be read: {error}") from error
        except BotoCoreError as error:
            raise ClientError(f"{uri} could not be read: {error}") from error
        return content

    def lines(self, uris: Iterable[str]) -> Iterator[bytes]:
        """The lines of many objects, one after the other; those that are not there have none.

        Raises:
            ClientError: when S3 refuses or does not answer.
        """
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            for content in threads.map(self.get, uris):
                yield from (content or b"").splitlines()

    def list(self, uri: str, after: str = "") -> Iterator[str]:
        """The URIs of all objects below a folder, in the order of the alphabet.

        Args:
            after: a URI; only what comes after it in the alphabet.

        Raises:
            ClientError: when S3 refuses or does not answer.
        """
        bucket, folder = split(uri)
        wanted = {"Bucket": bucket, "Prefix": f"{folder}/" if folder else ""}
        if after:
            wanted["StartAfter"] = split(after)[1]
        while True:
            try:
                page = self._client.list_objects_v2(**wanted)
            except (BotoCoreError, AwsError) as error:
                raise ClientError(f"what lies below {uri} could not be listed: {error}") from error
            for found in page.get("Contents", []):
                yield f"s3://{bucket}/{found['Key']}"
            if not page.get("IsTruncated"):
                return
            wanted["ContinuationToken"] = page["NextContinuationToken"]
