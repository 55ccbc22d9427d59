"""Events that functions are given without anybody waiting: kept until they are handled, tried again, given up.

accept ── stored ──> try ── succeeded ──> the OnSuccess destination
                      ├── failed ──> again after one minute, then after two
                      ├── throttled ──> again after a second, two, four … five minutes
                      └── out of tries, or too old ──> the OnFailure destination, the dead-letter queue
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from localcloud.context import Context, Request
from localcloud.errors import ServiceError
from localcloud.functions.destinations import (
    SERVICES,
    Destinations,
    dead_letter_attributes,
    record_of,
    service_of,
)
from localcloud.functions.functions import CONFIGURED, Document, Functions, page_of
from localcloud.functions.invocation import MOST_ASYNCHRONOUS_BYTES, Invoker, Outcome, check_payload
from localcloud.functions.packages import refused

_LOG = logging.getLogger(__name__)
_EVENT = "lambda/event"
_THREADS = 16
_RETRIES, _OLDEST_SECONDS = 2, 21_600
_RETRY_SECONDS = (60.0, 120.0)
_LONGEST_THROTTLED_SECONDS = 300.0


class Asynchronous:
    """The queue of events, and how each function wants to be tried. All methods may be called from any thread."""

    def __init__(self, context: Context, functions: Functions, invoker: Invoker) -> None:
        self._context, self._functions, self._invoker = context, functions, invoker
        self._destinations = Destinations(context)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="function-event")
        self._closing = threading.Event()

    def recover(self) -> None:
        """Go on with the events that an earlier localcloud had accepted."""
        for key, event in self._context.store.list(_EVENT, members=("DueAt",)):
            self._context.timetable.at(event["DueAt"], partial(self._submit, key), f"try event {key} again")

    def close(self) -> None:
        """Begin no more tries; what is not done stays in the store."""
        self._closing.set()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def join(self) -> None:
        """Wait for the tries under way."""
        self._threads.shutdown(wait=True)

    def accept(self, name: str, payload: bytes) -> str:
        """Take an event for a function, and give the request's id. It is stored when this returns."""
        document = self._functions.named(name)
        request_id = str(uuid.uuid4())
        now = self._context.clock.now()
        event: Document = {
            "FunctionName": document["FunctionName"],
            "Payload": check_payload(payload, MOST_ASYNCHRONOUS_BYTES),
            "ReceivedAt": now,
            "DueAt": now,
            "Failures": 0,
            "Throttles": 0,
        }
        # From before it is stored until it was tried: the clock is not advanced in between.
        with self._context.timetable.working():
            self._context.store.put(_EVENT, request_id, event)
            self._submit(request_id)
        return request_id

    # How functions want to be tried.

    def put_config(self, request: Request) -> dict[str, Any]:
        """PutFunctionEventInvokeConfig: replaces what there was."""
        return self._write_config(request, {})

    def update_config(self, request: Request) -> dict[str, Any]:
        """UpdateFunctionEventInvokeConfig: what the request leaves out stays."""
        return self._write_config(request, self._stored_config(request))

    def get_config(self, request: Request) -> dict[str, Any]:
        """GetFunctionEventInvokeConfig."""
        return self._stored_config(request)

    def delete_config(self, request: Request) -> dict[str, Any]:
        """DeleteFunctionEventInvokeConfig."""
        self._stored_config(request)
        self._context.store.delete(CONFIGURED, self._functions.named(request.params["FunctionName"])["FunctionName"])
        return {}

    def list_configs(self, request: Request) -> dict[str, Any]:
        """ListFunctionEventInvokeConfigs: of one function, so one at most."""
        name = self._functions.named(request.params["FunctionName"])["FunctionName"]
        config = self._context.store.get(CONFIGURED, name)
        page, marker = page_of(request, [config] if config else [], "FunctionArn")
        return {"FunctionEventInvokeConfigs": page, "NextMarker": marker}

    def _stored_config(self, request: Request) -> Document:
        document = self._functions.named(request.params["FunctionName"], request.params.get("Qualifier"))
        config = self._context.store.get(CONFIGURED, document["FunctionName"])
        if config is None:
            raise ServiceError(
                "ResourceNotFoundException",
                f"The function {document['FunctionArn']}:$LATEST doesn't have an EventInvokeConfig",
                404,
            )
        return config

    def _write_config(self, request: Request, before: Document) -> Document:
        params = request.params
        document = self._functions.named(params["FunctionName"], params.get("Qualifier"))
        given: Document = {
            member: params[member]
            for member in ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")
            if member in params
        }
        if not given:
            raise refused("You must specify at least one of error handling or destination setting.")
        _check_destinations(given.get("DestinationConfig", {}))
        config: Document = {
            **before,
            **given,
            "LastModified": self._context.clock.now(),
            "FunctionArn": f"{document['FunctionArn']}:$LATEST",
        }
        self._context.store.put(CONFIGURED, document["FunctionName"], config)
        return config

    # Tries.

    def _submit(self, request_id: str) -> None:
        """Let a thread try an event. An entry of the timetable does this, too: who stops that waits for its entries."""
        stack = ExitStack()
        stack.enter_context(self._context.timetable.working())
        try:
            self._threads.submit(self._try_and, stack, request_id)
        except RuntimeError:
            # localcloud is stopping: the next start takes it up.
            stack.close()

    def _try_and(self, stack: ExitStack, request_id: str) -> None:
        with stack:
            self._try(request_id)

    def _try(self, request_id: str) -> None:
        try:
            self._attempt(request_id)
        except Exception:
            # The event is in the store: the next start takes it up again.
            _LOG.exception("the event %s of a function", request_id)

    def _attempt(self, request_id: str) -> None:
        event = self._context.store.get(_EVENT, request_id)
        if event is None or self._closing.is_set():
            return
        try:
            function = self._functions.named(event["FunctionName"])
        except ServiceError as error:
            _LOG.warning("the event %s is dropped: %s", request_id, error.message)
            self._context.store.delete(_EVENT, request_id)
            return
        config = self._context.store.get(CONFIGURED, event["FunctionName"]) or {}
        oldest = timedelta(seconds=config.get("MaximumEventAgeInSeconds", _OLDEST_SECONDS))
        if self._context.clock.now() - event["ReceivedAt"] > oldest:
            self._end(function, config, request_id, event, "EventAgeExceeded", None)
            return
        try:
            outcome = self._invoker.invoke(event["FunctionName"], event["Payload"], request_id=request_id)
        except ServiceError as error:
            if not self._closing.is_set():
                self._throttled(function, config, request_id, event, error)
            return
        if self._closing.is_set() and outcome.error is not None:
            # It was killed with localcloud, which says nothing about it.
            return
        event["Failures"] += outcome.error is not None
        if outcome.error is None:
            self._end(function, config, request_id, event, "Success", outcome)
        elif event["Failures"] > config.get("MaximumRetryAttempts", _RETRIES):
            self._end(function, config, request_id, event, "RetriesExhausted", outcome)
        else:
            self._again(request_id, event, _RETRY_SECONDS[event["Failures"] - 1], oldest)

    def _throttled(
        self, function: Document, config: Document, request_id: str, event: Document, error: ServiceError
    ) -> None:
        if function.get("ReservedConcurrentExecutions") == 0:
            # Nothing of this function runs, so waiting is for nothing.
            self._end(function, config, request_id, event, "RetriesExhausted", None)
            return
        _LOG.info("the event %s has to wait: %s", request_id, error)
        delay = min(2.0 ** event["Throttles"], _LONGEST_THROTTLED_SECONDS)
        event["Throttles"] += 1
        oldest = timedelta(seconds=config.get("MaximumEventAgeInSeconds", _OLDEST_SECONDS))
        self._again(request_id, event, delay, oldest)

    def _again(self, request_id: str, event: Document, seconds: float, oldest: timedelta) -> None:
        # One that gets too old while it waits is given up at that moment.
        too_old: datetime = event["ReceivedAt"] + oldest + timedelta(milliseconds=1)
        event["DueAt"] = min(self._context.clock.now() + timedelta(seconds=seconds), too_old)
        self._context.store.put(_EVENT, request_id, event)
        self._context.timetable.at(event["DueAt"], partial(self._submit, request_id), f"try event {request_id} again")

    def _end(
        self,
        function: Document,
        config: Document,
        request_id: str,
        event: Document,
        condition: str,
        outcome: Outcome | None,
    ) -> None:
        """Hand on the record, and forget the event: in this order, so that it is handed on twice rather than never."""
        side = "OnSuccess" if condition == "Success" else "OnFailure"
        target = config.get("DestinationConfig", {}).get(side, {}).get("Destination")
        payload, role, name = event["Payload"], function["Role"], event["FunctionName"]
        count = event["Failures"] + (condition == "Success")
        if target:
            now = self._context.clock.now()
            record = record_of(function["FunctionArn"], request_id, payload, condition, count, now, outcome)
            if not self._destinations.send(target, role, record):
                self._invoker.measure(name, ("DestinationDeliveryFailures", 1, "Count"))
        letters = function.get("DeadLetterConfig", {}).get("TargetArn")
        if letters and side == "OnFailure":
            attributes = dead_letter_attributes(request_id, outcome, condition)
            if not self._destinations.dead_letter(letters, role, payload, attributes):
                self._invoker.measure(name, ("DeadLetterErrors", 1, "Count"))
        if side == "OnFailure":
            self._invoker.measure(name, ("AsyncEventsDropped", 1, "Count"))
        self._context.store.delete(_EVENT, request_id)


def _check_destinations(config: Mapping[str, Any]) -> None:
    for side in ("OnSuccess", "OnFailure"):
        target = config.get(side, {}).get("Destination")
        if target and service_of(target) not in SERVICES:
            raise refused(
                f"The destination ARN {target} is invalid: it must be of an SQS queue, an SNS topic, a Lambda function"
                " or an EventBridge event bus"
            )
