"""Long polling of SQS: a ReceiveMessage that waits until there is a message.

moto would wait while it has the lock that all its services share, and by a clock that stands meanwhile: for ever, and
nothing else would be answered. So it is asked without a wait, and the waiting is done here.

Source: "Amazon SQS short and long polling" in the Amazon SQS Developer Guide.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from botocore.exceptions import ClientError

from localcloud.leaf import Leaf
from localcloud.protocols import models
from localcloud.protocols.http import HttpRequest, HttpResponse

_WAIT, _URL = "WaitTimeSeconds", "QueueUrl"
_LONGEST_SECONDS = 20
_LOOK_SECONDS = 0.1
_WAIT_OF_QUEUE, _VISIBLE = "ReceiveMessageWaitTimeSeconds", "ApproximateNumberOfMessages"


class LongPolling:
    """Answers the requests to SQS."""

    def __init__(
        self,
        leaf: Leaf,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._leaf, self._sleep, self._monotonic = leaf, sleep, monotonic

    def handle(self, request: HttpRequest) -> HttpResponse:
        """The answer to a request. Raises LeafUnavailable."""
        protocol = models.protocol_of(request)
        if protocol is None or models.operation_name(request, protocol) != "ReceiveMessage":
            return self._leaf.handle("sqs", request)
        given, at_once = _at_once(request, json_body=protocol == models.JSON)
        if given is None:
            return self._leaf.handle("sqs", request)
        response = self._leaf.handle("sqs", at_once)
        if response.status != 200 or not _is_empty(response):
            return response
        url = str(given[_URL])
        seconds = int(given.get(_WAIT, self._attribute(url, _WAIT_OF_QUEUE)))
        until = self._monotonic() + seconds
        while (left := until - self._monotonic()) > 0 and _is_empty(response):
            self._sleep(min(_LOOK_SECONDS, left))
            # Only looking is no change, which the journal would keep.
            if self._attribute(url, _VISIBLE):
                response = self._leaf.handle("sqs", at_once)
        return response

    def _attribute(self, url: str, name: str) -> int:
        """A number that a queue has; 0 when the queue is gone."""
        try:
            found = self._leaf.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=[name])
        except ClientError:
            return 0
        return int(found.get("Attributes", {}).get(name, 0))


def _at_once(request: HttpRequest, *, json_body: bool) -> tuple[dict[str, Any] | None, HttpRequest]:
    """The request's members, and the request without a wait; None for one that moto is to refuse."""
    try:
        given = json.loads(request.body) if json_body else models.form(request)
        if not given[_URL] or not 0 <= int(given.get(_WAIT, 0)) <= _LONGEST_SECONDS:
            return None, request
    except (ValueError, TypeError, KeyError):
        return None, request
    asked = {**given, _WAIT: 0}
    if json_body:
        return given, replace(request, body=json.dumps(asked).encode())
    form = {"content-type": "application/x-www-form-urlencoded"}
    return given, replace(request, query="", headers={**request.headers, **form}, body=urlencode(asked).encode())


def _is_empty(response: HttpResponse) -> bool:
    return b'"Messages"' not in response.body and b"<Message>" not in response.body
