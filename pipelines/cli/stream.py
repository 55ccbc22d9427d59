"""`mlops stream`"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipelines import infrastructure
from pipelines.cli import show
from pipelines.cli.context import Context
from pipelines.errors import ServiceError, UsageError
from pipelines.ingestion import control, minutes
from pipelines.ingestion.minutes import Minute
from pipelines.ingestion.missing import missing
from pipelines.ingestion.watching import Clients, StreamSeen, Tail, look
from pipelines.projects import reading
from pipelines.report.format import NOTHING, compact
from pipelines.session import client

_SECONDS = 1.0
_BLOCKS = "▁▂▃▄▅▆▇█"
_SHOWN_MINUTES = 30
_STATES = {"OK": ("OK", "green"), "ALARM": ("ALARM", "bold red")}

Reading = tuple[StreamSeen, Tail]


def command(
    start: Annotated[bool, typer.Option("--start", help="Set it going first.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop it, and end.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Show it once and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON, once.")] = False,
) -> None:
    """Watch the stream: transactions a second, fees, lag, duplicates, late ones, gaps, and the minutes they became.

    On a terminal a picture that moves; on a pipe a line for every minute. Ctrl-C ends it; the stream goes on.
    """
    if start and stop:
        raise UsageError("--start and --stop are opposites; give one of them")
    context = Context.here()
    out = show.console()
    if start or stop:
        change(context, running=start)
        out.print("the stream is going" if start else "the stream is stopped", soft_wrap=True)
        if stop:
            return
    clients, tail = clients_of(context), tail_of(context)
    if as_json:
        typer.echo(json.dumps(document(look(clients, context.names)), indent=2))
    elif once:
        out.print(shown(look(clients, context.names), tail))
    elif not start or out.is_terminal:
        follow(out, readings(context, clients, tail, time.sleep))


def change(context: Context, *, running: bool, by: str | None = None, poll_seconds: float = 0.3) -> None:
    """Set the stream going, or stop it. by: what makes the minutes, unless as configured."""
    names = context.names
    if reading.describe(context.session, names) is None:
        raise ServiceError(
            f"there is no stack `{names.stack}`, which the stream's belongs to: on this machine `mlops up` makes it"
        )
    if not running and not infrastructure.parameters(context.session, names.ingestion_stack):
        raise missing(names, "stream")
    configuration = control.configured(context.configuration, running=running, by=by)
    with show.console(stderr=True).status("the stream", spinner="dots") as status:
        control.bring(context.session, configuration, context.root, poll_seconds=poll_seconds, tell=status.update)


def clients_of(context: Context) -> Clients:
    services = ("ecs", "kinesisanalyticsv2", "cloudwatch", "sagemaker-featurestore-runtime", "sqs")
    return Clients(*(client(context.session, service) for service in services))


def tail_of(context: Context) -> Tail:
    return Tail(client(context.session, "kinesis"), context.names)


def readings(context: Context, clients: Clients, tail: Tail, pause: Callable[[float], None]) -> Iterator[Reading]:
    """The stream again and again."""
    while True:
        tail.read()
        yield look(clients, context.names), tail
        pause(_SECONDS)


def follow(out: Console, found: Iterator[Reading]) -> None:
    """Show readings as long as they come."""
    if out.is_terminal:
        with Live(console=out, auto_refresh=False, screen=False) as live:
            for seen, tail in found:
                live.update(shown(seen, tail), refresh=True)
        return
    known: dict[str, str] = {}
    for seen, _ in found:
        for key, text in facts(seen).items():
            if known.get(key) != text:
                known[key] = text
                out.print(text, soft_wrap=True)


# --- on a terminal ----------------------------------------------------------------------------------------------------


def shown(seen: StreamSeen, tail: Tail) -> Group:
    """The picture: what passes by, what it was counted as, and the newest minutes."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="bright_black", no_wrap=True)
    table.add_column()
    for program in seen.programs:
        table.add_row(program.name, Text(program.status, "green" if program.running else "yellow"))
    rate = tail.rate()
    table.add_row("transactions", NOTHING if rate is None else f"{rate:.1f} a second")
    fees = tail.fees()
    if any(fee is not None for fee in fees):
        newest = next(fee for fee in reversed(fees) if fee is not None)
        table.add_row("fee", Text.assemble(sparkline(fees), f"  {newest:,.0f} satoshi on average, by the second"))
    lag = seen.lag_seconds
    table.add_row("lag", NOTHING if lag is None else f"{lag:.1f} s from the newest transaction to its page")
    table.add_row("the last hour", told_counts(seen))
    table.add_row("minutes", _minutes(seen))
    for queue, count in seen.waiting.items():
        if count:
            table.add_row(queue, Text(f"{count:,} wait in the queue", "yellow"))
    table.add_row("alarms", _alarms(seen))
    return Group(table, Text(""), Text(f"as of {seen.now:%Y-%m-%d %H:%M:%S} UTC", "bright_black"))


