"""`mlops models`"""

from __future__ import annotations

import json
from datetime import UTC
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from pipelines import registry
from pipelines.cli import select, show
from pipelines.cli.context import Context
from pipelines.cli.options import WorkloadArgument
from pipelines.registry import Package
from pipelines.report.format import figure
from pipelines.report.measures import METRICS, Measure
from pipelines.session import client

_SHOWN = ("roc_auc", "log_loss", "brier", "calibration_error", "silhouette")
_SHOWN_NARROW = ("roc_auc", "brier", "silhouette")
_WIDE = 120  # columns from which on everything has room
_STYLES = {registry.APPROVED: "green", registry.REJECTED: "red", registry.WAITING: "yellow"}
_WORDS = {registry.WAITING: "waiting"}


def command(
    workload: WorkloadArgument = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list instead.")] = False,
) -> None:
    """List the model packages, newest first: metrics beside the champion's, approval, MLflow's versions.

    The champion (★) is the newest approved package.
    """
    workload = select.workload_of(workload)
    context = Context.here()
    group = context.names.package_group(workload)
    known = registry.packages(client(context.session, "sagemaker"), group)
    champion = registry.champion(known)
    if as_json:
        typer.echo(json.dumps([_document(package, champion) for package in known], indent=2))
        return
    if not known:
        typer.echo(
            f"the group `{group}` has no model packages; `mlops run` registers one when it is good enough", err=True
        )
        return
    out = show.console()
    wide = out.width >= _WIDE
    measures = [measure for measure in METRICS if measure.key in (_SHOWN if wide else _SHOWN_NARROW)]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bright_black")
    table.add_column("version", no_wrap=True)
    for measure in measures:
        table.add_column(f"{measure.short} {measure.arrow}", justify="right", no_wrap=True)
    table.add_column("approval", overflow="fold", min_width=10)
    if wide:
        table.add_column("MLflow", no_wrap=True)
    table.add_column("made", no_wrap=True)
    for package in known:
        star = " ★" if champion is not None and package.arn == champion.arn else ""
        approval = Text(_WORDS.get(package.approval, package.approval.lower()), _STYLES.get(package.approval, ""))
        if package.decided_by:
            approval.append(f"\n{package.decided_by}", "bright_black")
        if package.why:
            approval.append(f"\n{package.why}", "bright_black")
        table.add_row(
            f"{package.version}{star}",
            *(_cell(package, champion, measure) for measure in measures),
            approval,
            *(["\n".join(f"{part} {version}" for part, version in package.mlflow_versions.items())] if wide else []),
            f"{package.created.astimezone(UTC):%Y-%m-%d %H:%M}",
        )
    out.print(table)


def _cell(package: Package, champion: Package | None, measure: Measure) -> Text:
    """A metric, and below it how far it is from the champion's."""
    value = package.figure(measure.key)
    text = Text(figure(value))
    theirs = champion.figure(measure.key) if champion is not None and champion.arn != package.arn else None
    if value is not None and theirs is not None:
        better = (value >= theirs) == measure.higher_is_better or value == theirs
        text.append(f"\n{value - theirs:+.4f}", "green" if better else "red")
    return text


def _document(package: Package, champion: Package | None) -> dict[str, Any]:
    metrics = {measure.key: package.figure(measure.key) for measure in METRICS}
    return {
        "arn": package.arn,
        "version": package.version,
        "approval": package.approval,
        "champion": champion is not None and package.arn == champion.arn,
        "created": package.created.isoformat(),
        "why": package.why,
        "decided_by": package.decided_by,
        "metrics": metrics,
        "champion_metrics": None if champion is None else {m.key: champion.figure(m.key) for m in METRICS},
        "mlflow": {part: package.mlflow_model(part) for part in package.mlflow_versions},
        "model_uri": package.model_uri,
        "metadata": dict(package.metadata),
    }
