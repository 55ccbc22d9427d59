"""From a message to its subscribers: stored first, then delivered, tried again, given up.

An HTTP subscriber that does not answer, or answers 429 or 5xx, is asked again three times, 20 seconds of the clock
apart, as SNS's default policy has it; any other answer than 2xx is final. A mail is a file in the folder `mail` of the
state. What was stored and is not delivered when localcloud ends is delivered at its next start: at least once.
"""

from __future__ import annotations

import http.client
import logging
import os
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from localcloud.context import Context
from localcloud.notices import messages
from localcloud.signals import Measurement

_LOG = logging.getLogger(__name__)
_DELIVERY = "notices/delivery"
SUBSCRIPTION = "notices/subscription"
_THREADS = 8
_RETRIES, _DELAY_SECONDS = 3, 20.0
_TIMEOUT_SECONDS = 15.0

Document = dict[str, Any]


class _Failed(Exception):
    """A try that failed. `again` says whether another may help."""

    def __init__(self, message: str, *, again: bool) -> None:
        super().__init__(message)
        self.again = again


class Deliveries:
    """Delivers messages to HTTP and e-mail subscribers. All methods may be called from any thread."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._mails = context.state_dir / "mail"
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="notices")
        self._closing = False

    def recover(self) -> None:
        """Go on with what an earlier localcloud had not delivered."""
        for key, document in self._context.store.list(_DELIVERY, members=("DueAt",)):
            self._context.timetable.at(document["DueAt"], partial(self._submit, key), f"deliver message {key}")

    def close(self) -> None:
        """Begin no more tries, and wait for those under way; what is not delivered stays in the store."""
        self._closing = True
        self._threads.shutdown(wait=True, cancel_futures=True)

    def take(self, found: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Take messages, each for a subscription, by its ARN. They are stored when this returns."""
        if not found:
            return
        now = self._context.clock.now()
        documents = {
            str(uuid.uuid4()): {"Subscription": arn, "Message": dict(message), "DueAt": now, "Failures": 0}
            for arn, message in found
        }
        # From before they are stored until they were tried: the clock is not advanced in between.
        with self._context.timetable.working():
            with self._context.store.transaction():
                for key, document in documents.items():
                    self._context.store.put(_DELIVERY, key, document)
            for key in documents:
                self._submit(key)

    def _submit(self, key: str) -> None:
        stack = ExitStack()
        stack.enter_context(self._context.timetable.working())
        try:
            self._threads.submit(self._try_and, stack, key)
        except RuntimeError:
            # localcloud is stopping: the next start takes it up.
            stack.close()

    def _try_and(self, stack: ExitStack, key: str) -> None:
        with stack:
            try:
                self._try(key)
            except Exception:
                # It is in the store: the next start takes it up again.
                _LOG.exception("the message %s", key)

    def _try(self, key: str) -> None:
        document = self._context.store.get(_DELIVERY, key)
        if document is None or self._closing:
            return
        subscription = self._context.store.get(SUBSCRIPTION, document["Subscription"])
        if subscription is None:
            # Nobody wants it any more.
            self._context.store.delete(_DELIVERY, key)
            return
        message = document["Message"]
        try:
            if subscription["Protocol"] == "http":
                _post(message, subscription)
            else:
                _write(self._mails, messages.file_name(message, subscription), messages.mail(message, subscription))
        except _Failed as error:
            self._failed(key, document, subscription, error)
            return
        self._context.store.delete(_DELIVERY, key)
        self._measure(subscription, "NumberOfNotificationsDelivered")

    def _failed(self, key: str, document: Document, subscription: Document, error: _Failed) -> None:
        message_id, endpoint = document["Message"]["MessageId"], subscription["Endpoint"]
        if error.again and document["Failures"] < _RETRIES:
            _LOG.info("the message %s, to %s: %s", message_id, endpoint, error)
            due = self._context.clock.now() + timedelta(seconds=_DELAY_SECONDS)
            self._context.store.put(_DELIVERY, key, {**document, "Failures": document["Failures"] + 1, "DueAt": due})
            self._context.timetable.at(due, partial(self._submit, key), f"deliver message {key} again")
            return
        _LOG.warning("the message %s is not delivered to %s: %s", message_id, endpoint, error)
        self._context.store.delete(_DELIVERY, key)
        self._measure(subscription, "NumberOfNotificationsFailed")

    def _measure(self, subscription: Document, name: str) -> None:
        dimensions = {"TopicName": subscription["TopicArn"].rpartition(":")[2]}
        self._context.signals.measurements(
            [Measurement("AWS/SNS", name, 1.0, "Count", self._context.clock.now(), dimensions)]
        )


def _post(message: Document, subscription: Document) -> None:
    address = urlsplit(subscription["Endpoint"])
    path = f"{address.path or '/'}{f'?{address.query}' if address.query else ''}"
    connection = http.client.HTTPConnection(address.hostname or "", address.port or 80, timeout=_TIMEOUT_SECONDS)
    try:
        body = messages.envelope(message, subscription).encode()
        connection.request("POST", path, body, messages.headers(message, subscription))
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise _Failed(f"{type(error).__name__}: {error}", again=True) from error
    finally:
        connection.close()
    if not 200 <= status < 300:
        raise _Failed(f"it answered {status}", again=status == 429 or status >= 500)


def _write(folder: Path, name: str, content: bytes) -> None:
    """A file that is there whole or not at all; a second try writes the same again."""
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".{name}.{uuid.uuid4().hex}"
    unfinished.write_bytes(content)
    os.replace(unfinished, folder / name)
