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
    """Stop the last execution, if it still runs; of the named pipeline, or else of all."""
    context = Context.here()
    sagemaker = client(context.session, "sagemaker")
    _, _, execution = select.execution(context, sagemaker, workload, pipeline)
    if execution.finished:
        typer.echo(f"execution {execution.id} has ended already: {execution.status}", err=True)
        return
    sagemaker.stop_pipeline_execution(PipelineExecutionArn=execution.arn, ClientRequestToken=uuid.uuid4().hex)
    typer.echo(f"execution {execution.id} is being stopped")
