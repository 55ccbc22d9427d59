"""The source's websocket, against a server on loopback."""

import asyncio
import http
import json
import socket
import time

import pytest
from websockets.asyncio.server import serve

from seed_code.ingestion.poller.observation import Failure, Observation
from seed_code.ingestion.poller.websocket import Websocket, with_fee
from tests.seed_code.ingestion.poller_doubles import NOW, date, first, tx


def utx(number, time=NOW, spent=(5000, 700), paid=(4000,)):
    """A message as the API sends it: no fee."""
    found = {name: value for name, value in tx(number, time).items() if name != "fee"}
    found["inputs"] = [{"prev_out": {"value": value, "addr": "a"}, "script": ""} for value in spent]
    found["out"] = [{"value": value} for value in paid]
    return json.dumps({"op": "utx", "x": found})


class Server:
    """Sends each connection its part of a script, then waits; an empty part closes the connection."""

    def __init__(self, *scripts, at=NOW):
        self.scripts = list(scripts)
        self.told = []
        self.at = at
        self.waited = []

    async def handle(self, connection):
        script = self.scripts.pop(0)
        self.told.append(await connection.recv())
        for message in script:
            await connection.send(message)
        if script:
            await connection.wait_closed()

    def dated(self, connection, request, response):
        del response.headers["Date"]
        at = self.at.pop(0) if isinstance(self.at, list) else self.at
        if at is not None:
            response.headers["Date"] = date(at)["Date"]

    async def sleep(self, seconds):
        self.waited.append(seconds)

    def seen(self, until, tick_seconds=0.05, monotonic=None, handed_on=()):
        async def run():
            async with serve(self.handle, "127.0.0.1", 0, process_response=self.dated) as server:
                port = server.sockets[0].getsockname()[1]
                source = Websocket(
                    f"ws://127.0.0.1:{port}/inv",
                    sleep=self.sleep,
                    monotonic=monotonic or (lambda: 100.0),
                    tick_seconds=tick_seconds,
                )
                source.resume(handed_on)
                return await first(source, until)

        return asyncio.run(run())


def of(seen):
    return [one["hash"] for observation in seen for one in getattr(observation, "transactions", [])]


def held(count):
    """Enough when so many transactions came."""
    return lambda seen: len(of(seen)) == count


def test_transactions_come_with_their_fee_and_the_handshakes_time():
    server = Server([utx(1), utx(2, paid=(5700,))])
    seen = server.seen(held(2))
    assert server.told == ['{"op": "unconfirmed_sub"}']
    assert of(seen) == [tx(1)["hash"], tx(2)["hash"]]
    found = [one for observation in seen for one in observation.transactions]
    assert [one["fee"] for one in found] == [1700, 0]
    assert {observation.observed_at for observation in seen} == {NOW}
    assert not any(observation.gap for observation in seen)


def test_a_quiet_second_is_an_observation_too():
    seen = Server(['{"op":"status","msg":"Welcome"}', '{"op":"pong"}']).seen(3)
    assert seen == [Observation(NOW, [])] * 3


def test_the_time_goes_on_by_the_own_clock_and_by_what_transactions_say():
    ticks = iter(range(100, 10_000, 5))
    seen = Server([utx(1, NOW + 50), utx(2, NOW + 50_000)]).seen(
        lambda seen: len(of(seen)) == 1 and any(one.set_aside for one in seen), monotonic=lambda: float(next(ticks))
    )
    observed = [one.observed_at for one in seen]
    assert observed == sorted(observed)
    assert NOW + 50 <= observed[-1] < NOW + 40_000
    (found,) = [found for one in seen for found in one.set_aside]
    assert "from the future" in found.reason  # and it moves nobody's clock


def test_a_handshake_with_a_wrong_date_is_followed_by_another_one():
    server = Server([], [utx(1)], [utx(1)], at=[NOW, NOW + 7200, NOW + 1])
    seen = server.seen(held(1))
    assert "7,200 seconds ahead" in [one for one in seen if isinstance(one, Failure)][-1].reason
    assert {one.observed_at for one in seen if isinstance(one, Observation)} <= {NOW, NOW + 1}


def test_without_a_date_the_newest_transaction_says_what_time_it_is():
    seen = Server(["{}", utx(1, NOW - 5)], at=None).seen(held(1))
    observed = [one for one in seen if isinstance(one, Observation)]
    assert {one.observed_at for one in observed} == {NOW - 5}
    assert of(seen) == [tx(1)["hash"]]


def test_without_any_time_there_is_no_observation():
    (failure,) = Server(["{}"], at=None).seen(1)
    assert "no transaction says what time it is yet" in failure.reason


