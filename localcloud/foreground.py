"""`localcloud up`: the server in this process, from claiming its state and port to leaving nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import shutil
import signal
import socket
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from email.utils import formatdate
from functools import partial
from pathlib import Path

import uvicorn
from uvicorn.server import ServerState

from localcloud import instance, quick, server, services
from localcloud.clock import Clock
from localcloud.errors import LocalcloudError

# Clients keep connections for reuse. A server that closes an idle one just when a request is sent fails that request.
_KEEP_ALIVE_SECONDS = 3600
_GRACE_SECONDS = 3
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run(
    port: int,
    state: Path | None,
    *,
    on_ready: Callable[[int, Path, bool], None],
    flink_python: Path | None = None,
) -> None:
    """Serve until a signal. `on_ready` gets port, state folder and whether it is temporary. `flink_python` runs the
    jobs of Flink applications.

    Raises LocalcloudError if the port or the state folder is taken.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    _allow_many_files()
    with instance.bind(port) as bound:
        actual_port = int(bound.getsockname()[1])
        with instance.claimed_state(state, actual_port) as folder, _temporary_files_in(folder / "tmp"):
            try:
                application = server.build(
                    folder,
                    actual_port,
                    temporary=state is None,
                    # Absolute, but not resolved: an environment's interpreter is a link to the one that it is of.
                    create_services=partial(
                        services.create, flink_python=flink_python.absolute() if flink_python is not None else None
                    ),
                )
            except sqlite3.DatabaseError as error:
                raise LocalcloudError(
                    f"the state in {folder} cannot be read: {error}."
                    " Name another folder with --state, or remove that one."
                ) from error
            config = uvicorn.Config(
                application,
                lifespan="on",
                loop="asyncio",
                http=quick.protocol(application.quick, services.QUICK_BEGINS),
                proxy_headers=False,
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_GRACE_SECONDS,
                h11_max_incomplete_event_size=256 * 1024,
            )
            told = _AccountsDate(application.context.clock)
            web = _Server(config, told, lambda: on_ready(actual_port, folder, state is None))
            web.run(sockets=[bound])
            if not web.started:
                raise LocalcloudError(
                    f"localcloud could not start over the state folder {folder}; the reason is above."
                )


class _AccountsDate(ServerState):
    """What uvicorn begins the headers of every answer with: the Date, here by localcloud's clock. It is the one thing
    that tells a client of any service what time it is there, and may be days ahead of the machine's.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        super().__init__()

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        return [(b"date", formatdate(self._clock.now().timestamp(), usegmt=True).encode())]

    @default_headers.setter
    def default_headers(self, headers: list[tuple[bytes, bytes]]) -> None:
        """uvicorn sets its own every second, with the machine's time."""


class _Server(uvicorn.Server):
    """uvicorn, but a signal ends it in order: uvicorn raises it again afterwards, which would skip our cleaning up."""

    def __init__(self, config: uvicorn.Config, state: ServerState, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.server_state = state
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._stop)
        try:
            yield
        finally:
            # Left ignored: a second signal must not stop the cleaning up half way.
            for number in _SIGNALS:
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_IGN)

    def _stop(self) -> None:
        self.should_exit = True


def _allow_many_files() -> None:
    """Every object of more than a megabyte is an open file of moto's."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else 65536, hard))


@contextlib.contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """This process's temporary files in the state folder: its disk is the one that the user chose to fill."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
        shutil.rmtree(folder, ignore_errors=True)
