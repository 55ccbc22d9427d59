"""What an evaluation says, for the terminal: its metrics beside those of its baselines, and one line of what else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from pipelines.report import workloads
from pipelines.report.comparison import compare
from pipelines.report.format import NOTHING

__all__ = ["evaluation_line", "evaluation_table"]


def evaluation_table(evaluation: Mapping[str, Any]) -> Table:
    """The metrics of the workload that the evaluation names, beside its baselines' and the champion's; an empty table
    without metrics.
    """
    measures = workloads.of(evaluation).measures
    comparison = compare(evaluation, measures)
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="bright_black")
    if comparison is None:
        return table
    # What the model says to callers who send less is for the page: here it would take the room of the others.
    shown = [at for at, column in enumerate(comparison.columns) if column.key != "fields_only"]
    table.add_column(f"on {measures.judged_on}")
    for at in shown:
        column = comparison.columns[at]
        table.add_column("model" if column.key == "model" else column.name.lower(), justify="right")
    for row in comparison.rows:
        own, *others = ("" if row.cells[at].text == NOTHING else row.cells[at].text for at in shown)
        table.add_row(f"{row.measure.name} {row.aim}", Text(own, "bold"), *others)
    return table


def evaluation_line(evaluation: Mapping[str, Any]) -> str:
    """What the metrics do not tell: the clusters and their shares, or the windows and how long training went; empty
    when the evaluation says nothing of it.
    """
    return workloads.of(evaluation).summary(evaluation)
