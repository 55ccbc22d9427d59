"""What localcloud alone can say: who called what, and what comes after a while."""

from __future__ import annotations

import json
import subprocess
import sys

import boto3
import pytest

from localcloud.principals import Principals
from tests.contract.conftest import Cloud


def _localcloud(cloud: Cloud, *arguments: str) -> subprocess.CompletedProcess[str]:
    assert cloud.endpoint_url is not None
    port = cloud.endpoint_url.rpartition(":")[2]
    return subprocess.run(
        [sys.executable, "-m", "localcloud", *arguments, "--port", port], capture_output=True, text=True, check=False
    )


@pytest.mark.usefixtures("localcloud_only")
def test_calls_are_kept_with_their_role_action_and_resource(cloud: Cloud) -> None:
    role = "arn:aws:iam::123456789012:role/recorded"

    class NoStore:
        def put(self, *_: object, **__: object) -> bool:
            return True

    key = Principals(NoStore(), "123456789012").access_key(role)  # type: ignore[arg-type]
    session = boto3.Session(aws_access_key_id=key, aws_secret_access_key="x", region_name=cloud.region)
    sagemaker = session.client("sagemaker", endpoint_url=cloud.endpoint_url)
    with pytest.raises(sagemaker.exceptions.ClientError):
        sagemaker.describe_pipeline(PipelineName="recorded")
    session.client("s3", endpoint_url=cloud.endpoint_url).put_object(Bucket=cloud.bucket, Key="recorded/a", Body=b"")
    # Nobody was given this key: its calls are the account's own.
    found = json.loads(_localcloud(cloud, "calls", "--json").stdout)
    listed = {(call["principal"], call["action"], call["resource"], call["error"]) for call in found}
    root = "arn:aws:iam::123456789012:root"
    arn = "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/recorded"
    assert (root, "sagemaker:DescribePipeline", arn, "ResourceNotFound") in listed
    assert (root, "s3:PutObject", f"arn:aws:s3:::{cloud.bucket}/recorded/a", "") in listed
    assert _localcloud(cloud, "calls", "--role", role).stdout == ""


@pytest.mark.usefixtures("localcloud_only")
def test_a_wrong_time_is_refused_by_name(cloud: Cloud) -> None:
    refused = _localcloud(cloud, "advance", "soon")
    assert refused.returncode == 1
    assert refused.stderr == "error: the time is 'soon', expected one such as 90s, 5m, 24h or 1d12h\n"
