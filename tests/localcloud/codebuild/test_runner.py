"""Builds run without an account: their time limits, and what is left when they break."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from localcloud.codebuild.names import Names
from localcloud.codebuild.records import Records
from localcloud.codebuild.reports import Reports
from localcloud.codebuild.runner import Runner
from localcloud.context import Context
from localcloud.jobs.reaper import Reaper
from localcloud.signals import Measurement
from tests.surroundings import ACCOUNT_ID, REGION, surroundings

ROLE = f"arn:aws:iam::{ACCOUNT_ID}:role/build"
Run = Callable[..., dict[str, Any]]


def document(commands: list[str], **members: Any) -> dict[str, Any]:
    """A build as it is in the store, without a log."""
    spec = json.dumps({"version": "0.2", "phases": {"build": {"commands": commands}}})
    settings = {
        "source": {"type": "NO_SOURCE", "buildspec": spec},
        "artifacts": {"type": "NO_ARTIFACTS"},
        "environment": {"image": "i", "type": "t", "computeType": "c", "environmentVariables": []},
        "serviceRole": ROLE,
        "encryptionKey": "alias/aws/s3",
        "timeoutInMinutes": 5,
        "queuedTimeoutInMinutes": 5,
        **members,
    }
    build = {**settings, "projectName": "p", "arn": "arn:p:1", "initiator": "me", "logs": {}, "secondaryArtifacts": []}
    return {"Build": build, "Settings": settings}


class Site:
    """A runner, and how its builds end."""

    def __init__(self, context: Context, **members: Any) -> None:
        self.context, self.reaper = context, Reaper()
        self.records = Records(context)
        reports = Reports(context, Names(REGION, ACCOUNT_ID))
        self.ended: dict[str, threading.Event] = {}
        self.begun = threading.Semaphore(0)
        context.signals.on_event(self._take)
        members = {"environ": {"PATH": "/usr/bin:/bin"}, **members}
        self.runner = Runner(context, self.records, reports, self.reaper, **members)

    def start(self, build_id: str, *commands: str, **members: Any) -> None:
        self.ended[build_id] = threading.Event()
        made = document(list(commands), **members)
        made["Build"]["arn"] = build_id
        self.records.add(build_id, made)
        self.runner.begin(build_id)

    def end(self, build_id: str) -> dict[str, Any]:
        assert self.ended[build_id].wait(60)
        build: dict[str, Any] = self.records.get(build_id)["Build"]
        return build

    def close(self) -> None:
        self.runner.close()
        self.reaper.stop()

    def _take(self, event: Any) -> None:
        if event.detail.get("build-status", "IN_PROGRESS") != "IN_PROGRESS":
            self.ended[event.detail["build-id"]].set()
        if event.detail.get("completed-phase") == "PRE_BUILD":
            self.begun.release()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    made: list[Site] = []

    def make(**members: Any) -> Site:
        made.append(Site(surroundings(tmp_path), **members))
        return made[-1]

    yield make
    for one in made:
        one.close()


def statuses(build: dict[str, Any]) -> dict[str, str]:
    return {phase["phaseType"]: phase["phaseStatus"] for phase in build["phases"] if "phaseStatus" in phase}


def test_a_build_that_takes_too_long(site: Callable[..., Site]) -> None:
    at = site(minute_seconds=0.05)
    at.start("p:1", "sleep 1000")
    build = at.end("p:1")
    assert build["buildStatus"] == "TIMED_OUT"
    assert statuses(build)["BUILD"] == "TIMED_OUT"
    (phase,) = (phase for phase in build["phases"] if phase["phaseType"] == "BUILD")
    assert phase["contexts"] == [{"statusCode": "BUILD_TIMED_OUT", "message": "Build has timed out."}]


def test_a_build_that_waits_too_long(site: Callable[..., Site]) -> None:
    at = site(minute_seconds=0.05, capacity=1)
    at.start("p:1", "sleep 1000", timeoutInMinutes=100_000)
    assert at.begun.acquire(timeout=60)
    at.start("p:2", "true")
    build = at.end("p:2")
    assert (build["buildStatus"], statuses(build)["QUEUED"]) == ("TIMED_OUT", "TIMED_OUT")
    assert at.records.get("p:1")["Build"]["buildStatus"] == "IN_PROGRESS"


def test_a_command_may_end_by_itself_when_it_is_stopped(site: Callable[..., Site], tmp_path: Path) -> None:
    at = site()
    os.mkfifo(tmp_path / "ready")
    tidy = f"trap 'echo tidied >{tmp_path}/tidied; exit' TERM; echo ready >{tmp_path}/ready; sleep 1000 & wait"
    at.start("p:1", tidy)
    assert (tmp_path / "ready").read_text() == "ready\n"
    at.runner.stop("p:1")
    assert at.end("p:1")["buildStatus"] == "STOPPED"
    assert (tmp_path / "tidied").exists()


def test_a_command_that_kills_what_runs_it(site: Callable[..., Site]) -> None:
    at = site()
    at.start("p:1", "kill -9 $PPID", "true")
    build = at.end("p:1")
    assert build["buildStatus"] == "FAILED"
    (phase,) = (phase for phase in build["phases"] if phase["phaseType"] == "BUILD")
    assert phase["contexts"][0]["message"] == "Error while executing command: kill -9 $PPID. Reason: exit status 137"


def test_a_build_that_breaks_says_so(site: Callable[..., Site], caplog: pytest.LogCaptureFixture) -> None:
    at = site()
    # No log can be opened: there is nothing that answers.
    made = document(["true"])
    made["Build"] |= {"arn": "p:1", "logs": {"groupName": "g", "streamName": "s"}}
    at.ended["p:1"] = threading.Event()
    at.records.add("p:1", made)
    at.runner.begin("p:1")
    build = at.end("p:1")
    assert (build["buildStatus"], build["phases"][-2]["phaseStatus"]) == ("FAULT", "FAULT")
    assert "the build p:1 broke" in caplog.text


def test_metrics(site: Callable[..., Site]) -> None:
    at, found = site(), list[Measurement]()
    at.context.signals.on_measurement(found.extend)
    at.start("p:1", "true")
    assert at.end("p:1")["buildStatus"] == "SUCCEEDED"
    at.close()
    assert [one.value for one in found if one.name == "SucceededBuilds"] == [1.0, 1.0]
    assert {tuple(one.dimensions.items()) for one in found} == {(), (("ProjectName", "p"),)}


def test_nothing_of_the_callers_environment_but_where_packages_are(site: Callable[..., Site], tmp_path: Path) -> None:
    home = tmp_path / "user"
    (home / ".config" / "pip").mkdir(parents=True)
    (home / ".config" / "pip" / "pip.conf").touch()
    caller = {"PATH": "/usr/bin:/bin", "PIP_X": "pip", "UV_X": "uv", "LC_ALL": "C", "TOKEN": "x", "HOME": str(home)}
    at = site(environ=caller)
    at.start("p:1", f"env >{tmp_path}/env")
    assert at.end("p:1")["buildStatus"] == "SUCCEEDED"
    found = dict(line.partition("=")[::2] for line in (tmp_path / "env").read_text().splitlines())
    assert (found["PIP_X"], found["UV_X"], found["LC_ALL"]) == ("pip", "uv", "C")
    assert found["UV_CACHE_DIR"] == f"{home}/.cache/uv"
    assert found["PIP_CONFIG_FILE"] == f"{home}/.config/pip/pip.conf"
    assert "UV_CONFIG_FILE" not in found
    assert "TOKEN" not in found
    assert found["HOME"] != str(home)
