"""`mlops report`"""

from __future__ import annotations

import os
import webbrowser
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli import select
from pipelines.cli.context import Context
from pipelines.cli.options import ExecutionOption, PipelineArgument, WorkloadArgument
from pipelines.config import load
from pipelines.errors import UsageError
from pipelines.executions import Execution
from pipelines.parameters import defaults, text
from pipelines.report.format import bytes_text
from pipelines.session import client


def command(
    workload: WorkloadArgument = None,
    pipeline: PipelineArgument = None,
    execution: ExecutionOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The file to write; `.mlops/reports/…html` when left away.")
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """Write an execution's report as one HTML page that needs nothing but itself, and print its path."""
    context = Context.here()
    sagemaker = client(context.session, "sagemaker")
    workload, kind, found = select.execution(context, sagemaker, workload, pipeline, execution)
    file = write(context, found, workload, kind, out)
    typer.echo(str(file))
    typer.echo(bytes_text(file.stat().st_size), err=True)
    if open_it:
        webbrowser.open(file.resolve().as_uri())


def write(context: Context, execution: Execution, workload: str, kind: str, out: Path | None = None) -> Path:
    """Write the report of an execution; gives its file. Raises UsageError when it cannot be written there."""
    # Here and not above: the template engine takes a tenth of a second, which the other verbs need not pay.
    from pipelines.report.gather import gather
    from pipelines.report.page import render

    file = out or context.paths.state / "reports" / f"{execution.pipeline}-{execution.id}.html"
    mlflow = os.environ.get("MLFLOW_TRACKING_URI", "")
    inputs = gather(
        client(context.session, "sagemaker"),
        client(context.session, "s3"),
        client(context.session, "logs"),
        client(context.session, "ssm"),
        client(context.session, "cloudwatch"),
        execution,
        names=context.names,
        workload=workload,
        kind=kind,
        made_at=datetime.now(UTC),
        mlflow_url=mlflow if mlflow.startswith("http") else None,
        file_values=file_values(context, workload),
    )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(render(inputs), encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"the report cannot be written to `{file}`: {error.strerror}; name another file with --out"
        ) from error
    return file


def file_values(context: Context, workload: str) -> dict[str, str]:
    """The workload's runtime values as its configuration file gives them, whatever overrides are at work here."""
    values = defaults(load(context.root, None).tunables(workload))
    return {name: text(value) for name, value in values.items()}
