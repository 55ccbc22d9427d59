"""Events that the function `deduplicate` could not pass on, given to it again out of the dead letter queue.

Lambda calls the function three times within minutes and then lets the queue have the event, with what the function
said; EventBridge lets it have an event that it could not give to Lambda for a day. What else is in the queue is not
touched: events that are none, records that are no minute, and minutes that could not be written, which a replay brings.

Sources: "Capturing records of Lambda asynchronous invocations" in the AWS Lambda Developer Guide; "Using dead-letter
queues to process undelivered events in EventBridge" in the Amazon EventBridge User Guide.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipelines import names as n
from pipelines.names import Names

__all__ = ["Redriven", "redrive"]

_AT_ONCE = 10  # ReceiveMessage's most
_HIDDEN_SECONDS = 300  # messages that have been looked at, while others are
# What `deduplicate` raises for an event that will never be one.
_HOPELESS = "Unexpected"


@dataclass(frozen=True)
class Redriven:
    """What became of the queue's messages.

    Attributes:
        events: that were given to the function again.
        left: messages that stay, for a person to look at.
        first, last: when the earliest and the latest of the events were observed; None without events.
    """

    events: int
    left: int
    first: datetime | None
    last: datetime | None


def redrive(sqs: Any, functions: Any, names: Names) -> Redriven:
    """Give the queue's events to the function again. Raises botocore's ClientError when the stack is not there.

    sqs, functions: boto3's clients of SQS and Lambda. An event leaves the queue when Lambda has it: one that is given
    twice is passed on once.
    """
    url = sqs.get_queue_url(QueueName=names.queue(n.INGESTION_DEAD_QUEUE))["QueueUrl"]
    observed: list[int] = []
    left: list[str] = []
    for message in _messages(sqs, url):
        event = _event(message["Body"])
        if event is None:
            left.append(message["ReceiptHandle"])
            continue
        functions.invoke(
            FunctionName=names.function(n.DEDUPLICATE), InvocationType="Event", Payload=json.dumps(event).encode()
        )
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        observed.append(int(event["detail"]["observed_at"]))
    for handle in left:
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0)
    moments = [datetime.fromtimestamp(at, UTC) for at in (min(observed), max(observed))] if observed else [None, None]
    return Redriven(len(observed), len(left), *moments)


def _messages(sqs: Any, url: str) -> Iterator[dict[str, Any]]:
    """The queue's messages; each is hidden from the next look."""
    while True:
        answer = sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=_AT_ONCE, VisibilityTimeout=_HIDDEN_SECONDS, WaitTimeSeconds=1
        )
        if not answer.get("Messages"):
            return
        yield from answer["Messages"]


def _event(body: str) -> dict[str, Any] | None:
    """The event in a message, by itself or in what Lambda says of its call; None for any other message."""
    try:
        told = json.loads(body)
        if (told.get("responsePayload") or {}).get("errorType") == _HOPELESS:
            return None
        event: dict[str, Any] = told.get("requestPayload", told)
        usable = event["detail-type"] == n.TRANSACTIONS_DETAIL and type(event["detail"]["observed_at"]) is int
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    return event if usable else None
