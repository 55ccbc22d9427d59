"""One running localcloud: its claim on a state folder and a port, and how others find and stop it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import socket
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import psutil

from localcloud.errors import LocalcloudError

DEFAULT_PORT = 4610
STATUS_PATH = "/_localcloud/status"
ADVANCE_PATH = "/_localcloud/advance"
CALLS_PATH = "/_localcloud/calls"
FAULTS_PATH = "/_localcloud/faults"
RIGHTS_PATH = "/_localcloud/iam"
_TELL_SECONDS = 1.0
_LOCK_NAME = "localcloud.lock"
_TEMPORARY_PREFIX = "localcloud-"


@contextmanager
def claimed_state(folder: Path | None, port: int) -> Iterator[Path]:
    """A state folder that is this process's alone: `folder`, or else a temporary one that is removed afterwards.

    Raises LocalcloudError if another process has it.
    """
    if folder is None:
        _sweep_temporary()
        path = Path(tempfile.mkdtemp(prefix=_TEMPORARY_PREFIX))
    else:
        path = folder.expanduser().resolve()
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LocalcloudError(
                f"the state folder {path} cannot be made: {error.strerror}. Name another with --state."
            ) from error
    try:
        with _locked(path, port):
            yield path
    finally:
        if folder is None:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _locked(path: Path, port: int) -> Iterator[None]:
    try:
        lock = (path / _LOCK_NAME).open("a+")
    except OSError as error:
        raise LocalcloudError(
            f"the state folder {path} cannot be written: {error.strerror}. Name another with --state."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalcloudError(_state_taken(path, lock)) from None
        lock.seek(0)
        lock.truncate()
        json.dump({"pid": os.getpid(), "port": port}, lock)
        lock.flush()
        yield


def _state_taken(path: Path, lock: IO[str]) -> str:
    lock.seek(0)
    try:
        holder = json.load(lock)
        who, next_step = f"pid {holder['pid']}, port {holder['port']}", f"`localcloud down --port {holder['port']}`"
    except (ValueError, KeyError, TypeError):
        who, next_step = "just starting", "`localcloud down`"
    return (
        f"the state folder {path} is in use by another localcloud ({who}). Stop that with {next_step}, or name another"
        " folder with --state."
    )


def _sweep_temporary() -> None:
    """Remove temporary folders whose process was killed. The lock of a living one is held."""
    for path in Path(tempfile.gettempdir()).glob(f"{_TEMPORARY_PREFIX}*"):
        try:
            with (path / _LOCK_NAME).open() as lock:
                # Empty: its process is between making the file and locking it.
                if not lock.read():
                    continue
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
        except OSError:
            continue


def bind(port: int) -> socket.socket:
    """A socket at 127.0.0.1 and the port (0: any that is free). Raises LocalcloudError that says who has it."""
    # With the protocol named, asyncio turns Nagle's algorithm off, which else holds back every answer for 40 ms.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(("127.0.0.1", port))
        bound.listen(256)
    except OSError as error:
        bound.close()
        if error.errno != errno.EADDRINUSE:
            raise LocalcloudError(f"port {port} cannot be used: {error.strerror}. Name another with --port.") from error
        raise LocalcloudError(_port_taken(port)) from None
    return bound


def _port_taken(port: int) -> str:
    try:
        running = query(port, timeout_seconds=2)
    except LocalcloudError:
        return f"port {port} is in use by {_listener(port)}. Stop that, or name another port with --port."
    return (
        f"port {port} is in use by another localcloud (pid {running['pid']}, state {running['state']})."
        f" Stop that with `localcloud down --port {port}`, or name another port with --port."
    )


def _listener(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f"`{psutil.Process(connection.pid).name()}` (pid {connection.pid})"
    except (psutil.Error, OSError):
        pass  # Without the rights to see other users' processes: the port is the news, not its owner.
    return "another program"


def query(port: int, *, timeout_seconds: float = 10.0) -> dict[str, Any]:
    """The status of the localcloud at a port. Raises LocalcloudError if there is none."""
    try:
        status = _ask(port, STATUS_PATH, timeout_seconds=timeout_seconds)
        status["pid"], status["state"]
        return status
    except (urllib.error.URLError, OSError, ValueError, KeyError, TypeError) as error:
        raise LocalcloudError(
            f"no localcloud answers at port {port}. Start one with `localcloud up --port {port}`."
        ) from error


def advance(port: int, seconds: float, tell: Callable[[str], None] | None = None) -> str:
    """Let time pass at the localcloud at a port; gives the moment that it has reached, in ISO 8601.

    tell: is told the moment that its clock is at, about once a second meanwhile. Raises LocalcloudError if there is
    none, or if it refuses.
    """
    query(port)
    ended = threading.Event()
    teller = threading.Thread(target=_tell, args=(port, tell, ended), daemon=True) if tell is not None else None
    if teller is not None:
        teller.start()
    try:
        return str(_ask(port, ADVANCE_PATH, str(seconds))["now"])
    except urllib.error.HTTPError as error:
        raise LocalcloudError(error.read().decode(errors="replace").strip()) from error
    finally:
        ended.set()
        if teller is not None:
            teller.join()


def _tell(port: int, tell: Callable[[str], None], ended: threading.Event) -> None:
    while not ended.wait(_TELL_SECONDS):
        # It may be busy, or gone, which is for the call to find out that waits for its answer.
        with suppress(LocalcloudError):
            tell(str(query(port)["now"]))


def calls(port: int, principal: str | None) -> list[dict[str, Any]]:
    """The record of calls of the localcloud at a port. Raises LocalcloudError if there is none."""
    query(port)
    chosen = f"?{urllib.parse.urlencode({'principal': principal})}" if principal else ""
    found: list[dict[str, Any]] = _ask(port, f"{CALLS_PATH}{chosen}")["calls"]
    return found


def rights(port: int, role: str | None = None) -> list[dict[str, Any]]:
    """What roles may and did, of one (an ARN or a name) or of all, as `localcloud.iam.report` says it. Raises
    LocalcloudError if there is no localcloud at the port."""
    query(port)
    chosen = f"?{urllib.parse.urlencode({'role': role})}" if role else ""
    found: list[dict[str, Any]] = _ask(port, f"{RIGHTS_PATH}{chosen}")["roles"]
    return found


def faults(port: int, rules: str | None = None) -> list[dict[str, Any]]:
    """The faults that are set at the localcloud at a port, with their counts; from now on those of `rules` (JSON),
    where they are given. Raises LocalcloudError if there is none, or if it refuses the rules."""
    query(port)
    try:
        found: list[dict[str, Any]] = _ask(port, FAULTS_PATH, rules)["faults"]
        return found
    except urllib.error.HTTPError as error:
        raise LocalcloudError(error.read().decode(errors="replace").strip()) from error


def _ask(port: int, path: str, body: str | None = None, *, timeout_seconds: float | None = None) -> dict[str, Any]:
    # No proxy from the environment: it would be asked for this machine's own address.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body.encode() if body is not None else None)
    with opener.open(request, timeout=timeout_seconds) as response:
        answer: dict[str, Any] = json.load(response)
        return answer


def stop(port: int, timeout_seconds: float = 30.0) -> int:
    """End the localcloud at a port and wait until its process is gone; gives its pid.

    Raises LocalcloudError if there is none, or if it is still there after the time.
    """
    pid = int(query(port)["pid"])
    try:
        process = psutil.Process(pid)
        process.terminate()
        deadline = time.monotonic() + timeout_seconds
        # A process that has ended stays as a zombie until its parent asks for its status, which is not our matter.
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                raise LocalcloudError(
                    f"localcloud (pid {pid}) is still running {timeout_seconds:g} s after it was asked to end."
                    f" Look at what it does, or end it with `kill -9 {pid}`."
                )
            time.sleep(0.05)
    except psutil.NoSuchProcess:
        pass
    return pid
