"""What event source mappings may be of: the settings of each kind of source, what they are where they are left out, and
which go together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from botocore.exceptions import ClientError

from localcloud.context import Context
from localcloud.errors import ServiceError
from localcloud.events.patterns import Pattern, PatternError
from localcloud.functions.destinations import queue_url, service_of
from localcloud.functions.functions import Document
from localcloud.functions.packages import refused
from localcloud.functions.streams import START_AFTER
from localcloud.kinesis.streams import Streams, milliseconds

_MOST_WITHOUT_WINDOW = 10
_LEAST_RECORD_AGE_SECONDS = 60
_DESTINATIONS = ("sns", "sqs")
_BOTH = (
    "BatchSize", "FilterCriteria", "FunctionResponseTypes", "MaximumBatchingWindowInSeconds", "MetricsConfig",
)  # fmt: skip


class Kind(Protocol):
    """A kind of source."""

    settings: tuple[str, ...]
    """What can be changed later."""
    first_settings: tuple[str, ...]
    """What can be said at the creation only."""
    defaults: Mapping[str, Any]

    def begin(self, document: Document) -> Document:
        """What a new mapping holds beside its settings."""
        ...

    def check(self, document: Document, function: Document) -> None:
        """Raise for settings that do not go together, or with the source. Raises ServiceError."""
        ...


class Queues:
    """SQS queues."""

    settings: tuple[str, ...] = (*_BOTH, "ScalingConfig")
    first_settings: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = {"BatchSize": 10, "MaximumBatchingWindowInSeconds": 0}

    def __init__(self, context: Context) -> None:
        self._context = context

    def begin(self, document: Document) -> Document:
        """Nothing: what a queue holds is what is left to do."""
        return {}

    def check(self, document: Document, function: Document) -> None:
        """See `Kind`."""
        source, window = document["EventSourceArn"], document["MaximumBatchingWindowInSeconds"]
        fifo = source.endswith(".fifo")
        if document["BatchSize"] > _MOST_WITHOUT_WINDOW and not window:
            raise refused(
                "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than"
                f" {_MOST_WITHOUT_WINDOW}"
            )
        if fifo and window:
            raise refused("Batching window is not supported for FIFO queues")
        _check_filters(document)
        sqs = self._context.leaf.client("sqs")
        try:
            attributes = sqs.get_queue_attributes(
                QueueUrl=queue_url(sqs, source), AttributeNames=["VisibilityTimeout"]
            )["Attributes"]
        except ClientError as error:
            found = error.response["Error"]
            raise refused(
                f"Error occurred while ReceiveMessage. SQS Error Code: {found['Code']}. SQS Error Message:"
                f" {found['Message']}"
            ) from error
        if int(attributes["VisibilityTimeout"]) < function["Timeout"]:
            raise refused(
                f"Queue visibility timeout: {attributes['VisibilityTimeout']} seconds is less than Function timeout:"
                f" {function['Timeout']} seconds"
            )
        for operation in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes"):
            _check_right(self._context, function["Role"], "SQS", operation, source)


class KinesisStreams:
    """Kinesis streams."""

    settings: tuple[str, ...] = (
        *_BOTH, "BisectBatchOnFunctionError", "DestinationConfig", "MaximumRecordAgeInSeconds", "MaximumRetryAttempts",
        "ParallelizationFactor",
    )  # fmt: skip
    first_settings: tuple[str, ...] = ("StartingPosition", "StartingPositionTimestamp")
    defaults: Mapping[str, Any] = {
        "BatchSize": 100,
        "BisectBatchOnFunctionError": False,
        "DestinationConfig": {},
        "MaximumBatchingWindowInSeconds": 0,
        "MaximumRecordAgeInSeconds": -1,
        "MaximumRetryAttempts": -1,
        "ParallelizationFactor": 1,
    }

    def __init__(self, context: Context, streams: Streams) -> None:
        self._context, self._streams = context, streams

    def begin(self, document: Document) -> Document:
        """The position after which it begins, the same for all shards. What a LATEST mapping's stream gets from the
        creation on is handled; on AWS it may be some seconds later."""
        kind, moment = document.get("StartingPosition"), document.get("StartingPositionTimestamp")
        if kind is None:
            raise refused("1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint:"
                          " Member must not be null.")  # fmt: skip
        if (kind == "AT_TIMESTAMP") != (moment is not None):
            raise refused(
                "StartingPositionTimestamp is required if StartingPosition is AT_TIMESTAMP, and only then; got"
                f" StartingPosition {kind} and StartingPositionTimestamp {moment}"
            )
        self._named(document)
        if kind == "TRIM_HORIZON":
            return {START_AFTER: 0}
        if moment is None:
            return {START_AFTER: self._streams.latest}
        if moment > self._context.clock.now():
            raise refused(f"StartingPositionTimestamp must not be in the future; got {moment.isoformat()}")
        return {START_AFTER: self._streams.since(document["EventSourceArn"], milliseconds(moment))}

    def check(self, document: Document, function: Document) -> None:
        """See `Kind`."""
        self._named(document)
        for operation in ("DescribeStream", "DescribeStreamSummary", "GetRecords", "GetShardIterator", "ListShards"):
            _check_right(self._context, function["Role"], "Kinesis", operation, document["EventSourceArn"])
        age = document["MaximumRecordAgeInSeconds"]
        if -1 < age < _LEAST_RECORD_AGE_SECONDS:
            raise refused(f"MaximumRecordAgeInSeconds must be -1 or at least {_LEAST_RECORD_AGE_SECONDS}; got {age}")
        destinations = document["DestinationConfig"]
        if destinations.get("OnSuccess"):
            raise refused("Invalid destination config: an event source mapping has no OnSuccess destination")
        target = destinations.get("OnFailure", {}).get("Destination", "")
        if target and service_of(target) not in _DESTINATIONS:
            raise refused(f"localcloud's destinations on failure are SQS queues and SNS topics; got {target!r}")
        _check_filters(document)

    def _named(self, document: Document) -> None:
        arn = document["EventSourceArn"]
        try:
            self._streams.named(arn)
        except ServiceError as error:
            raise refused(f"Stream not found: {arn}") from error


def _check_right(context: Context, role_arn: str, service: str, operation: str, arn: str) -> None:
    """Raise what Lambda says when a function's role may not read the source."""
    try:
        context.authority.check(role_arn, f"{service.lower()}:{operation}", arn)
    except ServiceError as error:
        raise refused(
            f"The provided execution role does not have permissions to call {operation} on {service}: {error.message}"
        ) from error


def _check_filters(document: Document) -> None:
    for number, entry in enumerate(document.get("FilterCriteria", {}).get("Filters", [])):
        try:
            Pattern.parse(entry.get("Pattern", ""))
        except PatternError as error:
            raise refused(f"Invalid filter pattern definition in FilterCriteria.Filters[{number}]: {error}") from error
