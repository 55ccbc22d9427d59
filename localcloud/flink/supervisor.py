"""The applications that run: their code fetched, their streams mounted, their jobs started again when they end.

StartApplication ─> STARTING ─ the job runs ─> RUNNING ─ it ends by itself ─> started again, later and later
StopApplication  ─> STOPPING ─ a savepoint, if snapshots are enabled ─> READY
a kill of localcloud ─> at the next start: from the newest checkpoint
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import shutil
import threading
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from botocore.exceptions import ClientError

from localcloud.context import Context
from localcloud.ecs.container import Log
from localcloud.flink.configuration import mounted, options
from localcloud.flink.engine import Job, Order, newest_checkpoint
from localcloud.flink.mounts import Feed, Inbound, Outbound, StreamsOf
from localcloud.jobs import process
from localcloud.jobs.logs import LogStream

_LOG = logging.getLogger(__name__)
KIND = "flink/application"
Document = dict[str, Any]
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 60.0


class Runs(Protocol):
    """What runs jobs: localcloud.flink.engine.Engine, or a stand-in in a test."""

    def check(self) -> None: ...

    def start(
        self, order: Order, restore: str | None, on_output: Callable[[bytes], None], on_idle: Callable[[], None]
    ) -> Job: ...


class Supervisor:
    """Runs applications. All methods may be called from any thread."""

    def __init__(
        self, context: Context, streams: StreamsOf, engine: Runs, first_pause_seconds: float = _FIRST_PAUSE_SECONDS
    ) -> None:
        """first_pause_seconds: before a job that has ended by itself is started again."""
        self.context, self.streams, self.engine = context, streams, engine
        self.first_pause_seconds = first_pause_seconds
        self.folder = context.state_dir / "flink"
        self._lock = threading.Lock()
        self._runs: dict[str, _Run] = {}
        self._closing = False

    def recover(self) -> None:
        """Take up the applications that ran when an earlier process ended."""
        process.kill_marked(str(self.folder), below=True)
        for name, document in self.context.store.list(KIND):
            if document["ApplicationStatus"] in ("STARTING", "RUNNING", "UPDATING"):
                self.begin(name, document, anew=False)
            elif document["ApplicationStatus"] != "READY":
                self.settle(name, "READY")

    def begin(self, name: str, document: Document, *, anew: bool) -> None:
        """Start an application in the background: from its newest checkpoint, or else from the savepoint that is its
        `Restore`, or else from the beginning of its streams.

        anew: by a start, and not by a restart of what ran: earlier checkpoints do not count then.
        """
        run = _Run(self, name, document, anew)
        with self._lock:
            if self._closing:
                return
            self._runs[name] = run
        run.start()

    def stop(self, name: str, savepoint: Path | None) -> str | None:
        """Stop an application, with a savepoint below a folder if one is given; gives its path. Returns when nothing of
        it runs."""
        with self._lock:
            run = self._runs.pop(name, None)
        return run.stop(savepoint) if run is not None else None

    def save(self, name: str, target: Path) -> str | None:
        """Take a savepoint of an application that runs; gives its path."""
        with self._lock:
            run = self._runs.get(name)
        return run.save(target) if run is not None else None

    def join(self, name: str) -> None:
        """Wait for the end of an application that is being given up, or stopped."""
        with self._lock:
            run = self._runs.get(name)
        if run is not None:
            run.join()

    def close(self) -> None:
        """Kill all jobs; they go on at the next start from their newest checkpoints."""
        with self._lock:
            self._closing = True
            runs, self._runs = list(self._runs.values()), {}
        for run in runs:
            run.stop(None)

    @property
    def closing(self) -> bool:
        return self._closing

    def settle(self, name: str, status: str) -> None:
        """Note an application's status."""
        now = self.context.clock.now()
        with contextlib.suppress(KeyError):
            self.context.store.update(
                KIND, name, lambda there: {**there, "ApplicationStatus": status, "LastUpdateTimestamp": now}
            )

    def folder_of(self, name: str) -> Path:
        """An application's own folder; short, as paths of sockets below it must be."""
        return self.folder / hashlib.sha256(name.encode()).hexdigest()[:12]


