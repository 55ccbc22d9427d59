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
from pipelines.names import API_FUNCTIONS, FUNCTIONS
from pipelines.session import client

_FINISHED = {"Completed", "Failed", "Stopped"}
_FUNCTIONS = (*FUNCTIONS, *API_FUNCTIONS)


def command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="STEP|JOB|FUNCTION",
            help=f"A step of the last execution, a job by its name, or a function: {', '.join(_FUNCTIONS)}.",
        ),
    ],
    workload: WorkloadOption = None,
    pipeline: PipelineOption = None,
    execution: ExecutionOption = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False,
) -> None:
    """Print what the job of a step wrote, or a Lambda function of the project."""
    context = Context.here()
    if name in _FUNCTIONS:
        lines = executions.function_lines(client(context.session, "logs"), context.names.function(name))
        for line in lines:
            typer.echo(line)
        if not lines:
            typer.echo(f"the function `{context.names.function(name)}` has written nothing yet", err=True)
        return
    sagemaker = client(context.session, "sagemaker")
    job = _job(context, sagemaker, name, workload, pipeline, execution)
    follower = executions.LogFollower(client(context.session, "logs"), job)
    while True:
        done = not follow or executions.job_status(sagemaker, job) in _FINISHED
        for line in follower.new_lines():
            typer.echo(line)
        if done:
            return
        time.sleep(0.3)


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
