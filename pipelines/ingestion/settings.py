"""What configs/ingestion.yml says."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipelines.schema import words
from pipelines.sections import Section

__all__ = ["Ingestion"]

_CPU = Literal[256, 512, 1024, 2048, 4096]
# What Fargate offers with each: megabytes, from and to (Amazon ECS, "Task definition parameters for Fargate").
_MEMORY = {256: (512, 2048), 512: (1024, 4096), 1024: (2048, 8192), 2048: (4096, 16384), 4096: (8192, 30720)}


class Container(Section):
    """Size of a Fargate task."""

    cpu: _CPU
    """CPU units; 1024 are one processor."""
    memory_mb: Annotated[int, Field(ge=512, le=30720)]
    """Megabytes; which go with how much CPU, AWS says."""

    @model_validator(mode="after")
    def _fits(self) -> Container:
        least, most = _MEMORY[self.cpu]
        if not least <= self.memory_mb <= most or (self.memory_mb % 1024 and self.memory_mb != 512):
            raise ValueError(
                f"memory_mb is {self.memory_mb} with cpu {self.cpu}; Fargate has {least} to {most} with it, in whole "
                "gigabytes (or 512)"
            )
        return self


class Source(Section):
    """Where transactions come from."""

    protocol: Literal["rest", "websocket"]
    """The pages of unconfirmed transactions, or the websocket, which says nothing of fees: they are computed."""
    url: Annotated[str, Field(pattern=r"^https?://[^\s/]+$", json_schema_extra=words("an http or https address"))]
    """Of the API, without a path. The environment variable MLOPS_SOURCE_URL goes before it."""
    websocket_url: Annotated[
        str, Field(pattern=r"^wss?://[^\s/]+(/\S*)?$", json_schema_extra=words("a ws or wss address"))
    ]
    """Of the websocket. The environment variable MLOPS_SOURCE_URL goes before it, with `/inv`."""
    requests_per_5_minutes: Annotated[int, Field(ge=10, le=100_000)]
    """What the service lets one caller ask."""


class Poller(Section):
    """What asks the API and publishes."""

    container: Container
    """Its size."""
    spot: bool
    """Whether it runs on Fargate Spot, which costs a third and may be stopped with two minutes' notice."""
    spool_mb: Annotated[int, Field(ge=1, le=15_000)]
    """Megabytes on disk for what cannot be published; beyond them the oldest is given up, and counted."""


class Aggregate(Section):
    """What makes minutes of transactions."""

    by: Literal["operator", "flink"]
    """The operator in Python, a Fargate service for small streams; or Managed Service for Apache Flink."""
    lateness_seconds: Annotated[int, Field(ge=0, le=3600)]
    """How long a minute is waited for after its end, in event time."""
    container: Container
    """The operator's size."""
    connector: Literal["kinesis", "filesystem"]
    """Flink's way to the streams: `filesystem` where they are mounted as files, as localcloud does."""


class Archive(Section):
    """The transactions as they came, in S3."""

    days: Annotated[int, Field(ge=1, le=3650)]
    """How long they are kept."""
    reconcile_hours: Annotated[int, Field(ge=1, le=24)]
    """So many of the last hours are computed again from the archive every hour, and minutes that differ written."""


class StreamAlarms(Section):
    """When people are told."""

    max_minute_age_minutes: Annotated[int, Field(ge=2, le=1440)]
    """Age of the newest minute."""
    max_gaps: Annotated[int, Field(ge=0, le=300)]
    """Pages in five minutes that did not overlap with the page before."""
    max_iterator_age_seconds: Annotated[int, Field(ge=1, le=86_400)]
    """How far a function may be behind its stream."""


class Network(Section):
    """Where the containers run."""

    vpc_id: Annotated[str, Field(pattern=r"^(vpc-[0-9a-f]+)?$", json_schema_extra=words("a VPC's id, or empty text"))]
    """Empty: the account's default VPC."""
    subnet_ids: Annotated[tuple[Annotated[str, Field(pattern=r"^subnet-[0-9a-f]+$")], ...], Field(strict=False)]
    """Empty: all of the default VPC. They need a way to the internet."""
    public_addresses: bool
    """Whether containers get public addresses, for the way out of a subnet without NAT. Nothing is let in."""

    @model_validator(mode="after")
    def _both(self) -> Network:
        if bool(self.vpc_id) != bool(self.subnet_ids):
            raise ValueError("vpc_id and subnet_ids go together: give both, or neither for the default VPC")
        return self


class Ingestion(Section):
    """The stream of blockchain transactions that feeds the forecaster's minutes."""

    running: bool
    """Whether the stack keeps it at work. `mlops stream --start` and `--stop` change it until the next deployment;
    `mlops up` stops none that is at work."""
    source: Source
    """Where transactions come from."""
    poller: Poller
    """What asks the API and publishes."""
    dedupe_hours: Annotated[int, Field(ge=1, le=168)]
    """How long a transaction is known, so that it is not counted twice."""
    aggregate: Aggregate
    """What makes minutes of transactions."""
    archive: Archive
    """The transactions as they came, in S3."""
    alarms: StreamAlarms
    """When people are told."""
    network: Network
    """Where the containers run."""
