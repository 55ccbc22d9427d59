"""One run of one action, as those see it who carry it out: what it was given, and how it ended."""

from __future__ import annotations

import secrets
import string
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from localcloud.codepipeline.declaration import Action, Pipeline
from localcloud.context import Context

Document = Mapping[str, Any]

JOB_FAILED, CONFIGURATION, PERMISSION = "JobFailed", "ConfigurationError", "PermissionError"
REVISION_UNAVAILABLE, SYSTEM = "RevisionUnavailable", "SystemUnavailable"
"""Why actions fail, as in FailureDetails of PutJobFailureResult."""

_ALPHABET = string.ascii_letters + string.digits
_PIPELINE_CHARACTERS, _ARTIFACT_CHARACTERS, _RANDOM_CHARACTERS = 20, 10, 7


class Halted(Exception):
    """The run is not wanted any more: end what it has begun elsewhere, and return."""


class Closing(Exception):
    """localcloud is stopping: leave everything as it is, the next one goes on."""


class ActionFailed(Exception):
    """The action failed; `code` is one of the above."""

    def __init__(self, code: str, message: str, **external: str) -> None:
        super().__init__(message)
        self.code, self.message, self.external = code, message, external


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    succeeded: bool = True
    summary: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    code: str = ""
    """Of the error."""
    message: str = ""
    """Of the error."""
    external_id: str = ""
    external_url: str = ""
    revision: Document = field(default_factory=dict)
    """Of a source: revisionId, and revisionSummary, revisionUrl and created where there are."""
    by: str = ""
    """The ARN of who decided it, if somebody did."""

    @classmethod
    def failed(cls, code: str, message: str, **members: str) -> Outcome:
        """One that failed."""
        return cls(succeeded=False, code=code, message=message, **members)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Turn:
    """What an action is given. `wake` and `halt` are the engine's to set."""

    context: Context
    pipeline: Pipeline
    execution_id: str
    action: Action
    run: Document
    """As it was stored when the turn began."""
    configuration: Mapping[str, str]
    """With its variables resolved."""
    role_arn: str
    inputs: Mapping[str, Document]
    """Each artifact's bucket, key and revision."""
    outputs: Mapping[str, Document]
    """Where each artifact is to be."""
    overriding: Document
    """The revision that whoever started the execution has asked for: revisionType, revisionValue, perhaps branch."""
    note: Callable[..., None]
    """Sets members of the run's progress, which is there again after a restart."""
    ended: Callable[[], bool]
    """Whether nobody waits for the run any more: it was abandoned, or its pipeline is gone."""
    closing: threading.Event
    wake: threading.Event

    @property
    def id(self) -> str:
        """The id of the run."""
        return str(self.run["actionExecutionId"])

    @property
    def progress(self) -> Document:
        """What an earlier localcloud has noted of this run."""
        found: Document = self.run.get("progress", {})
        return found

    def client(self, service: str) -> Any:
        """A client whose calls are those of the action's role."""
        return self.context.clients.of(service, self.role_arn)

    def pause(self, seconds: float) -> None:
        """Wait for so long at most, less if something happened. Raises Halted and Closing."""
        self.wake.wait(seconds)
        self.wake.clear()
        self.check()

    def check(self) -> None:
        """Raise Halted or Closing if the run is not to go on."""
        if self.closing.is_set():
            raise Closing
        if self.ended():
            raise Halted


def location(pipeline: Pipeline, artifact: str, suffix: str = "") -> dict[str, str]:
    """A new place for an artifact in the pipeline's store, by AWS's layout: the pipeline's name and the artifact's,
    both cut short, and seven random characters."""
    end = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_CHARACTERS))
    folder = f"{pipeline.name[:_PIPELINE_CHARACTERS]}/{artifact[:_ARTIFACT_CHARACTERS]}"
    return {"bucket": pipeline.bucket, "key": f"{folder}/{end}{suffix}"}
