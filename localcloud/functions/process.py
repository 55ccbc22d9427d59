"""One process of a function: started, waited for, called with one event at a time, and killed.

The process is watched from the moment that it exists, and runs nothing of the user's before it is told what to run; if
localcloud dies in between it reads the end of its socket and exits.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localcloud.jobs.reaper import Reaper

_BOOTSTRAP = Path(__file__).with_name("bootstrap.py")
_LENGTHS = struct.Struct(">II")
# A package's imports, on a machine that has much else to do.
_INIT_SECONDS = 60.0
# One that has closed its socket is about to exit.
_EXIT_SECONDS = 2.0
# How often the memory of a function that runs is looked at.
_LOOK_SECONDS = 0.1
_MOST_OUTPUT = 8 << 20


@dataclass(frozen=True)
class Spec:
    """What a process is to run. Two that are equal can stand in for each other."""

    name: str
    arn: str
    revision: str
    """Changes with the code and the configuration."""
    handler: str
    code: Path
    environment: tuple[tuple[str, str], ...]
    timeout_seconds: int
    memory_mb: int
    log_group: str
    runtime: str


@dataclass(frozen=True)
class Reply:
    """How a call of the handler ended. `error` says that the payload describes an error."""

    payload: bytes
    error: bool
    output: bytes = b""
    """What the function has written on its standard output and error."""
    log: str = ""
    """What is to be logged besides, as one entry."""
    memory_mb: int | None = None
    init_seconds: float | None = None
    """How long the start took, if this call waited for it."""
    seconds: float = 0.0
    gone: bool = False
    """Whether the process has ended, so that it cannot be called again."""


class _Gone(Exception):
    """The process has ended, or was killed for the reason given."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class _Started:
    """How a start has ended: with a message, or with the process."""

    seconds: float
    header: Mapping[str, Any] = field(default_factory=dict)
    body: bytes = b""
    gone: _Gone | None = None


def _timed_out(seconds: float) -> _Gone:
    return _Gone(f"Task timed out after {seconds:.2f} seconds")