def told_counts(seen: StreamSeen) -> Text:
    """What was counted in the last hour: duplicates, late ones, gaps; in colour what is worth a look."""
    counts = seen.counts
    duplicates, again = counts.get("Duplicates", 0.0), counts.get("DuplicatesAcrossPages", 0.0)
    told = Text(f"{counts.get('Published', 0.0):,.0f} passed on, {duplicates:,.0f} duplicates left out")
    told.append(f" ({again:,.0f} were on the page before, too)" if again else "")
    for name, word in (
        ("LateTransactions", "late"),
        ("Gaps", "gaps between pages"),
        ("SetAside", "set aside"),
        ("SourceErrors", "errors of the source"),
        ("PoisonRecords", "records refused"),
        ("Dropped", "dropped"),
    ):
        count = counts.get(name, 0.0)
        told.append(f", {count:,.0f} {word}", "yellow" if count else "bright_black")
    return told


def _minutes(seen: StreamSeen) -> Text:
    newest = seen.newest
    if newest is None:
        return Text("none in the last hour", "yellow")
    until = seen.minutes.index(newest) + 1
    drawn = sparkline([each.average_fee for each in seen.minutes[max(0, until - _SHOWN_MINUTES) : until]])
    missing = len(minutes.gaps(seen.minutes[:until]))
    gaps = "no gap" if not missing else f"{missing} gap" if missing == 1 else f"{missing} gaps"
    return Text.assemble(drawn, f"  {told_minute(newest)}; {gaps}")


def told_minute(minute: Minute) -> str:
    """A minute in words."""
    fee = "no fee known" if minute.average_fee is None else f"{minute.average_fee:,.0f} satoshi on average"
    return f"{minute.time:%H:%M} {minute.transactions or 0:,} transactions, {fee}"


def _alarms(seen: StreamSeen) -> Text:
    told = Text()
    for place, (kind, state) in enumerate(seen.alarms.items()):
        word, style = _STATES.get(state, ("too few data", "bright_black"))
        told.append("  " if place else "").append(f"{kind} ", "bright_black").append(word, style)
    return told


def sparkline(values: Sequence[float | None]) -> Text:
    """A block for each value, between the lowest and the highest; a dot for none."""
    known = [value for value in values if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    told = Text()
    for value in values:
        if value is None:
            told.append("·", "bright_black")
        else:
            share = (value - low) / (high - low) if high > low else 0.0
            told.append(_BLOCKS[min(len(_BLOCKS) - 1, int(share * len(_BLOCKS)))], "cyan")
    return told


# --- on a pipe --------------------------------------------------------------------------------------------------------


def facts(seen: StreamSeen) -> dict[str, str]:
    """What there is to tell, each as a line, by what it is about."""
    found = {program.name: f"{program.name}: {program.status}" for program in seen.programs}
    for minute in seen.minutes:
        if not minute.missing:
            found[f"{minute.time:%H:%M}"] = told_minute(minute)
    for begin, end in minutes.gaps(seen.minutes):
        found[f"gap {begin:%H:%M}"] = f"{begin:%H:%M} to {end:%H:%M} are missing"
    for kind, state in seen.alarms.items():
        found[f"alarm {kind}"] = f"alarm {kind}: {_STATES.get(state, ('too few data', ''))[0]}"
    for name in ("LateTransactions", "Gaps", "SetAside", "PoisonRecords", "Dropped"):
        if count := seen.counts.get(name):
            found[name] = f"{name} in the last hour: {compact(count)}"
    return found


# --- as JSON ----------------------------------------------------------------------------------------------------------


def document(seen: StreamSeen) -> dict[str, Any]:
    """What was seen, as `--json` gives it. Times are ISO 8601, fees satoshi."""
    return {
        "now": seen.now.isoformat(),
        "programs": [
            {"name": program.name, "status": program.status, "running": program.running} for program in seen.programs
        ],
        "last_hour": dict(seen.counts),
        "lag_seconds": seen.lag_seconds,
        "minutes": [
            {
                "minute": minute.time.isoformat(),
                "transactions": minute.transactions,
                "total_fee": minute.total_fee,
                "average_fee": minute.average_fee,
            }
            for minute in seen.minutes
            if not minute.missing
        ],
        "gaps": [{"from": begin.isoformat(), "to": end.isoformat()} for begin, end in minutes.gaps(seen.minutes)],
        "alarms": dict(seen.alarms),
        "waiting": dict(seen.waiting),
    }
