"""Bringing the stream to what the configuration says, by its stack: services' counts, schedules and alarms go together.

CloudFormation makes and changes a Flink application, and starts and stops none: that is done here, around it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

from pipelines import infrastructure
from pipelines.config import Configuration
from pipelines.errors import ServiceError
from pipelines.ingestion import deployment
from pipelines.session import client

__all__ = ["Flink", "bring", "configured", "left_going"]

_POLLS = 600
_AT_REST = ("READY", "RUNNING", None)


def configured(configuration: Configuration, *, running: bool, by: str | None = None) -> Configuration:
    """The configuration with the stream running, or not, and perhaps another aggregate."""
    ingestion = configuration.ingestion
    aggregate = ingestion.aggregate.model_copy(update={"by": by} if by else {})
    changed = ingestion.model_copy(update={"running": running, "aggregate": aggregate})
    return configuration.model_copy(update={"ingestion": changed})


def left_going(session: boto3.Session, configuration: Configuration) -> Configuration:
    """The configuration, but a stream that is at work stays so, whatever the configuration says of `running`."""
    deployed = infrastructure.parameters(session, configuration.names.ingestion_stack).get("Running")
    return configured(configuration, running=configuration.ingestion.running or deployed == "true")


def bring(
    session: boto3.Session,
    configuration: Configuration,
    root: Path,
    *,
    pause: Callable[[float], None] = time.sleep,
    poll_seconds: float = 1.0,
    tell: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Deploy the stream's stack, and set the stream going or stop it, as configured; gives what changed in the stack.

    Flink is stopped with a snapshot, and goes on from its newest one. Raises as `deployment.deploy` does, and
    ServiceError when Flink does not get where it is to be.

    root: the working copy. pause: waits for so many seconds. poll_seconds: how often is asked how far things are.
    """
    names, ingestion = configuration.names, configuration.ingestion

    def flink() -> Flink:
        service = client(session, "kinesisanalyticsv2")
        return Flink(service, names.flink_application, pause, poll_seconds, tell)

    wanted = ingestion.running and ingestion.aggregate.by == "flink"
    if not wanted and infrastructure.parameters(session, names.ingestion_stack).get("AggregateBy") == "flink":
        flink().stop()
    changes = deployment.deploy(session, configuration, root, poll_seconds=poll_seconds, tell=tell)
    if wanted:
        flink().start()
    return changes


class Flink:
    """The application, if there is one."""

    def __init__(
        self,
        flink: Any,
        application: str,
        pause: Callable[[float], None],
        poll_seconds: float,
        tell: Callable[[str], None],
    ) -> None:
        """flink: boto3's client."""
        self._flink, self._application = flink, application
        self._pause, self._poll_seconds, self._tell = pause, poll_seconds, tell

    def start(self) -> None:
        """Start it, unless it runs; from its newest snapshot, if it has one."""
        if self._settled() == "RUNNING":
            return
        self._tell("starting Flink")
        found = self._flink.list_application_snapshots(ApplicationName=self._application, Limit=1)
        restore = "RESTORE_FROM_LATEST_SNAPSHOT" if found.get("SnapshotSummaries") else "SKIP_RESTORE_FROM_SNAPSHOT"
        self._flink.start_application(
            ApplicationName=self._application,
            RunConfiguration={"ApplicationRestoreConfiguration": {"ApplicationRestoreType": restore}},
        )
        self._expect("RUNNING")

    def stop(self) -> None:
        """Stop it, with a snapshot, if it runs."""
        if self._settled() == "RUNNING":
            self._tell("stopping Flink, with a snapshot")
            self._flink.stop_application(ApplicationName=self._application)
            self._expect("READY")

    def _expect(self, wanted: str) -> None:
        status = self._settled()
        if status != wanted:
            raise ServiceError(
                f"the Flink application `{self._application}` is {status}, expected {wanted}; `mlops logs flink` shows "
                "what it wrote"
            )

    def _settled(self) -> str | None:
        """Its status, once it is not on its way to another one; None when there is no application."""
        for _ in range(_POLLS):
            status = self._status()
            if status in _AT_REST:
                return status
            self._pause(self._poll_seconds)
        return status

    def _status(self) -> str | None:
        try:
            detail = self._flink.describe_application(ApplicationName=self._application)["ApplicationDetail"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return None
            raise
        return str(detail["ApplicationStatus"])
