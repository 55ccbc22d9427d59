"""`mlops endpoints`"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from pipelines import stages
from pipelines.cli import select, show
from pipelines.cli.context import Context
from pipelines.cli.options import WorkloadArgument
from pipelines.config import Workloads
from pipelines.names import STAGES, VARIANT
from pipelines.report.format import moment
from pipelines.session import client
from pipelines.stages import Endpoint, Serving, Traffic

_STYLES = {"InService": "green", "Failed": "red", "OutOfService": "red", "UpdateRollbackFailed": "red"}
_MINUTES = 60


def command(
    workload: WorkloadArgument = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list instead.")] = False,
) -> None:
    """Show the endpoints of both stages: what they serve, machines, and the last hour's requests and latency."""
    context = Context.here()
    chosen = [select.workload_of(workload)] if workload else list(Workloads.model_fields)
    sagemaker, ssm = client(context.session, "sagemaker"), client(context.session, "ssm")
    cloudwatch, now = client(context.session, "cloudwatch"), context.now()
    rows = []
    for each in chosen:
        for stage in STAGES:
            endpoint = stages.endpoint(sagemaker, context.names, each, stage)
            serving = stages.serving(ssm, context.names, each, stage)
            seen = stages.traffic(cloudwatch, endpoint.name, now=now, minutes=_MINUTES) if endpoint else None
            rows.append((each, stage, endpoint, serving, seen))
    if as_json:
        typer.echo(json.dumps([_document(*row) for row in rows], indent=2))
        return
    out = show.console()
    out.print(_table(rows))
    for _, _, endpoint, _, _ in rows:
        if endpoint is not None and endpoint.failure_reason:
            out.print(Text(f"{endpoint.name}: {endpoint.failure_reason}", "red"), soft_wrap=True)
    if not any(endpoint for _, _, endpoint, _, _ in rows):
        typer.echo("no endpoint is there yet; `mlops approve` deploys a model package to staging", err=True)


def _table(rows: list[tuple[str, str, Endpoint | None, Serving | None, Traffic | None]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bright_black")
    for heading in ("endpoint", "status", "version", "since"):
        table.add_column(heading, no_wrap=True)
    for heading in ("weight", "machines", "requests/h", "4xx", "5xx", "median ms", "p99 ms"):
        table.add_column(heading, justify="right", no_wrap=True)
    for workload, stage, endpoint, serving, seen in rows:
        if endpoint is None or seen is None:
            table.add_row(Text(f"{workload} {stage}", "bright_black"), Text("none", "bright_black"))
            continue
        known = serving is not None and serving.endpoint_config == endpoint.config
        machines = "serverless" if endpoint.instances is None else str(endpoint.instances)
        if endpoint.desired not in (None, endpoint.instances):
            machines += f" → {endpoint.desired}"
        table.add_row(
            f"{workload} {stage}",
            Text(endpoint.status, _STYLES.get(endpoint.status, "cyan")),
            str(serving.version) if serving is not None and known else "?",
            moment(serving.since) if serving is not None and known else moment(endpoint.changed),
            f"{VARIANT} {endpoint.weight:g}",
            machines,
            str(seen.invocations),
            str(seen.client_errors),
            Text(str(seen.server_errors), "red" if seen.server_errors else ""),
            _milliseconds(seen.median_milliseconds),
            _milliseconds(seen.p99_milliseconds),
        )
    return table


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _document(
    workload: str, stage: str, endpoint: Endpoint | None, serving: Serving | None, seen: Traffic | None
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "workload": workload,
        "stage": stage,
        "endpoint": None if endpoint is None else asdict(endpoint),
        "serving": None if serving is None else asdict(serving),
        "last_hour": None if seen is None else asdict(seen),
    }
    return dict(json.loads(json.dumps(document, default=lambda value: value.isoformat())))
