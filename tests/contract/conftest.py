"""The account that the contract suite talks to: the localcloud that all tests of a process share, or AWS.

With MLOPS_CONTRACT_TARGET=aws the same tests run against an AWS account, by the ordinary AWS configuration
(AWS_PROFILE or the like, AWS_DEFAULT_REGION), and nothing is started. They then need

    CONTRACT_ROLE_ARN   a role that SageMaker may assume, with access to the bucket
    CONTRACT_BUCKET     a bucket in the region; the tests write below `contract/` and `tests/` in it
    CONTRACT_IMAGE_URI  the image of `images.py` in ECR, for the tests that run jobs

Tests of localcloud itself (its limits, its restarts) are marked with the fixture `localcloud_only` and skipped there.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.contract.sagemaker_account import Account
from tests.contract.stacks import Stacks
from tests.roles import make_role

_REGION = os.environ.get("AWS_DEFAULT_REGION") or "eu-west-1"
_ON_AWS = os.environ.get("MLOPS_CONTRACT_TARGET") == "aws"


@dataclass
class Cloud:
    """An account, and clients for it. `endpoint_url` is None on AWS."""

    session: boto3.Session
    region: str
    account_id: str
    endpoint_url: str | None
    role_arn: str
    bucket: str
    image_uri: str | None = None
    _clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        """The boto3 client of a service, made once. It does not retry, so that a 5xx fails the test."""
        if service not in self._clients:
            self._clients[service] = self.session.client(
                service, endpoint_url=self.endpoint_url, config=Config(retries={"total_max_attempts": 1})
            )
        return self._clients[service]


@dataclass(frozen=True)
class Running:
    """A localcloud in a process of its own."""

    process: subprocess.Popen[str]
    port: int

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()


@functools.cache
def _placeholder_session(access_key: str = "test") -> boto3.Session:
    return boto3.Session(aws_access_key_id=access_key, aws_secret_access_key="test", region_name=_REGION)


def _spawn(*arguments: str) -> Running:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment["AWS_DEFAULT_REGION"] = _REGION
    process = subprocess.Popen(
        [sys.executable, "-m", "localcloud", "up", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if "http://127.0.0.1:" not in line:
        process.kill()
        pytest.fail(f"localcloud did not start: {line!r}; its messages are above")
    return Running(process, int(line.partition("http://127.0.0.1:")[2].split()[0]))


@pytest.fixture(scope="session")
def cloud(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    """The account under test, with a bucket and a role."""
    if _ON_AWS:
        session = boto3.Session()
        yield Cloud(
            session=session,
            region=session.region_name,
            account_id=session.client("sts").get_caller_identity()["Account"],
            endpoint_url=None,
            role_arn=os.environ["CONTRACT_ROLE_ARN"],
            bucket=os.environ["CONTRACT_BUCKET"],
            image_uri=os.environ.get("CONTRACT_IMAGE_URI"),
        )
        return
    yield _furnished(request.getfixturevalue("localcloud").endpoint)


def _furnished(endpoint_url: str) -> Cloud:
    session = _placeholder_session()
    bucket = "contract-bucket"
    session.client("s3", endpoint_url=endpoint_url).create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": _REGION}
    )
    role_arn = make_role(session.client("iam", endpoint_url=endpoint_url), "contract-role")
    return Cloud(
        session=session,
        region=_REGION,
        account_id="123456789012",
        endpoint_url=endpoint_url,
        role_arn=role_arn,
        bucket=bucket,
    )


@pytest.fixture
def localcloud_only() -> None:
    """Skips a test on AWS that is about localcloud itself."""
    if _ON_AWS:
        pytest.skip("about localcloud itself")


@pytest.fixture
def start_localcloud(localcloud_only: None) -> Iterator[Callable[..., Running]]:
    """Starts a localcloud over a state folder, with further arguments; all are killed after the test."""
    started: list[Running] = []

    def start(state: Path, *arguments: str) -> Running:
        running = _spawn("--state", str(state), *arguments)
        started.append(running)
        return running

    yield start
    for running in started:
        running.kill()
        if running.process.stdout is not None:
            running.process.stdout.close()


@pytest.fixture
def client_of() -> Callable[..., Any]:
    """Makes a client of a running localcloud: `client_of(running, "s3", access_key=…)`, without retries."""

    def make(running: Running | Cloud, service: str, *, access_key: str = "test", **config: Any) -> Any:
        return _placeholder_session(access_key).client(
            service,
            endpoint_url=running.endpoint_url,
            config=Config(retries={"total_max_attempts": 1}, **config),
        )

    return make


@pytest.fixture
def stacks(account: Account) -> Iterator[Stacks]:
    """Stacks of the module's `account`; those that are left are deleted at the end."""
    found = Stacks(account)
    yield found
    found.delete_all()
