"""From an event to the targets of the rules that it matches: stored first, then delivered, tried again, given up.

take ── matches ──> one delivery for each target, stored ──> try ── delivered ──> forgotten
                                                              ├── failed ──> again, later and later, for a day
                                                              └── hopeless, or too often ──> the dead-letter queue
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from localcloud.context import Context
from localcloud.errors import ServiceError
from localcloud.events import inputs
from localcloud.events.rules import DEFAULT, Document, Rules
from localcloud.events.targets import Delivery, DeliveryError, Targets
from localcloud.events.timer import Timer
from localcloud.signals import Event, Measurement

_DELIVERY = "events/delivery"
_LOG = logging.getLogger(__name__)
_THREADS = 16
_RETRIES, _OLDEST_SECONDS = 185, 86_400
_FIRST_DELAY_SECONDS, _LONGEST_DELAY_SECONDS = 1.0, 600.0
_MESSAGE_CHARACTERS = 1024


class Deliveries:
    """Takes events and delivers them. All methods may be called from any thread."""

    def __init__(self, context: Context, rules: Rules, timer: Timer, settle: Callable[[], None] | None = None) -> None:
        self._context, self._rules, self._timer, self._settle = context, rules, timer, settle
        self._targets = Targets(context, self._forward)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="event-delivery")
        self._closing = False

    def recover(self) -> None:
        """Go on with what an earlier localcloud had not delivered."""
        for key, document in self._context.store.list(_DELIVERY, members=("DueAt",)):
            self._context.timetable.at(document["DueAt"], partial(self._submit, key), f"deliver event {key}")

    def close(self) -> None:
        """Begin no more tries; what is not delivered stays in the store."""
        self._closing = True
        self._threads.shutdown(wait=False, cancel_futures=True)

    def join(self) -> None:
        """Wait for the tries under way."""
        self._threads.shutdown(wait=True)

    def take_signal(self, signal: Event) -> None:
        """An event of a service, for the default bus."""
        detail = json.loads(json.dumps(signal.detail, default=_plain))
        event = self.event(signal.source, signal.detail_type, detail, signal.time, signal.resources)
        self.take(DEFAULT, {**event, "id": signal.id or event["id"]})

    def event(self, source: str, detail_type: str, detail: Any, time: datetime, resources: Any) -> Document:
        """An event in the form in which targets get it."""
        return {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": detail_type,
            "source": source,
            "account": self._context.account_id,
            "time": f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "region": self._context.region,
            "resources": list(resources),
            "detail": detail,
        }

    def take(self, bus: str, event: Document, *, forwarded: bool = False) -> None:
        """Take an event that is on a bus. What it leads to is stored when this returns."""
        documents: dict[str, Document] = {}
        for rule in self._rules.matching(bus, event):
            self._measure(rule["Name"], MatchedEvents=1, TriggeredRules=1 if rule["Targets"] else 0)
            documents |= self._documents(rule, event, forwarded=forwarded)
        if not documents:
            return
        # From before they are stored until they were tried: the clock is not advanced in between.
        with self._context.timetable.working():
            with self._context.store.transaction():
                for key, document in documents.items():
                    self._context.store.put(_DELIVERY, key, document)
            for key in documents:
                self._submit(key)

    def take_due(self, keys: Sequence[str], due: datetime) -> None:
        """Take the events of rules whose schedule has come, and try their deliveries here, in the order of the rules:
        what happens at one moment begins in the same order every time."""
        documents: dict[str, Document] = {}
        with self._context.store.transaction():
            for rule in self._timer.take(keys, due):
                event = self.event("aws.events", "Scheduled Event", {}, due, [rule["Arn"]])
                documents |= self._documents(rule, event, forwarded=False)
                self._measure(rule["Name"], TriggeredRules=1)
            for key, document in documents.items():
                self._context.store.put(_DELIVERY, key, document)
        for key in documents:
            self._try(key)

    def _documents(self, rule: Document, event: Document, *, forwarded: bool) -> dict[str, Document]:
        """What is to be stored of an event that is for a rule's targets."""
        now = self._context.clock.now()
        common = {"Event": event, "RuleArn": rule["Arn"], "TakenAt": now, "DueAt": now, "Failures": 0}
        return {
            str(uuid.uuid4()): {**common, "Target": target, "Forwarded": forwarded}
            for target in rule["Targets"].values()
        }

    def _submit(self, key: str) -> None:
        """Let a thread try a delivery. An entry of the timetable does so, too: who stops that waits for its entries."""
        stack = ExitStack()
        stack.enter_context(self._context.timetable.working())
        try:
            self._threads.submit(self._try_and, stack, key)
        except RuntimeError:
            # localcloud is stopping: the next start takes it up.
            stack.close()

    def _try_and(self, stack: ExitStack, key: str) -> None:
        with stack:
            self._try(key)

    def _try(self, key: str) -> None:
        try:
            self._attempt(key)
        except Exception:
            # It is in the store: the next start takes it up again.
            _LOG.exception("the event %s", key)
        if self._settle is not None and not self._closing:
            self._settle()

    def _attempt(self, key: str) -> None:
        document = self._context.store.get(_DELIVERY, key)
        if document is None or self._closing:
            return
        taken_at = f"{document['TakenAt']:%Y-%m-%dT%H:%M:%SZ}"
        target, event, rule_arn = document["Target"], document["Event"], document["RuleArn"]
        text = inputs.render(target, event, rule_arn, taken_at)
        delivery = Delivery(key, target, rule_arn, event, text)
        name = rule_arn.rpartition("/")[2]
        try:
            if document["Forwarded"] and ":event-bus/" in target["Arn"]:
                raise DeliveryError(
                    "SDK_CLIENT_ERROR", "An event that came from another bus is not sent to a third one"
                )
            self._targets.deliver(delivery)
        except DeliveryError as error:
            if not self._closing:
                self._failed(document, delivery, name, error)
            return
        self._measure(name, Invocations=1)
        self._context.store.delete(_DELIVERY, key)

    def _failed(self, document: Document, delivery: Delivery, name: str, error: DeliveryError) -> None:
        policy = delivery.target.get("RetryPolicy", {})
        retries = policy.get("MaximumRetryAttempts", _RETRIES)
        oldest = document["TakenAt"] + timedelta(seconds=policy.get("MaximumEventAgeInSeconds", _OLDEST_SECONDS))
        _LOG.info("the event %s, to %s: %s", document["Event"]["id"], delivery.target["Arn"], error)
        if error.again and document["Failures"] < retries:
            delay = min(_FIRST_DELAY_SECONDS * 2 ** document["Failures"], _LONGEST_DELAY_SECONDS)
            due = self._context.clock.now() + timedelta(seconds=delay)
            if due <= oldest:
                document |= {"Failures": document["Failures"] + 1, "DueAt": due}
                self._context.store.put(_DELIVERY, delivery.key, document)
                action = partial(self._submit, delivery.key)
                self._context.timetable.at(due, action, f"deliver event {delivery.key} again")
                return
        self._measure(name, FailedInvocations=1, Invocations=1)
        exhausted = ""
        if error.again:
            exhausted = "MaximumRetryAttempts" if document["Failures"] >= retries else "MaximumEventAgeInSeconds"
        if delivery.target.get("DeadLetterConfig", {}).get("Arn"):
            self._to_dead_letters(document, delivery, name, error, exhausted)
        else:
            _LOG.warning(
                "the event %s is not delivered to %s: %s", document["Event"]["id"], delivery.target["Arn"], error
            )
        self._context.store.delete(_DELIVERY, delivery.key)

    def _to_dead_letters(
        self, document: Document, delivery: Delivery, name: str, error: DeliveryError, exhausted: str
    ) -> None:
        attributes = {
            "RULE_ARN": delivery.rule_arn,
            "TARGET_ARN": delivery.target["Arn"],
            "ERROR_CODE": error.code,
            "ERROR_MESSAGE": str(error)[:_MESSAGE_CHARACTERS],
            "EXHAUSTED_RETRY_CONDITION": exhausted,
            "RETRY_ATTEMPTS": str(document["Failures"]),
        }
        try:
            self._targets.dead_letter(delivery, json.dumps(document["Event"], ensure_ascii=False), attributes)
        except DeliveryError as refusal:
            self._measure(name, InvocationsFailedToBeSentToDlq=1)
            _LOG.warning("the dead-letter queue of %s: %s", delivery.rule_arn, refusal)
            return
        self._measure(name, InvocationsSentToDlq=1)

    def _forward(self, bus_arn: str, event: Document) -> None:
        try:
            bus = self._rules.bus_of(bus_arn)
        except ServiceError as error:
            raise DeliveryError("NO_RESOURCE", error.message) from error
        self.take(bus, event, forwarded=True)

    def _measure(self, rule: str, **values: float) -> None:
        now = self._context.clock.now()
        self._context.signals.measurements(
            [Measurement("AWS/Events", name, value, "Count", now, {"RuleName": rule}) for name, value in values.items()]
        )


def _plain(value: Any) -> Any:
    """What JSON cannot hold, as events hold it."""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    raise TypeError(f"an event's detail holds a {type(value).__name__}")
