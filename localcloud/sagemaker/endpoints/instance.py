"""One instance of a variant: a private folder, and the server in it for as long as the instance lives.

    start ──> serving ──(the process ends, or /ping fails three times)──> restarting ──> serving
                 └── stop: requests under way are waited for elsewhere; SIGTERM, and SIGKILL after the grace period

The first restart comes at once, the next ones after 1, 2, 4 … 60 seconds, until a server has been well for a minute.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from localcloud.context import Context
from localcloud.jobs import pulls
from localcloud.jobs.connections import Answer, NotConnected
from localcloud.jobs.container import Root, program
from localcloud.jobs.images import Image, ImageError
from localcloud.jobs.logs import LogStream
from localcloud.jobs.process import Control
from localcloud.jobs.server import PORT_VARIABLE, Server, ServerError, free_port
from localcloud.jobs.transfer import TransferError
from localcloud.sagemaker.contract import unpack_model
from localcloud.sagemaker.endpoints.background import Background
from localcloud.sagemaker.jobs import Runtime
from localcloud.sagemaker.models import Container, Models
from localcloud.timetable import Entry

LOG_GROUP = "/aws/sagemaker/Endpoints"
_MOST_BACK_OFF_SECONDS = 60.0
_STEADY = timedelta(seconds=60)
_FAILED_PINGS = 3


class InstanceError(Exception):
    """An instance did not come up; the message says why."""


class PreparationError(InstanceError):
    """There is no server to start: its image or its model is not there, or not in order."""


MakeInstance = Callable[["Host", str, str, Container, float, Callable[[], None]], "Instance"]
"""As `Instance` itself."""


@dataclass(frozen=True)
class Host:
    """What all instances of a localcloud share."""

    context: Context
    runtime: Runtime
    models: Models
    background: Background
    make: MakeInstance
    ping_rest_seconds: float
    """The least real time from one ping to the next."""


class Instance:
    """One server. `busy` is the number of its requests, and belongs to whoever routes them; `serving` says whether it
    may be given one, and `on_change` is called when that has changed."""

    def __init__(
        self,
        host: Host,
        endpoint: str,
        variant: str,
        container: Container,
        ready_limit_seconds: float,
        on_change: Callable[[], None],
    ) -> None:
        self.id = f"i-{secrets.token_hex(9)[:17]}"
        self.busy = 0
        self.serving = False
        self._host, self._container, self._limit = host, container, ready_limit_seconds
        self._name = f"{endpoint}/{variant}/{self.id}"
        self._on_change = on_change
        # Short, because programs put sockets below it and a socket's path has at most 103 characters on some systems.
        self._root = Root(host.runtime.folder / hashlib.sha256(self._name.encode()).hexdigest()[:12])
        self._group, self._stream = f"{LOG_GROUP}/{endpoint}", f"{variant}/{self.id}"
        self._control = Control()
        self._lock = threading.Lock()
        # Held while a server is made, started again, or ended for good: one of these at a time.
        self._life = threading.RLock()
        self._image: Image | None = None
        self._log: LogStream | None = None
        self._server: Server | None = None
        self._since: datetime | None = None
        self._restarts = 0
        self._pings_failed = 0
        self._ill = False
        self._restart: Entry | None = None
        self._ending = False

    @property
    def image(self) -> Image | None:
        """The image that it runs, once that is known."""
        return self._image

    def start(self) -> None:
        """Get image and model, start the server, and wait until it is well. Raises InstanceError."""
        try:
            with self._life:
                self._log = self._open_log()
                self._prepare()
                self._launch()
        except (ImageError, TransferError, OSError) as error:
            raise PreparationError(str(error)) from error
        except ServerError as error:
            # Ended first: until then its output has the log for itself.
            self.stop(str(error))
            raise InstanceError(str(error)) from error

    def call(self, body: bytes, headers: Mapping[str, str], timeout_seconds: float) -> Answer:
        """POST /invocations. Raises NotConnected when there is no server, else NoAnswerInTime or NoAnswer."""
        server = self._server
        if server is None:
            raise NotConnected("there is no server")
        return server.call(body, headers, timeout_seconds)

    def check(self) -> None:
        """Ask GET /ping; a server that fails several times in a row is killed, and so started again."""
        server = self._server
        if server is None or not self.serving:
            return
        if server.is_well():
            self._pings_failed = 0
            return
        self._pings_failed += 1
        if self._pings_failed >= _FAILED_PINGS and server.running:
            self._pings_failed = 0
            self._ill = True
            server.kill()

    @property
    def is_doubtful(self) -> bool:
        """Whether the last ping failed, so that the next one should not be long in coming."""
        return self._pings_failed > 0

    def kill(self) -> None:
        """Make an end at once, whatever state it is in; `stop` must follow."""
        self._end()
        self._control.kill()

    def stop(self, last_words: str = "") -> None:
        """End the server, politely first, and remove its folder; all its output is in the log when this returns, and
        `last_words` after it."""
        self._end()
        # Whoever waits for the server to be ready does so no longer.
        self._control.stopping.set()
        with self._life:
            if self._server is not None:
                self._server.stop()
            self._root.remove()
            if self._log is not None:
                if last_words:
                    self._log.line(last_words)
                self._log.close()

    def _open_log(self) -> LogStream:
        context = self._host.context
        logs = context.clients.of("logs", self._container.role_arn)
        return LogStream(logs, context.clock, self._group, self._stream)

    def _prepare(self) -> None:
        """Image and model. Raises ImageError, TransferError or OSError."""
        pulls.check(self._host.context, self._container.role_arn, self._container.image)
        self._image = self._host.runtime.images.resolve(self._container.image)
        self._root.create()
        model = self._root.base / "model"
        model.mkdir()
        if self._container.model_uri is not None:
            s3 = self._host.context.clients.of("s3", self._container.role_arn)
            unpack_model(s3, self._container.model_uri, model)

    def _end(self) -> None:
        with self._lock:
            self._ending = True
            entry, self._restart = self._restart, None
        if entry is not None:
            entry.cancel()
        self._set(serving=False)

    def _launch(self) -> None:
        """Start a server, and wait until it is well. Raises ImageError or ServerError."""
        host, container, image = self._host, self._container, self._image
        assert image is not None
        assert self._log is not None
        port = free_port()
        started = program(
            image,
            self._root,
            list(image.entrypoint),
            ["serve"],
            {**container.environment, PORT_VARIABLE: str(port)},
            endpoint_url=host.context.endpoint_url,
            region=host.context.region,
            access_key=host.context.principals.access_key(container.role_arn),
        )
        with self._lock:
            if self._ending:
                raise ServerError("it was stopped before it was ready")
            server = Server(
                host.runtime.launcher, started, port, self._control, self._log.write, self._log.idle, self._ended
            )
            self._server = server
        if not server.wait_until_ready(self._limit):
            raise ServerError("it was stopped before it was ready")
        self._since = host.context.clock.now()
        self._set(serving=True)
        if not server.running:
            self._ended()

    def _ended(self) -> None:
        """The server's process is gone, on its own thread: one that was serving is started again."""
        with self._lock:
            if not self.serving or self._ending:
                return
            self.serving = False
        self._on_change()
        self._host.background.run(f"restart {self._name}", self._start_again)

    def _start_again(self) -> None:
        with self._life:
            if not self._ending:
                assert self._server is not None
                self._server.stop()
                ill, self._ill = self._ill, False
                how = f"failed {_FAILED_PINGS} pings and was killed" if ill else f"ended ({self._server.end()})"
                self._replace(f"The server {how}.")

    def _replace(self, why: str) -> None:
        """Start another server, now or later, in place of one that is no more."""
        log = self._log
        assert log is not None
        now = self._host.context.clock.now()
        if self._since is not None and now - self._since >= _STEADY:
            self._restarts = 0
        self._since = None
        wait = min(2.0 ** (self._restarts - 1), _MOST_BACK_OFF_SECONDS) if self._restarts else 0.0
        self._restarts += 1
        log.line(f"{why} It is started again{f' in {wait:g} s' if wait else ''}.")
        log.idle()
        if not wait:
            self._relaunch()
            return
        with self._lock:
            if not self._ending:
                self._restart = self._host.background.later(wait, f"restart {self._name}", self._relaunch)

    def _relaunch(self) -> None:
        with self._life:
            try:
                self._launch()
            except (ServerError, ImageError, OSError) as error:
                if not self._ending:
                    assert self._server is not None
                    self._server.stop()
                    self._replace(f"The server did not come up: {error}.")

    def _set(self, *, serving: bool) -> None:
        with self._lock:
            changed = self.serving != (serving and not self._ending)
            self.serving = serving and not self._ending
        if changed:
            self._on_change()


def described(image: Image | None, uri: str, now: datetime) -> dict[str, Any]:
    """A DeployedImage."""
    if image is None:
        return {"SpecifiedImage": uri}
    repository = uri.rpartition("@")[0] or uri.rpartition(":")[0]
    return {"SpecifiedImage": uri, "ResolvedImage": f"{repository}@{image.digest}", "ResolutionTime": now}
