"""The account's template bucket: what was published, by version.

    {version}/project.yml           the template with everything filled in; written last: it stands for the whole
    {version}/functions/….zip       the code of the Lambda functions
    {version}/seed/….zip            the first commit of a project's repository
    studio/project.yml              the newest version's template, which SageMaker Studio shows

Whatever bears a version stays as it is: projects that were made from it may be compared with it.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import boto3
from botocore.exceptions import ClientError

from pipelines.errors import ServiceError
from pipelines.names import Names, dns_suffix
from pipelines.session import client

__all__ = ["STUDIO_LOCATION_TAG", "VISIBLE_TAG", "TemplateBucket"]

# What makes Studio show a template, and where it looks ("Create a custom project template from Amazon S3").
VISIBLE_TAG = "sagemaker:studio-visibility"
STUDIO_LOCATION_TAG = "sagemaker:projectS3TemplatesLocation"
_TEMPLATE = "project.yml"
_STUDIO = "studio"
_DIGEST, _VERSION = "digest", "version"


class TemplateBucket:
    """The bucket `mlops-templates-{account}-{region}`, which template/admin.yml makes."""

    def __init__(self, session: boto3.Session, names: Names) -> None:
        self._s3: Any = client(session, "s3")
        self._names = names
        self.name = names.template_bucket

    @property
    def studio_location(self) -> str:
        return f"s3://{self.name}/{_STUDIO}/"

    def template_key(self, version: str) -> str:
        return f"{version}/{_TEMPLATE}"

    def template_url(self, version: str) -> str:
        """Where CloudFormation reads the template of a version."""
        return (
            f"https://{self.name}.s3.{self._names.region}.{dns_suffix(self._names.region)}/{self.template_key(version)}"
        )

    def digest(self, version: str) -> str | None:
        """Of what a version was made; None while nothing is published as it."""
        found = self._metadata(self.template_key(version))
        return None if found is None else found.get(_DIGEST, "")

    def template(self, version: str) -> str:
        """The template of a published version. Raises ServiceError where there is none."""
        try:
            found = self._s3.get_object(Bucket=self.name, Key=self.template_key(version))
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("NoSuchKey", "NoSuchBucket", "404"):
                raise
            raise ServiceError(
                f"version `{version}` is not published in s3://{self.name}; `mlops publish` publishes this working copy"
            ) from None
        return str(found["Body"].read().decode())

    def read(self, key: str) -> bytes:
        content: bytes = self._s3.get_object(Bucket=self.name, Key=key)["Body"].read()
        return content

    def newest(self) -> str | None:
        """The version that Studio shows; None while there is none, or no bucket."""
        found = self._metadata(f"{_STUDIO}/{_TEMPLATE}")
        return None if found is None else found[_VERSION]

    def put(self, key: str, content: bytes) -> None:
        self._s3.put_object(Bucket=self.name, Key=key, Body=content)

    def put_template(self, version: str, template: str, digest: str) -> None:
        """Write a version's template, unless somebody has written one. Raises ServiceError then."""
        try:
            self._put_visible(self.template_key(version), version, template, digest, IfNoneMatch="*")
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("PreconditionFailed", "ConditionalRequestConflict"):
                raise
            raise ServiceError(
                f"somebody else has just published version `{version}`; run `mlops publish` again to see what it is"
            ) from None

    def show_in_studio(self, version: str, template: str, digest: str) -> None:
        self._put_visible(f"{_STUDIO}/{_TEMPLATE}", version, template, digest)

    def _put_visible(self, key: str, version: str, template: str, digest: str, **conditions: str) -> None:
        self._s3.put_object(
            Bucket=self.name,
            Key=key,
            Body=template.encode(),
            ContentType="application/yaml",
            Metadata={_DIGEST: digest, _VERSION: version},
            Tagging=urlencode({VISIBLE_TAG: "true"}),
            **conditions,
        )

    def _metadata(self, key: str) -> dict[str, str] | None:
        try:
            found: dict[str, str] = self._s3.head_object(Bucket=self.name, Key=key)["Metadata"]
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise
        return found
