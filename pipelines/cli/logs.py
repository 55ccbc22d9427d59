"""`mlops logs`"""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from pipelines import executions
from pipelines.cli import select
from pipelines.cli.context import Context
from pipelines.cli.options import ExecutionOption, PipelineOption, WorkloadOption
from pipelines.errors import UsageError
from pipelines.names import API_FUNCTIONS, COMPACT, FUNCTIONS, INGESTION_FUNCTIONS, OPERATOR, POLLER, REPLAY, Names
from pipelines.session import client

_FINISHED = {"Completed", "Failed", "Stopped"}
_FUNCTIONS = (*FUNCTIONS, *API_FUNCTIONS, *INGESTION_FUNCTIONS)
_TASKS = (POLLER, OPERATOR, REPLAY, COMPACT)
_FLINK = "flink"
_SECONDS = 0.3


def command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="STEP|JOB|FUNCTION|PROGRAM",
            help="A step of the last execution, a job by its name, a function "
            f"({', '.join(_FUNCTIONS)}) or a program of the stream ({', '.join((*_TASKS, _FLINK))}).",
        ),
    ],
    workload: WorkloadOption = None,
    pipeline: PipelineOption = None,
    execution: ExecutionOption = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job ends; of anything else, until Ctrl-C.")
    ] = False,
) -> None:
    """Print what the job of a step wrote, or the last that a Lambda function or a program of the stream did."""
    context = Context.here()
    logs = client(context.session, "logs")
    if group := _group(context.names, name):
        _print_group(executions.GroupFollower(logs, group), group, follow=follow)
        return
    sagemaker = client(context.session, "sagemaker")
    job = _job(context, sagemaker, name, workload, pipeline, execution)
    follower = executions.LogFollower(logs, job)
    while True:
        done = not follow or executions.job_status(sagemaker, job) in _FINISHED
        for line in follower.new_lines():
            typer.echo(line)
        if done:
            return
        time.sleep(_SECONDS)


def _print_group(follower: executions.GroupFollower, group: str, *, follow: bool) -> None:
    lines = follower.new_lines()
    if not lines:
        typer.echo(f"nothing was written to `{group}` yet", err=True)
    while True:
        for line in lines:
            typer.echo(line)
        if not follow:
            return
        time.sleep(_SECONDS)
        lines = follower.new_lines()


def _group(names: Names, name: str) -> str | None:
    """The log group of a function or of a program of the stream; None for any other name."""
    if name in _FUNCTIONS:
        return f"/aws/lambda/{names.function(name)}"
    if name in _TASKS:
        return f"/ecs/{names.task_family(name)}"
    return f"/aws/kinesis-analytics/{names.flink_application}" if name == _FLINK else None


def _job(
    context: Context, sagemaker: Any, name: str, workload: str | None, pipeline: str | None, execution: str | None
) -> tuple[str, str]:
    """The job that a step or a job's name means; a step goes before."""
    problem: UsageError
    try:
        _, _, found = select.execution(context, sagemaker, workload, pipeline, execution)
        return select.job_of(sagemaker, found, select.step_of(found, name))
    except UsageError as error:
        problem = error
    for job_kind in executions.LOG_GROUPS:
        if executions.job_status(sagemaker, (job_kind, name)) is not None:
            return job_kind, name
    raise problem
