"""From queues to functions: a message that is sent is in its function's hands within milliseconds, at no cost while
nothing is sent.

The leaf says how many calls have changed SQS. One thread looks at that number, fifty times a second, and at the queues
only when it has changed; what changes without a call, a message that becomes visible again, is due in the timetable. A
queue's messages are taken by threads of their own, as many as may run at once:

    look ──> (messages that are visible?) ──> receive ──> invoke ──> delete what was handled, leave what was not
                                                 └──────── again, until there is none ────────┘
"""

from __future__ import annotations

import base64
import json
import logging
import threading
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from localcloud.context import Context
from localcloud.errors import ServiceError
from localcloud.events.patterns import Pattern
from localcloud.functions.destinations import queue_url
from localcloud.functions.functions import Document, Functions
from localcloud.functions.invocation import Invoker
from localcloud.leaf import LeafUnavailable
from localcloud.store import Store
from localcloud.timetable import Entry

MAPPING = "lambda/event-source-mapping"
_LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 0.02
# The most that one receive gives, and one delete takes.
_MOST_PER_CALL = 10
_AT_ONCE = 5
# Messages that somebody else has received, or that are delayed: nobody says when they can be seen.
_FIRST_AGAIN_SECONDS, _LAST_AGAIN_SECONDS = 1.0, 30.0
_COUNTS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed")


@dataclass
class _Source:
    """An enabled mapping at work."""

    document: Document
    queue_url: str = ""
    visibility_seconds: int = 30
    patterns: Sequence[Pattern] = ()
    workers: int = 0
    window: Entry | None = None
    again: Entry | None = None
    again_seconds: float = _FIRST_AGAIN_SECONDS
    dropped: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def at_once(self) -> int:
        """How many batches may be under way."""
        if self.document["EventSourceArn"].endswith(".fifo"):
            # Messages of a group are handled in their order.
            return 1
        most: int = self.document.get("ScalingConfig", {}).get("MaximumConcurrency", _AT_ONCE)
        return min(most, _AT_ONCE)


