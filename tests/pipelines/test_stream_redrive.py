"""Dead letters of the stream: which of them are events that are given to `deduplicate` again."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from pipelines.ingestion.redrive import Redriven, redrive
from pipelines.names import Names

NAMES = Names("fraud", "123456789012", "eu-west-1")
NOON = int(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp())


def event(at: int) -> dict[str, Any]:
    detail = {"schema_version": 1, "observed_at": at, "transactions": []}
    return {"source": "mlops.ingestion", "detail-type": "Unconfirmed Transactions", "detail": detail}


class Account:
    """boto3's clients of SQS and Lambda: a queue of these messages."""

    def __init__(self, *bodies: Any) -> None:
        self.queue = {str(at): body if isinstance(body, str) else json.dumps(body) for at, body in enumerate(bodies)}
        self.hidden: set[str] = set()
        self.invoked: list[Any] = []

    def get_queue_url(self, QueueName: str) -> dict[str, str]:
        assert QueueName == "fraud-ingestion-dead"
        return {"QueueUrl": "url"}

    def receive_message(self, MaxNumberOfMessages: int, **_: Any) -> dict[str, Any]:
        seen = [handle for handle in self.queue if handle not in self.hidden][:MaxNumberOfMessages]
        self.hidden |= set(seen)
        return {"Messages": [{"Body": self.queue[handle], "ReceiptHandle": handle} for handle in seen]} if seen else {}

    def delete_message(self, ReceiptHandle: str, **_: Any) -> None:
        del self.queue[ReceiptHandle]
        self.hidden.remove(ReceiptHandle)

    def change_message_visibility(self, ReceiptHandle: str, VisibilityTimeout: int, **_: Any) -> None:
        assert VisibilityTimeout == 0
        self.hidden.remove(ReceiptHandle)

    def invoke(self, FunctionName: str, InvocationType: str, Payload: bytes) -> None:
        assert (FunctionName, InvocationType) == ("fraud-deduplicate", "Event")
        self.invoked.append(json.loads(Payload))


def test_events_are_given_again_and_nothing_else_is_touched() -> None:
    others = [
        {"requestPayload": event(NOON), "responsePayload": {"errorType": "Unexpected"}},
        {"reason": "the record is not JSON", "sequence_number": "1", "data": "x"},
        {"requestContext": {}, "KinesisBatchInfo": {"startSequenceNumber": "1"}},
        {"source": "mlops.ingestion", "detail-type": "Transactions Set Aside", "detail": {"observed_at": NOON}},
        "no JSON",
        "[]",
    ]
    account = Account(
        {"requestPayload": event(NOON + 90), "responsePayload": {"errorType": "NotPublished"}},
        *others,
        {"requestPayload": event(NOON + 120)},  # the function never ran
        *(event(NOON + at) for at in range(12)),
    )
    done = redrive(account, account, NAMES)
    began = datetime.fromtimestamp(NOON, UTC)
    assert done == Redriven(14, len(others), began, datetime.fromtimestamp(NOON + 120, UTC))
    assert account.invoked == [event(NOON + 90), event(NOON + 120), *(event(NOON + at) for at in range(12))]
    assert [json.loads(body) if body[0] == "{" else body for body in account.queue.values()] == others
    assert account.hidden == set()


def test_an_empty_queue_gives_nothing() -> None:
    account = Account()
    assert redrive(account, account, NAMES) == Redriven(0, 0, None, None)
