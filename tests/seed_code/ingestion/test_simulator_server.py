"""The simulator as a poller meets it: over HTTP and websockets, at a clock that the test moves."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
import uvicorn
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from seed_code.ingestion.simulator import moments
from seed_code.ingestion.simulator.application import Simulator
from seed_code.ingestion.simulator.clock import ClockUnknown
from seed_code.ingestion.simulator.plan import NOTHING, Plan
from seed_code.ingestion.simulator.traffic import Traffic

BEGIN = 1_779_364_800.0  # 2026-05-21T12:00:00Z
PAGE = "/unconfirmed-transactions?format=json"


@dataclass
class MovedClock:
    """Stands until it is moved; what waits by it moves it, as far as `until`, where it leaps or stands for ever."""

    moment: float | None = BEGIN + 30
    speed: float = 1.0
    paused: list[float] = field(default_factory=list)
    until: float = float("inf")
    leap: float | None = None

    def now(self) -> float:
        if self.moment is None:
            raise ClockUnknown("nobody has said")
        return self.moment

    async def refresh(self) -> None:
        pass

    async def pause(self, seconds: float) -> None:
        self.paused.append(seconds)
        self.moment = self.now() + seconds
        if self.moment >= self.until:
            if self.leap is None:
                await asyncio.Event().wait()
            self.moment = self.leap
            self.until, self.leap = self.now() + 5, None
        await asyncio.sleep(0)


@dataclass
class Served:
    """A running simulator."""

    client: httpx.Client
    clock: MovedClock
    port: int

    def page(self) -> list[dict[str, Any]]:
        answer = self.client.get(PAGE)
        assert answer.status_code == 200
        return answer.json()["txs"]

    def switch(self, **wanted: Any) -> dict[str, Any]:
        answer = self.client.post("/control", json=wanted)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def minutes(self) -> dict[str, int]:
        """Transactions by minute, of the ledger."""
        answer = self.client.get("/ledger/minutes", params={"from": "2026-05-21T11:00:00Z", "to": "2026-05-21T16:00"})
        rows = [json.loads(line) for line in answer.text.splitlines()]
        return {row["tx_minute"]: row["total_nb_trx_1min"] for row in rows}

    @contextmanager
    def subscribed(self) -> Iterator[ClientConnection]:
        with connect(f"ws://127.0.0.1:{self.port}/inv", proxy=None) as connection:
            connection.send('{"op":"unconfirmed_sub"}')
            yield connection


class Door:
    """The ASGI application of one server for all tests: it is that of the simulator that was started last."""

    def __init__(self) -> None:
        self.behind: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.behind(scope, receive, send)


@pytest.fixture(scope="module")
def door() -> Iterator[tuple[Door, int]]:
    """The server's door and its port."""
    door = Door()
    config = uvicorn.Config(door, log_level="warning", date_header=False, ws="websockets-sansio", lifespan="off")
    server = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0))  # whoever comes before the server waits
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield door, listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@pytest.fixture
def serve(door, tmp_path) -> Iterator[Callable[[], Served]]:
    """Starts a simulator over this test's folder, in place of the one before."""
    entrance, port = door
    with ExitStack() as stack:

        def start() -> Served:
            clock, switches = MovedClock(), Plan(tmp_path / "control.json", NOTHING)
            simulator = Simulator(Traffic(7, 1.0, switches), switches, clock, tmp_path, clock.pause)
            stack.callback(simulator.close)
            entrance.behind = simulator.application()
            client = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, verify=False, timeout=30)
            return Served(stack.enter_context(client), clock, port)

        yield start


@pytest.fixture
def served(serve) -> Served:
    return serve()


def test_it_says_who_it_is_and_that_it_is_synthetic(served):
    answer = served.client.get("/health")
    assert answer.json() == {"status": "ok", "synthetic": True, "seed": 7, "rate": 1.0}
    assert answer.headers["x-synthetic"] == "true"


def test_a_page_has_the_newest_and_the_simulated_date(served):
    answer = served.client.get(PAGE)
    found = answer.json()["txs"]
    assert list(answer.json()) == ["txs"]
    assert len(found) == 100
    assert [one["time"] for one in found] == sorted((one["time"] for one in found), reverse=True)
    assert answer.headers.get_list("date") == ["Thu, 21 May 2026 12:00:30 GMT"]
    assert found[0]["time"] <= BEGIN + 30
    served.clock.moment = BEGIN + 32
    again = served.page()
    assert 0 < len({one["hash"] for one in again} - {one["hash"] for one in found}) < 30


