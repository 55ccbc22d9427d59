"""`mlops ingest`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipelines import ingest
from pipelines.cli import show
from pipelines.cli.context import Context
from pipelines.feature_groups import MINUTES


def command(
    file: Annotated[Path, typer.Argument(help="CSV (.csv, .csv.gz) or Parquet, one row a minute.")],
) -> int:
    """Load a file of per-minute aggregates into the forecaster's feature group.

    Columns: tx_minute, total_nb_trx_1min, total_fee_1min, and where they are known avg_fee_1min and event_time. The
    whole file is checked before anything is written; loading it again changes nothing.
    """
    out = show.console()
    context = Context.here()
    with out.status(f"reading {file.name}", spinner="dots"):
        minutes = ingest.read(file)
    written = load(out, context, minutes)
    if minutes.ignored_columns:
        out.print(f"ignored the columns {', '.join(minutes.ignored_columns)}", soft_wrap=True)
    if written.conflicting:
        first = written.conflicting[0]
        noun = "minute has" if len(written.conflicting) == 1 else "minutes have"
        out.print(
            f"{len(written.conflicting):,} {noun} other values than the store has under the same event_time, and were "
            f"left out; the first is {first['tx_minute']}. Give them a later event_time.",
            soft_wrap=True,
        )
        return 1
    out.print("On AWS the offline store follows within minutes. Then: mlops run forecaster build", soft_wrap=True)
    return 0


def load(out: Console, context: Context, minutes: ingest.Minutes) -> ingest.Written:
    """Write minutes into the project's feature group, with progress, and say what was written."""
    group, last = MINUTES.name(context.names), ingest.Written()
    with Progress(
        TextColumn("writing"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=out,
        transient=True,
        disable=not out.is_terminal,
    ) as progress:
        task = progress.add_task("writing", total=len(minutes.records))

        def show_progress(written: ingest.Written) -> None:
            nonlocal last
            last = written
            progress.update(task, completed=written.done)

        try:
            written = ingest.write(context.session, group, minutes, show_progress)
        except KeyboardInterrupt:
            out.print(
                f"At least {last.done:,} of {len(minutes.records):,} minutes are in {group}; run the same command "
                "again for the rest.",
                soft_wrap=True,
            )
            raise
    versions = len(minutes.records) - minutes.distinct
    noun = "minute" if minutes.distinct == 1 else "minutes"
    out.print(
        f"{minutes.distinct:,} {noun} from {minutes.first} to {minutes.last}"
        f"{f' and {versions:,} earlier versions of some' if versions else ''}: {written.new:,} written to the feature "
        f"group {group}, {written.known:,} there already",
        soft_wrap=True,
    )
    return written
