"""One call of a function, whoever asks for it: a process taken from the pool, its answer, its log and its metrics."""

from __future__ import annotations

import base64
import json
import logging
import math
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from localcloud.context import Context
from localcloud.errors import ServiceError
from localcloud.functions.functions import Document, Functions
from localcloud.functions.logs import Logs
from localcloud.functions.pool import Pool
from localcloud.functions.process import Process, Reply
from localcloud.functions.room import Closed, Full, Limits, Room
from localcloud.signals import Measurement

_LOG = logging.getLogger(__name__)
MOST_SYNCHRONOUS_BYTES, MOST_ASYNCHRONOUS_BYTES = 6_291_556, 1_048_576
_TAIL_BYTES = 4096


@dataclass(frozen=True)
class Caller:
    """Who waits for the answer on one of the server's threads. Events, queues and pipelines have their own."""

    role_arn: str = ""
    """The role that has signed the request, if it is one's."""


@dataclass(frozen=True)
class Outcome:
    """How an invocation ended."""

    request_id: str
    payload: bytes
    error: str | None
    """`Unhandled` if the function failed; the payload then says how."""
    tail: bytes
    """The last 4 KB of its log."""


class Invoker:
    """Calls functions. All methods may be called from any thread."""

    def __init__(
        self, context: Context, functions: Functions, pool: Pool, logs: Logs, limits: Limits | None = None
    ) -> None:
        self._context, self._functions, self._pool, self._logs = context, functions, pool, logs
        self._room = Room(limits or Limits())
        self._lock = threading.Lock()
        # Invocations by function, those that wait for room included; and those that run by role.
        self._under_way: Counter[str] = Counter()
        self._roles: Counter[str] = Counter()
        self._settle: Callable[[], None] = _nothing

    def on_end(self, settle: Callable[[], None]) -> None:
        """Call `settle` at the end of each invocation, while the clock still waits for it."""
        self._settle = settle

    def close(self) -> None:
        """Begin nothing more; what waits for room ends at once."""
        self._room.close()

    def invoke(
        self,
        name: str,
        payload: bytes,
        client_context: str | None = None,
        request_id: str | None = None,
        caller: Caller | None = None,
    ) -> Outcome:
        """Call a function and wait for its answer; without a caller it waits for room as long as that takes.

        Raises ResourceNotFoundException, TooManyRequestsException where its concurrency is used up or there is no room
        for a caller, and InvalidRequestContentException for a payload that is no JSON.
        """
        document = self._functions.named(name)
        event = check_payload(payload, MOST_SYNCHRONOUS_BYTES)
        context = _decoded(client_context)
        with self._context.timetable.working(), self._counted(document), self._admitted(document, caller):
            # It may have changed while this waited.
            document = self._functions.named(name)
            request_id = request_id or str(uuid.uuid4())
            # A function's time is its own: after a restart it would pass while the leaf is made what it was.
            self._context.leaf.wait_until_ready()
            try:
                process = self._pool.acquire(self._functions.spec(document), document["Role"])
            except OSError as error:
                raise ServiceError("ServiceException", f"The function cannot be started: {error}", 500) from error
            gone = True
            try:
                reply = process.call(request_id, event, context)
                gone = reply.gone
            finally:
                self._pool.release(process, gone=gone)
            outcome = self._ended(document, process, request_id, _limited(reply))
            self._settle()
            return outcome

    @contextmanager
    def _counted(self, document: Document) -> Iterator[None]:
        name = document["FunctionName"]
        reserved = document.get("ReservedConcurrentExecutions")
        with self._lock:
            full = reserved is not None and self._under_way[name] >= reserved
            if not full:
                self._under_way[name] += 1
        if full:
            raise self._throttled(name, "ReservedFunctionConcurrent")
        try:
            yield
        finally:
            with self._lock:
                self._under_way[name] -= 1

    @contextmanager
    def _admitted(self, document: Document, caller: Caller | None) -> Iterator[None]:
        role, request = document["Role"], caller is not None
        with self._lock:
            inner = caller is not None and self._roles[caller.role_arn] > 0
        try:
            self._room.enter(inner=inner, request=request)
        except Full:
            raise self._throttled(document["FunctionName"], "Concurrent") from None
        except Closed:
            raise ServiceError("ServiceException", "localcloud is stopping", 500) from None
        with self._lock:
            self._roles[role] += 1
        try:
            yield
        finally:
            with self._lock:
                self._roles[role] -= 1
            self._room.leave(inner=inner, request=request)

    def _throttled(self, name: str, kind: str) -> ServiceError:
        self.measure(name, ("Throttles", 1, "Count"))
        return ServiceError(
            "TooManyRequestsException", "Rate Exceeded.", 429, fields={"Reason": f"{kind}InvocationLimitExceeded"}
        )

    def measure(self, name: str, *values: tuple[str, float, str]) -> None:
        """Tell of measurements, each a metric's name, its value and its unit."""
        now, dimensions = self._context.clock.now(), {"FunctionName": name}
        self._context.signals.measurements(
            [Measurement("AWS/Lambda", metric, value, unit, now, dimensions) for metric, value, unit in values]
        )

    def _ended(self, document: Document, process: Process, request_id: str, reply: Reply) -> Outcome:
        milliseconds = reply.seconds * 1000
        name = document["FunctionName"]
        lines = _lines(document, request_id, reply)
        self._logs.write(process.spec.log_group, process.log_stream, lines, document["Role"])
        self.measure(
            name,
            ("Invocations", 1, "Count"),
            ("Errors", 1 if reply.error else 0, "Count"),
            ("Duration", milliseconds, "Milliseconds"),
        )
        tail = ("\n".join(lines) + "\n").encode()[-_TAIL_BYTES:]
        return Outcome(request_id, reply.payload, "Unhandled" if reply.error else None, tail)


