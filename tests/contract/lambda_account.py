"""What the tests of functions and events need of an account: functions from source text, queues, and ways to wait."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.contract.sagemaker_account import until

EVENTS = "events.amazonaws.com"


def package(source: str, **files: str) -> bytes:
    """A zip file with `index.py` and other files."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("index.py", source)
        for name, text in files.items():
            archive.writestr(f"{name}.py", text)
    return content.getvalue()


@dataclass(frozen=True)
class Functions:
    """An account in which functions are made. Names are new for every one."""

    client: Callable[[str], Any]
    role: str

    def name(self, what: str = "test") -> str:
        return f"{what}-{uuid.uuid4().hex[:10]}"

    def create(self, source: str, **members: Any) -> str:
        """A function whose handler is `handler` in the source; gives its ARN."""
        answer = self.client("lambda").create_function(
            FunctionName=self.name(),
            Runtime="python3.11",
            Role=self.role,
            Code={"ZipFile": package(source)},
            **{"Timeout": 10, "Handler": "index.handler", **members},
        )
        return str(answer["FunctionArn"])

    def call(self, function: str, event: Any = None, **members: Any) -> Any:
        """What a function answers."""
        payload = {} if event is None else {"Payload": json.dumps(event).encode()}
        answer = self.client("lambda").invoke(FunctionName=function, **payload, **members)
        body = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, body
        return body

    def fail(self, function: str, event: Any = None) -> Any:
        """The error of a function that fails."""
        answer = self.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event).encode())
        assert answer["FunctionError"] == "Unhandled"
        return json.loads(answer["Payload"].read())

    def queue(self, **attributes: str) -> tuple[str, str]:
        """A queue; gives its URL and its ARN."""
        sqs = self.client("sqs")
        suffix = ".fifo" if attributes.get("FifoQueue") else ""
        url = sqs.create_queue(QueueName=self.name("queue") + suffix, Attributes=attributes)["QueueUrl"]
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
        return str(url), str(found["QueueArn"])

    def let_events_in(self, url: str, arn: str) -> None:
        """Let EventBridge send to a queue."""
        statement = {"Effect": "Allow", "Principal": {"Service": EVENTS}, "Action": "sqs:SendMessage", "Resource": arn}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})

    def received(self, url: str, count: int = 1) -> list[dict[str, Any]]:
        """So many messages of a queue, taken from it."""
        sqs, messages = self.client("sqs"), []

        def take() -> bool:
            found = sqs.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], AttributeNames=["All"]
            ).get("Messages", [])
            for message in found:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            messages.extend(found)
            return len(messages) >= count

        until(take, f"{count} messages in {url}")
        return messages

    def bodies(self, url: str, count: int = 1) -> list[Any]:
        """The JSON bodies of so many messages."""
        return [json.loads(message["Body"]) for message in self.received(url, count)]

    def count(self, url: str) -> int:
        """How many messages a queue holds, those in somebody's hands included."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(int(value) for value in found.values())
