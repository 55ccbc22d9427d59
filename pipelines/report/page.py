"""From an execution's plain descriptions to the report's HTML. Pure: no I/O beyond its own template, no clock.

Every part of the page stands on its own: what an execution did not come to (no evaluation, no package, a failed step)
is left out, and the page says why. Text from outside is escaped by the template engine, and the page's own content
security policy forbids scripts and anything from elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from pipelines.executions import Execution, StepRun
from pipelines.names import ALREADY_REGISTERED, STAGE
from pipelines.registry import Package
from pipelines.report import deployment, monitoring, serving, workloads
from pipelines.report import format as formats
from pipelines.report.comparison import compare
from pipelines.report.deployment import Attempt
from pipelines.report.documents import count, mapping, number_in
from pipelines.report.flow import flow, state_class, state_word
from pipelines.report.format import compact, duration, figure, moment, percent, web_address
from pipelines.report.lineage import mlflow, short_commit
from pipelines.report.outcomes import NOT_DONE, called, outputs, understood
from pipelines.report.sections import Material, Sections
from pipelines.report.serving import Stage
from pipelines.report.verdict import Check, checks

__all__ = ["Inputs", "JobDetail", "environment", "render"]


@dataclass(frozen=True)
class JobDetail:
    """What is worth knowing of the job behind a step. Addresses are S3 URIs."""

    name: str
    image: str | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)
    log_tail: Sequence[str] = ()


@dataclass(frozen=True)
class Inputs:
    """Everything that a report tells of. `package` is DescribeModelPackage's answer, `evaluation` evaluation.json.

    `made_at` is an aware datetime; `jobs` is keyed by step name; `mlflow_url` is the tracking server's address when it
    has pages that a browser can open, and `mlflow_experiment_id` is the experiment's there. `file_values` are the
    workload's runtime values by parameter name, as the configuration files give them without a laptop's overrides.
    `stages` are the workload's stages as they are now, `packages` all of its packages; `attempt` is of a deployment,
    `monitoring` what was found of the stages.
    """

    project: str
    workload: str
    kind: str
    execution: Execution
    made_at: datetime
    evaluation: Mapping[str, Any] | None = None
    package: Mapping[str, Any] | None = None
    jobs: Mapping[str, JobDetail] = field(default_factory=dict)
    mlflow_url: str | None = None
    mlflow_experiment_id: str | None = None
    file_values: Mapping[str, str] = field(default_factory=dict)
    stages: Sequence[Stage] = ()
    packages: Sequence[Package] = ()
    attempt: Attempt | None = None
    monitoring: monitoring.Material | None = None


def render(inputs: Inputs) -> str:
    """The page. Whatever is missing or of an unexpected shape in the evaluation is left out."""
    return environment().get_template("page.html.j2").render(**_view(inputs))


@cache
def environment() -> jinja2.Environment:
    """The template engine, once: to compile the templates takes longer than to render them."""
    folder = resources.files("pipelines.report")
    made = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.ChainableUndefined,  # what an execution did not come to is simply not there
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
    )
    made.filters.update(
        compact=compact,
        duration=duration,
        figure=figure,
        moment=moment,
        percent=percent,
        web_address=web_address,
        short=formats.short_uri,
        count=count,
    )
    # Ours, so it is not escaped.
    made.globals["style"] = Markup((folder / "page.css").read_text(encoding="utf-8"))
    return made


def _view(inputs: Inputs) -> dict[str, Any]:
    execution = understood(inputs.execution)
    inputs = replace(inputs, execution=execution)
    evaluation = mapping(inputs.evaluation)
    package = mapping(inputs.package)
    metadata = mapping(package.get("CustomerMetadataProperties"))
    workload = workloads.of(evaluation, inputs.workload)
    by_name = {step.name: step for step in execution.steps}
    to_stage = deployment.stage_of(inputs.kind)
    if to_stage is None:
        verdict = checks(execution, inputs.evaluation)
        sections = workload.sections(Material(evaluation, verdict, inputs.file_values))
        headline, tone = _headline(inputs, verdict)
        commit = execution.parameters.get("GitCommit", "")
    else:
        verdict, sections = [], Sections()  # it measures nothing
        headline, tone = deployment.headline(execution, inputs.stages, to_stage)
        commit = str(metadata.get("git_commit", ""))
    return {
        **sections.view,
        "inputs": inputs,
        "execution": execution,
        "parameters": execution.parameters,
        "changed": _changed(execution.parameters, inputs.file_values),
        "commit": (short_commit(commit), commit),
        "measure_names": {f"metrics.{measure.key}": measure.name for measure in workload.measures.metrics},
        "package": inputs.package,
        **_decision(package),
        "headline": headline,
        "tone": tone,
        "subline": _subline(execution),
        "sections": sections,
        "flows": [drawn for down in (False, True) if (drawn := flow(execution.graph, by_name, downwards=down))],
        "steps": _step_rows(inputs),
        "failures": _failures(inputs),
        "verdict": verdict,
        "comparison": compare(evaluation, workload.measures),
        "server": mapping(evaluation.get("server")),
        "mlflow": mlflow(evaluation, metadata, inputs.mlflow_url, inputs.mlflow_experiment_id),
        "deployment": deployment.view(execution, inputs.attempt or Attempt(), to_stage) if to_stage else None,
        "serving": serving.view(
            inputs.stages,
            inputs.packages,
            package,
            workload.measures,
            workload=inputs.workload,
            made_at=inputs.made_at,
            mlflow_url=inputs.mlflow_url,
            always_metrics=to_stage is not None,
        ),
        "monitoring": monitoring.view(inputs.monitoring, inputs.made_at),
    }


# --- the head of the page --------------------------------------------------------------------------------------------


def _headline(inputs: Inputs, verdict: Sequence[Check]) -> tuple[str, str]:
    """The sentence that a reader came for, and its tone (good, wait, bad, busy, idle)."""
    execution = inputs.execution
    package = inputs.package
    if package:
        version = package.get("ModelPackageVersion", "")
        approval = package.get("ModelApprovalStatus")
        if approval == "Approved":
            return f"Version {version} is approved", "good"
        if approval == "Rejected":
            return f"Version {version} was rejected", "bad"
        return f"Version {version} waits for approval", "wait"
    if execution.status == "Succeeded":
        if inputs.kind == "monitor":
            return f"{execution.parameters.get(STAGE, '')} was evaluated", "good"
        return "Succeeded, without registering a model", "good"
    if execution.status == "Stopped":
        return "Stopped before it was done", "idle"
    if execution.status != "Failed":
        return "Still running", "busy"
    failed = [step for step in execution.steps if step.status == "Failed"]
    if any(step.type == "Fail" for step in failed) and any(check.passed is False for check in verdict):
        return "Not good enough to register", "bad"
    return (f"Failed at {failed[0].name}", "bad") if failed else ("Failed", "bad")


def _decision(package: Mapping[str, Any]) -> dict[str, Any]:
    """Who decided on the package and when, as its metadata says of its present state."""
    word = {"Approved": "approved", "Rejected": "rejected"}.get(str(package.get("ModelApprovalStatus")), "")
    metadata = mapping(package.get("CustomerMetadataProperties"))
    return {"decided_by": metadata.get(f"{word}_by"), "decided_at": metadata.get(f"{word}_at")}


def _subline(execution: Execution) -> str:
    worked = [step for step in execution.steps if step.status not in {"Pending", "Skipped", NOT_DONE}]
    cached = sum(1 for step in worked if step.cached_from)
    steps = f"{len(worked)} step{'s' if len(worked) != 1 else ''} in {duration(execution.seconds())}"
    asked = execution.step(ALREADY_REGISTERED)
    known = "; the model was registered already" if asked is not None and asked.outcome else ""
    return f"{steps}{f', {cached} of them from the cache' if cached else ''}{known}"


# --- steps ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _StepRow:
    """A step in the tables. `called` is (what, name) of whom it called, `outputs` what that gave."""

    run: StepRun
    state: str
    word: str
    seconds: float | None
    job: JobDetail | None
    called: tuple[str, str] | None
    outputs: Mapping[str, str]
    start_percent: float | None
    width_percent: float


def _step_rows(inputs: Inputs) -> list[_StepRow]:
    execution = inputs.execution
    times = [time for step in execution.steps for time in (step.started, step.ended) if time]
    begin = min(times, default=execution.started)
    whole = max((max(times, default=execution.modified) - begin).total_seconds(), 0.001)
    rows = []
    for step in execution.steps:
        seconds = step.seconds(inputs.made_at)
        offset = None if step.started is None else (step.started - begin).total_seconds() / whole * 100
        width = 0.0 if seconds is None else max(0.6, seconds / whole * 100)
        rows.append(
            _StepRow(
                run=step,
                state=state_class(step),
                word=state_word(step),
                seconds=seconds if step.type not in {"Condition", "Fail"} or step.status == "Executing" else None,
                job=inputs.jobs.get(step.name),
                called=called(step),
                outputs={name: value for name, value in outputs(step).items() if value},
                start_percent=None if offset is None else min(offset, 99.4),
                width_percent=min(width, 100 - (offset or 0)) if offset is not None and offset < 99.4 else 0.6,
            )
        )
    return rows


def _failures(inputs: Inputs) -> list[tuple[StepRun, JobDetail | None]]:
    """The steps that failed; without a Fail step that only repeats the reason of one before it."""
    failed = [step for step in inputs.execution.steps if step.status == "Failed"]
    told = [step.failure_reason for step in failed if step.type != "Fail" and step.failure_reason]
    return [
        (step, inputs.jobs.get(step.name))
        for step in failed
        if step.type != "Fail" or not any(reason in (step.failure_reason or "") for reason in told)
    ]


# --- where things are -------------------------------------------------------------------------------------------------


def _changed(parameters: Mapping[str, str], file_values: Mapping[str, str]) -> dict[str, str]:
    """What the configuration files say of the parameters that had another value in this execution."""
    return {
        name: value
        for name, value in file_values.items()
        if (used := parameters.get(name, value)) != value
        and (number_in(used) is None or number_in(used) != number_in(value))
    }
