"""`mlops replay`"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from pipelines.cli import show
from pipelines.cli.context import Context
from pipelines.cli.run import moment_of
from pipelines.errors import UsageError
from pipelines.ingestion import minutes
from pipelines.ingestion.replay import replay
from pipelines.report.format import moment


def command(
    first: Annotated[str, typer.Option("--from", help="The first minute, ISO 8601, in UTC unless it says otherwise.")],
    end: Annotated[str, typer.Option("--to", help="The first minute that is left out.")],
    write: Annotated[
        bool, typer.Option("--write", help="Write minutes that differ into the feature store; else only tell.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what the replay wrote instead.")] = False,
) -> int:
    """Compute minutes again from the archive of transactions, and compare them with the feature store's.

    Exit status 1 when minutes differ and were not written.
    """
    context = Context.here()
    begin, until = _minute("--from", first), _minute("--to", end)
    now = context.now()
    if not begin < until:
        raise UsageError(f"--from is {moment(begin)} and --to {moment(until)}; expected --to later than --from")
    if begin > now:
        raise UsageError(f"--from is {moment(begin)}, expected none after now, {moment(now)}")
    out = show.console()
    with show.console(stderr=True).status("computing minutes from the archive", spinner="dots"):
        found = replay(context.session, context.names, begin, until, write=write, now=now, pause=time.sleep)
    document = found.document
    differing = 0 if write else int(document["different"]) + int(document["missing"])
    if as_json:
        typer.echo(json.dumps({"uri": found.uri, **document}, indent=2))
        return 1 if differing else 0
    for line in told(document):
        out.print(line, soft_wrap=True)
    for one in document.get("differing", []):
        out.print(Text(f"  {json.dumps(one)}", "bright_black"), soft_wrap=True)
    if write:
        out.print(f"{document['written']:,} written", soft_wrap=True)
    elif differing:
        out.print("`--write` writes them", soft_wrap=True)
    out.print(Text(found.uri, "bright_black"), soft_wrap=True)
    return 1 if differing else 0


def told(document: Mapping[str, Any]) -> Iterator[str]:
    """What a replay has found, a line for each thing that there is to say."""
    yield (
        f"{document['minutes']:,} minutes of {document['transactions']:,} transactions: {document['same']:,} as the "
        f"store has them, {document['different']:,} different, {document['missing']:,} missing there"
    )
    if count := document["incomplete"]:
        yield f"{count:,} minutes left out, of which the archive may not have all yet; try again in some minutes"
    if count := document["only_in_store"]:
        yield f"{count:,} minutes in the store of which the archive has nothing"
    if problem := document["archive"]["first_problem"]:
        yield f"not all of the archive could be read: {problem}"


def _minute(option: str, text: str) -> datetime:
    try:
        found = moment_of(text, option).astimezone(UTC)
    except OverflowError:
        found = None
    if found is None or found != minutes.whole(found):
        raise UsageError(f"{option} is `{text}`, expected a whole minute such as 2026-11-22T14:03:00Z")
    return found
