"""Requests over HTTP from a process of its own: at a steady rate, or each as soon as the one before is answered.

    with Generator(Load(port, "/invocations", headers, bodies, threads=2, per_second=50)) as generator:
        generator.begin()
        …
        done = generator.end()

A generator that shared an interpreter with what it measures, or with the program that waits for the result, would
measure that program. Each thread has one connection, of http.client, and asks nothing twice. At a steady rate (open
loop) a request's time runs from the moment when it was due, so that what a slow answer delays counts as well.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Self

_ANSWER_SECONDS = 60
_SHOWN = 400


@dataclass(frozen=True)
class Load:
    """What is asked. The bodies are taken in turn.

    Attributes:
        per_second: of all threads together, whatever the server does; None when each asks again once it is answered.
        seconds: how long; None until it is told to end.
    """

    port: int
    path: str
    headers: dict[str, str]
    bodies: list[str]
    threads: int
    per_second: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Asked:
    """One request.

    Attributes:
        at: when it was due, seconds since the epoch.
        late: seconds from then until it was sent.
        seconds: from when it was due to the end of its answer.
        status: of the answer; 0 when there was none.
        said: what came in place of a 200, shortened.
    """

    at: float
    late: float
    seconds: float
    status: int
    said: str


@dataclass(frozen=True)
class Done:
    """All requests of a generator; the seconds that they took together, and its processor time."""

    requests: list[Asked]
    seconds: float
    cpu_seconds: float


class Generator:
    """A process with a load. A context manager: it is connected when the block begins, and ends with it."""

    def __init__(self, load: Load) -> None:
        self._load = load

    def __enter__(self) -> Self:
        """Start the process, and wait until each of its connections has been answered once.

        Raises RuntimeError when one was not.
        """
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._say(json.dumps(asdict(self._load)))
        if self._hear() != "ready":
            self._process.wait()
            raise RuntimeError(f"the load on port {self._load.port} could not begin; its message is above")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def begin(self) -> None:
        """Let it ask."""
        self._say("go")

    def end(self) -> Done:
        """What came of it: once its time is over, or now when it has none."""
        if self._load.seconds is None:
            self._say("stop")
        told = json.loads(self._hear())
        return Done([Asked(*one) for one in told["requests"]], told["seconds"], told["cpu_seconds"])

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def _hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


class _Client:
    """One thread's connection."""

    def __init__(self, load: Load, number: int) -> None:
        self.load, self.number = load, number
        self.requests: list[Asked] = []
        self._connection = http.client.HTTPConnection("127.0.0.1", load.port, timeout=_ANSWER_SECONDS)

    def ask(self, body: str) -> tuple[int, str]:
        """Status and what was said in place of a 200."""
        try:
            self._connection.request("POST", self.load.path, body, self.load.headers)
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            return 0, f"{type(error).__name__}: {error}"[:_SHOWN]
        return answer.status, "" if answer.status == 200 else content.decode("utf-8", "replace")[:_SHOWN]

    def work(self, begin: float, stopping: threading.Event) -> None:
        load, turn = self.load, self.number
        while not stopping.is_set():
            due = time.perf_counter() if load.per_second is None else begin + turn / load.per_second
            if load.seconds is not None and due >= begin + load.seconds:
                return
            if (rest := due - time.perf_counter()) > 0 and stopping.wait(rest):
                return
            sent, moment = time.perf_counter(), time.time()
            status, said = self.ask(load.bodies[turn % len(load.bodies)])
            ended = time.perf_counter()
            self.requests.append(Asked(moment - (sent - due), sent - due, ended - due, status, said))
            turn += load.threads


def main() -> None:
    load = Load(**json.loads(sys.stdin.readline()))
    clients = [_Client(load, number) for number in range(load.threads)]
    for client in clients:
        status, said = client.ask(load.bodies[0])
        if status != 200:
            sys.exit(f"the first request was answered {status}: {said}")
    print("ready", flush=True)
    sys.stdin.readline()
    begin, cpu, stopping = time.perf_counter(), time.process_time(), threading.Event()
    threads = [threading.Thread(target=client.work, args=(begin, stopping)) for client in clients]
    for thread in threads:
        thread.start()
    if load.seconds is None:
        sys.stdin.readline()
        stopping.set()
    for thread in threads:
        thread.join()
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    requests = sorted((one for client in clients for one in client.requests), key=lambda one: one.at)
    told = [(one.at, one.late, one.seconds, one.status, one.said) for one in requests]
    print(json.dumps({"requests": told, "seconds": seconds, "cpu_seconds": cpu}), flush=True)


if __name__ == "__main__":
    main()
