"""`mlops stream-demo`: the stream alone, from a simulated API to minutes in the feature store, live; and then the proof
that these minutes are the ones that follow from what the simulator served.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.text import Text

from pipelines import stack
from pipelines.cli import ending, own_servers, show
from pipelines.cli.context import Context
from pipelines.cli.stream import Reading, change, clients_of, follow, readings, tail_of
from pipelines.cli.up import overrides_path, prepare, tell
from pipelines.config import find_root, load
from pipelines.errors import ServiceError
from pipelines.ingestion import minutes
from pipelines.ingestion.minutes import MINUTE, Minute
from pipelines.names import LocalPaths
from pipelines.report.format import moment
from pipelines.session import client
from pipelines.stack import DEFAULT_PORT, Stack

_POLL_SECONDS = 0.2
# Beyond the minutes that are waited for: the one that has begun, its lateness, and the start of the programs.
_PATIENCE_MINUTES = 4


def command(
    aggregate: Annotated[
        Literal["operator", "flink"] | None,
        typer.Option("--aggregate", help="What makes minutes; as configured when left away."),
    ] = None,
    count: Annotated[int, typer.Option("--minutes", help="Whole minutes to wait for.", min=1, max=1440)] = 3,
    port: Annotated[
        int,
        typer.Option("--port", help="Of localcloud; MLflow and the simulator take the next two.", min=1024, max=65533),
    ] = DEFAULT_PORT,
) -> int:
    """Run the stream on servers of its own, from a simulated API to the feature store, and prove its minutes.

    The servers are stopped at the end; their state stays. Exit status 1 when a minute is not what the simulator's
    ledger says.
    """
    paths = LocalPaths(find_root(Path.cwd()))
    overrides = overrides_path(paths)
    folder = paths.state / ("stream" if port == DEFAULT_PORT else f"stream-{port}")
    servers = Stack(folder, port, load(paths.root, overrides).names.region)
    out = show.console()
    with ending.in_order(), own_servers.only_one(folder, port):
        own_servers.clear(folder, servers)
        with stack.started(servers, lambda text: out.print(text)):
            tell(out, servers)
            with out.status("making the project's stacks", spinner="dots"):
                prepare(servers, paths, overrides)
            context = Context(paths.root)
            change(context, running=True, by=aggregate, poll_seconds=_POLL_SECONDS)
            began = context.now()
            found = readings(context, clients_of(context), tail_of(context), time.sleep)
            follow(out, until(found, began, count, f"mlops up --state {show.short(folder)}"))
            with out.status("reading the ledger", spinner="dots"):
                equal = _proven(out, context, servers, began)
            servers.stop()
    out.print(f"The servers are stopped, their state stays in {show.short(folder)}.", soft_wrap=True)
    return 0 if equal else 1


def until(found: Iterator[Reading], began: datetime, count: int, again: str) -> Iterator[Reading]:
    """The stream as it goes on, until so many whole minutes have come.

    Args:
        found: without an end.
        began: when the stream began; the minute of that moment is no whole one.
        again: the command that starts the servers again.

    Raises:
        ServiceError: when the minutes do not come.
    """
    first = minutes.whole(began) + MINUTE
    come: set[datetime] = set()
    for seen, tail in found:
        yield seen, tail
        come |= {minute.time for minute in seen.minutes if not minute.missing and minute.time >= first}
        if len(come) >= count:
            return
        if seen.now > first + (count + _PATIENCE_MINUTES) * MINUTE:
            raise ServiceError(
                f"{len(come)} of {count} minutes came in {count + _PATIENCE_MINUTES} minutes; `{again}`, and then "
                "`mlops logs poller`, `deduplicate`, `operator` (or `flink`) and `write-minutes`, say more"
            )


def _proven(out: Console, context: Context, servers: Stack, began: datetime) -> bool:
    """Hold the store's whole minutes against the simulator's ledger, and show them; whether all are equal."""
    first = minutes.whole(began) + MINUTE
    runtime = client(context.session, "sagemaker-featurestore-runtime")
    found = minutes.read(runtime, context.names, first, int((minutes.whole(context.now()) - first) / MINUTE))
    newest = minutes.latest(found)
    assert newest is not None, "it was waited for"
    found = found[: found.index(newest) + 1]
    served = _ledger(servers, first, newest.time + MINUTE)
    out.print()
    out.print(Text("minutes in the feature store, and by the simulator's ledger", "bold"))
    equal = True
    for text, same in held(found, served):
        equal &= same
        out.print(Text.assemble(show.mark("good" if same else "bad"), f" {text}"), soft_wrap=True)
    return equal


def held(found: Sequence[Minute], served: Mapping[datetime, Minute]) -> Iterator[tuple[str, bool]]:
    """Minutes in order, those that are missing among them, held against the ledger's: each in words, and whether it is
    what the ledger says. What is missing in both is left out.
    """
    for minute in found:
        ledgers = served.get(minute.time, Minute(minute.time))
        if minute == ledgers:
            if not minute.missing:
                yield f"{moment(minute.time)}  {_told(minute)}", True
        else:
            yield f"{moment(minute.time)}  {_told(minute)}; the ledger: {_told(ledgers)}", False


def _told(minute: Minute) -> str:
    if minute.missing:
        return "no such minute"
    average = "no fee" if minute.average_fee is None else f"{minute.average_fee!r} on average"
    return f"{minute.transactions:,} transactions, {minute.total_fee:,.0f} satoshi, {average}"


def _ledger(servers: Stack, first: datetime, end: datetime) -> dict[datetime, Minute]:
    """The minutes that follow from what the simulator served."""
    span = [word for option, at in (("--from", first), ("--to", end)) for word in (option, f"{at:%Y-%m-%dT%H:%M:%SZ}")]
    program = [sys.executable, "-m", "seed_code.ingestion.simulator.ledger", *span]
    done = subprocess.run([*program, "--ledger", str(servers.state / "simulator")], capture_output=True, text=True)
    if done.returncode != 0:
        raise ServiceError(f"the simulator's ledger could not be read:\n{done.stderr.strip()}")
    return {minute.time: minute for minute in map(_row, done.stdout.splitlines())}


def _row(line: str) -> Minute:
    row: dict[str, Any] = json.loads(line)
    average = row["avg_fee_1min"]
    return Minute(
        datetime.fromisoformat(row["tx_minute"]),
        int(row["total_nb_trx_1min"]),
        float(row["total_fee_1min"]),
        None if average is None else float(average),
    )