def test_the_ledger_has_what_pages_had_and_its_minutes_follow(served):
    seen: dict[str, dict[str, Any]] = {}
    for second in range(0, 180, 5):
        served.clock.moment = BEGIN + second
        seen |= {one["hash"]: one for one in served.page()}
    answer = served.client.get("/ledger", params={"from": str(int(BEGIN) - 3600), "to": str(int(BEGIN) + 3600)})
    records = [json.loads(line) for line in answer.text.splitlines()]
    assert {record["hash"]: (record["time"], record["fee"]) for record in records if record["hash"]} == {
        one["hash"]: (one["time"], one["fee"]) for one in seen.values()
    }
    counted = served.minutes()
    for minute in range(2):
        stamp = moments.stamp(int(BEGIN) + 60 * minute)
        assert counted[stamp] == sum(one["time"] // 60 == BEGIN // 60 + minute for one in seen.values())
    assert served.client.get("/control").json()["counts"] == {
        "pages": 36,
        "served": len(seen),
        "faults": {},
    }


def test_a_quiet_minute_has_answers_and_no_transactions(served):
    served.switch(faults={"quiet": {"share": 1}})
    before = served.page()
    for second in (61, 90, 119, 121):
        served.clock.moment = BEGIN + second
        page = served.page()
        assert {one["time"] // 60 for one in page} <= {one["time"] // 60 for one in before} | {BEGIN // 60}
    assert served.minutes()["2026-05-21T12:01:00Z"] == 0
    assert "2026-05-21T12:03:00Z" not in served.minutes()


def test_a_drift_begins_with_the_next_minute(served):
    assert served.switch(drift_at="2026-05-21T12:00:00Z")["drift_at"] == "2026-05-21T12:01:00Z"
    assert served.client.get("/control").json()["drift_at"] == "2026-05-21T12:01:00Z"


def test_what_was_switched_on_still_is_after_a_restart(serve):
    serve().switch(faults={"error": {"share": 1}})
    assert serve().client.get(PAGE).status_code in (500, 502, 503)


@pytest.mark.parametrize(
    ("fault", "statuses"),
    [({"throttle": {"share": 1, "retry_after": 7}}, {429}), ({"error": {"share": 1}}, {500, 502, 503})],
)
def test_refusals(served, fault, statuses):
    served.switch(faults=fault)
    answers = [served.client.get(PAGE) for _ in range(20)]
    assert {answer.status_code for answer in answers} == statuses
    assert all(answer.headers.get("retry-after") == ("7" if 429 in statuses else None) for answer in answers)
    assert all("date" in answer.headers for answer in answers)
    assert served.minutes() == {}
    assert served.switch(faults={})["counts"] == {"served": 0, "faults": {next(iter(fault)): 20}}
    assert len(served.page()) == 100


def test_a_slow_answer_is_of_the_moment_when_it_comes(served):
    served.switch(faults={"slow": {"share": 1, "seconds": 9}})
    answer = served.client.get(PAGE)
    assert served.clock.paused == [9]
    assert answer.headers["date"] == "Thu, 21 May 2026 12:00:39 GMT"


def test_an_outage_is_silent_until_it_ends(served):
    served.switch(faults={"outage": {"share": 1, "hang_seconds": 12}})
    assert served.client.get(PAGE).status_code == 503
    assert sum(served.clock.paused) == 12
    assert served.minutes() == {}
    assert served.client.get("/health").status_code == 200


def test_outages_are_of_whole_minutes(served):
    served.switch(faults={"outage": {"share": 0.5, "minutes": 3, "hang_seconds": 0}})
    up = []
    for minute in range(30):
        served.clock.moment = BEGIN + 60 * minute + 10
        up.append(served.client.get(PAGE).status_code == 200)
    assert 3 < sum(up) < 27
    assert all(len(set(up[start : start + 3])) == 1 for start in range(0, 30, 3))


def test_malformed_pages_are_served_but_not_in_the_ledger(served):
    served.switch(faults={"malformed": {"share": 1, "as": ["truncated", "html"]}})
    for _ in range(10):
        answer = served.client.get(PAGE)
        assert answer.status_code == 200
        with pytest.raises(ValueError):  # noqa: PT011 - JSON's own, or UTF-8's
            answer.json()
    assert served.minutes() == {}


def test_of_a_page_with_one_bad_item_the_others_are_in_the_ledger(served):
    served.switch(faults={"malformed": {"share": 1, "as": ["hash"]}})
    known = {one.get("hash") for one in served.page()}
    assert None in known
    assert sum(served.minutes().values()) == 99


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/unconfirmed-transactions", "expected `?format=json`"),
        ("/ledger", "`from` is missing; expected `?from=…&to=…`"),
        ("/ledger?from=now&to=1", "`from`: `now` is no ISO 8601 time"),
    ],
)
def test_wrong_questions_are_told_so(served, path, expected):
    answer = served.client.get(path)
    assert answer.status_code == 400
    assert expected in answer.text


@pytest.mark.parametrize(("body", "expected"), [(b"{", "the body is no JSON"), (b'{"faults": {"rain": {}}}', "`rain`")])
def test_wrong_switches_are_told_so_and_change_nothing(served, body, expected):
    answer = served.client.post("/control", content=body)
    assert (answer.status_code, expected in answer.text) == (400, True)
    assert served.client.get("/control").json()["faults"] == {}