class Poller:
    """Feeds functions from queues. All methods may be called from any thread."""

    def __init__(self, context: Context, functions: Functions, invoker: Invoker) -> None:
        self._context, self._functions, self._invoker = context, functions, invoker
        self._sources: dict[str, _Source] = {}
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._seen = -1
        self._thread: threading.Thread | None = None
        self._workers: set[threading.Thread] = set()
        self._closing = threading.Event()

    def set(self, document: Document) -> None:
        """A mapping is new, or has changed."""
        self.drop(document["UUID"])
        if document["State"] != "Enabled":
            return
        filters = document.get("FilterCriteria", {}).get("Filters", [])
        source = _Source(document, patterns=[Pattern.parse(entry["Pattern"]) for entry in filters])
        with self._lock:
            self._sources[document["UUID"]] = source
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._watch, name="queues", daemon=True)
                self._thread.start()
        self._changed.set()

    def drop(self, identifier: str) -> None:
        """A mapping is gone, or works no more."""
        with self._lock:
            source = self._sources.pop(identifier, None)
        if source is not None:
            source.dropped = True
            for entry in (source.window, source.again):
                if entry is not None:
                    entry.cancel()

    def settle(self) -> None:
        """Take up what has been sent so far. Whoever has sent it, or let it be sent, calls this before its work is
        over: the clock is then not advanced between a message and its handling."""
        if self._seen != self._context.leaf.changes("sqs"):
            self._look_at_all()

    def close(self) -> None:
        """Receive no more."""
        self._closing.set()
        self._changed.set()

    def join(self) -> None:
        """Wait for the batches under way."""
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            workers = list(self._workers)
        for worker in workers:
            worker.join()

    def _watch(self) -> None:
        while not self._closing.is_set():
            with self._lock:
                sources = list(self._sources.values())
            if not sources:
                self._changed.wait()
            poked = self._changed.wait(_LOOK_SECONDS)
            if poked or self._seen != self._context.leaf.changes("sqs"):
                self._changed.clear()
                self._look_at_all()

    def _look_at_all(self) -> None:
        # Read before the queues are: what comes meanwhile is looked for again.
        self._seen = self._context.leaf.changes("sqs")
        with self._lock:
            sources = list(self._sources.values())
        for source in sources:
            with self._context.timetable.working():
                try:
                    self._look(source)
                except Exception:  # a bug or a broken leaf: the other queues are looked at all the same
                    _LOG.exception("the queue %s", source.document["EventSourceArn"])

    def _look(self, source: _Source) -> None:
        """See whether there is something to take, and who takes it."""
        if source.dropped or self._closing.is_set():
            return
        sqs = self._context.leaf.client("sqs")
        try:
            if not source.queue_url:
                source.queue_url = queue_url(sqs, source.document["EventSourceArn"])
            found = sqs.get_queue_attributes(QueueUrl=source.queue_url, AttributeNames=[*_COUNTS, "VisibilityTimeout"])[
                "Attributes"
            ]
        except ClientError as error:
            self._problem(source, f"PROBLEM: {error.response['Error']['Message']}")
            source.queue_url = ""
            return
        except LeafUnavailable:
            return
        source.visibility_seconds = int(found["VisibilityTimeout"])
        visible, hidden, delayed = (int(found.get(name, 0)) for name in _COUNTS)
        with source.lock:
            if visible and source.workers < source.at_once:
                self._begin_or_wait(source, visible)
            if not visible:
                self._look_again(source, hidden + delayed - source.workers > 0)

    def _begin_or_wait(self, source: _Source, visible: int) -> None:
        window = source.document["MaximumBatchingWindowInSeconds"]
        if window and visible < source.document["BatchSize"]:
            if source.window is None:
                action = partial(self._window_is_over, source)
                source.window = self._context.timetable.after(window, action, "the end of a batching window")
            return
        if source.window is not None:
            source.window.cancel()
            source.window = None
        self._begin(source)

    def _window_is_over(self, source: _Source) -> None:
        with source.lock:
            source.window = None
            if not source.dropped and source.workers < source.at_once:
                self._begin(source)

    def _look_again(self, source: _Source, hidden: bool) -> None:
        """Messages that nobody can see now may be seen without any call in between."""
        if not hidden:
            source.again_seconds = _FIRST_AGAIN_SECONDS
            return
        if source.again is None:
            action = partial(self._look_now, source)
            source.again = self._context.timetable.after(source.again_seconds, action, "look at a queue again")
            source.again_seconds = min(source.again_seconds * 2, _LAST_AGAIN_SECONDS)

    def _look_now(self, source: _Source) -> None:
        source.again = None
        with self._context.timetable.working():
            self._look(source)

    def _begin(self, source: _Source) -> None:
        source.workers += 1
        with ExitStack() as stack:
            stack.enter_context(self._context.timetable.working())
            worker = threading.Thread(
                target=self._work, args=(stack.pop_all(), source), name="queue-batches", daemon=True
            )
        with self._lock:
            self._workers.add(worker)
        worker.start()

    def _work(self, stack: ExitStack, source: _Source) -> None:
        with stack:
            try:
                while not self._closing.is_set() and not source.dropped and self._batch(source):
                    pass
            except LeafUnavailable:
                pass
            except Exception:
                _LOG.exception("the queue %s", source.document["EventSourceArn"])
            finally:
                with source.lock:
                    source.workers -= 1
                with self._lock:
                    self._workers.discard(threading.current_thread())
                # What came after the last receive was left to this thread by whoever looked meanwhile.
                self._changed.set()

    def _batch(self, source: _Source) -> bool:
        """Handle the next messages; whether there were any."""
        try:
            function = self._functions.named(source.document["FunctionArn"])
        except ServiceError as error:
            self._problem(source, f"PROBLEM: {error.message}")
            return False
        sqs = self._context.clients.of("sqs", function["Role"])
        try:
            messages, visible_at = self._receive(sqs, source)
            if not messages:
                return False
            left = self._handle(sqs, source, messages)
        except ClientError as error:
            self._problem(source, f"PROBLEM: {error.response['Error']['Message']}")
            return False
        if left:
            # What was not handled comes back when its time is up.
            self._context.timetable.at(visible_at, partial(self._look_now, source), "messages that come back")
        return True

    def _receive(self, sqs: Any, source: _Source) -> tuple[list[dict[str, Any]], datetime]:
        messages: list[dict[str, Any]] = []
        while (wanted := min(source.document["BatchSize"] - len(messages), _MOST_PER_CALL)) > 0:
            found = sqs.receive_message(
                QueueUrl=source.queue_url,
                MaxNumberOfMessages=wanted,
                WaitTimeSeconds=0,
                AttributeNames=["All"],
                MessageAttributeNames=["All"],
            ).get("Messages", [])
            messages += found
            if len(found) < wanted:
                break
        # Not at the moment itself: a message is visible after its time, and not with it.
        return messages, self._context.clock.now() + timedelta(seconds=source.visibility_seconds, milliseconds=2)

    def _handle(self, sqs: Any, source: _Source, messages: Sequence[dict[str, Any]]) -> bool:
        """Invoke the function with a batch, and delete what it has handled; whether something is left."""
        records = [_record(message, source.document["EventSourceArn"], self._context.region) for message in messages]
        chosen = [record for record in records if _is_wanted(record, source.patterns)]
        unwanted = [record for record in records if record not in chosen]
        self._delete(sqs, source, unwanted)
        if not chosen:
            return False
        payload = json.dumps({"Records": chosen}, ensure_ascii=False).encode()
        try:
            outcome = self._invoker.invoke(source.document["FunctionName"], payload)
        except ServiceError as error:
            self._problem(source, f"PROBLEM: {error.message}")
            return True
        if outcome.error is not None:
            self._problem(source, "PROBLEM: Function call failed")
            return True
        failed: set[str] | None = set()
        if "ReportBatchItemFailures" in source.document.get("FunctionResponseTypes", []):
            failed = failures(outcome.payload, {record["messageId"] for record in chosen})
        if failed is None:
            self._problem(source, "PROBLEM: Function response is not a valid list of batchItemFailures")
            return True
        self._problem(source, "OK")
        self._delete(sqs, source, [record for record in chosen if record["messageId"] not in failed])
        return bool(failed)

    def _delete(self, sqs: Any, source: _Source, records: Sequence[dict[str, Any]]) -> None:
        for start in range(0, len(records), _MOST_PER_CALL):
            entries = [
                {"Id": str(number), "ReceiptHandle": record["receiptHandle"]}
                for number, record in enumerate(records[start : start + _MOST_PER_CALL])
            ]
            answer = sqs.delete_message_batch(QueueUrl=source.queue_url, Entries=entries)
            for entry in answer.get("Failed", []):
                _LOG.warning("a message of %s cannot be deleted: %s", source.document["EventSourceArn"], entry)

    def _problem(self, source: _Source, result: str) -> None:
        try:
            source.document = with_result(self._context.store, source.document, result)
        except KeyError:
            source.dropped = True


