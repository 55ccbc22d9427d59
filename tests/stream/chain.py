"""The whole stream as it runs on a laptop, from the simulated API to the feature store, with ways to harm it: used by
the tests of the chain, and by its benchmark.

localcloud and the simulator are processes of their own; everything between them is made by the project's templates.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import psutil

from pipelines import names as n
from pipelines import provision
from pipelines.config import Configuration, load
from pipelines.ingestion import control, minutes
from pipelines.ingestion.minutes import MINUTE, Minute
from pipelines.ingestion.replay import replay
from pipelines.names import LocalPaths, Names
from pipelines.session import boto_session, client
from pipelines.stack import Server, Stack
from tests.records import leave

ROOT = Path(__file__).resolve().parents[2]
POLL_SECONDS = 0.1
USUAL_RATE = 4.7  # the market's transactions a second
# Together longer than Lambda waits until it tries an event for the third time; longer than Firehose gathers records.
_RETRIES, _GATHERING = timedelta(minutes=4), timedelta(minutes=2)
_FROM_ELSEWHERE = ("AWS_", "MLFLOW_", "MLOPS_")
# The programs of the chain, by what their command lines and environments say.
POLLER, OPERATOR = "seed_code.ingestion.poller", "seed_code.ingestion.operator"
FUNCTIONS = n.INGESTION_FUNCTIONS
_BOOTSTRAP_VARIABLE = "AWS_LAMBDA_FUNCTION_NAME"


@dataclass(frozen=True)
class Traffic:
    """What the simulator serves.

    Attributes:
        rate: transactions a simulated second, about.
        speed: so many times as fast as real time. At 1 its time is localcloud's, which can be told to pass.
        page: transactions on a page. What is on a page that was served to a poller that was killed before it had put
            it on disk is only on the next one if that reaches back so far: the API's 100 do for ten seconds at 10
            transactions a second, and a simulator that is twenty times as fast has passed those in half of one.
    """

    rate: float = 10.0
    speed: float = 1.0
    seed: int = 7
    page: int = 1000


@dataclass(frozen=True)
class _Servers(Stack):
    """localcloud and the simulator; the stream asks nothing of MLflow."""

    traffic: Traffic = field(default_factory=Traffic)

    @property
    def simulator(self) -> Server:
        made, asked = super().simulator, self.traffic
        command = made.command
        if asked.speed != 1:
            at = command.index("--clock")  # which goes as fast as time does
            command = (*command[:at], *command[at + 2 :], "--speed", str(asked.speed))
        some = ("--rate", str(asked.rate / USUAL_RATE), "--seed", str(asked.seed), "--page", str(asked.page))
        return replace(made, command=(*command, *some))

    @property
    def servers(self) -> tuple[Server, ...]:
        return self.localcloud, self.simulator


Difference = tuple[Minute | None, Minute]
"""What the store says of a minute, and what the ledger does."""


@dataclass(frozen=True)
class Outcome:
    """How the minutes in the store compare with the ledger's.

    Attributes:
        minutes: that the ledger has.
        streamed: the differences of what came through the stream alone.
        amended: how many minutes the archive was needed for.
        left: the differences after that.
    """

    minutes: int
    streamed: list[Difference]
    amended: int
    left: list[Difference]


class Chain:
    """A running stream. Times are the simulator's, aware."""

    def __init__(self, servers: _Servers, configuration: Configuration, session: boto3.Session) -> None:
        self.servers, self.configuration, self.session = servers, configuration, session
        self._clients: dict[str, Any] = {}

    @property
    def names(self) -> Names:
        return self.configuration.names

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = client(self.session, service)
        return self._clients[service]

    # --- what goes on ---------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The simulator's time."""
        with urllib.request.urlopen(f"{self.servers.simulator.url}/health", timeout=30) as answer:
            return datetime.strptime(answer.headers["Date"], "%a, %d %b %Y %H:%M:%S %Z").replace(tzinfo=UTC)

    def control(self, **switches: Any) -> None:
        """Switch the simulator's faults, or its market."""
        request = urllib.request.Request(
            f"{self.servers.simulator.url}/control", json.dumps(switches).encode(), {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=30).close()

    def faults(self, *faults: Mapping[str, Any]) -> None:
        """Let localcloud's services fail; without any they do so no more."""
        request = urllib.request.Request(
            f"{self.servers.localcloud.url}/_localcloud/faults", json.dumps(list(faults)).encode()
        )
        urllib.request.urlopen(request, timeout=30).close()

    def wait_until(self, true: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
        """Look again and again. Raises AssertionError when it does not come true."""
        deadline = time.monotonic() + seconds
        while not true():
            if time.monotonic() > deadline:
                raise AssertionError(f"{what} did not come true in {seconds:.0f} s\n{self.told()}")
            time.sleep(POLL_SECONDS)

    def pass_until(self, moment: datetime) -> None:
        """Let the simulator's time pass."""
        self.wait_until(lambda: self.now() >= moment, f"{moment:%H:%M:%S} of the simulator", 24 * 3600)

    def stop_polling(self) -> None:
        """End the poller for good; the other parts go on."""
        self.client("ecs").update_service(
            cluster=self.names.ingestion_cluster, service=self.names.task_family(n.POLLER), desiredCount=0
        )
        self.wait_until(lambda: not self.processes(POLLER), "the poller's end")

    def settle(self, first: datetime, end: datetime) -> Outcome:
        """End the polling, let all come through that is under way, and then count again what the archive has: what the
        schedule of every hour does. The minutes from `first` to before `end` must be over for the source.
        """
        self.stop_polling()
        self.servers.advance(_RETRIES)
        newest = end - MINUTE
        with contextlib.suppress(AssertionError):  # the archive may have what the stream has not
            self.wait_until(lambda: newest in self.minutes(newest, end), f"the minute {newest:%H:%M}", 30)
        streamed = self.differences(first, end)
        self.servers.advance(_GATHERING)
        found = self.replay(first, end)
        return Outcome(len(self.ledger(first, end)), streamed, found["written"], self.differences(first, end))

    def replay(self, first: datetime, end: datetime) -> dict[str, Any]:
        """What `mlops replay --write` says of a span."""
        done = replay(
            self.session, self.names, first, end, write=True, now=self.now(), pause=time.sleep,
            poll_seconds=POLL_SECONDS,
        )  # fmt: skip
        return done.document

    # --- harm -----------------------------------------------------------------------------------------------------

    def processes(self, program: str) -> list[psutil.Process]:
        """Of a program by its module, or of a function by its name."""
        function = self.names.function(program) if program in FUNCTIONS else None
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                environment = process.environ()
                if environment.get("AWS_ENDPOINT_URL") != self.servers.localcloud.url:
                    continue
                of_function = environment.get(_BOOTSTRAP_VARIABLE)
                if of_function == function if function is not None else program in process.cmdline():
                    found.append(process)
        return found

    def kill(self, program: str) -> int:
        """kill -9 of all its processes; gives how many there were."""
        found = self.processes(program)
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        return len(found)

    def kill_localcloud(self) -> None:
        """kill -9 of localcloud, and start it again with the same state."""
        record = json.loads((self.servers.state / "stack.json").read_text())
        process = psutil.Process(record["processes"]["localcloud"]["pid"])
        process.kill()
        process.wait(30)
        self.servers.start()
        self.servers.wait(self.servers.localcloud)

    # --- what came of it ------------------------------------------------------------------------------------------

    def minutes(self, first: datetime, end: datetime) -> dict[datetime, Minute]:
        """Those that the feature store has."""
        runtime = self.client("sagemaker-featurestore-runtime")
        found = minutes.read(runtime, self.names, first, int((end - first) / MINUTE))
        return {minute.time: minute for minute in found if not minute.missing}

    def ledger(self, first: datetime, end: datetime) -> dict[datetime, Minute]:
        """Those that follow from what the simulator has served."""
        span = ("--from", _iso(first), "--to", _iso(end))
        program = (sys.executable, "-m", "seed_code.ingestion.simulator.ledger", *span)
        folder = str(self.servers.state / "simulator")
        done = subprocess.run([*program, "--ledger", folder], capture_output=True, text=True, check=True, cwd=ROOT)
        found = {}
        for row in map(json.loads, done.stdout.splitlines()):
            time_of = datetime.fromisoformat(row["tx_minute"])
            found[time_of] = Minute(
                time_of, row["total_nb_trx_1min"], float(row["total_fee_1min"]), row["avg_fee_1min"]
            )
        return found

    def differences(self, first: datetime, end: datetime) -> list[Difference]:
        """Where the store says otherwise than the ledger, of minutes in which something was served."""
        stored = self.minutes(first, end)
        served = self.ledger(first, end)
        return [(stored.get(at), minute) for at, minute in sorted(served.items()) if stored.get(at) != minute]

    def told(self) -> str:
        """The end of each log, for a message."""
        logs = [server.log for server in self.servers.servers]
        return "\n".join(f"{log.name}:\n{log.read_text(errors='replace')[-2000:]}" for log in logs if log.is_file())


@contextlib.contextmanager
def running_chain(
    folder: Path,
    port: int,
    traffic: Traffic,
    *,
    by: str = "operator",
    change: Callable[[Configuration], Configuration] = lambda configuration: configuration,
    requests_per_5_minutes: int = 100_000,
) -> Iterator[Chain]:
    """A stream that is at work, and ends with the block. change: of the configuration, beyond configs/local.yml."""
    paths = LocalPaths(ROOT)
    kept = {name: value for name, value in os.environ.items() if name.startswith(_FROM_ELSEWHERE)}
    servers = _Servers(folder, port, load(ROOT, paths.local_overrides, {}).names.region, traffic)
    try:
        for name in kept:
            del os.environ[name]
        os.environ.update(servers.environment())
        servers.start()
        for server in servers.servers:
            servers.wait(server)
        configuration = change(control.configured(load(ROOT, paths.local_overrides), running=True, by=by))
        configuration = _with_pace(configuration, requests_per_5_minutes)
        chain = Chain(servers, configuration, boto_session(configuration.names))
        provision.provision(
            chain.session, configuration, ROOT, tracking_uri=servers.mlflow.url, poll_seconds=POLL_SECONDS
        )
        yield chain
        leave(f"http://127.0.0.1:{port}")
    finally:
        servers.stop()
        for name in servers.environment():
            os.environ.pop(name, None)
        os.environ.update(kept)


def _with_pace(configuration: Configuration, requests: int) -> Configuration:
    """The simulator lets itself be asked more often than the true API, as its time may go faster."""
    ingestion = configuration.ingestion
    source = ingestion.source.model_copy(update={"requests_per_5_minutes": requests})
    return configuration.model_copy(update={"ingestion": ingestion.model_copy(update={"source": source})})


def _iso(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
