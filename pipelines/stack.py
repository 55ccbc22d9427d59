"""The servers of a laptop: localcloud, which answers for AWS, MLflow, and the simulated source of transactions.

Here they are started, found and stopped. All are commands of their own, spoken to by HTTP alone. A state folder belongs
to one stack and holds all there is of it:

    <state>/stack.json      the port, the region, and the processes (by number and time of birth, so that a number that
                            another process got since is never taken for ours)
    <state>/localcloud/     localcloud's own state           <state>/localcloud.log
    <state>/mlflow/         SQLite database and artifacts    <state>/mlflow.log
    <state>/simulator/      what the simulator has served    <state>/simulator.log
    <state>/stack.lock      held while servers are started or stopped

MLflow listens at localcloud's port + 1, the simulator at port + 2.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil

from pipelines.errors import ServiceError
from pipelines.names import MLFLOW_TRACKING_URI_VARIABLE, SOURCE_URL_VARIABLE

__all__ = ["DEFAULT_PORT", "Server", "Stack", "StackError"]

DEFAULT_PORT = 4610
START_SECONDS = 120.0
STOP_SECONDS = 20.0
LOG_LINES = 15

# Where localcloud is told to let time pass.
_ADVANCE_PATH = "/_localcloud/advance"
_STATUS_PATH = "/_localcloud/status"
# No proxy from the environment: it would be asked for this machine's own address.
_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))

# localcloud accepts any credentials that do not look real; these say what they are for.
CREDENTIALS = "localcloud"
# -P: the working directory holds folders that are named like the packages, and must not be searched for them.
_PYTHON = (sys.executable, "-P")


class StackError(ServiceError):
    """A server could not be started or stopped. The message names it, the port or file, and what to do."""


@dataclass(frozen=True)
class Server:
    """One of the servers: how it is started, and where it says that it is ready."""

    name: str
    port: int
    command: tuple[str, ...]
    ready_path: str
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Stack:
    """A stack by its state folder, the port of its localcloud and the region that it plays."""

    state: Path
    port: int
    region: str

    @staticmethod
    def recorded(state: Path) -> Stack | None:
        """The stack that was last started in a state folder, running or not; None when there never was one."""
        document = _read(state / "stack.json")
        return Stack(state, int(document["port"]), str(document.get("region", ""))) if document else None

    # --- what it consists of --------------------------------------------------------------------------------------

    @property
    def localcloud(self) -> Server:
        command = (*_PYTHON, "-m", "localcloud", "up", "--port", str(self.port))
        return Server(
            name="localcloud",
            port=self.port,
            command=(*command, "--state", str(self.state / "localcloud"), *_flink()),
            ready_path=_STATUS_PATH,
            log=self.state / "localcloud.log",
        )

    @property
    def mlflow(self) -> Server:
        """MLflow's server: its own ASGI application, in one process.

        `mlflow server` starts the same application, but imports all of MLflow first, in a parent process that then
        waits: 270 MB and 8 seconds of processor time more. What it hands to the application are these variables
        (mlflow/server/constants.py; MLflow's version is pinned, and a test starts it).
        """
        folder = self.state / "mlflow"
        port = self.port + 1
        command = ("-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--no-access-log")
        return Server(
            name="MLflow",
            port=port,
            command=(
                *_PYTHON,
                *command,
                *("--log-level", "warning", "--timeout-graceful-shutdown", "3"),
                "mlflow.server.fastapi_app:app",
            ),
            # Not /health, which answers before there is a database: the first question to the store makes it.
            ready_path="/api/2.0/mlflow/experiments/search?max_results=1",
            log=self.state / "mlflow.log",
            environment={
                "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder / 'mlflow.db'}",
                "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
                "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "artifacts"),
                "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
                "MLFLOW_SERVER_ALLOWED_HOSTS": f"127.0.0.1:{port},localhost:{port}",
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "OMP_NUM_THREADS": "1",
            },
        )

    @property
    def simulator(self) -> Server:
        """What speaks the blockchain API's protocols, with transactions that are made up."""
        port = self.port + 2
        command = (*_PYTHON, "-m", "seed_code.ingestion.simulator", "--port", str(port))
        return Server(
            name="simulator",
            port=port,
            # localcloud's clock, which may be ahead of this machine's.
            command=(
                *command,
                "--ledger",
                str(self.state / "simulator"),
                "--clock",
                f"{self.localcloud.url}{_STATUS_PATH}",
            ),
            ready_path="/health",
            log=self.state / "simulator.log",
        )

    @property
    def servers(self) -> tuple[Server, ...]:
        return self.localcloud, self.mlflow, self.simulator

    def environment(self) -> dict[str, str]:
        """The variables that point any AWS client, and MLflow's, at this stack."""
        return {
            "AWS_ENDPOINT_URL": self.localcloud.url,
            "AWS_ACCESS_KEY_ID": CREDENTIALS,
            "AWS_SECRET_ACCESS_KEY": CREDENTIALS,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
            MLFLOW_TRACKING_URI_VARIABLE: self.mlflow.url,
            SOURCE_URL_VARIABLE: self.simulator.url,
        }

    # --- its life -------------------------------------------------------------------------------------------------

    def running(self) -> set[str]:
        """Names of the servers whose processes live."""
        return {server.name for server in self.servers if self._process(server) is not None}

    def start(self) -> set[str]:
        """Start what does not run yet, without waiting until it is ready; gives the names of what was started.

        Raises StackError when a port is taken, or this state folder's stack runs at another port.
        """
        self.state.mkdir(parents=True, exist_ok=True)
        with self._locked():
            before = Stack.recorded(self.state)
            if before is not None and before.port != self.port and before.running():
                raise StackError(
                    f"the stack of `{self.state}` already runs, at port {before.port}; stop it first "
                    f"(`mlops down --state {self.state}`), or leave --port away"
                )
            missing = [server for server in self.servers if self._process(server) is None]
            for server in missing:
                _check_free(server, self.port)
            processes = dict(_read(self.state / "stack.json").get("processes", {})) if before else {}
            for server in missing:
                processes[server.name] = self._spawn(server)
                document = {"port": self.port, "region": self.region, "processes": processes}
                _write(self.state / "stack.json", document)
            return {server.name for server in missing}

    def wait(self, server: Server, timeout_seconds: float = START_SECONDS) -> None:
        """Wait until a started server answers. Raises StackError with the end of its log when it ends, or is late."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            process = self._process(server)
            if process is None:
                raise StackError(f"{server.name} ended while it started; the end of {server.log}:\n{_tail(server.log)}")
            # Its own listener, not just any answer: at the same port there may be another stack's server.
            if _listens(process, server.port) and _answers(server.url + server.ready_path):
                return
            if time.monotonic() > deadline:
                raise StackError(
                    f"{server.name} (pid {process.pid}) does not answer at {server.url} after {timeout_seconds:.0f} s; "
                    f"the end of {server.log}:\n{_tail(server.log)}"
                )
            time.sleep(0.05)

    def advance(self, time: timedelta) -> datetime:
        """Let time pass at once in localcloud, with all that falls due in it; gives the moment that it has reached.

        Raises StackError when it does not answer, or refuses.
        """
        request = urllib.request.Request(f"{self.localcloud.url}{_ADVANCE_PATH}", str(time.total_seconds()).encode())
        try:
            # However long it takes: what falls due may be a training.
            with _DIRECTLY.open(request) as answer:
                return datetime.fromisoformat(json.load(answer)["now"])
        except (OSError, ValueError, KeyError) as error:
            raise StackError(f"localcloud at {self.localcloud.url} did not let time pass: {error}") from error

    def stop(self, names: Collection[str] | None = None) -> set[str]:
        """Stop the servers, with all that they started, and wait until they are gone; gives the names of what ran.

        names: of those to stop; all when left away.
        """
        if not self.state.is_dir():
            return set()
        with self._locked():
            chosen = [server for server in self.servers if names is None or server.name in names]
            found = {server.name: process for server in chosen if (process := self._process(server)) is not None}
            _end(list(found.values()))
            return set(found)

    def _spawn(self, server: Server) -> dict[str, Any]:
        for server_folder in ("mlflow", "localcloud", "simulator"):
            (self.state / server_folder).mkdir(exist_ok=True)
        with server.log.open("wb") as log:  # of this start: an old failure in it would mislead
            process = subprocess.Popen(
                server.command,
                cwd=self.state,
                env={**_inherited(), **server.environment, "AWS_DEFAULT_REGION": self.region},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C at the terminal is for the command, not for the servers
            )
        _CHILDREN.append(process)
        return {"pid": process.pid, "created": psutil.Process(process.pid).create_time()}

    def _process(self, server: Server) -> psutil.Process | None:
        """The live process of a server, or None."""
        known = _read(self.state / "stack.json").get("processes", {}).get(server.name)
        if known is None:
            return None
        _reap()
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(int(known["pid"]))
            born_then = abs(process.create_time() - float(known["created"])) < 1.0
            if born_then and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.state / "stack.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


@contextmanager
def started(stack: Stack, say: Callable[[str], None]) -> Iterator[set[str]]:
    """Start a stack; what was started here is stopped again when the block raises, be it by Ctrl-C."""
    fresh: set[str] = set()
    try:
        fresh = stack.start()
        yield fresh
    except BaseException:
        if fresh:
            say("stopping what was started")
            stack.stop(fresh)
        raise


def answering(url: str, timeout_seconds: float = 30.0) -> Any:
    """What a server answers at an address, parsed from JSON when it is; None when it does not answer in time."""
    try:
        with _DIRECTLY.open(url, timeout=timeout_seconds) as response:
            body = response.read()
    except (urllib.error.URLError, OSError, ValueError):  # ValueError: it is no address
        return None
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


def _flink() -> tuple[str, ...]:
    """Where localcloud finds PyFlink: in an environment beside this one, if `make stream` has made it."""
    python = Path(sys.prefix).parent / ".venvs" / "flink" / "bin" / "python"
    return ("--flink-python", str(python)) if python.exists() else ()


def _answers(url: str) -> bool:
    return answering(url) is not None


def _inherited() -> dict[str, str]:
    """The caller's environment without what would lead a server astray: real credentials, endpoints, other stores."""
    left_out = ("AWS_", "MLFLOW_", "_MLFLOW_", "MLOPS_", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if not name.startswith(left_out)}


_CHILDREN: list[subprocess.Popen[bytes]] = []


def _reap() -> None:
    """Collect children that have ended: as zombies they would look alive, and warn when this process ends."""
    _CHILDREN[:] = [child for child in _CHILDREN if child.poll() is None]


def _check_free(server: Server, stack_port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", server.port))
        except OverflowError:
            raise StackError(f"port {server.port} does not exist; expected --port between 1024 and 65533") from None
        except OSError as error:
            status = answering(f"http://127.0.0.1:{server.port}{_STATUS_PATH}", timeout_seconds=2)
            owner = "something else"
            if isinstance(status, dict) and "state" in status:
                owner = f"another localcloud (pid {status.get('pid')}, state {status['state']})"
            offset = "" if server.port == stack_port else f" ({server.name} is at --port + {server.port - stack_port})"
            raise StackError(
                f"port {server.port} for {server.name} is in use by {owner}{offset}; choose another with --port, e.g. "
                f"--port {stack_port + 100} ({error.strerror})"
            ) from None


def _listens(process: psutil.Process, port: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return any(
            connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
            for connection in process.net_connections("tcp")
        )
    return False


def _end(processes: list[psutil.Process]) -> None:
    """End processes in order, with time to tidy up, then by force, with all that they started."""
    below = [child for process in processes for child in _children(process)]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, late = _wait(processes, STOP_SECONDS)
    for process in [*late, *below]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    _wait([*late, *below], STOP_SECONDS)


def _wait(processes: list[psutil.Process], seconds: float) -> tuple[list[psutil.Process], list[psutil.Process]]:
    deadline = time.monotonic() + seconds
    left = processes
    while left and time.monotonic() < deadline:
        _reap()
        left = [process for process in left if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
        if left:
            time.sleep(0.05)
    ended = [process for process in processes if process not in left]
    pids = {process.pid for process in ended}
    for child in [child for child in _CHILDREN if child.pid in pids]:
        with suppress(subprocess.TimeoutExpired):
            child.wait(STOP_SECONDS)  # its first thread has ended, and others may still be about to
    _reap()
    return ended, left


def _children(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return list(process.children(recursive=True))
    return []


def _tail(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return "  (no log)"
    return "\n".join(f"  {line}" for line in lines[-LOG_LINES:]) or "  (nothing written)"


def _read(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _write(file: Path, document: Mapping[str, Any]) -> None:
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(document, indent=2) + "\n")
    partial.replace(file)
