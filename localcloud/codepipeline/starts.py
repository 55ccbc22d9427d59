"""How executions begin: why, with what, and what they are then."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from localcloud.codepipeline import records, variables
from localcloud.codepipeline.declaration import Pipeline
from localcloud.codepipeline.records import Document
from localcloud.errors import validation

CREATED = "CreatePipeline"
"""The trigger of an execution that begins because its pipeline was made."""
_FIRST_SECONDS = 1.0
"""How long such an execution waits, of the clock: whoever makes a pipeline has time to disable its transitions."""


@dataclass(frozen=True)
class Start:
    """Why an execution begins, and with what."""

    trigger_type: str
    """As in ExecutionTrigger."""
    trigger_detail: str
    facts: Mapping[str, str] = field(default_factory=dict)
    """What the event tells of the trigger; of type and detail if there is nothing else."""
    variables: Mapping[str, str] = field(default_factory=dict)
    overriding: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Revisions that are asked for, by source action."""
    token: str | None = None
    """Of the request: a second one starts nothing."""
    asked: str = ""
    """What the request asked for, so that another one with its token is told apart."""


def new_execution(pipeline: Pipeline, document: Document, start: Start, now: datetime) -> Document:
    """The document of an execution that waits at the first stage. document: the pipeline's.

    Raises ValidationException for variables that are not the pipeline's, or that are missing.
    """
    _check_variables(pipeline, start.variables)
    execution_id = str(uuid.uuid4())
    values = {name: start.variables.get(name, default or "") for name, default in pipeline.variables.items()}
    facts = {"trigger-type": start.trigger_type, "trigger-detail": start.trigger_detail}
    delay = timedelta(seconds=_FIRST_SECONDS if start.trigger_type == CREATED else 0)
    return {
        "pipelineName": pipeline.name,
        "pipelineExecutionId": execution_id,
        "pipelineVersion": document["Declaration"]["version"],
        "number": document["Executions"],
        "status": records.IN_PROGRESS,
        "startTime": now,
        "lastUpdateTime": now,
        "attempt": 1,
        "trigger": {"triggerType": start.trigger_type, "triggerDetail": start.trigger_detail},
        "triggerFacts": dict(start.facts) or facts,
        "executionMode": pipeline.mode,
        "variables": values,
        "namespaces": {
            variables.EXECUTION: {"PipelineExecutionId": execution_id},
            variables.PIPELINE: values,
        },
        "overriding": {name: dict(revision) for name, revision in start.overriding.items()},
        "sourceRevisions": [],
        "artifactRevisions": [],
        "artifacts": {},
        "stages": {},
        # Where it is: in the stage, or waiting at its entrance.
        "stage": pipeline.stages[0].name,
        "waiting": True,
        "notBefore": now + delay,
    }


def _check_variables(pipeline: Pipeline, given: Mapping[str, str]) -> None:
    declared = ", ".join(pipeline.variables) or "none"
    if unknown := sorted(given.keys() - pipeline.variables.keys()):
        raise validation(f"The pipeline '{pipeline.name}' has no variable {', '.join(unknown)}; it declares {declared}")
    missing = [name for name, default in pipeline.variables.items() if default is None and name not in given]
    if missing:
        raise validation(
            f"The variables {', '.join(missing)} of the pipeline '{pipeline.name}' have no default: a value must be"
            " given to start it"
        )