class _Run:
    """One application from its start to its stop, on a thread of its own."""

    def __init__(self, supervisor: Supervisor, name: str, document: Document, anew: bool) -> None:
        self._supervisor, self._name, self._document, self._anew = supervisor, name, document, anew
        self._folder = supervisor.folder_of(name)
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._job: Job | None = None
        self._thread = threading.Thread(target=self._run, name=f"flink-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def stop(self, savepoint: Path | None) -> str | None:
        self._ending.set()
        with self._lock:
            job = self._job
        path = None
        if job is not None and savepoint is not None:
            savepoint.mkdir(parents=True, exist_ok=True)
            path = job.stop(savepoint)
        elif job is not None:
            job.kill()
        self._thread.join()
        return path

    def save(self, target: Path) -> str | None:
        with self._lock:
            job = self._job
        target.mkdir(parents=True, exist_ok=True)
        return job.save(target) if job is not None else None

    def _run(self) -> None:
        log = self._log()
        try:
            self._live(log)
        except Exception as error:
            if not self._supervisor.closing:
                _LOG.warning("the Flink application %s cannot be started", self._name, exc_info=error)
                if log is not None:
                    log.write(f"ERROR the application cannot be started: {error}\n".encode())
                self._supervisor.settle(self._name, "READY")
        finally:
            if log is not None:
                log.close()

    def _live(self, log: Log | None) -> None:
        savepoint: str | None = self._document.get("Restore")
        if self._anew:
            shutil.rmtree(self._folder / "checkpoints", ignore_errors=True)
        if self._anew and savepoint is None:
            shutil.rmtree(self._folder / "mounts", ignore_errors=True)
        self._fetch()
        pause = self._supervisor.first_pause_seconds
        # One that ran before a kill of localcloud is tried for as long as it takes.
        has_run = not self._anew
        while not self._ending.is_set():
            if self._run_job(newest_checkpoint(self._folder) or savepoint, log):
                has_run, pause = True, self._supervisor.first_pause_seconds
            if self._ending.is_set():
                return
            if not has_run:
                raise RuntimeError("its job has ended before it ran; what it has written says why")
            if log is not None:
                log.write(b"WARN  the job has ended by itself and is started again\n")
            self._ending.wait(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _run_job(self, restore: str | None, log: Log | None) -> bool:
        """Run the job to its end; whether it came to run at all."""
        feed = self._mount(log)
        try:
            job = self._begin(restore, log)
            try:
                runs = job.wait_until_runs()
                if runs:
                    self._settle_running()
                job.ended.wait()
            finally:
                job.kill()
        finally:
            feed.stop()
        return runs

    def _settle_running(self) -> None:
        if not self._ending.is_set():
            self._supervisor.settle(self._name, "RUNNING")

    def _begin(self, restore: str | None, log: Log | None) -> Job:
        configuration = self._document["Configuration"]
        properties = self._folder / "application_properties.json"
        properties.write_text(json.dumps(configuration["Groups"]), encoding="utf-8")
        context = self._supervisor.context
        key = context.principals.access_key(self._document["ServiceExecutionRole"])
        order = Order(
            self._folder,
            options(configuration)["python"],
            environment={
                "APPLICATION_PROPERTIES_PATH": str(properties),
                "MOUNT_ROOT": str(self._folder / "mounts"),
                # As AWS's samples have it for a program whose job ends with it: it waits.
                "IS_LOCAL": "1",
                "AWS_ENDPOINT_URL": context.endpoint_url,
                "AWS_ACCESS_KEY_ID": key,
                "AWS_SECRET_ACCESS_KEY": "localcloud",
                "AWS_REGION": context.region,
                "AWS_DEFAULT_REGION": context.region,
            },
            settings=settings(configuration),
            log_level=configuration["Monitoring"]["LogLevel"],
        )
        write, idle = (log.write, log.idle) if log is not None else (_drop, _nothing)
        with self._lock:
            self._job = job = self._supervisor.engine.start(order, restore, write, idle)
        if self._ending.is_set():
            job.kill()
        return job

    def _mount(self, log: Log | None) -> Feed:
        streams, inbound, outbound = self._supervisor.streams, [], []
        for stream, is_read in sorted(mounted(self._document["Configuration"])):
            folder = self._folder / "mounts" / "streams" / stream
            if is_read:
                inbound.append(Inbound(streams, stream, folder))
            else:
                outbound.append(Outbound(self._supervisor.context, streams, stream, folder, self._name))

        def tell(error: Exception) -> None:
            _LOG.warning("the streams of the Flink application %s: %s", self._name, error)

        return Feed(inbound, outbound, tell)

    def _fetch(self) -> None:
        """Unpack the application's code anew."""
        code, location = self._folder / "code", self._document["Configuration"]["Code"]
        version = {"VersionId": location["ObjectVersion"]} if location.get("ObjectVersion") else {}
        bucket = location["BucketARN"].rpartition(":")[2]
        s3 = self._supervisor.context.clients.of("s3", self._document["ServiceExecutionRole"])
        body = s3.get_object(Bucket=bucket, Key=location["FileKey"], **version)["Body"].read()
        shutil.rmtree(code, ignore_errors=True)
        code.mkdir(parents=True)
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            archive.extractall(code)

    def _log(self) -> Log | None:
        """The log stream of the application's first logging option; it must be there, as on AWS."""
        if not self._document["Logging"]:
            return None
        option = self._document["Logging"][0]
        group, _, stream = option["LogStreamARN"].partition(":log-group:")[2].partition(":log-stream:")
        logs = self._supervisor.context.clients.of("logs", self._document["ServiceExecutionRole"])
        try:
            logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=stream)
        except ClientError as error:
            _LOG.warning("the log of the Flink application %s: %s", self._name, error)
            return None
        clock = self._supervisor.context.clock
        return Log(lambda: LogStream(logs, clock, group, stream, opened=True), self._name)


def settings(configuration: Mapping[str, Any]) -> dict[str, str]:
    """Flink's settings that the service makes itself of an application's configuration."""
    checkpoints, parallelism = configuration["Checkpoints"], configuration["Parallelism"]["Parallelism"]
    found = {"parallelism.default": str(parallelism), "taskmanager.numberOfTaskSlots": str(parallelism)}
    if checkpoints["CheckpointingEnabled"]:
        found["execution.checkpointing.interval"] = f"{checkpoints['CheckpointInterval']} ms"
        found["execution.checkpointing.min-pause"] = f"{checkpoints['MinPauseBetweenCheckpoints']} ms"
    return found


def _drop(_: bytes) -> None:
    """Nobody reads it."""


def _nothing() -> None:
    """Nothing waits."""
