"""Flink on this machine: one process of its command line for each job, with its own small cluster in it.

    flink run -t local -py main.py        started with a configuration folder of ours, watched and stopped over REST

The interpreter that `localcloud up --flink-python` names has PyFlink, which brings all of Flink; Java is the machine's.
Sources: Apache Flink, "Command-Line Interface", "REST API" and "Configuration".
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from localcloud.flink.errors import unfit
from localcloud.jobs.connections import Connections, NoAnswer
from localcloud.jobs.process import Control, Ended, Launcher
from localcloud.jobs.reaper import Reaper
from localcloud.jobs.server import free_port

_JAVA = 17
_ASK_SECONDS = 60
_PYFLINK = "2.3."
_ASK = "import pyflink, pyflink.version as v; print(v.__version__); print(pyflink.__path__[0])"
_POLL_SECONDS, _REST_SECONDS = 0.5, 10.0
_SAVEPOINT_SECONDS = 600.0
_NEXT = "start localcloud with --flink-python PATH, an interpreter whose environment has apache-flink 2.3"
_LOGGING = """\
rootLogger.level = {level}
rootLogger.appenderRef.console.ref = Console
appender.console.name = Console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %-5p %c{{1}} - %m%n
# They tell of every checkpoint, of which there is one a second.
logger.sink.name = org.apache.flink.streaming.api.functions.sink.filesystem
logger.sink.level = WARN
logger.checkpoints.name = org.apache.flink.runtime.checkpoint
logger.checkpoints.level = WARN
"""
_METADATA = "_metadata"


@dataclass(frozen=True)
class Order:
    """A job that is to be run."""

    folder: Path
    """The application's own: code, checkpoints, savepoints and configuration lie below it."""
    program: str
    """The Python file in `code`."""
    environment: Mapping[str, str]
    settings: Mapping[str, str]
    """Flink's, by their keys."""
    log_level: str = "INFO"


class Job:
    """A job's process. `ended` is set when it is gone."""

    def __init__(
        self,
        launcher: Launcher,
        argv: list[str],
        environment: Mapping[str, str],
        folder: Path,
        port: int,
        on_output: Callable[[bytes], None],
        on_idle: Callable[[], None],
    ) -> None:
        self._control, self._connections = Control(), Connections(port)
        self.ended = threading.Event()
        self.end: Ended | None = None

        def run() -> None:
            try:
                self.end = launcher.run(argv, environment, folder, on_output, on_idle, None, self._control)
            finally:
                self.ended.set()

        self._thread = threading.Thread(target=run, name=f"flink-{port}", daemon=True)
        self._thread.start()

    def wait_until_runs(self) -> bool:
        """Wait until the job runs; False if its process has ended before."""
        while not self.ended.wait(_POLL_SECONDS):
            if self._running() is not None:
                return True
        return False

    def stop(self, target: Path) -> str | None:
        """Stop with a savepoint below `target`, an empty folder; gives the savepoint's path, or None where none could
        be taken. The process is gone then."""
        identifier = self._running()
        if identifier is not None:
            self._ask("POST", f"/jobs/{identifier}/stop", {"targetDirectory": target.as_uri(), "drain": False})
            # The program ends with its job, and with it the interface that would tell of the savepoint.
            self.ended.wait(_SAVEPOINT_SECONDS)
        self.kill()
        return _whole(target)

    def save(self, target: Path) -> str | None:
        """Take a savepoint below `target` of a job that goes on; gives its path, or None where none could be taken."""
        identifier = self._running()
        if identifier is None:
            return None
        body = {"target-directory": target.as_uri(), "cancel-job": False}
        trigger = self._ask("POST", f"/jobs/{identifier}/savepoints", body).get("request-id")
        for _ in range(int(_SAVEPOINT_SECONDS / _POLL_SECONDS)):
            found = self._ask("GET", f"/jobs/{identifier}/savepoints/{trigger}").get("status") or {}
            if found.get("id") == "COMPLETED" or self.ended.wait(_POLL_SECONDS):
                break
        return _whole(target)

    def kill(self) -> None:
        """End the process now, and wait for it."""
        self._connections.close()
        self._control.kill()
        self._thread.join()

    def _running(self) -> str | None:
        jobs = self._ask("GET", "/jobs").get("jobs", ())
        return next((job["id"] for job in jobs if job["status"] == "RUNNING"), None)

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The answer of Flink's REST interface; empty where there is none."""
        try:
            text = json.dumps(body).encode() if body is not None else None
            answer = self._connections.request(
                method, path, _REST_SECONDS, text, {"Content-Type": "application/json"} if text else {}
            )
            found = json.loads(answer.body)
        except (NoAnswer, ValueError):
            return {}
        return found if isinstance(found, dict) and answer.status < 400 else {}


