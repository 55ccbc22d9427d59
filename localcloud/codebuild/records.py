"""Builds as they are in the store and are told of: their phases, and an event with each change.

    SUBMITTED ─> QUEUED ─> PROVISIONING ─> DOWNLOAD_SOURCE ─> INSTALL ─> PRE_BUILD ─> BUILD ─> POST_BUILD
              ─> UPLOAD_ARTIFACTS ─> FINALIZING ─> COMPLETED

Sources: "Build phase transitions", "Build notifications input format reference" (AWS CodeBuild User Guide) and
"CodeBuild metrics" (CloudWatch).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from localcloud.codebuild.errors import missing
from localcloud.codebuild.names import short
from localcloud.context import Context
from localcloud.signals import Event, Measurement

Document = dict[str, Any]
KIND = "codebuild/build"
_NUMBERS, _TOKENS = "codebuild/number", "codebuild/token"
_TOKEN_LIVES = timedelta(minutes=5)
IN_PROGRESS = "IN_PROGRESS"
_METRICS = {"SUCCEEDED": "SucceededBuilds", "FAILED": "FailedBuilds"}


class Records:
    """The documents of builds, by id. All methods may be called from any thread.

    A document is `Build`, as BatchGetBuilds shows it, and what a retry and an idempotent start need beside it.
    """

    def __init__(self, context: Context) -> None:
        self._context, self._store = context, context.store

    def add(self, build_id: str, document: Document, token: str | None = None, asked: str = "") -> Document:
        """A new build, SUBMITTED and QUEUED; gives it as it is shown. token: of the call that starts it, whose
        parameters are `asked`."""
        now = self._context.clock.now()
        build = {
            **document["Build"],
            "id": build_id,
            "startTime": now,
            "currentPhase": "QUEUED",
            "buildStatus": IN_PROGRESS,
            "buildComplete": False,
            "phases": [_ended(_begun("SUBMITTED", now), "SUCCEEDED", now, None), _begun("QUEUED", now)],
        }
        with self._store.transaction():
            number = (self._store.get(_NUMBERS, build["projectName"]) or {"Last": 0})["Last"] + 1
            self._store.put(_NUMBERS, build["projectName"], {"Last": number})
            build["buildNumber"] = number
            self._store.put(KIND, build_id, {**document, "Id": build_id, "Build": build})
            if token is not None:
                made = {"Build": build_id, "Asked": asked, "At": now}
                self._store.put(_TOKENS, f"{build['projectName']}:{token}", made)
        self.tell({**build, "currentPhase": "SUBMITTED"})
        self._tell_phase(build, build["phases"][0])
        return build

    def started_by(self, project: str, token: str) -> tuple[str, str] | None:
        """The id of the build of a project that a call with a token started within the last five minutes, and the
        call's parameters."""
        found = self._store.get(_TOKENS, f"{project}:{token}")
        if found is None or self._context.clock.now() - found["At"] > _TOKEN_LIVES:
            return None
        return found["Build"], found["Asked"]

    def get(self, name: str) -> Document:
        """A build's document by its id or ARN. Raises ResourceNotFoundException."""
        found = self.find(name)
        if found is None:
            raise missing(f"Build {name} does not exist")
        return found

    def find(self, name: str) -> Document | None:
        """A build's document by its id or ARN, or None."""
        return self._store.get(KIND, short(name))

    def all(self, project: str | None = None) -> list[tuple[str, Document]]:
        """Every build, or those of a project, in the order of their start."""
        return self._store.list(KIND, f"{project}:" if project else "")

    def change(self, build_id: str, **members: Any) -> Document:
        """Set members of a build; gives it."""
        return self._update(build_id, lambda build: {**build, **members})

    def ids(self, project: str | None = None) -> list[str]:
        """The ids of every build, or of a project's, in the order of their start."""
        prefix = f"{project}:" if project else ""
        return [build_id for build_id, _ in self._store.list(KIND, prefix, members=("Id",))]

    def enter(self, build_id: str, phase: str) -> Document:
        """A phase begins."""
        now = self._context.clock.now()
        return self._update(
            build_id,
            lambda build: {**build, "currentPhase": phase, "phases": [*build["phases"], _begun(phase, now)]},
        )

    def leave(self, build_id: str, status: str, context: tuple[str, str] | None = None) -> Document:
        """The phase that a build is in ends; tells of it. context: status code and message."""
        now = self._context.clock.now()
        build = self._update(
            build_id,
            lambda build: {
                **build,
                "phases": [*build["phases"][:-1], _ended(build["phases"][-1], status, now, context)],
            },
        )
        self._tell_phase(build, build["phases"][-1])
        return build

    def end(self, build_id: str, status: str) -> Document:
        """The build is over; tells of it."""
        now = self._context.clock.now()
        build = self._update(
            build_id,
            lambda build: {
                **build,
                "buildStatus": status,
                "buildComplete": True,
                "endTime": now,
                "currentPhase": "COMPLETED",
                "phases": [*build["phases"], _begun("COMPLETED", now)],
            },
        )
        self.tell(build)
        self._measure(build)
        return build

    def delete(self, build_id: str) -> bool:
        """Forget a build; whether there was one."""
        return self._store.delete(KIND, build_id)

    def _update(self, build_id: str, function: Callable[[Document], Document]) -> Document:
        found = self._store.update(KIND, build_id, lambda there: {**there, "Build": function(there["Build"])})
        build: Document = found["Build"]
        return build

    def tell(self, build: Document) -> None:
        """The event of a build's status."""
        detail = {
            "build-status": build["buildStatus"],
            "project-name": build["projectName"],
            "build-id": build["arn"],
            "current-phase": build["currentPhase"],
            "current-phase-context": "[]",
            "additional-information": _information(build),
            "version": "1",
        }
        self._event("CodeBuild Build State Change", build, detail)

    def _tell_phase(self, build: Document, phase: Document) -> None:
        detail = {
            "completed-phase": phase["phaseType"],
            "completed-phase-status": phase["phaseStatus"],
            "completed-phase-duration-secs": phase["durationInSeconds"],
            "completed-phase-start": _moment(phase["startTime"]),
            "completed-phase-end": _moment(phase["endTime"]),
            "completed-phase-context": _contexts(phase),
            "project-name": build["projectName"],
            "build-id": build["arn"],
            "additional-information": _information(build),
            "version": "1",
        }
        self._event("CodeBuild Build Phase Change", build, detail)

    def _event(self, detail_type: str, build: Document, detail: Document) -> None:
        event = Event("aws.codebuild", detail_type, detail, self._context.clock.now(), (build["arn"],))
        self._context.signals.event(event)

    def _measure(self, build: Document) -> None:
        took = (build["endTime"] - build["startTime"]).total_seconds()
        values = {"Builds": (1.0, "Count"), "Duration": (took, "Seconds")}
        if build["buildStatus"] in _METRICS:
            values[_METRICS[build["buildStatus"]]] = (1.0, "Count")
        self._context.signals.measurements(
            [
                Measurement("AWS/CodeBuild", name, value, unit, build["endTime"], dimensions)
                for name, (value, unit) in values.items()
                for dimensions in ({}, {"ProjectName": build["projectName"]})
            ]
        )


