"""Deploying the stream: template/ingestion.yml, with what configs/ingestion.yml says."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import boto3

from pipelines import functions, images, infrastructure
from pipelines.config import Configuration
from pipelines.errors import ServiceError
from pipelines.infrastructure import Wanted
from pipelines.ingestion import flink
from pipelines.ingestion.settings import Ingestion
from pipelines.names import INGESTION, SOURCE_URL_VARIABLE, LocalPaths
from pipelines.session import client

__all__ = ["deploy", "wanted"]


def deploy(
    session: boto3.Session,
    configuration: Configuration,
    root: Path,
    *,
    poll_seconds: float = 1.0,
    tell: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Make the stream's stack what its template says; gives what was done.

    root: the working copy. The project's own stack is there, and the image is registered. Raises ServiceError when the
    stack fails or there is no network to put containers in, ImageError and UsageError for what is wrong in `root`.
    """
    names = configuration.names
    tell("packing the stream's functions")
    stack = infrastructure.under_the_boundary(session, names, wanted(session, configuration, root))
    tell(f"deploying the stack {names.ingestion_stack}")
    return infrastructure.deploy(session, names, names.ingestion_stack, stack, poll_seconds)


def wanted(session: boto3.Session, configuration: Configuration, root: Path) -> Wanted:
    """What the stream's stack is to be made of; its code is uploaded. Raises as `deploy` does."""
    names, settings = configuration.names, configuration.ingestion
    vpc_id, subnet_ids = _network(session, settings)
    parameters = {
        "SageMakerProjectName": names.project,
        "Bucket": names.bucket,
        "ExecutionRoleName": names.role_name,
        "CodeBucket": names.code_bucket,
        "CodeKey": functions.upload(session, names, root, functions.INGESTION),
        "FlinkCodeKey": flink.upload(session, names, LocalPaths(root)),
        "ImageUri": names.image_uri(INGESTION, images.read(root, INGESTION).digest),
        **_settings(settings),
        **_addresses(settings, os.environ),
        "VpcId": vpc_id,
        "SubnetIds": ",".join(subnet_ids),
    }
    return Wanted(LocalPaths(root).ingestion_template.read_text(encoding="utf-8"), parameters)


def _settings(settings: Ingestion) -> dict[str, str]:
    poller, aggregate = settings.poller, settings.aggregate
    return {
        "Running": _flag(settings.running),
        "SourceProtocol": settings.source.protocol,
        "RequestsPer5Minutes": str(settings.source.requests_per_5_minutes),
        "PollerCpu": str(poller.container.cpu),
        "PollerMemory": str(poller.container.memory_mb),
        "PollerSpot": _flag(poller.spot),
        "SpoolMegabytes": str(poller.spool_mb),
        "DedupeHours": str(settings.dedupe_hours),
        "AggregateBy": aggregate.by,
        "LatenessSeconds": str(aggregate.lateness_seconds),
        "OperatorCpu": str(aggregate.container.cpu),
        "OperatorMemory": str(aggregate.container.memory_mb),
        "FlinkConnector": aggregate.connector,
        "ReconcileHours": str(settings.archive.reconcile_hours),
        "MaxMinuteAgeMinutes": str(settings.alarms.max_minute_age_minutes),
        "MaxGaps": str(settings.alarms.max_gaps),
        "MaxIteratorAgeSeconds": str(settings.alarms.max_iterator_age_seconds),
        "PublicAddresses": _flag(settings.network.public_addresses),
    }


def _addresses(settings: Ingestion, environ: Mapping[str, str]) -> dict[str, str]:
    """Where transactions come from: what the environment says goes before the configuration."""
    url = environ.get(SOURCE_URL_VARIABLE)
    if not url:
        return {"SourceUrl": settings.source.url, "WebsocketUrl": settings.source.websocket_url}
    return {"SourceUrl": url, "WebsocketUrl": f"ws{url.removeprefix('http')}/inv"}


def _network(session: boto3.Session, settings: Ingestion) -> tuple[str, list[str]]:
    """The VPC and its subnets."""
    if settings.network.vpc_id:
        return settings.network.vpc_id, list(settings.network.subnet_ids)
    ec2: Any = client(session, "ec2")
    vpcs = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    if not vpcs:
        raise ServiceError(
            "the account has no default VPC in this region for the stream's containers; name one, and its subnets, in "
            "configs/ingestion.yml (`network`), or make it with `aws ec2 create-default-vpc`"
        )
    vpc_id = str(vpcs[0]["VpcId"])
    subnets = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc_id]}])["Subnets"]
    if not subnets:
        raise ServiceError(f"the default VPC {vpc_id} has no subnets; name others in configs/ingestion.yml (`network`)")
    return vpc_id, sorted(str(subnet["SubnetId"]) for subnet in subnets)


def _flag(value: bool) -> str:
    return "true" if value else "false"