def _nothing() -> None:
    pass


def check_payload(payload: bytes, most: int) -> bytes:
    """The event that a payload holds; none is an empty object. Raises the errors that Lambda answers with."""
    if len(payload) > most:
        raise ServiceError(
            "RequestTooLargeException",
            f"Request must be smaller than {most} bytes for the InvokeFunction operation; it has {len(payload)}",
            413,
        )
    if not payload:
        return b"{}"
    try:
        json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise ServiceError(
            "InvalidRequestContentException", f"Could not parse request body into json: {error}", 400
        ) from error
    return payload


def _decoded(client_context: str | None) -> Any:
    if client_context is None:
        return None
    try:
        value = json.loads(base64.b64decode(client_context, validate=True))
        if isinstance(value, dict):
            return value
    except ValueError:
        pass
    raise ServiceError(
        "InvalidRequestContentException", "Client context must be a valid Base64-encoded JSON object.", 400
    )


def _limited(reply: Reply) -> Reply:
    if len(reply.payload) <= MOST_SYNCHRONOUS_BYTES:
        return reply
    body = {
        "errorMessage": f"Response payload size ({len(reply.payload)} bytes) exceeded maximum allowed payload size"
        f" ({MOST_SYNCHRONOUS_BYTES} bytes).",
        "errorType": "Function.ResponseSizeTooLarge",
    }
    return Reply(
        json.dumps(body).encode(),
        True,
        reply.output,
        "",
        reply.memory_mb,
        reply.init_seconds,
        reply.seconds,
        reply.gone,
    )


def _lines(document: Document, request_id: str, reply: Reply) -> list[str]:
    """The invocation's log, entry by entry, as AWS writes it."""
    lines = [f"START RequestId: {request_id} Version: $LATEST"]
    text = reply.output.decode("utf-8", "replace")
    if text:
        # An entry must have text: a blank line is kept as a space.
        lines += [line or " " for line in text.removesuffix("\n").split("\n")]
    if reply.log:
        lines.append(reply.log)
    milliseconds = reply.seconds * 1000
    size = document["MemorySize"]
    parts = [
        f"REPORT RequestId: {request_id}",
        f"Duration: {milliseconds:.2f} ms",
        f"Billed Duration: {math.ceil(milliseconds)} ms",
        f"Memory Size: {size} MB",
        f"Max Memory Used: {size if reply.memory_mb is None else reply.memory_mb} MB",
    ]
    if reply.init_seconds is not None:
        parts.append(f"Init Duration: {reply.init_seconds * 1000:.2f} ms")
    return [*lines, f"END RequestId: {request_id}", "\t".join(parts) + "\t"]
