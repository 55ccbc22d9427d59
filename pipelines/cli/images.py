"""`mlops images`"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from pipelines import images
from pipelines.cli.context import Context


def command(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list instead.")] = False,
) -> None:
    """Register the image of each folder of `seed_code/` that has a Dockerfile, by the digest of its content."""
    context = Context.here()
    registered = images.register_all(context.session, context.names, context.root)
    if as_json:
        typer.echo(json.dumps([asdict(image) for image in registered], indent=2))
        return
    for image in registered:
        typer.echo(f"{image.uri}  {'new' if image.new else 'unchanged'}")
    if not registered:
        typer.echo("no folder of `seed_code/` has a Dockerfile", err=True)
