"""`mlops step`"""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from pipelines import executions, images, rerun
from pipelines.cli import select, show
from pipelines.cli.context import Context
from pipelines.cli.options import ExecutionOption, PipelineOption, WorkloadOption
from pipelines.errors import ServiceError
from pipelines.report.format import duration
from pipelines.session import client

_SECONDS_BETWEEN = 0.15
_RUNNING = {"InProgress", "Stopping"}


def command(
    name: Annotated[str, typer.Argument(help="e.g. `Evaluate`; upper and lower case are alike")],
    workload: WorkloadOption = None,
    pipeline: PipelineOption = None,
    execution: ExecutionOption = None,
) -> int:
    """Run one step again, alone, with the inputs it had, on the code of the working tree; its output on the screen.

    Outputs go to a scratch folder; neither the execution nor the cache knows of it. Exit status 0 when the job
    completed.
    """
    context = Context.here()
    sagemaker = client(context.session, "sagemaker")
    workload, kind, found = select.execution(context, sagemaker, workload, pipeline, execution)
    step = select.step_of(found, name)
    job_kind, earlier = select.job_of(sagemaker, found, step)
    described = executions.describe_job(sagemaker, (job_kind, earlier))
    if described is None:
        raise ServiceError(
            f"the job `{earlier}` of step `{step.name}` is gone; `mlops run {workload} {kind}` makes another"
        )
    image = images.register(context.session, context.names, images.read(context.root, workload))
    job = (job_kind, f"step-{step.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}")
    scratch_uri = f"s3://{context.names.bucket}/{workload}/scratch/{job[1]}"
    arguments = rerun.request(sagemaker, job_kind, described, name=job[1], image_uri=image.uri, scratch_uri=scratch_uri)
    err = show.console(stderr=True)
    tag, new = image.uri.rsplit(":", 1)[-1], ", new" if image.new else ""
    err.print(Text(f"{step.name} of {found.id}, image {tag}{new}", style="bright_black"), soft_wrap=True)
    rerun.start(sagemaker, job_kind, arguments)
    try:
        _stream(sagemaker, client(context.session, "logs"), job)
    except KeyboardInterrupt:
        rerun.stop(sagemaker, job)
        err.print("stopped")
        raise
    return _told(err, sagemaker, job)


def _stream(sagemaker: Any, logs: Any, job: tuple[str, str]) -> None:
    """Print what the job writes until it ends."""
    follower = executions.LogFollower(logs, job)
    running = True
    while running:
        # Asked before the lines are read, so that the last lines of a job that ends meanwhile are not missed.
        running = executions.job_status(sagemaker, job) in _RUNNING
        for line in follower.new_lines():
            typer.echo(line)
        if running:
            time.sleep(_SECONDS_BETWEEN)


def _told(err: Any, sagemaker: Any, job: tuple[str, str]) -> int:
    described = executions.describe_job(sagemaker, job) or {}
    status = described.get(f"{job[0]}Status", "unknown")
    begin = described.get("ProcessingStartTime", described.get("TrainingStartTime"))
    end = described.get("ProcessingEndTime", described.get("TrainingEndTime"))
    took = f" in {duration((end - begin).total_seconds())}" if begin and end else ""
    good = status == "Completed"
    err.print(Text.assemble((status, "bold green" if good else "bold red"), took), soft_wrap=True)
    if good:
        for name, uri in executions.outputs_of_job(described).items():
            err.print(Text(f"  {name}: {uri}"), soft_wrap=True)
        return 0
    reason = described.get("FailureReason") or described.get("ExitMessage") or "no reason was given"
    err.print(Text(reason), soft_wrap=True)
    return 1