class Process:
    """A process that has been started, and perhaps still imports its handler. Used by one thread at a time.

    created ──> wait_until_started ──> call ──> call …
    """

    def __init__(self, spec: Spec, variables: Mapping[str, str], folder: Path, log_stream: str, reaper: Reaper) -> None:
        """`variables` is the whole environment, `folder` one of its own for temporary files.

        Raises OSError when there are no more processes.
        """
        self.spec, self.folder, self.log_stream = spec, folder, log_stream
        self._reaper = reaper
        self._output, self._received = bytearray(), bytearray()
        self._began = time.monotonic()
        # How the start has ended, once it has, and whether a call has told of it.
        self._start: _Started | None = None
        self._told = False
        # Whoever reaps the process holds it, and who signals its group: the number may be another's afterwards.
        self._reaping = threading.Lock()
        own, theirs = socket.socketpair()
        reading, writing = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_BOOTSTRAP), str(theirs.fileno())],
                env={**variables, "TMPDIR": str(folder), "HOME": str(folder)},
                cwd=spec.code,
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                close_fds=True,
                pass_fds=(theirs.fileno(),),
            )
        except BaseException:
            own.close()
            os.close(reading)
            raise
        finally:
            theirs.close()
            os.close(writing)
        reaper.watch(self._process.pid)
        os.set_blocking(reading, False)
        self._channel, self._pipe = own, reading
        start = {
            "handler": spec.handler,
            "code": str(spec.code),
            "libraries": sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}),
            "memory": spec.memory_mb,
        }
        # One that has ended already is found out when it is waited for.
        with contextlib.suppress(OSError):
            self._send(start, b"")

    @property
    def alive(self) -> bool:
        """Whether the process is there."""
        with self._reaping:
            return self._process.poll() is None

    def wait_until_started(self, seconds: float = _INIT_SECONDS) -> bool:
        """Wait until the process is ready or has failed; whether it is known by so many seconds after its creation.

        One that takes longer than a minute has failed.
        """
        limit = min(seconds, _INIT_SECONDS)
        if self._start is None:
            try:
                header, body = self._receive(self._began + limit)
                self._start = _Started(time.monotonic() - self._began, header, body)
            except TimeoutError:
                if limit < _INIT_SECONDS:
                    return False
                self._start = _Started(_INIT_SECONDS, gone=_timed_out(_INIT_SECONDS))
            except _Gone as gone:
                self._start = _Started(time.monotonic() - self._began, gone=gone)
        return True

    @property
    def failed(self) -> bool:
        """Whether the start has failed: the first call says how."""
        return self._start is not None and self._start.header.get("kind") != "ready"

    def call(self, request_id: str, payload: bytes, client_context: Any = None) -> Reply:
        """Call the handler; blocks until it has answered, or its time is up. What it does raises nothing here."""
        init_seconds: float | None = None
        began = time.monotonic()
        try:
            if not self._told:
                self.wait_until_started()
                assert self._start is not None
                start, self._told = self._start, True
                init_seconds = start.header.get("seconds")
                if start.header.get("kind") != "ready":
                    began = time.monotonic() - start.seconds
                if start.gone is not None:
                    raise start.gone
                if start.header["kind"] == "error":
                    self.kill()
                    body = json.dumps({**json.loads(start.body), "requestId": request_id}).encode()
                    return self._reply(body, start.header, began, init_seconds, gone=True)
            began = time.monotonic()
            limit = self.spec.timeout_seconds
            request = {
                "request_id": request_id,
                "arn": self.spec.arn,
                "milliseconds": limit * 1000,
                "client_context": client_context,
            }
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self._send(request, payload)
            try:
                header, body = self._receive(began + limit)
            except TimeoutError:
                raise _timed_out(limit) from None
            return self._reply(body, header, began, init_seconds)
        except _Gone as gone:
            return self._gone(gone, request_id, began, init_seconds)

    def kill(self) -> None:
        """End the process and all that it has started; may be called from any thread, and more than once."""
        with self._reaping, contextlib.suppress(ProcessLookupError, PermissionError):
            if self._process.returncode is None:
                os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """End the process, and give back what it held. It is not called again."""
        self._end()
        self._reaper.forget(self._process.pid)
        self._channel.close()
        os.close(self._pipe)

    def _end(self, patience_seconds: float = 0.0) -> int:
        """Let the process end by itself for so long, then kill it; gives its exit status, as subprocess does."""
        if patience_seconds:
            with self._reaping, contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience_seconds)
        self.kill()
        with self._reaping:
            return self._process.wait()

    def _reply(
        self, body: bytes, header: Mapping[str, Any], began: float, init_seconds: float | None, gone: bool = False
    ) -> Reply:
        seconds = time.monotonic() - began
        # It has flushed its output before it answered: all of it is in the pipe.
        self._read_output()
        return Reply(
            body,
            header["kind"] == "error",
            self._taken(),
            header.get("log", ""),
            header.get("memory"),
            init_seconds,
            seconds,
            gone,
        )

    def _gone(self, gone: _Gone, request_id: str, began: float, init_seconds: float | None) -> Reply:
        seconds = time.monotonic() - began
        code = self._end(0.0 if gone.reason else _EXIT_SECONDS)
        self._read_output()
        kind, message = "Runtime.ExitError", gone.reason
        if gone.reason.startswith("Task timed out"):
            kind = "Sandbox.Timedout"
        elif not gone.reason:
            message = "Runtime exited without providing a reason"
            if code > 0:
                message = f"Runtime exited with error: exit status {code}"
            elif code < 0:
                message = f"Runtime exited with error: signal: {signal.Signals(-code).name.removeprefix('SIG').lower()}"
        payload = json.dumps({"errorType": kind, "errorMessage": f"RequestId: {request_id} Error: {message}"}).encode()
        log = f"{request_id} {message}" if kind == "Sandbox.Timedout" else f"RequestId: {request_id} Error: {message}"
        return Reply(payload, True, self._taken(), log, None, init_seconds, seconds, gone=True)

    def _taken(self) -> bytes:
        taken, self._output = bytes(self._output), bytearray()
        return taken

    def _send(self, header: Mapping[str, Any], body: bytes) -> None:
        text = json.dumps(header).encode()
        self._channel.sendall(_LENGTHS.pack(len(text), len(body)) + text + body)

    def _receive(self, deadline: float) -> tuple[dict[str, Any], bytes]:
        """The next message. Raises _Gone when the process has ended, or had to be, and TimeoutError."""
        buffer = self._received
        poller = select.poll()
        poller.register(self._channel, select.POLLIN)
        poller.register(self._pipe, select.POLLIN)
        while True:
            if len(buffer) >= _LENGTHS.size:
                header_length, body_length = _LENGTHS.unpack_from(buffer)
                end = _LENGTHS.size + header_length + body_length
                if len(buffer) >= end:
                    body_at = _LENGTHS.size + header_length
                    self._received = buffer[end:]
                    return json.loads(buffer[_LENGTHS.size : body_at]), bytes(buffer[body_at:end])
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            ready = {descriptor for descriptor, _ in poller.poll(min(left, _LOOK_SECONDS) * 1000)}
            if self._pipe in ready and not self._read_output():
                poller.unregister(self._pipe)
            if self._channel.fileno() in ready:
                try:
                    part = self._channel.recv(1 << 20)
                except ConnectionResetError:
                    part = b""
                if not part:
                    raise _Gone
                buffer += part
            elif not ready:
                self._look_at_memory()

    def _read_output(self) -> bool:
        """Take what is in the pipe; False at its end."""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._pipe, 1 << 16):
                left = _MOST_OUTPUT - len(self._output)
                if left > 0:
                    self._output += chunk[:left]
                    if len(chunk) >= left:
                        self._output += b"\nlocalcloud: the function has written more than 8 MB; the rest is left out\n"
            return False
        return True

    def _look_at_memory(self) -> None:
        """End a function that has more memory than it may, where the system says how much that is (not on macOS)."""
        with contextlib.suppress(OSError), open(f"/proc/{self._process.pid}/statm", "rb") as stream:
            resident = int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            if resident > self.spec.memory_mb << 20:
                raise _Gone("Runtime exited with error: signal: killed")
