"""Processes of functions under many calls: how many run, how many start, who waits for which, and what ends them."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from localcloud.clients import in_process_client
from localcloud.clock import SystemClock
from localcloud.context import Request
from localcloud.errors import ServiceError
from localcloud.functions.invocation import Caller, Invoker, Outcome
from localcloud.functions.pool import Pool
from localcloud.functions.process import Process, Spec
from localcloud.functions.room import Limits
from localcloud.functions.service import caller_of
from localcloud.protocols.http import HttpRequest, HttpResponse
from tests.contract.sagemaker_account import until

# Both ends wait for the other: nothing here depends on how long something takes.
LINK = """
import os, socket
def ask(word):
    with socket.create_connection(("127.0.0.1", int(os.environ["PORT"]))) as link:
        link.sendall(word)
        return link.recv(1)
"""
SLOW_START = f"{LINK}\nask(b's')\ndef handler(event, context):\n    return os.getpid()\n"
SLOW_CALL = f"{LINK}\ndef handler(event, context):\n    ask(b'c')\n    return os.getpid()\n"
BROKEN = f"{LINK}\nask(b's')\nraise LookupError('no way')\n"
ROLE = "arn:aws:iam::123456789012:role/"


class Lab:
    """A pool and an invoker with real processes, which say at a socket where they are and wait to be let go on."""

    def __init__(self, folder: Path) -> None:
        self.measured: list[tuple[str, str]] = []
        self.context: Any = SimpleNamespace(
            state_dir=folder,
            clock=SystemClock(),
            timetable=SimpleNamespace(working=nullcontext, after=lambda *_: None),
            leaf=SimpleNamespace(wait_until_ready=lambda: None),
            principals=SimpleNamespace(access_key=lambda role: "LCR"),
            signals=SimpleNamespace(measurements=self._measure),
            endpoint_url="http://127.0.0.1:9",
            region="eu-west-1",
        )
        self.logs: Any = SimpleNamespace(new_stream=lambda: "stream", write=lambda *_: None)
        self.documents: dict[str, dict[str, Any]] = {}
        self.functions: Any = SimpleNamespace(named=self.documents.__getitem__, spec=self.spec)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.settimeout(60)
        self.links: list[socket.socket] = []
        self.threads = ThreadPoolExecutor(16)
        self.pool = self.new_pool()
        self.invoker = self.new_invoker(Limits())

    def new_pool(self, starts_at_once: int = 1, turn_seconds: float = 1e6) -> Pool:
        self.pool = Pool(self.context, self.logs, starts_at_once, turn_seconds)
        return self.pool

    def new_invoker(self, limits: Limits) -> Invoker:
        self.invoker = Invoker(self.context, self.functions, self.pool, self.logs, limits)
        return self.invoker

    def function(self, name: str, source: str, **members: Any) -> Spec:
        (self.context.state_dir / name).mkdir()
        (self.context.state_dir / name / "index.py").write_text(source)
        self.documents[name] = {"FunctionName": name, "Role": ROLE + name, "MemorySize": 512, **members}
        return self.spec(self.documents[name])

    def spec(self, document: dict[str, Any]) -> Spec:
        name = document["FunctionName"]
        code = self.context.state_dir / name
        port = (("PORT", str(self.server.getsockname()[1])),)
        return Spec(name, f"arn:{name}", "1", "index.handler", code, port, 60, 512, "g", "python3.11")

    def acquire(self, spec: Spec) -> Future[Process]:
        return self.threads.submit(self.pool.acquire, spec, ROLE)

    def invoke(self, name: str, caller: Caller | None = None) -> Future[Outcome]:
        return self.threads.submit(self.invoker.invoke, name, b"{}", caller=caller)

    def come(self, word: bytes) -> Callable[[], None]:
        """Wait until a process has come so far; what this gives lets it go on."""
        link, _ = self.server.accept()
        self.links.append(link)
        assert link.recv(1) == word

        def go() -> None:
            link.sendall(b"g")

        return go

    def in_line(self, count: int) -> None:
        until(lambda: len(self.pool._line) == count, f"{count} wait for a process")

    def waiting(self, count: int) -> None:
        until(lambda: self.invoker._room.waiting == count, f"{count} wait for room")

    def begun(self) -> int:
        """How many processes there are."""
        return len(list((self.context.state_dir / "functions" / "processes").glob("*/*")))

    def close(self) -> None:
        self.invoker.close()
        self.pool.kill()
        self.threads.shutdown(wait=True)
        for process in list(self.pool._running):
            self.pool.release(process, gone=True)
        self.pool.stop()
        for link in [*self.links, self.server]:
            link.close()

    def _measure(self, measurements: Any) -> None:
        self.measured += [(entry.dimensions["FunctionName"], entry.name) for entry in measurements]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.close()


def pid(process: Process) -> int:
    return int(process.call("r", b"{}").payload)


# Starts.


def test_no_more_start_at_once_than_there_are_cores_for_and_what_is_free_first_serves_first(lab: Lab) -> None:
    spec = lab.function("f", SLOW_START)
    callers = []
    for count in (1, 2, 3):
        callers.append(lab.acquire(spec))
        lab.in_line(count)
    first_go = lab.come(b"s")
    assert lab.begun() == 1
    first_go()
    first = callers[0].result()
    # The turn is over though the first call is not: the next one starts, and still comes too late for who waits.
    second_go = lab.come(b"s")
    assert lab.begun() == 2
    lab.pool.release(first, gone=False)
    assert callers[1].result() is first
    lab.pool.release(first, gone=False)
    assert callers[2].result() is first
    second_go()
    until(lambda: lab.pool._idle.get("f"), "the second is ready, and idle")
    assert pid(lab.acquire(spec).result()) != pid(first)
    assert lab.begun() == 2


def test_each_function_has_its_turn_in_the_order_of_the_calls(lab: Lab) -> None:
    specs = [lab.function(name, SLOW_START) for name in ("a", "b")]
    first = lab.acquire(specs[0])
    go = lab.come(b"s")
    lab.pool.warm(lab.function("ahead", SLOW_START), ROLE)
    second = lab.acquire(specs[1])
    lab.in_line(2)
    go()
    assert first.result().spec.name == "a"
    lab.come(b"s")()
    assert second.result().spec.name == "b"
    lab.come(b"s")()
    until(lambda: "ahead" in lab.pool._idle, "what nobody waits for comes last")


def test_a_start_that_takes_long_keeps_no_other_from_its_turn(lab: Lab) -> None:
    pool = lab.new_pool(turn_seconds=0.0)
    outer, inner = lab.function("outer", SLOW_START), lab.function("inner", SLOW_START)
    # As one whose import calls another function.
    waiting = lab.acquire(outer)
    outer_go = lab.come(b"s")
    other = lab.acquire(inner)
    lab.come(b"s")()
    pool.release(other.result(), gone=False)
    outer_go()
    assert waiting.result().spec == outer


def test_a_start_that_fails_is_told_to_one_call_and_gives_its_turn_back(lab: Lab) -> None:
    spec = lab.function("f", BROKEN)
    callers = [lab.acquire(spec), lab.acquire(spec)]
    for _ in callers:
        lab.come(b"s")()
    for caller in callers:
        process = caller.result()
        reply = process.call("r", b"{}")
        assert json.loads(reply.payload)["errorMessage"] == "no way"
        assert reply.gone
        assert reply.init_seconds is None
        lab.pool.release(process, gone=True)
    assert lab.begun() == 0


def test_a_machine_that_can_start_nothing_says_so_to_every_call(lab: Lab) -> None:
    spec = lab.function("f", SLOW_START)
    (spec.code / "index.py").unlink()
    spec.code.rmdir()
    for caller in [lab.acquire(spec), lab.acquire(spec)]:
        with pytest.raises(FileNotFoundError):
            caller.result()


def test_who_waits_for_a_process_of_a_function_that_changes_is_given_another(lab: Lab) -> None:
    spec = lab.function("f", SLOW_START)
    caller = lab.acquire(spec)
    lab.come(b"s")
    lab.pool.retire("f")
    lab.come(b"s")()
    assert caller.result().spec == spec
    assert lab.begun() == 1


def test_the_end_of_localcloud_ends_starts_and_who_waits_for_them(lab: Lab) -> None:
    spec = lab.function("f", SLOW_START)
    callers = [lab.acquire(spec), lab.acquire(spec)]
    lab.in_line(2)
    lab.come(b"s")
    lab.pool.kill()
    for caller in [*callers, lab.acquire(spec)]:
        with pytest.raises(OSError, match="localcloud is stopping"):
            caller.result()
    lab.pool.stop()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("start-")]
    assert lab.begun() == 0


# Room.


def test_an_invocation_for_which_there_is_no_room_waits(lab: Lab) -> None:
    lab.new_invoker(Limits(running=1, requests=2))
    lab.function("f", SLOW_CALL)
    first = lab.invoke("f", Caller())
    go = lab.come(b"c")
    second = lab.invoke("f", Caller())
    lab.waiting(1)
    # A third request would take a thread that functions need, an event has one of its own.
    with pytest.raises(ServiceError, match="Rate Exceeded") as refused:
        lab.invoke("f", Caller()).result()
    assert refused.value.fields == {"Reason": "ConcurrentInvocationLimitExceeded"}
    event = lab.invoke("f")
    lab.waiting(2)
    go()
    number = first.result().payload
    lab.come(b"c")()
    assert second.result().payload == number
    assert not event.done()
    lab.come(b"c")()
    assert event.result().payload == number
    assert lab.measured.count(("f", "Throttles")) == 1
    assert lab.measured.count(("f", "Invocations")) == 3


def test_a_request_waits_for_so_long_and_an_event_until_there_is_room(lab: Lab) -> None:
    lab.new_invoker(Limits(running=1, patience_seconds=0.0))
    lab.function("f", SLOW_CALL)
    first = lab.invoke("f", Caller())
    go = lab.come(b"c")
    event = lab.invoke("f")
    lab.waiting(1)
    with pytest.raises(ServiceError, match="Rate Exceeded"):
        lab.invoke("f", Caller()).result()
    lab.waiting(1)
    go()
    first.result()
    lab.come(b"c")()
    assert event.result().error is None


def test_a_functions_own_concurrency_refuses_at_once_and_counts_who_waits(lab: Lab) -> None:
    lab.new_invoker(Limits(running=1))
    lab.function("f", SLOW_CALL)
    lab.function("g", SLOW_CALL, ReservedConcurrentExecutions=1)
    first = lab.invoke("f")
    go = lab.come(b"c")
    second = lab.invoke("g")
    lab.waiting(1)
    with pytest.raises(ServiceError, match="Rate Exceeded") as refused:
        lab.invoke("g").result()
    assert refused.value.fields == {"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded"}
    go()
    first.result()
    lab.come(b"c")()
    assert second.result().error is None
    assert lab.measured.count(("g", "Throttles")) == 1


def test_what_a_running_function_calls_does_not_wait_for_those_that_wait_for_it(lab: Lab) -> None:
    lab.new_invoker(Limits(running=1, requests=2, inner_requests=3))
    lab.function("outer", SLOW_CALL)
    lab.function("inner", SLOW_CALL)
    calls = [lab.invoke("outer", Caller())]
    go = lab.come(b"c")
    calls.append(lab.invoke("outer", Caller()))
    lab.waiting(1)
    inner = lab.invoke("inner", Caller(ROLE + "outer"))
    lab.come(b"c")()
    assert inner.result().error is None
    go()
    lab.come(b"c")()
    assert [call.result().error for call in calls] == [None, None]


def test_the_end_of_localcloud_ends_the_wait_for_room(lab: Lab) -> None:
    lab.new_invoker(Limits(running=1))
    lab.function("f", SLOW_CALL)
    first = lab.invoke("f")
    lab.come(b"c")
    others = [lab.invoke("f"), lab.invoke("f", Caller())]
    lab.waiting(2)
    lab.invoker.close()
    for other in [*others, lab.invoke("f")]:
        with pytest.raises(ServiceError, match="localcloud is stopping"):
            other.result()
    lab.pool.kill()
    assert first.result().error == "Unhandled"
    assert ("f", "Throttles") not in lab.measured


def test_localclouds_own_clients_hold_no_thread_of_the_server() -> None:
    access_key, role = "LCR0123456789ABCDEF0", f"{ROLE}r"
    seen: list[HttpRequest] = []

    def send(http: HttpRequest) -> HttpResponse:
        seen.append(http)
        return HttpResponse(200, [], b"{}")

    in_process_client("lambda", "eu-west-1", send, access_key).invoke(FunctionName="f")
    principals: Any = SimpleNamespace(of={access_key: role}.__getitem__)
    own = Request("lambda", "Invoke", {}, access_key=access_key, headers=seen[0].headers)
    assert caller_of(own, principals) is None
    signed = {"authorization": f"AWS4-HMAC-SHA256 Credential={access_key}/20260102/eu-west-1/lambda/aws4_request, …"}
    assert caller_of(replace(own, headers=signed), principals) == Caller(role)


def test_an_invocation_that_has_waited_finds_the_function_as_it_is_by_then(lab: Lab) -> None:
    lab.new_invoker(Limits(running=1))
    lab.function("f", SLOW_CALL)
    lab.function("g", SLOW_CALL)
    first = lab.invoke("f")
    go = lab.come(b"c")
    second = lab.invoke("g")
    lab.waiting(1)
    del lab.documents["g"]
    go()
    assert first.result().error is None
    with pytest.raises(KeyError, match="g"):
        second.result()