def _begun(phase: str, now: datetime) -> Document:
    return {"phaseType": phase, "startTime": now}


def _ended(phase: Document, status: str, now: datetime, context: tuple[str, str] | None) -> Document:
    code, message = context or ("", "")
    return {
        **phase,
        "phaseStatus": status,
        "endTime": now,
        "durationInSeconds": int((now - phase["startTime"]).total_seconds()),
        "contexts": [{"statusCode": code, "message": message}],
    }


def _information(build: Mapping[str, Any]) -> Document:
    environment, artifacts, logs = build["environment"], build.get("artifacts") or {}, build.get("logs") or {}
    cache, source = build.get("cache") or {}, build["source"]
    found: Document = {
        "cache": {"type": cache.get("type", "NO_CACHE")},
        "timeout-in-minutes": build["timeoutInMinutes"],
        "build-complete": build["buildComplete"],
        "build-number": build["buildNumber"],
        "initiator": build["initiator"],
        "build-start-time": _moment(build["startTime"]),
        "source": _given({"type": source["type"], "location": source.get("location")}),
        "artifact": _given(
            {
                "location": artifacts.get("location", ""),
                "md5sum": artifacts.get("md5sum"),
                "sha256sum": artifacts.get("sha256sum"),
            }
        ),
        "environment": {
            "image": environment["image"],
            "privileged-mode": environment.get("privilegedMode", False),
            "compute-type": environment["computeType"],
            "type": environment["type"],
            "environment-variables": [dict(one) for one in environment.get("environmentVariables", ())],
        },
        "logs": _given(
            {
                "group-name": logs.get("groupName"),
                "stream-name": logs.get("streamName"),
                "deep-link": logs.get("deepLink"),
            }
        ),
        "phases": [_phase(phase) for phase in build["phases"]],
        "queued-timeout-in-minutes": build["queuedTimeoutInMinutes"],
    }
    if build.get("sourceVersion"):
        found["source-version"] = build["sourceVersion"]
    if build.get("exportedEnvironmentVariables"):
        found["exported-environment-variables"] = [dict(one) for one in build["exportedEnvironmentVariables"]]
    return found


def _phase(phase: Mapping[str, Any]) -> Document:
    found: Document = {"phase-type": phase["phaseType"], "start-time": _moment(phase["startTime"])}
    if "endTime" in phase:
        found |= {
            "phase-context": _contexts(phase),
            "end-time": _moment(phase["endTime"]),
            "duration-in-seconds": phase["durationInSeconds"],
            "phase-status": phase["phaseStatus"],
        }
    return found


def _contexts(phase: Mapping[str, Any]) -> Sequence[str]:
    return [f"{one['statusCode']}: {one['message']}" for one in phase["contexts"]]


def _given(members: Document) -> Document:
    return {name: value for name, value in members.items() if value is not None}


def _moment(moment: datetime) -> str:
    """As `Sep 1, 2017 4:12:29 PM`."""
    hour = moment.hour % 12 or 12
    return f"{moment:%b} {moment.day}, {moment.year} {hour}:{moment:%M:%S %p}"
