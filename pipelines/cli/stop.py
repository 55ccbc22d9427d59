"""`mlops stop`"""

from __future__ import annotations

import uuid

import typer

from pipelines.cli import select
from pipelines.cli.context import Context
from pipelines.cli.options import PipelineArgument, WorkloadArgument
from pipelines.session import client


def command(
    workload: WorkloadArgument = None,
    pipeline: PipelineArgument = None,
) -> None:
    """Stop the last execution of a pipeline, if it still runs."""
    workload, kind = select.pipeline(workload, pipeline)
    context = Context.here()
    sagemaker = client(context.session, "sagemaker")
    execution = select.execution_of(context, sagemaker, workload, kind)
    if execution.finished:
        typer.echo(f"execution {execution.id} has ended already: {execution.status}", err=True)
        return
    sagemaker.stop_pipeline_execution(PipelineExecutionArn=execution.arn, ClientRequestToken=uuid.uuid4().hex)
    typer.echo(f"execution {execution.id} is being stopped")
