"""`mlops status`"""

from __future__ import annotations

import json
import os
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines import codepipelines, definitions, executions, registry
from pipelines.cli import show
from pipelines.cli.context import Context
from pipelines.codepipelines import RUNNING, Run
from pipelines.config import Workloads
from pipelines.executions import Execution
from pipelines.names import CODE_PIPELINES
from pipelines.report.format import duration, moment
from pipelines.report.outcomes import understood
from pipelines.session import client
from pipelines.stack import answering

_STYLES = {"Succeeded": "green", "Failed": "red", "Executing": "cyan", "Stopping": "cyan"}


def command(
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON instead.")] = False,
) -> None:
    """Show the services, the last execution of each pipeline and CodePipeline, and what waits for a decision."""
    context = Context.here()
    services = _services()
    sagemaker = client(context.session, "sagemaker")
    last: dict[str, Execution | None] = {}
    waiting: dict[str, list[registry.Package]] = {}
    for workload, kind in definitions.PIPELINES:
        name = context.names.pipeline(workload, kind)
        arn = executions.latest(sagemaker, name)
        last[name] = None if arn is None else understood(executions.read(sagemaker, arn))
        if workload not in waiting:
            known = registry.packages(sagemaker, context.names.package_group(workload))
            waiting[workload] = [package for package in known if package.approval == registry.WAITING]
    runs = _runs(context)
    if as_json:
        typer.echo(json.dumps(_document(services, last, runs, waiting), indent=2))
    else:
        _print(services, last, runs, waiting, context.now())


def _runs(context: Context) -> dict[str, Run]:
    """The last execution of each CodePipeline, where the project has them and they have run."""
    codepipeline = client(context.session, "codepipeline")
    found = {}
    for workload in Workloads.model_fields:
        for kind in CODE_PIPELINES:
            name = context.names.code_pipeline(workload, kind)
            execution = codepipelines.latest(codepipeline, name)
            if execution is not None:
                found[name] = codepipelines.read(codepipeline, name, execution)
    return found


def _services() -> dict[str, dict[str, Any]]:
    """What answers for AWS and for MLflow, and whether it does."""
    endpoint, mlflow = os.environ.get("AWS_ENDPOINT_URL"), os.environ.get("MLFLOW_TRACKING_URI", "")
    found: dict[str, dict[str, Any]] = {"AWS": {"address": endpoint or "AWS itself", "answers": True}}
    if endpoint:
        status = answering(f"{endpoint}/_localcloud/status")
        found["AWS"]["answers"] = isinstance(status, dict)
        if isinstance(status, dict):
            found["AWS"]["state"] = status.get("state")
    if mlflow.startswith("http"):
        found["MLflow"] = {"address": mlflow, "answers": answering(f"{mlflow}/health") is not None}
    elif mlflow:
        found["MLflow"] = {"address": mlflow, "answers": None}
    return found


def _print(
    services: dict[str, dict[str, Any]],
    last: dict[str, Execution | None],
    runs: dict[str, Run],
    waiting: dict[str, list[registry.Package]],
    now: datetime,
) -> None:
    out = show.console()
    for name, service in services.items():
        answers = service["answers"]
        word = {True: Text("answers", "green"), False: Text("does not answer", "red"), None: Text("not asked")}[answers]
        out.print(Text.assemble(f"{name:<8}", service["address"], "  ", word), soft_wrap=True)
    out.print()
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bright_black")
    for heading in ("pipeline", "last execution", "", "started", "took"):
        table.add_column(heading, overflow="fold", no_wrap=heading != "pipeline")
    for name, execution in last.items():
        if execution is None:
            table.add_row(name, Text("has not run yet", "bright_black"))
            continue
        status = Text(execution.status, _STYLES.get(execution.status, ""))
        table.add_row(name, execution.id, status, moment(execution.started), duration(execution.seconds(now)))
    out.print(table)
    for execution in last.values():
        if execution is not None and not execution.finished:
            out.print()
            out.print(show.steps_table(execution, now))
        for step in execution.steps if execution is not None else ():
            if step.status == "Failed":
                out.print(Text(f"  {step.name}: {step.failure_reason or 'no reason was given'}", "red"), soft_wrap=True)
    if runs:
        _print_runs(out, runs)
    for workload, known in waiting.items():
        if known:
            versions = ", ".join(str(package.version) for package in reversed(known))
            subject = f"version {versions} waits" if len(known) == 1 else f"versions {versions} wait"
            out.print(f"\n{workload}: {subject} for a decision (`mlops models {workload}`)", soft_wrap=True)


def _print_runs(out: Console, runs: dict[str, Run]) -> None:
    """What CodePipeline is at, with the reasons of what failed, and what waits for a person."""
    out.print()
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bright_black")
    for heading in ("CodePipeline", "last execution", "", "at"):
        table.add_column(heading, overflow="fold", no_wrap=True)
    for name, run in runs.items():
        at = run.actions[-1] if run.actions else None
        style = _STYLES.get(run.status, "cyan" if run.status == RUNNING else "")
        table.add_row(name, run.id, Text(run.status, style), f"{at.stage} / {at.name}" if at else "")
    out.print(table)
    for name, run in runs.items():
        for action in run.failed:
            out.print(Text(f"  {name}, {action.name}: {action.said or 'no reason given'}", "red"), soft_wrap=True)
        if run.waits is not None:
            report = run.variable("REPORT_URL")
            seen = f" (its tests: {report})" if report else ""
            out.print(f"  {name} waits for `mlops approve VERSION --stage prod`{seen}", soft_wrap=True)


def _document(
    services: dict[str, dict[str, Any]],
    last: dict[str, Execution | None],
    runs: dict[str, Run],
    waiting: dict[str, list[registry.Package]],
) -> dict[str, Any]:
    return {
        "services": services,
        "pipelines": {
            name: None if execution is None else show.execution_document(execution) for name, execution in last.items()
        },
        "codepipelines": {
            name: {
                "id": run.id,
                "status": run.status,
                "actions": [{"stage": one.stage, "name": one.name, "status": one.status} for one in run.actions],
            }
            for name, run in runs.items()
        },
        "waiting": {workload: [package.arn for package in known] for workload, known in waiting.items()},
    }