def with_result(store: Store, document: Document, result: str) -> Document:
    """A mapping with how its last batch went, which is kept where it went otherwise than the one before.

    Raises KeyError for a mapping that is deleted meanwhile.
    """
    if document.get("LastProcessingResult") == result:
        return document
    store.update(MAPPING, document["UUID"], lambda stored: {**stored, "LastProcessingResult": result})
    return {**document, "LastProcessingResult": result}


def failures(payload: bytes, known: set[str]) -> set[str] | None:
    """The messages that a function reports as not handled; None if its report counts as the failure of all.

    As on AWS nothing, null and an empty list report no failure; an identifier that is empty, or none of the batch's,
    makes the report invalid.
    """
    try:
        answer = json.loads(payload) if payload else None
    except ValueError:
        return None
    if answer is None or answer == {}:
        return set()
    if not isinstance(answer, dict):
        return None
    entries = answer.get("batchItemFailures")
    if entries is None:
        return set()
    if not isinstance(entries, list):
        return None
    found = {str(entry.get("itemIdentifier")) if isinstance(entry, dict) else "" for entry in entries}
    return found if found <= known else None


def _is_wanted(record: dict[str, Any], patterns: Iterable[Pattern]) -> bool:
    if not patterns:
        return True
    body: Any = record["body"]
    try:
        parsed = json.loads(body)
        # A pattern for an object matches JSON bodies, one for text the others.
        body = parsed if isinstance(parsed, dict) else body
    except ValueError:
        pass
    return any(pattern.matches({**record, "body": body}) for pattern in patterns)


def _record(message: dict[str, Any], queue_arn: str, region: str) -> dict[str, Any]:
    attributes = {}
    for name, value in message.get("MessageAttributes", {}).items():
        attribute: dict[str, Any] = {
            "stringListValues": [],
            "binaryListValues": [],
            "dataType": value["DataType"],
        }
        if "StringValue" in value:
            attribute["stringValue"] = value["StringValue"]
        if "BinaryValue" in value:
            attribute["binaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
        attributes[name] = attribute
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": attributes,
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": region,
    }
