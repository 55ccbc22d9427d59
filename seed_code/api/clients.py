"""Clients for AWS that give up early: a caller waits."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config


def client(service: str, *, connect_seconds: float, read_seconds: float, attempts: int) -> Any:
    """A client of a service, to be kept: making one takes longer than most calls."""
    return boto3.client(
        service,
        config=Config(
            connect_timeout=connect_seconds,
            read_timeout=read_seconds,
            retries={"mode": "standard", "total_max_attempts": attempts},
            # The services check the same, and what is sent here has one form: a tenth of a call's cost.
            parameter_validation=False,
        ),
    )
