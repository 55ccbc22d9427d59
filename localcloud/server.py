"""The ASGI application: HTTP in, the dispatcher's answers out, and the life of everything behind it."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from localcloud import routing, services
from localcloud.calls import Calls
from localcloud.clients import Clients
from localcloud.clock import SystemClock
from localcloud.context import Context
from localcloud.dispatch import Dispatcher
from localcloud.expiry import Expiry
from localcloud.faults import FaultError, Faults
from localcloud.iam.account import authority
from localcloud.iam.report import Report
from localcloud.instance import ADVANCE_PATH, CALLS_PATH, FAULTS_PATH, RIGHTS_PATH, STATUS_PATH
from localcloud.leaf import Leaf
from localcloud.notices.topics import Topics
from localcloud.principals import Principals
from localcloud.protocols import models
from localcloud.protocols.http import HttpRequest, HttpResponse
from localcloud.queue_metrics import QueueMetrics
from localcloud.service import Service
from localcloud.signals import Signals
from localcloud.store import Store
from localcloud.timetable import Reached, Timetable
from localcloud.web import PREFIX as WEB_PREFIX
from localcloud.web import Web

ACCOUNT_ID = "123456789012"
_OWN_PREFIX = b"/_localcloud/"
# Most of them wait when many call a function at once: `localcloud.functions.room`.
_HANDLER_THREADS = 256
_LONGEST_ADVANCE_SECONDS = 366 * 86_400.0
# Where the store keeps how far the clock has come, and by how much it is ahead of the machine's.
_REACHED = ("clock", "ahead")


def default_region() -> str:
    """AWS_DEFAULT_REGION, or eu-west-1."""
    return os.environ.get("AWS_DEFAULT_REGION") or "eu-west-1"


def build(
    state_dir: Path,
    port: int,
    clock: SystemClock | None = None,
    *,
    temporary: bool = False,
    create_services: Callable[[Context], Sequence[Service]] = services.create,
) -> Application:
    """The application over a state folder, which the caller has made sure is nobody else's.

    port: the one at which it will be reached, in jobs' AWS_ENDPOINT_URL and in the check of the Host header.
    temporary: the folder will be removed, so that no journal of the leaf is kept.
    """
    state_dir.mkdir(parents=True, exist_ok=True)
    store = Store(state_dir / "localcloud.sqlite")
    reached = store.get(*_REACHED)
    clock = clock or SystemClock(_ahead(reached))
    region = default_region()
    leaf = Leaf(None if temporary else state_dir / "leaf", region=region, account_id=ACCOUNT_ID, clock=clock)
    principals = Principals(store, ACCOUNT_ID)
    clients = Clients(region, principals)
    calls = Calls(state_dir / "calls.sqlite")
    endpoint_url = f"http://127.0.0.1:{port}"
    context = Context(
        store=store,
        leaf=leaf,
        clock=clock,
        state_dir=state_dir,
        region=region,
        account_id=ACCOUNT_ID,
        endpoint_url=endpoint_url,
        timetable=Timetable(clock, partial(_keep_reached, store), (reached or {}).get("Moment")),
        signals=Signals(),
        principals=principals,
        clients=clients,
        calls=calls,
        authority=authority(leaf, store, clients, principals, calls, clock, region, ACCOUNT_ID),
        web=Web(endpoint_url),
    )
    return Application(context, create_services(context), port=port, temporary=temporary)


def _keep_reached(store: Store, reached: Reached) -> None:
    document = {"Moment": reached.moment, "Seconds": reached.ahead.total_seconds(), "Standing": reached.standing}
    store.put(*_REACHED, document)


def _ahead(reached: dict[str, Any] | None) -> timedelta:
    """By how much the clock goes on ahead of the machine's.

    Time that was let pass has passed: what is in the state is not to lie in the future. A clock that stood when its
    process ended has not gone on since, so that the rest of what it was to be advanced by still lies before it.
    """
    if reached is None:
        return timedelta()
    if reached.get("Standing"):
        moment: datetime = reached["Moment"]
        return moment - SystemClock().now()
    return timedelta(seconds=reached["Seconds"])


class Application:
    """An ASGI application. The server's lifespan events start and stop the services."""

    def __init__(self, context: Context, implemented: Sequence[Service], *, port: int, temporary: bool) -> None:
        self.context = context
        self._implemented = implemented
        self._topics = Topics(context)
        self._expiry, self._queue_metrics = Expiry(context), QueueMetrics(context)
        self._dispatcher = Dispatcher(context, implemented, self._topics, self._expiry, self._queue_metrics)
        self._faults = Faults()
        context.clients.connect(self._dispatcher.handle)
        self._port = port
        self._temporary = temporary
        self._started_at = time.monotonic()
        # An executor of its own: the default one is smaller than a handful of busy clients.
        self._threads = ThreadPoolExecutor(_HANDLER_THREADS, thread_name_prefix="request")
        self._own = Starlette(
            routes=[
                Route(STATUS_PATH, self._status),
                Route(ADVANCE_PATH, self._advance, methods=["POST"]),
                Route(CALLS_PATH, self._calls),
                Route(RIGHTS_PATH, self._rights),
                Route(FAULTS_PATH, self._set_faults, methods=["POST"]),
                Route(FAULTS_PATH, self._show_faults),
            ],
            lifespan=self._lifespan,
        )

    def start(self) -> None:
        """Take up the state. The leaf, and what else makes only the first call slow, follows on threads of its own."""
        self.context.leaf.start()
        self.context.timetable.start()
        for service in self._implemented:
            service.start()
        self._topics.start()
        self._expiry.start()
        self._queue_metrics.start()
        names = [service.name for service in self._implemented]
        threading.Thread(target=_warm_models, args=(names,), name="warm-models", daemon=True).start()

    def stop(self) -> None:
        """End the services' work and close the state. Takes no more requests."""
        self.context.timetable.stop()
        for service in reversed(self._implemented):
            service.stop()
        self._topics.stop()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._expiry.stop()
        self.context.leaf.close()
        self.context.calls.close()
        self.context.store.close()

    def status(self) -> dict[str, Any]:
        """What `localcloud status` shows."""
        return {
            "pid": os.getpid(),
            "port": self._port,
            "state": str(self.context.state_dir),
            "temporary": self._temporary,
            "now": self.context.clock.now().isoformat(),
            "uptime_seconds": round(time.monotonic() - self._started_at, 3),
            "region": self.context.region,
            "account_id": self.context.account_id,
            "services": {service.name: sorted(service.operations) for service in self._implemented},
            "leaf": {"services": list(services.LEAF), **self.context.leaf.status()},
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._own(scope, receive, send)
            return
        http = _from_scope(scope)
        mounted = self.context.web.mounted(http.path)
        is_web = mounted is None and http.path.startswith(WEB_PREFIX)
        try:
            routing.check_host(http, self._port, any_origin=is_web)
        except routing.HostRefused as error:
            await PlainTextResponse(f"localcloud: {error}\n", 403)(scope, receive, send)
            return
        if mounted is not None:
            await mounted(scope, receive, send)
            return
        if _raw_path(scope).startswith(_OWN_PREFIX):
            await self._own(scope, receive, send)
            return
        body = await _read_body(receive)
        if body is None:
            return
        handle = self.context.web.handle if is_web else partial(self._dispatcher.handle, faults=self._faults)
        request = replace(http, body=body)
        answer = await asyncio.get_running_loop().run_in_executor(self._threads, handle, request)
        await _send(answer, http.method, send)

    def quick(self, request: HttpRequest) -> HttpResponse | None:
        """The answer to a request of `services.QUICK`, given at once; None for every other one."""
        try:
            routing.check_host(request, self._port)
        except routing.HostRefused:
            return None
        return self._dispatcher.handle_quick(request, self._faults)

    async def _status(self, request: StarletteRequest) -> Response:
        return JSONResponse(self.status())

    async def _advance(self, request: StarletteRequest) -> Response:
        """Let time pass; the body is the number of seconds."""
        text = (await request.body()).decode(errors="replace")
        try:
            seconds = float(text)
            if not 0 <= seconds <= _LONGEST_ADVANCE_SECONDS:
                raise ValueError
        except ValueError:
            expected = f"a number of seconds from 0 to {_LONGEST_ADVANCE_SECONDS:.0f}"
            return PlainTextResponse(f"localcloud: expected {expected}, got {text[:100]!r}\n", 400)
        reached = await asyncio.to_thread(self.context.timetable.advance, seconds)
        return JSONResponse({"now": reached.isoformat()})

    async def _calls(self, request: StarletteRequest) -> Response:
        """Who called what, of one principal (`?principal=`) or of all."""
        found = await asyncio.to_thread(self.context.calls.list, request.query_params.get("principal"))
        return JSONResponse({"calls": [{**asdict(call), "count": count} for call, count in found]})

    async def _rights(self, request: StarletteRequest) -> Response:
        """What roles may and did, of one (`?role=`, by ARN or name) or of all."""
        context = self.context
        report = Report(
            context.authority.roles,
            lambda: context.leaf.client("iam"),
            lambda: context.clients.of("cloudformation"),
            context.calls.list,
        )
        found = await asyncio.to_thread(report.roles, request.query_params.get("role"))
        return JSONResponse({"roles": found})

    async def _show_faults(self, request: StarletteRequest) -> Response:
        return JSONResponse({"faults": self._faults.described()})

    async def _set_faults(self, request: StarletteRequest) -> Response:
        """Set the rules that are the body, in JSON."""
        try:
            self._faults.set(json.loads(await request.body()))
        except FaultError as error:
            return PlainTextResponse(f"localcloud: {error}\n", 400)
        except ValueError as error:
            return PlainTextResponse(f"localcloud: the rules are no JSON: {error}\n", 400)
        return JSONResponse({"faults": self._faults.described()})

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        await asyncio.to_thread(self.start)
        try:
            yield
        finally:
            await asyncio.to_thread(self.stop)


def _warm_models(names: Sequence[str]) -> None:
    """Load the models of the services that are implemented: SageMaker's alone is 2 MB of JSON."""
    for name in names:
        model = models.service_model(name)
        if models.default_protocol(name) == models.REST_JSON:
            models.routes(name)
        else:
            for operation in model.operation_names:
                model.operation_model(operation)


def _raw_path(scope: Scope) -> bytes:
    raw: bytes | None = scope.get("raw_path")
    return raw if raw is not None else quote(scope["path"]).encode()


def _from_scope(scope: Scope) -> HttpRequest:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    client = scope.get("client")
    return HttpRequest(
        scope["method"],
        _raw_path(scope).decode("latin-1"),
        scope["query_string"].decode("latin-1"),
        headers,
        client=client[0] if client else "127.0.0.1",
    )


async def _read_body(receive: Receive) -> bytes | None:
    """The whole body; None if the client went away before its end."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


async def _send(answer: HttpResponse, method: str, send: Send) -> None:
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1", errors="replace"))
        for name, value in answer.headers
        if name.lower() not in ("content-length", "connection", "transfer-encoding")
    ]
    # The length of an answer to HEAD is that of the body which GET would have.
    length = answer.header("content-length") if method == "HEAD" else None
    if answer.status not in (204, 304):
        headers.append((b"content-length", (length or str(len(answer.body))).encode()))
    body = b"" if method == "HEAD" or answer.status in (204, 304) else answer.body
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
