"""The simulator's HTTP and websocket sides."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from email.utils import formatdate
from pathlib import Path

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from seed_code.ingestion.simulator import ledger as ledgers
from seed_code.ingestion.simulator import moments, plan, wrong
from seed_code.ingestion.simulator.clock import Clock, ClockUnknown
from seed_code.ingestion.simulator.faults import FaultError
from seed_code.ingestion.simulator.hindrances import Hindrances, Pause
from seed_code.ingestion.simulator.ledger import Ledger
from seed_code.ingestion.simulator.plan import Plan
from seed_code.ingestion.simulator.traffic import PAGE, Traffic, Transaction

_JSON, _NDJSON = "application/json", "application/x-ndjson"
_LONGEST_PAUSE_SECONDS = 1.0
# A subscriber is sent nothing older: what lies before a clock's leap was never on its way.
_MEMORY_SECONDS = 60.0


class Simulator:
    """The routes, over a market's traffic, and the ledger in `folder`.

    pause: waits so many of the machine's seconds. size: of a page, in transactions.
    """

    def __init__(
        self,
        traffic: Traffic,
        switches: Plan,
        clock: Clock,
        folder: Path,
        pause: Pause = asyncio.sleep,
        size: int = PAGE,
    ) -> None:
        self._traffic = traffic
        self._size = size
        self._plan = switches
        self._clock = clock
        self._folder = folder
        self._ledger = Ledger(folder)
        self._pause = pause
        self._hindrances = Hindrances(switches, clock, pause)
        self._counts: Counter[str] = Counter()

    def application(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/unconfirmed-transactions", self.page),
                Route("/health", self.health),
                Route("/control", self.control, methods=["GET", "POST"]),
                Route("/ledger", self.ledger),
                Route("/ledger/minutes", self.ledger),
                WebSocketRoute("/inv", self.subscribe),
            ],
            middleware=[
                Middleware(_Stamped, clock=self._clock),
                # Whoever is led here by another name is a page in a browser.
                Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"]),
            ],
            exception_handlers={ClockUnknown: _clock_unknown, FaultError: _bad_request, HTTPException: _refused},
            lifespan=self._lifespan,
        )

    def close(self) -> None:
        """Close the ledger's files; the application does it when it is shut down."""
        self._ledger.close()

    # --- the API's -----------------------------------------------------------------------------------------------

    async def page(self, request: Request) -> Response:
        """The newest transactions."""
        if request.query_params.get("format") != "json":
            raise HTTPException(400, "expected `?format=json`: this source has no page for people")
        await self._clock.refresh()
        turn = self._hindrances.turn()
        instead = await self._hindrances.met(turn, request.is_disconnected)
        if instead is not None:
            return instead
        now = self._clock.now()
        newest = self._traffic.newest(now, self._size)
        self._counts["pages"] += 1
        headers = {"Date": _date(now + turn.date_ahead), "Cache-Control": "no-store"}
        if turn.malformed is not None:
            content, intact, kind = wrong.page(newest, turn.malformed, turn.number)
            if kind not in wrong.WHOLE:
                self._ledger.write(intact, int(now))
            return Response(content, headers=headers, media_type="text/html" if kind == "html" else _JSON)
        content = b'{"txs":[' + b",".join([found.page_item() for found in newest]) + b"]}"
        self._ledger.write(newest, int(now))
        return Response(content, headers=headers, media_type=_JSON)

    async def subscribe(self, websocket: WebSocket) -> None:
        """The websocket."""
        await self._clock.refresh()
        instead = await self._hindrances.met(self._hindrances.turn(), _never)
        if instead is not None:
            instead.headers["Date"] = _date(self._clock.now())
            await websocket.send_denial_response(instead)
            return
        await websocket.accept(headers=[(b"date", _date(self._clock.now()).encode())])
        pushing: asyncio.Task[None] | None = None
        try:
            while True:
                asked = _operation(await websocket.receive_text())
                if asked == "ping":
                    await websocket.send_text('{"op":"pong"}')
                elif asked == "unconfirmed_sub":
                    pushing = pushing or asyncio.create_task(self._push(websocket))
                elif asked == "unconfirmed_unsub":
                    await _ended(pushing)
                    pushing = None
                else:
                    status = {"op": "status", "msg": f"`{asked}` is not known; expected ping or unconfirmed_sub"}
                    await websocket.send_text(json.dumps(status))
        except WebSocketDisconnect:
            pass
        finally:
            await _ended(pushing)

    async def _push(self, websocket: WebSocket) -> None:
        """Send every transaction as it arrives, until the source has an outage or the other side is gone."""
        sent = self._clock.now()
        with suppress(WebSocketDisconnect):
            while True:
                await self._clock.refresh()
                now = self._clock.now()
                if self._hindrances.outage() is not None:
                    await websocket.close(1012)
                    return
                for found in self._traffic.between(max(sent, now - _MEMORY_SECONDS), now):
                    await self._send(websocket, found, int(now))
                self._ledger.write((), int(now))
                sent = now
                wait = (self._traffic.next_arrival(now) - now) / self._clock.speed
                await self._pause(min(_LONGEST_PAUSE_SECONDS, max(0.001, wait)))

    async def _send(self, websocket: WebSocket, found: Transaction, now: int) -> None:
        turn = self._hindrances.turn()
        self._counts["messages"] += 1
        if turn.malformed is not None:
            await websocket.send_text(wrong.message(found, turn.malformed, turn.number))
            return
        self._ledger.write((found,), now)
        await websocket.send_text(found.message())

    # --- our own ---------------------------------------------------------------------------------------------------

    async def health(self, _: Request) -> Response:
        """Whether it listens, and who it is. No fault hits it."""
        return JSONResponse({"status": "ok", "synthetic": True, "seed": self._traffic.seed, "rate": self._traffic.rate})

    async def control(self, request: Request) -> Response:
        """What is switched on; POST switches. No fault hits it."""
        await self._clock.refresh()
        now = self._clock.now()
        if request.method == "POST":
            try:
                document = await request.json()
            except ValueError:
                raise FaultError("the body is no JSON; expected an object with drift_at or faults") from None
            wanted = plan.switches(document, self._plan.latest)
            self._plan.change(wanted, int(now // 60) + 1)
        counts = {**self._counts, "served": self._ledger.served, "faults": dict(self._hindrances.counts)}
        return JSONResponse({"now": moments.stamp(int(now)), **self._plan.latest.document(), "counts": counts})

    async def ledger(self, request: Request) -> Response:
        """What was served in a span of time, or its minutes."""
        begin, end = (_moment(request, name) for name in ("from", "to"))
        read = ledgers.minutes if request.url.path.endswith("/minutes") else ledgers.records
        return StreamingResponse(_chunks(read(self._folder, begin, end)), media_type=_NDJSON)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        yield
        self.close()


class _Stamped:
    """Gives every answer the simulated time, unless it has it, and says that it is made up."""

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Synthetic"] = "true"
                with suppress(ClockUnknown):
                    headers.setdefault("Date", _date(self._clock.now()))
            await send(message)

        await self._app(scope, receive, stamped)


async def _clock_unknown(_: Request, error: Exception) -> Response:
    return Response(str(error), 503)


async def _bad_request(_: Request, error: Exception) -> Response:
    return Response(str(error), 400)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return Response(error.detail, error.status_code)


async def _never() -> bool:
    return False


async def _ended(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _operation(text: str) -> str:
    try:
        return str(json.loads(text)["op"])
    except (ValueError, KeyError, TypeError):
        return text[:80]


def _moment(request: Request, name: str) -> int:
    try:
        return moments.seconds(request.query_params[name])
    except KeyError:
        raise HTTPException(400, f"`{name}` is missing; expected `?from=…&to=…`, ISO 8601 times") from None
    except ValueError as error:
        raise HTTPException(400, f"`{name}`: {error}") from error


def _chunks(records: Iterator[ledgers.Record]) -> Iterator[bytes]:
    """Lines, many at a time: each chunk is a turn of the server's."""
    lines: list[bytes] = []
    for record in records:
        lines.append(ledgers.line(record))
        if len(lines) == 2000:
            yield b"".join(lines)
            lines.clear()
    yield b"".join(lines)


def _date(now: float) -> str:
    return formatdate(int(now), usegmt=True)
