"""The stream in `mlops demo`: live from a simulated API to the feature store, beside everything else that goes on."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from rich.console import Console
from rich.text import Text

from pipelines.cli import show
from pipelines.cli.context import Context
from pipelines.cli.stream import change, clients_of, told_counts, told_minute
from pipelines.ingestion import minutes
from pipelines.ingestion.watching import look

__all__ = ["end"]

_POLL_SECONDS = 0.1
_LOOK_SECONDS = 0.5
_PATIENCE = timedelta(seconds=60)  # beyond the minute and its lateness


def end(out: Console, context: Context, since: datetime) -> bool:
    """Tell what the stream has brought since a minute, and stop it; whether it has brought some, and left none out."""
    out.print()
    out.print(Text("the stream", "bold"))
    out.print(Text("live, from a simulated API through Kinesis to the feature store", "bright_black"), soft_wrap=True)
    clients = clients_of(context)
    lateness = timedelta(seconds=context.configuration.ingestion.aggregate.lateness_seconds)
    with out.status("waiting for the first whole minute to be over", spinner="dots"):
        while True:
            seen = look(clients, context.names)
            live = [minute for minute in seen.minutes if not minute.missing and minute.time >= since]
            if live or seen.now > since + minutes.MINUTE + lateness + _PATIENCE:
                break
            time.sleep(_LOOK_SECONDS)
    for minute in live:
        out.print(Text.assemble(show.mark("good"), f" {told_minute(minute)}"), soft_wrap=True)
    out.print(told_counts(seen), soft_wrap=True)
    gaps = [gap for gap in minutes.gaps(seen.minutes) if gap[0] >= since]
    for begin, until in gaps:
        out.print(Text(f"missing: {begin:%H:%M} to {until:%H:%M}", "red"), soft_wrap=True)
    if not live:
        out.print(Text("no minute has come: `mlops logs poller` says more", "red"), soft_wrap=True)
    change(context, running=False, poll_seconds=_POLL_SECONDS)
    return bool(live) and not gaps
