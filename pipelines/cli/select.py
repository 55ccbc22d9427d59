"""Which pipeline, execution, step or job the words of a command line mean."""

from __future__ import annotations

from typing import Any

from pipelines import definitions, executions, registry
from pipelines.cli.context import Context
from pipelines.errors import UsageError, suggestion
from pipelines.executions import LOG_GROUPS, Execution, StepRun
from pipelines.names import MONITORED, STAGES

__all__ = [
    "execution",
    "job_of",
    "monitored_stage",
    "pipeline",
    "stage_of",
    "step_of",
    "workload_of",
    "workload_with_packages",
]

# Runs every hour by itself: what people mean is rarely that, unless they name it.
_HOURLY = "monitor"


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


def stage_of(stage: str) -> str:
    """The stage of a name. Raises UsageError when there is none."""
    if stage not in STAGES:
        raise UsageError(
            f"there is no stage `{stage}`{suggestion(stage, STAGES) or '; expected one of ' + ', '.join(STAGES)}"
        )
    return stage


def monitored_stage(workload: str, stage: str) -> str:
    """The stage of a name, which the monitoring looks after. Raises UsageError when it does not, or there is none."""
    if stage_of(stage) not in MONITORED[workload]:
        raise UsageError(f"{workload} is not monitored in {stage}; expected {' or '.join(MONITORED[workload])}")
    return stage


def workload_with_packages(context: Context, sagemaker: Any, workload: str | None) -> str:
    """The workload meant; when it is left away, the only one that has model packages. Raises UsageError otherwise."""
    if workload is not None:
        return workload_of(workload)
    known = sorted({each for each, _ in definitions.PIPELINES})
    found = [each for each in known if registry.packages(sagemaker, context.names.package_group(each))]
    if len(found) > 1:
        raise UsageError(f"{' and '.join(found)} have model packages; expected --workload with one of them")
    return found[0] if found else known[0]


def execution(
    context: Context, sagemaker: Any, workload: str | None, kind: str | None, given: str | None = None
) -> tuple[str, str, Execution]:
    """(workload, kind, execution) with an id or ARN, or else the last one; of the pipeline that is named, of all of
    them that the words leave open otherwise. The last one of the monitoring, which comes every hour, must be named.

    Raises UsageError when there is none.
    """
    hourly = given is not None or kind is not None
    chosen = [
        pair
        for pair in definitions.PIPELINES
        if workload in (None, pair[0]) and kind in (None, pair[1]) and (hourly or pair[1] != _HOURLY)
    ]
    if not chosen:
        chosen = [pipeline(workload, kind)]  # says which there are
    by_name = {context.names.pipeline(*pair): pair for pair in chosen}
    arns = [] if given is None else _arns(context, chosen, given)
    if given is None and (last := executions.latest(sagemaker, *by_name)):
        arns = [last]
    for arn in arns:
        try:
            found = executions.read(sagemaker, arn)
        except sagemaker.exceptions.ResourceNotFound:
            continue
        if found.pipeline in by_name:
            return *by_name[found.pipeline], found
    pipelines = " or ".join(f"`{name}`" for name in by_name)
    if given is None:
        raise UsageError(
            f"{pipelines} has not been run yet; run it with "
            + " or ".join(f"`mlops run {each} {of}`" for each, of in chosen)
        )
    raise UsageError(f"there is no execution `{given}` of {pipelines}; `mlops status` shows the last ones")


def _arns(context: Context, chosen: list[tuple[str, str]], given: str) -> list[str]:
    """The ARNs that an execution's id, or ARN, may mean."""
    if given.startswith("arn:"):
        return [given]
    return [f"{context.names.pipeline_arn(workload, kind)}/execution/{given}" for workload, kind in chosen]


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