def test_a_page_in_a_browser_cannot_come_here_by_another_name(served):
    assert served.client.get("/health", headers={"Host": "evil.example"}).status_code == 400


def test_without_a_time_it_says_so(served):
    served.clock.moment = None
    answer = served.client.get(PAGE)
    assert (answer.status_code, answer.text) == (503, "nobody has said")
    assert "date" not in answer.headers
    assert served.client.get("/health").status_code == 200


def arriving(after: float, until: float) -> list[str]:
    """Hashes of what arrives between two moments."""
    return [one.hash for one in Traffic(7, 1.0, Plan(None, NOTHING)).between(after, until)]


def test_the_websocket_brings_every_transaction_as_it_arrives(served):
    served.clock.until = BEGIN + 121
    expected = arriving(BEGIN + 30, BEGIN + 121)
    with served.subscribed() as connection:
        handshake = connection.response.headers.get_all("Date")
        found = [json.loads(connection.recv(timeout=30)) for _ in expected]
    assert handshake == ["Thu, 21 May 2026 12:00:30 GMT"]
    assert {message["op"] for message in found} == {"utx"}
    assert [message["x"]["hash"] for message in found] == expected
    assert served.minutes()["2026-05-21T12:01:00Z"] == len(arriving(BEGIN + 60, BEGIN + 120))


def test_the_websocket_answers_pings_and_says_what_it_does_not_know(served):
    with connect(f"ws://127.0.0.1:{served.port}/inv", proxy=None) as connection:
        connection.send('{"op":"ping"}')
        assert connection.recv(timeout=30) == '{"op":"pong"}'
        connection.send("what?")
        assert json.loads(connection.recv(timeout=30))["msg"].startswith("`what?` is not known; expected ping")


def test_an_end_of_the_subscription_ends_it(served):
    served.clock.until = BEGIN + 32
    with served.subscribed() as connection:
        assert json.loads(connection.recv(timeout=30))["op"] == "utx"
        connection.send('{"op":"unconfirmed_unsub"}')
        connection.send('{"op":"ping"}')
        while json.loads(connection.recv(timeout=30))["op"] != "pong":
            pass
        connection.send('{"op":"ping"}')
        assert json.loads(connection.recv(timeout=30))["op"] == "pong"  # and nothing between


def test_an_outage_ends_subscriptions_and_refuses_new_ones(served):
    with served.subscribed() as connection:
        connection.recv(timeout=30)
        served.switch(faults={"outage": {"share": 1, "hang_seconds": 0}})
        with pytest.raises(ConnectionClosedError, match="1012"):
            _drain(connection)
    with pytest.raises(InvalidStatus) as refused, served.subscribed():
        pass
    assert refused.value.response.status_code == 503
    assert parsedate_to_datetime(refused.value.response.headers["Date"]).timestamp() >= BEGIN


def _drain(connection: ClientConnection) -> None:
    while True:
        connection.recv(timeout=30)


def test_malformed_messages_are_not_in_the_ledger(served):
    served.switch(faults={"malformed": {"share": 1, "as": ["truncated"]}})
    served.clock.until = BEGIN + 32
    with served.subscribed() as connection:
        for _ in arriving(BEGIN + 30, BEGIN + 32):
            with pytest.raises(ValueError):  # noqa: PT011
                json.loads(connection.recv(timeout=30))
    assert sum(served.minutes().values()) == 0


def test_after_a_leap_of_the_clock_only_the_last_minute_is_sent(served):
    leap = BEGIN + 3 * 3600
    served.clock.until, served.clock.leap = BEGIN + 31, leap
    expected = arriving(BEGIN + 30, BEGIN + 31) + arriving(leap - 60, leap + 5)
    with served.subscribed() as connection:
        assert [json.loads(connection.recv(timeout=30))["x"]["hash"] for _ in expected] == expected


def test_large_ones_are_served(served):
    served.switch(faults={"large": {"share": 0.02, "bytes": 2_000_000}})
    served.clock.moment = BEGIN + 100
    assert max(len(json.dumps(one)) for one in served.page()) > 2_000_000


def test_an_answer_may_have_a_wrong_date_and_counts_as_served_when_it_was(served):
    served.switch(faults={"date": {"share": 1, "seconds": -7200}})
    answer = served.client.get(PAGE)
    assert answer.status_code == 200
    assert answer.json()["txs"]
    assert parsedate_to_datetime(answer.headers["Date"]).timestamp() == int(served.clock.now()) - 7200
    assert sum(served.minutes().values()) == 100


def test_a_page_may_be_larger(tmp_path, door):
    clock, switches = MovedClock(), Plan(None, NOTHING)
    simulator = Simulator(Traffic(7, 1.0, switches), switches, clock, tmp_path, clock.pause, size=250)
    door[0].behind = simulator.application()
    assert len(httpx.get(f"http://127.0.0.1:{door[1]}{PAGE}", trust_env=False, verify=False).json()["txs"]) == 250
    simulator.close()
