"""`mlops report`"""

from __future__ import annotations

import os
import webbrowser
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli import select
from pipelines.cli.context import Context
from pipelines.cli.options import ExecutionOption, PipelineArgument, WorkloadArgument
from pipelines.config import load
from pipelines.errors import UsageError
from pipelines.executions import Execution
from pipelines.ingestion import minutes
from pipelines.names import MINUTES
from pipelines.parameters import defaults, text
from pipelines.report.format import bytes_text
from pipelines.session import client

MONITOR = "monitor"
DAY = timedelta(days=1)


def command(
    workload: WorkloadArgument = None,
    pipeline: PipelineArgument = None,
    execution: ExecutionOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The file to write; `.mlops/reports/…html` when left away.")
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """Write an execution's report as one HTML page that needs nothing but itself, and print its path.

    `mlops report WORKLOAD monitor` writes that of the monitoring: what the hours have brought, the alarms, and what was
    done about them.
    """
    context = Context.here()
    if pipeline == MONITOR and execution is None:
        file = write_monitoring(context, select.workload_of(workload), out)
    else:
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
    inputs = gather(
        client(context.session, "sagemaker"),
        client(context.session, "s3"),
        client(context.session, "logs"),
        client(context.session, "ssm"),
        client(context.session, "cloudwatch"),
        client(context.session, "dynamodb"),
        execution,
        names=context.names,
        workload=workload,
        kind=kind,
        made_at=context.now(),
        mlflow_url=_mlflow_url(),
        file_values=file_values(context, workload),
    )
    return _written(file, render(inputs))


def write_monitoring(context: Context, workload: str, out: Path | None = None) -> Path:
    """Write the report of a workload's monitoring, and beside it Evidently's newest report of each stage, which it
    links to; gives its file. Raises UsageError when it cannot be written there.
    """
    from pipelines.report.gather_monitoring import drift_report, gather_page
    from pipelines.report.monitoring_page import render

    file = out or context.paths.state / "reports" / f"{context.names.pipeline(workload, MONITOR)}.html"
    s3 = client(context.session, "s3")
    inputs = gather_page(
        client(context.session, "sagemaker"),
        s3,
        client(context.session, "ssm"),
        client(context.session, "cloudwatch"),
        client(context.session, "dynamodb"),
        names=context.names,
        workload=workload,
        now=context.now(),
        mlflow_url=_mlflow_url(),
    )
    courses = []
    for course in inputs.material.courses:
        links = {}
        for report in course.monitored.reports[-1:]:
            beside = file.with_name(f"{file.stem}-drift-{course.monitored.stage}.html")
            _written(beside, drift_report(s3, report))
            links[report.time] = beside.name
        courses.append(replace(course, links=links))
    inputs = replace(inputs, material=replace(inputs.material, courses=courses), minutes=_minutes(context, workload))
    return _written(file, render(inputs))


def _minutes(context: Context, workload: str) -> list[minutes.Minute]:
    """The last day's minutes of the stream, for the workload that it feeds."""
    if workload != MINUTES[0]:
        return []
    runtime = client(context.session, "sagemaker-featurestore-runtime")
    return minutes.read(runtime, context.names, minutes.whole(context.now()) - DAY, DAY // minutes.MINUTE)


def _written(file: Path, html: str) -> Path:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(html, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"the report cannot be written to `{file}`: {error.strerror}; name another file with --out"
        ) from error
    return file


def _mlflow_url() -> str | None:
    """The address of MLflow's pages; None when its server has none (SageMaker's is an ARN)."""
    told = os.environ.get("MLFLOW_TRACKING_URI", "")
    return told if told.startswith("http") else None


def file_values(context: Context, workload: str) -> dict[str, str]:
    """The workload's runtime values as its configuration file gives them, whatever overrides are at work here."""
    values = defaults(load(context.root, None).tunables(workload))
    return {name: text(value) for name, value in values.items()}