def test_what_is_no_message_is_set_aside_and_the_rest_is_used():
    seen = Server(["{", b"\xff", "[1]", '{"op":"utx"}', '{"op":"utx","x":7}', utx(1)]).seen(held(1))
    reasons = [found.reason for one in seen for found in one.set_aside]
    assert sorted(reasons)[0].startswith("the item is 7; expected an object")
    assert [reason.partition("(")[0] for reason in reasons[:3]] == [
        "the message is no JSON ",
        "the message is no JSON ",
        "the message is no object with `op`",
    ]
    assert of(seen) == [tx(1)["hash"]]


def test_a_new_connection_is_a_gap_and_repeats_are_known():
    server = Server([utx(1)], [utx(1), utx(2)])

    async def run():
        over = asyncio.Event()

        async def handle(connection):
            await connection.recv()
            last = len(server.scripts) == 1
            for message in server.scripts.pop(0):
                await connection.send(message)
            await (connection.wait_closed() if last else over.wait())

        async with serve(handle, "127.0.0.1", 0, process_response=server.dated) as running:
            address = f"ws://127.0.0.1:{running.sockets[0].getsockname()[1]}"
            source = Websocket(address, sleep=server.sleep, monotonic=lambda: 100.0, tick_seconds=0.05)
            seen = []
            async for one in source:
                seen.append(one)
                over.set()
                if of(seen)[1:]:
                    break
            await source.close()
            return seen

    seen = asyncio.run(run())
    assert of(seen) == [tx(1)["hash"], tx(2)["hash"]]
    failed = [at for at, one in enumerate(seen) if isinstance(one, Failure)]
    assert len(failed) == 1
    assert "failed: ConnectionClosedOK" in seen[failed[0]].reason
    gaps = [at for at, one in enumerate(seen) if isinstance(one, Observation) and one.gap]
    assert gaps == [failed[0] + 1]
    assert sum(one.duplicates for one in seen if isinstance(one, Observation)) == 1
    assert all(wait >= 1.0 for wait in server.waited)


def test_the_first_connection_after_a_process_that_was_cut_off_is_a_gap():
    seen = Server([utx(1), utx(2)]).seen(held(1), handed_on=[tx(1)["hash"]])
    assert [one.gap for one in seen] == [True, *[False] * (len(seen) - 1)]
    assert of(seen) == [tx(2)["hash"]]


def test_a_connection_that_ends_at_once_is_tried_less_and_less_and_is_no_gap():
    server = Server([], [], [], [], [], [], [], [utx(1)])
    seen = server.seen(8)
    assert [type(one) for one in seen] == [Failure] * 7 + [Observation]
    assert not seen[-1].gap
    assert max(server.waited) <= 30
    assert min(server.waited) >= 1.0


def test_a_server_that_refuses_or_is_not_there_is_a_failure():
    server = Server()
    server.dated = lambda connection, request, response: connection.respond(http.HTTPStatus.FORBIDDEN, "no")
    (failure,) = server.seen(1)
    assert "failed: InvalidStatus: server rejected WebSocket connection: HTTP 403" in failure.reason
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    source = Websocket(f"ws://127.0.0.1:{port}", sleep=server.sleep, monotonic=time.monotonic)
    (failure,) = asyncio.run(first(source, 1))
    assert f"the websocket ws://127.0.0.1:{port} failed: ConnectionRefusedError" in failure.reason


def test_the_api_is_pinged_in_its_own_words():
    server, pings = Server(), []

    async def handle(connection):
        await connection.recv()
        async for message in connection:
            pings.append(message)
            await connection.send('{"op":"pong"}')

    server.handle = handle
    ticks = iter(range(100, 10_000, 7))
    server.seen(5, monotonic=lambda: float(next(ticks)))
    assert pings
    assert set(pings) == {'{"op": "ping"}'}


@pytest.mark.parametrize(
    ("change", "fee"),
    [
        ({}, 1700),
        ({"out": []}, None),
        ({"inputs": []}, None),
        ({"inputs": [{"prev_out": None}]}, None),  # a coinbase spends nothing
        ({"inputs": [{"prev_out": {"value": 9000}}, {}]}, None),
        ({"inputs": [{"prev_out": {"value": "9000"}}]}, None),
        ({"inputs": [{"prev_out": {"value": True}}]}, None),
        ({"inputs": 7}, None),
        ({"out": [7]}, None),
        ({"out": [{"value": 5701}]}, None),
        ({"fee": 5}, 5),
    ],
)
def test_a_fee_is_what_goes_in_less_what_comes_out(change, fee):
    item = json.loads(utx(1))["x"]
    assert with_fee({**item, **change})["fee"] == fee


def test_what_is_no_object_has_no_fee():
    assert with_fee(7) == 7
