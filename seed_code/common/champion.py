"""The champion: the model that a new one has to match, by the S3 URI of its package."""

from pathlib import Path
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import BotoCoreError
from botocore.exceptions import ClientError as AwsError

from seed_code.common.errors import ClientError

NO_CHAMPION = "none"


def fetch(uri: str, folder: Path) -> Path | None:
    """The champion's archive, downloaded to `folder`; None when there is no champion.

    Raises:
        ClientError: when the URI is none of S3's, or the object cannot be had.
    """
    if uri == NO_CHAMPION:
        return None
    parts = urlsplit(uri)
    if parts.scheme != "s3" or not parts.netloc or not parts.path.strip("/"):
        raise ClientError(f"--champion is `{uri}`; expected s3://bucket/key of a model.tar.gz, or `{NO_CHAMPION}`")
    target = folder / "champion.tar.gz"
    try:
        boto3.client("s3").download_file(parts.netloc, parts.path.lstrip("/"), str(target))
    except (BotoCoreError, AwsError) as error:
        raise ClientError(
            f"the champion {uri} could not be downloaded: {error}; `--champion {NO_CHAMPION}` evaluates without"
        ) from error
    return target