class Engine:
    """Starts jobs. `python` is the interpreter with PyFlink, or None where the user has named none."""

    def __init__(self, python: Path | None, reaper: Reaper, environ: Mapping[str, str] = os.environ) -> None:
        self._python, self._environ = python, environ
        self._launcher = Launcher(reaper, grace_seconds=5.0)

    def check(self) -> None:
        """Raise InvalidApplicationConfigurationException, which says what to do, unless jobs can be run."""
        if self._python is None:
            raise unfit(f"localcloud was started without Flink: {_NEXT}, and with Java {_JAVA} on the PATH")
        if not self._flink[0].startswith(_PYFLINK):
            raise unfit(f"{self._python} has no PyFlink {_PYFLINK}x ({self._flink[0]}): {_NEXT}")
        home = self._environ.get("JAVA_HOME")
        java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
        said = _said([java, "-version"]) if java else ""
        version = re.search(r'version "(?:1\.)?(\d+)', said)
        if version is None or int(version[1]) < _JAVA:
            found = f"{java} says {said.strip()[:100]!r}" if java else "there is no java on the PATH"
            raise unfit(f"Flink needs Java {_JAVA}: {found}. Install it (Debian: openjdk-{_JAVA}-jre-headless)")

    def start(
        self, order: Order, restore: str | None, on_output: Callable[[bytes], None], on_idle: Callable[[], None]
    ) -> Job:
        """Start a job, from a savepoint or checkpoint if one is given. `check` was passed before."""
        folder, port = order.folder, free_port()
        home = Path(self._flink[1])
        conf = folder / "conf"
        # Copies of Flink's own jars, which a killed job leaves behind.
        shutil.rmtree(folder / "tmp", ignore_errors=True)
        for name in ("conf", "log", "tmp", "checkpoints", "savepoints"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        settings = {
            "rest.address": "127.0.0.1",
            "rest.bind-address": "127.0.0.1",
            "rest.bind-port": str(port),
            "rest.port": str(port),
            "execution.checkpointing.dir": (folder / "checkpoints").as_uri(),
            "execution.checkpointing.savepoint-dir": (folder / "savepoints").as_uri(),
            "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
            "io.tmp.dirs": str(folder / "tmp"),
            # Modules that Java closes to Flink otherwise are in its own defaults.
            "env.java.opts.all": _java_options(home),
            "env.java.opts.client": f"-Xmx768m -Djava.io.tmpdir={folder / 'tmp'}",
            **order.settings,
        }
        lines = (f"{key}: {json.dumps(value)}\n" for key, value in sorted(settings.items()))
        (conf / "config.yaml").write_text("".join(lines), encoding="utf-8")
        (conf / "log4j-cli.properties").write_text(_LOGGING.format(level=order.log_level), encoding="utf-8")
        python = str(self._python)
        argv = [str(home / "bin" / "flink"), "run", "-t", "local", "-pyclientexec", python, "-pyexec", python]
        if restore is not None:
            argv += ["-s", Path(restore).as_uri()]
        argv += ["-py", order.program]
        environment = {
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "PATH": f"{Path(python).parent}:{self._environ.get('PATH', '/usr/bin:/bin')}",
            "TMPDIR": str(folder / "tmp"),
            "FLINK_CONF_DIR": str(conf),
            "FLINK_LOG_DIR": str(folder / "log"),
            # What a process leaves behind is found by it.
            "SAGEMAKER_BASE_DIR": str(folder),
            **({"JAVA_HOME": self._environ["JAVA_HOME"]} if self._environ.get("JAVA_HOME") else {}),
            **order.environment,
        }
        return Job(self._launcher, argv, environment, folder / "code", port, on_output, on_idle)

    @cached_property
    def _flink(self) -> tuple[str, str]:
        """PyFlink's version and folder; what is wrong in place of the version."""
        lines = _said([str(self._python), "-c", _ASK]).strip().splitlines() or ["it says nothing"]
        return (lines[0], lines[1]) if len(lines) == 2 else (lines[-1][:200], "")


def newest_checkpoint(folder: Path) -> str | None:
    """The newest whole checkpoint below an application's folder: one whose metadata is written."""
    found = [path for path in (folder / "checkpoints").glob(f"*/chk-*/{_METADATA}")]
    newest = max(found, key=lambda path: path.stat().st_mtime_ns, default=None)
    return None if newest is None else str(newest.parent)


def _whole(target: Path) -> str | None:
    found = next(iter(sorted(target.glob(f"*/{_METADATA}"))), None)
    return None if found is None else str(found.parent)


def _java_options(home: Path) -> str:
    text = (home / "conf" / "config.yaml").read_text(encoding="utf-8")
    found = re.search(r"^\s+all:\s*(--add.*)$", text, re.MULTILINE)
    return found[1].strip() if found else ""


def _said(command: list[str]) -> str:
    """What a program says on either stream; what is wrong with it when it cannot be started."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stdout + done.stderr
