"""All checks in their order, and what keeps one from being made: no right, no such service there, no connection."""

from __future__ import annotations

import shutil
import socket
import sys
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, NoCredentialsError

from pipelines.account_time import account_time
from pipelines.config import Configuration
from pipelines.doctor import account, machine
from pipelines.doctor.finding import Finding, bad, unchecked
from pipelines.doctor.quotas import quotas
from pipelines.errors import ServiceError
from pipelines.names import MLFLOW_TRACKING_URI_VARIABLE
from pipelines.publishing.bucket import TemplateBucket
from pipelines.session import client
from pipelines.stack import DEFAULT_PORT, Stack

__all__ = ["attempted", "of_account", "of_machine"]

# localcloud, MLflow and the simulated source.
_SERVERS = 3
_SECONDS = 5
_NO_RIGHT = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "NotAuthorized", "AuthorizationError")
_NO_SERVICE = ("UnknownOperationException", "UnknownOperation", "InvalidAction", "404", "NotFound", "501")
_WRONG_KEYS = ("InvalidClientTokenId", "UnrecognizedClientException", "ExpiredToken", "ExpiredTokenException")

Check = tuple[str, Callable[[], Finding | list[Finding]]]


def of_machine(root: Path, environ: Mapping[str, str], state: Path) -> list[Finding]:
    """This machine. root: the working copy. state: the folder of the servers of `mlops up`."""
    on_aws = not environ.get("AWS_ENDPOINT_URL")
    lock = (root / "requirements" / "base.txt").read_text(encoding="utf-8")
    servers = Stack.recorded(state)
    return [
        machine.python(sys.version_info[:2]),
        machine.git(machine.program),
        machine.docker(machine.program, on_aws=on_aws),
        machine.versions(lock),
        machine.disk(shutil.disk_usage(root).free),
        machine.ports(_taken, DEFAULT_PORT, _SERVERS, ours=servers is not None and bool(servers.running())),
    ]


def of_account(
    session: boto3.Session, configuration: Configuration, root: Path, environ: Mapping[str, str]
) -> list[Finding]:
    """The account that the credentials are of. Where it does not answer at all, that is the only finding."""
    names = configuration.names
    on_aws = not environ.get("AWS_ENDPOINT_URL")
    first = attempted([("credentials", lambda: account.credentials(client(session, "sts"), names))])
    if any(finding.verdict != "good" for finding in first):
        return first
    bucket = TemplateBucket(session, names)

    def of(service: str) -> Any:
        return client(session, service)

    def clock() -> Finding:
        moment = account_time(of("sts"))
        return account.clock(moment, datetime.now(UTC), on_aws=on_aws)

    def mlflow() -> Finding:
        wanted = _pinned((root / "requirements" / "base.txt").read_text(encoding="utf-8"), "mlflow")
        return account.mlflow(environ.get(MLFLOW_TRACKING_URI_VARIABLE), wanted, of("sagemaker"), _answer)

    checks: list[Check] = [
        ("clock", clock),
        ("administrator's stack", lambda: account.admin_stack(of("cloudformation"))),
        ("template", lambda: account.template(bucket, of("s3"))),
        ("launch role", lambda: account.launch_role(of("iam"), names)),
        ("permissions boundary", lambda: account.boundary(of("iam"), names)),
        ("Studio", lambda: account.studio(of("sagemaker"), bucket.studio_location)),
        ("repository", lambda: account.repository(of("codecommit"), names)),
        ("connections", lambda: account.connections(of("codeconnections"))),
        ("MLflow", mlflow),
        ("quotas", lambda: quotas(of("service-quotas"), configuration)),
    ]
    return [*first, *attempted(checks)]


def attempted(checks: Iterable[Check]) -> list[Finding]:
    """Make each check; what keeps one from being made is its finding."""
    return list(_attempted(checks))


def _attempted(checks: Iterable[Check]) -> Iterator[Finding]:
    for name, check in checks:
        try:
            found = check()
        except ClientError as error:
            yield _refused(name, error)
        except NoCredentialsError:
            yield bad(name, "there are none", "start localcloud with `mlops up`, or give those of an AWS account")
        except EndpointConnectionError as error:
            yield bad(name, str(error), "start localcloud with `mlops up`, or unset AWS_ENDPOINT_URL for AWS itself")
        except (BotoCoreError, ServiceError) as error:
            yield unchecked(name, str(error))
        else:
            yield from found if isinstance(found, list) else [found]


def _refused(name: str, error: ClientError) -> Finding:
    details = error.response.get("Error", {})
    code, message = str(details.get("Code", "")), str(details.get("Message", ""))
    if code in _WRONG_KEYS:
        return bad(name, f"AWS does not take the credentials: {message}", "log in again, or choose another AWS_PROFILE")
    if code in _NO_RIGHT:
        return unchecked(name, f"no right to {error.operation_name}", "ask who administers the account, if it matters")
    if code in _NO_SERVICE:
        return unchecked(name, f"what answers here has no {error.operation_name}")
    return unchecked(name, f"{error.operation_name}: {code}: {message}")


def _taken(port: int) -> bool:
    with socket.socket() as one:
        one.settimeout(1)
        return one.connect_ex(("127.0.0.1", port)) == 0


def _answer(url: str) -> str:
    with urllib.request.urlopen(url, timeout=_SECONDS) as answer:
        return str(answer.read(1000).decode(errors="replace"))


def _pinned(lock: str, package: str) -> str:
    """The version of a package in a lock; empty when it is not there."""
    start = f"{package}=="
    return next((line.removeprefix(start).split()[0] for line in lock.splitlines() if line.startswith(start)), "")
