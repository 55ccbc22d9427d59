"""`mlops params list|set|create`"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from pipelines import parameters
from pipelines.cli import show
from pipelines.cli.context import Context
from pipelines.config import Workloads

app = typer.Typer(
    help="List and set the runtime values in Parameter Store.",
    no_args_is_help=False,
    add_completion=False,
    rich_markup_mode=None,
)


@app.command("list", short_help="List the runtime values, beside the files'.")
def list_command(
    workload: Annotated[str | None, typer.Argument(help="e.g. `cardholders`; all workloads without it")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list instead.")] = False,
) -> None:
    """List the runtime values: what Parameter Store has, and what the files gave where that differs."""
    context = Context.here()
    chosen = list(Workloads.model_fields) if workload is None else [workload]
    found = [value for each in chosen for value in parameters.list_values(context.session, context.configuration, each)]
    if as_json:
        typer.echo(json.dumps([{**asdict(value), "differs": value.differs} for value in found], indent=2))
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bright_black")
    # Names are there to be copied: only the meaning gives way on a narrow terminal.
    for heading in ("workload", "name", "value", "file's value"):
        table.add_column(heading, no_wrap=True)
    table.add_column("meaning")
    for value in found:
        shown = "(missing)" if value.value is None else value.value
        style = "yellow" if value.differs else None
        table.add_row(
            value.workload, value.name, shown, value.file_value if value.differs else "", value.meaning, style=style
        )
    show.console().print(table)
    if any(value.value is None for value in found):
        typer.echo("`mlops params create` creates what is missing", err=True)


@app.command("set")
def set_command(
    workload: Annotated[str, typer.Argument(help="e.g. `cardholders`")],
    name: Annotated[str, typer.Argument(help="e.g. `MinRocAuc`, or the file's `min_roc_auc`")],
    value: Annotated[str, typer.Argument(help="checked for type and range")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the parameter as JSON instead.")] = False,
) -> None:
    """Set a runtime value; the next execution that starts reads it."""
    context = Context.here()
    new = parameters.set_value(context.session, context.configuration, workload, name, value)
    if as_json:
        typer.echo(json.dumps({**asdict(new), "differs": new.differs}, indent=2))
    else:
        typer.echo(f"{new.path} = {new.value}")


@app.command("create", short_help="Create the parameters that are missing.")
def create_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print the created names as a JSON list instead.")] = False,
) -> None:
    """Create the parameters that are missing, with the files' values; those that exist are left alone."""
    context = Context.here()
    created = parameters.ensure(context.session, context.configuration)
    if as_json:
        typer.echo(json.dumps(created, indent=2))
        return
    for path in created:
        typer.echo(path)
    typer.echo(f"{len(created)} created", err=True)
