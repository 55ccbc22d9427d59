"""What time it is for the simulator."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from seed_code.ingestion.simulator.clock import ClockUnknown, ReferenceClock, RunningClock, date_of


@dataclass
class Machine:
    """The machine's clock, and another server's: `date` None when that does not answer."""

    here: float = 0.0
    date: int | None = 1000
    asked: int = 0

    def read(self) -> float:
        return self.here

    async def ask(self) -> int:
        self.asked += 1
        if self.date is None:
            raise OSError("down")
        return self.date


def test_a_fast_clock_is_fast_from_its_beginning_on_and_never_goes_back():
    machine = Machine(here=500.0)
    clock = RunningClock(60.0, 500.0, machine.read)
    assert clock.now() == 500.0
    machine.here = 501.5
    assert clock.now() == 590.0
    machine.here = 501.0  # the machine's clock was set back
    assert clock.now() == 590.0
    asyncio.run(clock.refresh())


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def clock(machine) -> ReferenceClock:
    return ReferenceClock(machine.ask, machine.read)


def test_nobody_knows_the_time_before_the_server_has_answered(machine, clock):
    machine.date = None
    asyncio.run(clock.refresh())
    with pytest.raises(ClockUnknown, match="start it, or leave --clock away"):
        clock.now()


def test_it_counts_on_between_answers_and_asks_once_a_second(machine, clock):
    for _ in range(3):
        asyncio.run(clock.refresh())
    assert (clock.now(), machine.asked) == (1000.0, 1)
    machine.here = 0.9
    assert clock.now() == 1000.9
    machine.here, machine.date = 1.5, 1001
    asyncio.run(clock.refresh())
    assert (clock.now(), machine.asked) == (1001.5, 2)


def test_a_leap_ahead_is_followed_at_once(machine, clock):
    asyncio.run(clock.refresh())
    machine.here, machine.date = 2.0, 90_000
    asyncio.run(clock.refresh())
    assert clock.now() == 90_000


def test_a_clock_that_stands_is_waited_for(machine, clock):
    asyncio.run(clock.refresh())
    reached = []
    for second in range(1, 10):
        machine.here = float(second)
        asyncio.run(clock.refresh())
        reached.append(clock.now())
    assert reached == sorted(reached)
    assert reached[-1] <= 1002.0
    machine.here, machine.date = 10.0, 1001  # it goes on
    asyncio.run(clock.refresh())
    assert clock.now() <= 1002.0


def test_it_goes_on_alone_while_the_server_is_down(machine, clock):
    asyncio.run(clock.refresh())
    machine.here, machine.date = 30.0, None
    asyncio.run(clock.refresh())
    assert clock.now() == 1030.0


@contextmanager
def server(date: str | None) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response_only(404)
            if date is not None:
                self.send_header("Date", date)
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.handle_request)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}/any"
        thread.join()


def test_the_date_of_any_answer_will_do():
    with server("Thu, 21 May 2026 12:00:00 GMT") as url:
        assert asyncio.run(date_of(url)()) == 1_779_364_800


@pytest.mark.parametrize("date", [None, "yesterday"])
def test_an_answer_without_a_date_is_none(date):
    with server(date) as url, pytest.raises(OSError, match="answered without a Date"):
        asyncio.run(date_of(url)())
