"""Which pipeline, execution, step or job the words of a command line mean."""

from __future__ import annotations

from typing import Any

from pipelines import definitions, executions
from pipelines.cli.context import Context
from pipelines.errors import UsageError, suggestion
from pipelines.executions import LOG_GROUPS, Execution, StepRun

__all__ = ["execution_of", "job_of", "pipeline", "step_of", "workload_of"]


def pipeline(workload: str | None, kind: str | None) -> tuple[str, str]:
    """The pipeline meant: what is left away is filled in when it leaves no choice, with `build` before others.

    Raises UsageError when there is no such pipeline, or several.
    """
    chosen = workload_of(workload)
    kind = kind or "build"
    definitions.check(chosen, kind)
    return chosen, kind


def workload_of(workload: str | None) -> str:
    """The workload meant; the only one that has pipelines when it is left away."""
    known = sorted({each for each, _ in definitions.PIPELINES})
    if workload is None:
        if len(known) > 1:
            raise UsageError(f"expected a workload: one of {', '.join(known)}")
        return known[0]
    if workload not in known:
        raise UsageError(
            f"there is no workload `{workload}` with pipelines"
            f"{suggestion(workload, known) or '; expected one of ' + ', '.join(known)}"
        )
    return workload


def execution_of(context: Context, sagemaker: Any, workload: str, kind: str, given: str | None = None) -> Execution:
    """The execution with an id or ARN, or else the pipeline's last one. Raises UsageError when there is none."""
    name = context.names.pipeline(workload, kind)
    if given is None:
        arn = executions.latest(sagemaker, name)
        if arn is None:
            raise UsageError(f"`{name}` has not been run yet; run it with `mlops run {workload} {kind}`")
    else:
        arn = given if given.startswith("arn:") else f"{context.names.pipeline_arn(workload, kind)}/execution/{given}"
    try:
        return executions.read(sagemaker, arn)
    except sagemaker.exceptions.ResourceNotFound:
        raise UsageError(f"there is no execution `{given}` of `{name}`; `mlops status` shows the last ones") from None


def step_of(execution: Execution, name: str) -> StepRun:
    """The step of a name, whatever its case. Raises UsageError that lists the steps there are."""
    for step in execution.steps:
        if step.name.lower() == name.lower():
            return step
    known = [step.name for step in execution.steps]
    raise UsageError(
        f"the pipeline `{execution.pipeline}` has no step `{name}`"
        f"{suggestion(name, known) or '; expected one of ' + ', '.join(known)}"
    )


def job_of(sagemaker: Any, execution: Execution, step: StepRun) -> tuple[str, str]:
    """(kind, name) of the job that did a step's work, be it in the execution that a cache hit goes back to.

    Raises UsageError when the step runs no job or has not been run.
    """
    run = executions.run_that_worked(sagemaker, execution, step.name)
    if run is not None and run.job is not None:
        return run.job
    if step.type not in {kind.removesuffix("Job") for kind in LOG_GROUPS}:
        raise UsageError(f"step `{step.name}` is a {step.type} step, which runs no job")
    raise UsageError(
        f"step `{step.name}` has not run in execution {execution.id}: it is {step.status.lower()}; "
        "`mlops status` shows how far the execution came"
    )
