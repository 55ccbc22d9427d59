"""`mlops package`"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from pipelines.api import deployment as api
from pipelines.cli import select
from pipelines.cli.context import Context
from pipelines.infrastructure import Wanted
from pipelines.ingestion import control
from pipelines.ingestion import deployment as ingestion
from pipelines.names import HOLDERS, MINUTES


def command(
    workload: Annotated[str | None, typer.Argument(help="Whose stack; all when left away.")] = None,
) -> None:
    """Write what CodePipeline makes the project's other stacks of: `.mlops/packaged/{ingestion,api}.yml`, and their
    parameters beside them as JSON. The code of their functions is uploaded.

    The stream is the forecaster's stack, the REST API the cardholders'. A stream that is at work stays so, whatever
    configs/ingestion.yml says of `running`.
    """
    chosen = None if workload is None else select.workload_of(workload)
    context = Context.here()
    stacks = {}
    if chosen in (None, MINUTES[0]):
        configuration = control.left_going(context.session, context.configuration)
        stacks["ingestion"] = ingestion.wanted(context.session, configuration, context.root)
    if chosen in (None, HOLDERS[0]):
        stacks["api"] = api.wanted(context.session, context.configuration, context.paths)
    folder = context.paths.packaged
    folder.mkdir(parents=True, exist_ok=True)
    for name, stack in stacks.items():
        (folder / f"{name}.yml").write_text(stack.template, encoding="utf-8")
        (folder / f"{name}.json").write_text(_configuration(stack), encoding="utf-8")
        typer.echo(f"packed {folder / name}.yml with {len(stack.parameters)} parameters")


def _configuration(stack: Wanted) -> str:
    """As a template configuration file of CodePipeline. Source: "AWS CloudFormation artifacts" in the CloudFormation
    User Guide."""
    return json.dumps({"Parameters": dict(stack.parameters)}, indent=2)
