"""The one place that makes boto3 and SageMaker sessions.

Whether the other end is AWS or localcloud is decided by the standard variable AWS_ENDPOINT_URL, which botocore reads.
Nothing here, or above, asks, but for addresses that botocore does not know (`web_address`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote

import boto3
from botocore.config import Config

from pipelines.errors import UsageError
from pipelines.names import Names

if TYPE_CHECKING:
    from sagemaker.core.workflow.pipeline_context import PipelineSession

# What the SageMaker SDK needs in the environment before it is imported (see `sdk_environment`), and the values that it
# gets when rendering. The credentials are no one's: every call that would need them is refused.
_SDK_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "offline",
    "AWS_SECRET_ACCESS_KEY": "offline",
    "AWS_EC2_METADATA_DISABLED": "true",
    "SAGEMAKER_VALIDATE_ROLE": "false",
}
# Given, so that the SDK does not look for the files of this host and this user, which would change definitions.
_SDK_CONFIG = {
    "SchemaVersion": "1.0",
    "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
}


def boto_session(names: Names) -> boto3.Session:
    """A boto3 session for the project's region, with the credentials of the environment."""
    return boto3.Session(region_name=names.region)


def client(session: boto3.Session, service: str) -> Any:
    """A client of one service: short to connect, and patient with throttling.

    Raises UsageError when the environment's address for AWS is none.
    """
    config = Config(connect_timeout=5, read_timeout=60, retries={"mode": "standard"})
    try:
        return session.client(service, config=config)
    except ValueError as error:
        given = os.environ.get("AWS_ENDPOINT_URL")
        raise UsageError(
            f"AWS_ENDPOINT_URL is `{given}`, expected an address such as http://127.0.0.1:4610: {error}"
        ) from None


def web_address(site: str, name: str, host: str) -> str:
    """Where something answers that has a host of its own on AWS and is no service of botocore's, such as an API.

    AWS_ENDPOINT_URL goes before the host: what stands for AWS there has one host only, and things by their path.

    Args:
        site: what kind of thing it is: `execute-api` or `auth`.
        name: which one.
        host: its host on AWS.
    """
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    return f"{endpoint.rstrip('/')}/_aws/{site}/{name}" if endpoint else f"https://{host}"


def object_address(session: boto3.Session, names: Names, bucket: str, key: str) -> str:
    """Where a person looks at an object in S3: in AWS's console, which asks who they are.

    What stands for AWS has no console; there it is an address that is signed for a week, the longest that S3 takes.
    """
    if os.environ.get("AWS_ENDPOINT_URL"):
        s3 = client(session, "s3")
        signed = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=7 * 86_400)
        return str(signed)
    return f"https://{names.region}.console.aws.amazon.com/s3/object/{bucket}?region={names.region}&prefix={quote(key)}"


@contextmanager
def sdk_environment(region: str) -> Iterator[None]:
    """The environment in which the SageMaker SDK may be imported and used offline; the old one is put back after.

    Importing `sagemaker` fails without AWS_DEFAULT_REGION, looks for credentials at the instance metadata address
    without AWS_EC2_METADATA_DISABLED, and `Pipeline` asks IAM about the role without SAGEMAKER_VALIDATE_ROLE=false.
    """
    wanted = {**_SDK_ENVIRONMENT, "AWS_DEFAULT_REGION": region, "AWS_REGION": region}
    before = {name: os.environ.get(name) for name in (*wanted, "AWS_PROFILE")}
    os.environ.update(wanted)
    os.environ.pop("AWS_PROFILE", None)  # a profile that does not exist here would stop the import
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def offline_session(names: Names) -> PipelineSession:
    """A SageMaker session that renders definitions and raises RuntimeError on any call to AWS.

    To be used, and the SDK imported, inside `sdk_environment`.
    """
    # Here and not above: the import takes seconds, which no command pays that renders nothing.
    from sagemaker.core.workflow.pipeline_context import PipelineSession

    _validate_config_once()
    boto = boto3.Session(
        region_name=names.region,
        aws_access_key_id=_SDK_ENVIRONMENT["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=_SDK_ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
    )
    boto.events.register("before-call.*.*", _refuse)
    session = PipelineSession(boto_session=boto, default_bucket=names.bucket, sagemaker_config=_SDK_CONFIG)
    # `default_bucket` is only a wish: without this the SDK would create the bucket on first use.
    session._default_bucket = names.bucket
    return session


def _validate_config_once() -> None:
    """Keep the SDK from validating our constant configuration against its JSON schema each time that it looks a value
    up.

    It does so some 90 times while it renders one pipeline, and checks the whole schema itself each time: 16 s out of
    17. Every other configuration is validated as before.
    """
    from sagemaker.core.config.config_manager import SageMakerConfig

    validate = SageMakerConfig.validate_sagemaker_config
    if getattr(validate, "knows_ours", False):
        return

    def validate_others(sagemaker_config: dict[str, Any] | None = None) -> None:
        if sagemaker_config is not _SDK_CONFIG:
            validate(sagemaker_config)

    validate_others.knows_ours = True  # type: ignore[attr-defined]
    SageMakerConfig.validate_sagemaker_config = staticmethod(validate_others)


def _refuse(model: Any, **_: Any) -> NoReturn:
    service, operation = model.service_model.service_name, model.name
    raise RuntimeError(
        f"rendering a definition called {service}:{operation}; a definition is a function of the "
        "configuration and calls nothing"
    )
