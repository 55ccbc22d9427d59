"""Model packages, described."""

from __future__ import annotations

from typing import Any

from pipelines.carried.project import client


def describe(arn: str) -> dict[str, Any] | None:
    """A package as DescribeModelPackage gives it, or None if it was deleted."""
    sagemaker = client("sagemaker")
    try:
        described: dict[str, Any] = sagemaker.describe_model_package(ModelPackageName=arn)
    except sagemaker.exceptions.ClientError as error:
        # AWS says ValidationException of a package that there is not, and of much else.
        if "does not exist" in error.response["Error"]["Message"]:
            return None
        raise
    return described
