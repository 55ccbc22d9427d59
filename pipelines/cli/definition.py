"""`mlops definition WORKLOAD PIPELINE`"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pipelines import definitions
from pipelines.cli.context import Context
from pipelines.errors import ProjectError


def command(
    workload: Annotated[str, typer.Argument(help="e.g. `cardholders`")],
    pipeline: Annotated[str, typer.Argument(help="`build`, `deploy-staging` or `deploy-prod`")],
) -> None:
    """Print a pipeline's definition as JSON, as CreatePipeline receives it. The same bytes every time; calls none."""
    definitions.check(workload, pipeline)
    context = Context.here()
    typer.echo(definitions.render(workload, pipeline, context.configuration, context.root))


def render_all() -> None:
    """Bring every definition of the working copy into the cache, with one import of the SDK for all."""
    context = Context.here()
    try:
        for workload, kind in definitions.PIPELINES:
            definitions.render(workload, kind, context.configuration, context.root)
    except ProjectError as error:
        sys.exit(str(error))
