"""The source's websocket: each unconfirmed transaction as it appears.

After `{"op": "unconfirmed_sub"}` it sends `{"op": "utx", "x": {...}}`. Its transactions say no fee: it is what goes in
less what comes out. What time it is, the handshake's Date header says, and from then on how long ago that was, unless a
transaction's time is later. Observations come once a second, each only after the server has answered a ping: a
connection that hangs says nothing about the time. A new connection is a gap: what came between is lost.

Source: "WebSocket API" of blockchain.com, "Keep Alive" among it.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from seed_code.ingestion.poller.dates import Dates, Leap
from seed_code.ingestion.poller.observation import Observation, SetAside, Source, SourceFailure, cut, observe
from seed_code.ingestion.poller.pages import seconds_of
from seed_code.ingestion.transactions import FUTURE_SECONDS

__all__ = ["Websocket", "with_fee"]

_TICK_SECONDS = 1.0
_PING_SECONDS = 20.0  # between the pings that the API wants every 30 seconds or so
_PONG_SECONDS = 10.0
_LEAST_SECONDS = 1.0  # between two connections
_MOST_BYTES = 16 * 1024 * 1024  # of a message; a transaction has 4 MB at most
_MOST_WAITING = 4096  # messages, beyond which the server is held up


class Websocket(Source):
    """Listens, and gives what came each second."""

    def __init__(
        self,
        url: str,
        *,
        sleep: Callable[[float], Awaitable[None]],
        monotonic: Callable[[], float],
        tick_seconds: float = _TICK_SECONDS,
    ) -> None:
        super().__init__(sleep, _LEAST_SECONDS)
        self._url = url
        self._monotonic = monotonic
        self._dates = Dates(monotonic)
        self._tick_seconds = tick_seconds
        self._connection: ClientConnection | None = None
        self._messages: list[str | bytes] = []  # received and not given yet, whatever became of the connection
        self._pinged_at = 0.0
        self._ahead: float | None = None  # the source's clock less this one
        self._newest = 0
        self._observed = False
        self._gap = False

    async def ask(self) -> Observation:
        """What came within a tick. Raises SourceFailure when there is no connection, or it ends."""
        try:
            if self._connection is None:
                await self._connect()
            return await self._listen()
        except (OSError, TimeoutError, WebSocketException, Leap) as error:
            await self.close()
            self._gap = self._observed
            raise SourceFailure(f"the websocket {self._url} failed: {type(error).__name__}: {error}") from error

    def resume(self, hashes: Collection[str]) -> None:
        """Begin where another process was cut off: what came between is a gap."""
        super().resume(hashes)
        self._observed = self._gap = bool(hashes)

    async def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError, TimeoutError, WebSocketException):
                await connection.close()

    async def _connect(self) -> None:
        self._connection = await connect(
            self._url,
            ping_interval=None,  # `_listen` pings
            max_size=_MOST_BYTES,
            max_queue=_MOST_WAITING,
            close_timeout=2,
        )
        now = self._monotonic()
        said = seconds_of(self._connection.response.headers.get("Date") if self._connection.response else None)
        if said is not None:
            self._dates.check(said)
            self._ahead = said - now
        await self._connection.send(json.dumps({"op": "unconfirmed_sub"}))
        self._pinged_at = now

    async def _listen(self) -> Observation:
        assert self._connection is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._tick_seconds):
                while True:
                    self._messages.append(await self._connection.recv())
        async with asyncio.timeout(_PONG_SECONDS):
            await (await self._connection.ping())
        if self._monotonic() - self._pinged_at >= _PING_SECONDS:
            await self._connection.send(json.dumps({"op": "ping"}))
            self._pinged_at = self._monotonic()
        items, aside = _items(self._messages)
        observed_at = self._observed_at(items)
        self._messages = []
        seen = observe(map(with_fee, items), observed_at, self.known)
        gap, self._gap, self._observed = self._gap, False, True
        return replace(seen, gap=gap, set_aside=(*aside, *seen.set_aside))

    def _observed_at(self, items: list[Any]) -> int:
        times = [item["time"] for item in items if isinstance(item, dict) and type(item.get("time")) is int]
        if self._ahead is None:
            # Nothing but the transactions themselves says what time it is.
            self._newest = max([self._newest, *times])
            if not self._newest:
                raise SourceFailure("the handshake has no Date header, and no transaction says what time it is yet")
            return self._newest
        now = int(self._monotonic() + self._ahead)
        # One with a clock of its own moves nobody else's.
        self._newest = max([self._newest, now, *(time for time in times if time <= now + FUTURE_SECONDS)])
        return self._newest


def with_fee(item: object) -> object:
    """A transaction with what goes in less what comes out as its `fee`: null when a value is not said."""
    if not isinstance(item, dict) or "fee" in item:
        return item
    spent = _total(item.get("inputs"), lambda entry: entry.get("prev_out"))
    paid = _total(item.get("out"), lambda entry: entry)
    fee = None if spent is None or paid is None or spent < paid else spent - paid
    return {**item, "fee": fee}


def _total(entries: object, holder: Callable[[dict[str, Any]], object]) -> int | None:
    """The sum of the entries' values; None when there are none or one does not say its own."""
    if not isinstance(entries, list) or not entries:
        return None
    total = 0
    for entry in entries:
        held = holder(entry) if isinstance(entry, dict) else None
        value = held.get("value") if isinstance(held, dict) else None
        if type(value) is not int:
            return None
        total += value
    return total


def _items(messages: list[str | bytes]) -> tuple[list[Any], list[SetAside]]:
    """The transactions in messages, and what is no message. Others, such as pongs and words of welcome, are nothing."""
    items: list[Any] = []
    aside: list[SetAside] = []
    for message in messages:
        try:
            told = json.loads(message)
        except (ValueError, RecursionError) as error:
            text = message if isinstance(message, str) else message.decode("utf-8", "replace")
            aside.append(SetAside(f"the message is no JSON ({error})", cut(text)))
            continue
        if isinstance(told, dict) and told.get("op") == "utx":
            items.append(told.get("x"))
        elif not isinstance(told, dict) or "op" not in told:
            text = message if isinstance(message, str) else message.decode("utf-8", "replace")
            aside.append(SetAside("the message is no object with `op`", cut(text)))
    return items, aside
