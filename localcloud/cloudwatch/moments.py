"""Moments as CloudWatch writes them in reasons and messages."""

from __future__ import annotations

from datetime import UTC, datetime


def exact(moment: datetime) -> str:
    """`2019-10-02T17:04:40.989+0000`."""
    moment = moment.astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}+0000"


def short(epoch: float) -> str:
    """`02/10/19 16:59:00`, day first."""
    return f"{datetime.fromtimestamp(epoch, UTC):%d/%m/%y %H:%M:%S}"


def long(moment: datetime) -> str:
    """`Thursday 22 August, 2019 01:02:59 UTC`."""
    return f"{moment.astimezone(UTC):%A %d %B, %Y %H:%M:%S} UTC"


def of_epoch(epoch: float) -> datetime:
    return datetime.fromtimestamp(epoch, UTC)
