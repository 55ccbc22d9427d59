"""The project that a function belongs to, its clients and its log."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.config import Config

from pipelines.names import Names

log = Logger(service="mlops")


class NotYet(Exception):
    """What an event is about is still changing: it is to come again."""


@cache
def names() -> Names:
    """The project's names, from the function's environment: PROJECT, ACCOUNT_ID, and AWS_REGION, which Lambda sets."""
    return Names(os.environ["PROJECT"], os.environ["ACCOUNT_ID"], os.environ["AWS_REGION"])


@cache
def client(service: str) -> Any:
    """A client, made once for all invocations. It gives up early: better to fail than to hang."""
    return boto3.client(
        service,
        region_name=names().region,
        config=Config(connect_timeout=3, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 4}),
    )


class Session:
    """Stands for boto3's session where one is asked for: its clients are those of `client`."""

    def client(self, service: str) -> Any:
        return client(service)


def each_record(event: dict[str, Any], context: LambdaContext, act: Callable[[SQSRecord], None]) -> dict[str, Any]:
    """Act on each message of a batch; what fails is logged, and reported, so that the queue gives it again."""

    def logged(record: SQSRecord) -> None:
        try:
            act(record)
        except NotYet as error:
            log.info("it comes again", extra={"because": str(error)})
            raise
        except Exception:
            log.exception("a message cannot be acted on")
            raise

    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    return dict(process_partial_response(event=event, record_handler=logged, processor=processor, context=context))


def moment_of(event: dict[str, Any]) -> datetime:
    """The moment that an event is about (aware): its own `time`. A function's clock says only when it was called."""
    moment = datetime.fromisoformat(event["time"])
    if moment.tzinfo is None:
        raise ValueError(f"the event's time {event['time']!r} has no time zone; expected e.g. 2026-11-22T14:00:00Z")
    return moment


def workload_of_group(group: str) -> str | None:
    """The workload of a model package group of this project; None for any other group."""
    prefix = f"{names().project}-"
    return group.removeprefix(prefix) if group.startswith(prefix) else None
