"""The names of things: ARNs of SageMaker resources, and back."""

from __future__ import annotations

import re
import secrets
import string
from dataclasses import dataclass

from localcloud.errors import validation

_ARN = re.compile(r"arn:(?P<partition>aws[a-z-]*):sagemaker:(?P<region>[a-z0-9-]*):(?P<account>\d{12}):(?P<rest>.+)")
_ALPHABET = string.ascii_lowercase + string.digits


@dataclass(frozen=True)
class Arns:
    """Makes the ARNs of one region and account."""

    region: str
    account_id: str

    def of(self, resource: str, name: str) -> str:
        """For example `of("training-job", "a")` gives arn:aws:sagemaker:eu-west-1:123456789012:training-job/a."""
        return f"arn:aws:sagemaker:{self.region}:{self.account_id}:{resource}/{name}"

    def execution(self, pipeline: str, execution_id: str) -> str:
        """The ARN of one execution of a pipeline."""
        return f"{self.of('pipeline', pipeline)}/execution/{execution_id}"


def name_of(arn_or_name: str) -> str:
    """What stands after the resource type in an ARN; a plain name is itself."""
    match = _ARN.fullmatch(arn_or_name)
    return match["rest"].partition("/")[2] if match else arn_or_name


def parse(arn: str) -> tuple[str, str]:
    """Resource type and name, for example `("model-package", "group/3")`. Raises ValidationException if it is none."""
    match = _ARN.fullmatch(arn)
    if match is None or "/" not in match["rest"]:
        raise validation(f"{arn!r} is not the ARN of a SageMaker resource")
    kind, _, name = match["rest"].partition("/")
    return kind, name


def random_id(length: int) -> str:
    """Lower-case letters and digits, as AWS's execution ids and the ends of its job names."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
