"""Waiting for a message outside of moto, in both protocols that SDKs speak with SQS."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest

from localcloud.protocols.http import HttpRequest, HttpResponse
from localcloud.queue_waiting import LongPolling

JSON = {"x-amz-target": "AmazonSQS.ReceiveMessage", "content-type": "application/x-amz-json-1.0"}
QUERY = {"content-type": "application/x-www-form-urlencoded"}
URL = "http://127.0.0.1/123456789012/queue"


class Leaf:
    """A queue that has a message from a moment on, by a clock that only sleeping moves."""

    def __init__(self, comes_at: float, waits: int = 0) -> None:
        self.comes_at, self.waits = comes_at, waits
        self.now = 0.0
        self.asked: list[dict[str, Any]] = []

    def handle(self, service: str, request: HttpRequest) -> HttpResponse:
        assert service == "sqs"
        if "x-amz-target" in request.headers:
            self.asked.append(json.loads(request.body))
            return HttpResponse(200, [], b'{"Messages": [{}]}' if self.now >= self.comes_at else b"{}")
        self.asked.append({name: value for name, [value] in parse_qs(request.body.decode()).items()})
        return HttpResponse(200, [], b"<Message></Message>" if self.now >= self.comes_at else b"<Result/>")

    def client(self, service: str) -> Any:
        return self

    def get_queue_attributes(self, QueueUrl: str, AttributeNames: list[str]) -> Any:
        assert QueueUrl == URL
        values = {
            "ReceiveMessageWaitTimeSeconds": str(self.waits),
            "ApproximateNumberOfMessages": str(int(self.now >= self.comes_at)),
        }
        return {"Attributes": {name: values[name] for name in AttributeNames}}

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def receive(self, *, query: bool, **wait: int) -> HttpResponse:
        given = {"QueueUrl": URL, **wait}
        body = urlencode({"Action": "ReceiveMessage", **given}) if query else json.dumps(given)
        request = HttpRequest("POST", "/", "", QUERY if query else JSON, body.encode())
        polling: Any = LongPolling(self, self.sleep, lambda: self.now)  # type: ignore[arg-type]
        answer: HttpResponse = polling.handle(request)
        return answer


@pytest.mark.parametrize("query", [False, True])
@pytest.mark.parametrize(
    ("leaf", "wait", "came_at", "asked"),
    [
        (Leaf(0.0), {"WaitTimeSeconds": 5}, 0.0, 1),
        (Leaf(2.0), {"WaitTimeSeconds": 5}, 2.0, 2),
        (Leaf(9.0), {"WaitTimeSeconds": 5}, None, 1),
        (Leaf(2.0), {"WaitTimeSeconds": 0}, None, 1),
        (Leaf(2.0), {}, None, 1),
        (Leaf(2.0, waits=3), {}, 2.0, 2),
        (Leaf(2.0, waits=3), {"WaitTimeSeconds": 0}, None, 1),
    ],
)
def test_moto_never_waits(leaf: Leaf, wait: dict[str, int], came_at: float | None, asked: int, query: bool) -> None:
    leaf.now, leaf.asked = 0.0, []
    response = leaf.receive(query=query, **wait)
    assert (b"Message" in response.body) == (came_at is not None)
    if came_at is not None:
        assert leaf.now == pytest.approx(came_at, abs=0.11)
    assert len(leaf.asked) == asked
    assert all(int(one["WaitTimeSeconds"]) == 0 for one in leaf.asked)


def test_what_moto_refuses_is_its_own() -> None:
    leaf = Leaf(0.0)
    leaf.receive(query=False, WaitTimeSeconds=21)
    assert leaf.asked == [{"QueueUrl": URL, "WaitTimeSeconds": 21}]
