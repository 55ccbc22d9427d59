"""What the page of a deploy execution tells beside its steps: how it ended, its tests, and the stage's settings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines import names as n
from pipelines.executions import Execution
from pipelines.report.documents import mapping, number_in, records
from pipelines.report.format import moment
from pipelines.report.outcomes import outputs
from pipelines.report.serving import Stage, test_summary

__all__ = ["Attempt", "View", "headline", "stage_of", "view"]

# What the pipeline's parameters hold beside the stage's settings.
_INPUTS = (n.MODEL_PACKAGE_ARN, n.STAGE, n.MLFLOW_TRACKING_URI)


@dataclass(frozen=True)
class Attempt:
    """What is known of a deploy execution beside its steps.

    `why` is what started it, `tests` the report of the golden requests, `back_to` the version that serves after a
    roll-back, where the endpoint's configuration still tells it.
    """

    why: str = ""
    tests: Mapping[str, Any] | None = None
    back_to: int | None = None


@dataclass(frozen=True)
class _Test:
    name: str
    status: str
    milliseconds: float | None
    problem: str


@dataclass(frozen=True)
class View:
    """`back` says what was rolled back to, `settings` are those that the stage's mode has."""

    version: str
    stage: str
    why: str
    back: str
    tests: Sequence[_Test]
    tests_told: str
    settings: Mapping[str, str]


def stage_of(kind: str) -> str | None:
    """The stage that a pipeline of this kind deploys to; None for other pipelines."""
    return next((stage for stage, deploying in n.DEPLOY_KINDS.items() if deploying == kind), None)


def view(execution: Execution, attempt: Attempt, stage: str) -> View:
    """The view of an execution that was read with `outcomes.understood`."""
    return View(
        version=_version(execution),
        stage=stage,
        why=_in_words(attempt.why),
        back=_back(execution, attempt),
        tests=[
            _Test(
                str(verdict.get("name", "")),
                str(verdict.get("status", "")),
                number_in(verdict.get("milliseconds")),
                str(verdict.get("problem") or ""),
            )
            for verdict in records(mapping(attempt.tests).get("verdicts"))
        ],
        tests_told=test_summary(attempt.tests),
        # What a stage's mode does not have is empty, or 0 (pipelines/deploy/pipeline.py).
        settings={
            name: value
            for name, value in execution.parameters.items()
            if name not in _INPUTS and (value not in ("", "0") or name.endswith("WaitSeconds"))
        },
    )


def headline(execution: Execution, stages: Sequence[Stage], stage: str) -> tuple[str, str]:
    """The sentence that a reader came for, and its tone, of an execution that was read with `outcomes.understood`."""
    version = f"Version {_version(execution)}"
    if execution.status == "Succeeded":
        now = next((each.serving for each in stages if each.name == stage), None)
        if now is not None and now.execution_arn == execution.arn:
            return f"{version} serves {stage}", "good"
        return f"{version} was deployed to {stage}", "good"
    if execution.status == "Stopped":
        return f"{version}: the deployment to {stage} was stopped", "idle"
    if execution.status != "Failed":
        return f"{version} is on its way to {stage}", "busy"
    if _succeeded(execution, "WaitForRollBack"):
        return f"{version} was rolled back in {stage}", "bad"
    refused = execution.step("PackageRefused")
    if refused is not None and refused.status == "Failed":
        return f"{version} was refused for {stage}", "bad"
    return f"{version} was not deployed to {stage}", "bad"


def _in_words(why: str) -> str:
    """What started a deployment, with the version for its package's ARN, and the moment as the page has others."""
    named = re.sub(r"arn:\S+:model-package/\S+/(\d+)", r"version \1", why)
    return re.sub(r"\d{4}-\d\d-\d\dT\S+", lambda found: moment(found[0]), named)


def _version(execution: Execution) -> str:
    return execution.parameters.get(n.MODEL_PACKAGE_ARN, "").rpartition("/")[2]


def _succeeded(execution: Execution, name: str) -> bool:
    step = execution.step(name)
    return step is not None and step.status == "Succeeded"


def _back(execution: Execution, attempt: Attempt) -> str:
    """What was rolled back to; nothing if nothing was rolled back."""
    step = execution.step("RollBack")
    if step is None or not _succeeded(execution, "WaitForRollBack"):
        return ""
    config = outputs(step).get("EndpointConfigName", "")
    if not config:
        return "nothing: the endpoint was removed, since none had served before"
    return f"version {attempt.back_to}" if attempt.back_to is not None else config
