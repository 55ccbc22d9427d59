"""Minutes computed again from the archive, by the task that does it every hour: run now, for a span of one's choice."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import ClientError

from pipelines import names as n
from pipelines.errors import ServiceError
from pipelines.ingestion.missing import missing
from pipelines.names import Names
from pipelines.session import client

__all__ = ["Replayed", "replay"]

_POLLS = 3600


@dataclass(frozen=True)
class Replayed:
    """What a replay has found; `document` is what the task wrote (docs/concepts/ingestion.md says what is there)."""

    uri: str
    document: dict[str, Any]


def replay(
    session: boto3.Session,
    names: Names,
    first: datetime,
    end: datetime,
    *,
    write: bool,
    now: datetime,
    pause: Callable[[float], None],
    poll_seconds: float = 1.0,
) -> Replayed:
    """Compute the minutes from `first` to before `end` again, and compare them with the store's.

    write: whether minutes that differ are written. now: the account's time. All aware. pause: waits for so many
    seconds. Raises ServiceError when the stream's stack is not there or the task fails, with the end of its log.
    """
    task_id = f"replay-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    command = ["--from", _iso(first), "--to", _iso(end), "--id", task_id, *(["--write"] if write else [])]
    _run(session, names, command, pause, poll_seconds)
    uri = f"{names.replays_uri}/{task_id}.json"
    place = urlsplit(uri)
    try:
        body = client(session, "s3").get_object(Bucket=place.netloc, Key=place.path.lstrip("/"))["Body"].read()
    except ClientError as error:
        raise ServiceError(f"the replay ended and left no `{uri}`: {error}") from None
    return Replayed(uri, json.loads(body))


def _run(
    session: boto3.Session, names: Names, arguments: list[str], pause: Callable[[float], None], poll_seconds: float
) -> None:
    """Run the task to its end."""
    ecs: Any = client(session, "ecs")
    answer = ecs.run_task(
        cluster=names.ingestion_cluster,
        taskDefinition=names.task_family(n.REPLAY),
        launchType="FARGATE",
        networkConfiguration=_network(ecs, names),
        overrides={
            "containerOverrides": [
                {"name": n.REPLAY, "command": ["python3", "-m", "seed_code.ingestion.replay", *arguments]}
            ]
        },
    )
    if not answer["tasks"]:
        raise ServiceError(f"ECS did not start the replay: {answer['failures']}")
    arn = answer["tasks"][0]["taskArn"]
    for _ in range(_POLLS):
        [task] = ecs.describe_tasks(cluster=names.ingestion_cluster, tasks=[arn])["tasks"]
        if task["lastStatus"] == "STOPPED":
            break
        pause(poll_seconds)
    else:
        raise ServiceError(f"the replay `{arn}` still runs after {_POLLS * poll_seconds:.0f} s; ECS shows how it does")
    codes = [container.get("exitCode") for container in task["containers"]]
    if codes != [0]:
        why = task.get("stoppedReason") or f"exit status {codes[0]}"
        raise ServiceError(f"the replay failed: {why}; `mlops logs {n.REPLAY}` shows what it wrote")


def _network(ecs: Any, names: Names) -> dict[str, Any]:
    """Where the poller runs, the task may run, too."""
    try:
        answer = ecs.describe_services(cluster=names.ingestion_cluster, services=[names.task_family(n.POLLER)])
        services = [service for service in answer["services"] if service["status"] == "ACTIVE"]
    except ecs.exceptions.ClusterNotFoundException:
        services = []
    if not services:
        raise missing(names, f"service `{names.task_family(n.POLLER)}`")
    found: dict[str, Any] = services[0]["networkConfiguration"]
    return found


def _iso(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
