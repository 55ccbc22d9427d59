"""`mlops models`"""

from __future__ import annotations

import json
from datetime import UTC
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from pipelines import definitions, registry, stages
from pipelines.cli import select, show
from pipelines.cli.context import Context
from pipelines.cli.options import WorkloadArgument
from pipelines.registry import Package
from pipelines.report import measures
from pipelines.report.measures import Measure, Measures
from pipelines.session import client

_WIDE = 120  # columns from which on everything has room
_STYLES = {registry.APPROVED: "green", registry.REJECTED: "red", registry.WAITING: "yellow"}
_WORDS = {registry.WAITING: "waiting"}


def command(
    workload: WorkloadArgument = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list instead.")] = False,
) -> None:
    """List the model packages, newest first: metrics beside the champion's, approval, MLflow's versions.

    Those of every workload when none is named. The champion (★) is what production serves, before the first deployment
    the newest approved package.
    """
    context = Context.here()
    sagemaker = client(context.session, "sagemaker")
    chosen = [select.workload_of(workload)] if workload else sorted({each for each, _ in definitions.PIPELINES})
    known = {each: registry.packages(sagemaker, context.names.package_group(each)) for each in chosen}
    champions = {each: registry.champion(known[each], _served(context, each)) for each in chosen}
    if as_json:
        listed = [_document(package, each, champions[each]) for each, packages in known.items() for package in packages]
        typer.echo(json.dumps(listed, indent=2))
        return
    out = show.console()
    for each, packages in known.items():
        if not packages:
            typer.echo(
                f"the group `{context.names.package_group(each)}` has no model packages; `mlops run {each}` registers "
                "one when it is good enough",
                err=True,
            )
            continue
        if len(chosen) > 1:
            out.print(Text(each, "bold"))
        out.print(_table(packages, champions[each], measures.of(each), wide=out.width >= _WIDE))
        if len(chosen) > 1:
            out.print()


def _served(context: Context, workload: str) -> str | None:
    """The ARN of the package that production serves."""
    now = stages.serving(client(context.session, "ssm"), context.names, workload, "prod")
    return None if now is None else now.model_package_arn


def _table(known: list[Package], champion: Package | None, told: Measures, *, wide: bool) -> Table:
    shown = told.named(*(told.package if wide else told.package_narrow))
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bright_black")
    table.add_column("version", no_wrap=True)
    for measure in shown:
        table.add_column(f"{measure.short} {measure.arrow}".rstrip(), justify="right", no_wrap=True)
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
            *(_cell(package, champion, measure, told) for measure in shown),
            approval,
            *(["\n".join(f"{part} {version}" for part, version in package.mlflow_versions.items())] if wide else []),
            f"{package.created.astimezone(UTC):%Y-%m-%d %H:%M}",
        )
    return table


def _cell(package: Package, champion: Package | None, measure: Measure, told: Measures) -> Text:
    """A metric; below it the interval that it may lie in, where the package has one, and how far it is from the
    champion's.
    """
    value = package.figure(measure.key)
    text = Text(measure.shown(value))
    if told.interval is not None and measure == told.metrics[0]:
        ends = [package.figure(key) for key in told.interval]
        if None not in ends:
            text.append(f"\n{' to '.join(measure.shown(end) for end in ends)}", "bright_black")
    theirs = champion.figure(measure.key) if champion is not None and champion.arn != package.arn else None
    if value is not None and theirs is not None and measure.better != "none":
        own, other = measure.badness(value), measure.badness(theirs)
        style = "" if own is None or other is None else "green" if own <= other else "red"
        text.append(f"\n{measure.difference(value - theirs)}", style)
    return text


def _document(package: Package, workload: str, champion: Package | None) -> dict[str, Any]:
    told = measures.of(workload)
    keys = [*(measure.key for measure in (*told.metrics, *told.only_of_package)), *(told.interval or ())]
    return {
        "arn": package.arn,
        "workload": workload,
        "version": package.version,
        "approval": package.approval,
        "champion": champion is not None and package.arn == champion.arn,
        "created": package.created.isoformat(),
        "why": package.why,
        "decided_by": package.decided_by,
        "metrics": {key: package.figure(key) for key in keys},
        "champion_metrics": None if champion is None else {key: champion.figure(key) for key in keys},
        "mlflow": {part: package.mlflow_model(part) for part in package.mlflow_versions},
        "model_uri": package.model_uri,
        "metadata": dict(package.metadata),
    }
