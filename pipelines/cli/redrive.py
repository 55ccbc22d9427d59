"""`mlops redrive`"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated

import typer
from rich.text import Text

from pipelines import names as n
from pipelines.cli import show
from pipelines.cli.context import Context
from pipelines.ingestion import minutes
from pipelines.ingestion.missing import missing
from pipelines.ingestion.redrive import redrive
from pipelines.session import client


def command(
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON instead.")] = False,
) -> None:
    """Give events that could not be passed on to `deduplicate` again, out of the stream's dead letter queue.

    What else is in the queue stays there.
    """
    context = Context.here()
    sqs = client(context.session, "sqs")
    try:
        done = redrive(sqs, client(context.session, "lambda"), context.names)
    except sqs.exceptions.QueueDoesNotExist:
        raise missing(context.names, f"queue `{context.names.queue(n.INGESTION_DEAD_QUEUE)}`") from None
    if as_json:
        typer.echo(json.dumps(asdict(done), indent=2, default=str))
        return
    out = show.console()
    out.print(f"{done.events:,} events given to `{n.DEDUPLICATE}` again; {done.left:,} messages stay", soft_wrap=True)
    if done.first is not None and done.last is not None:
        span = f"--from {_iso(done.first - timedelta(minutes=1))} --to {_iso(done.last + timedelta(minutes=1))}"
        out.print(Text(f"when they are archived, in some minutes: mlops replay {span} --write", "bright_black"))


def _iso(moment: datetime) -> str:
    return f"{minutes.whole(moment):%Y-%m-%dT%H:%MZ}"
