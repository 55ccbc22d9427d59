"""`mlops definition WORKLOAD PIPELINE`"""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines import definitions
from pipelines.cli.context import Context


def command(
    workload: Annotated[str, typer.Argument(help="e.g. `cardholders`")],
    pipeline: Annotated[str, typer.Argument(help="`build`, `deploy` or `monitor`")],
) -> None:
    """Print a pipeline's definition as JSON, as CreatePipeline receives it. The same bytes every time; calls none."""
    definitions.check(workload, pipeline)
    context = Context.here()
    typer.echo(definitions.render(workload, pipeline, context.configuration, context.root))
