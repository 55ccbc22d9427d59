"""Clients for AWS, and the log: JSON, an object a line."""

from __future__ import annotations

from typing import Any

import boto3
from aws_lambda_powertools import Logger
from botocore.config import Config

log = Logger(service="ingestion")


def client(service: str, *, read_seconds: float = 5, attempts: int = 3) -> Any:
    """A client of a service, to be kept: making one takes longer than most calls.

    It gives up early: what comes of it is tried again by those who called the function, and in the same order.
    """
    return boto3.client(
        service,
        config=Config(
            connect_timeout=2,
            read_timeout=read_seconds,
            retries={"mode": "standard", "total_max_attempts": attempts},
            # The services check the same, and what is sent here has one form: a tenth of a call's cost.
            parameter_validation=False,
        ),
    )
