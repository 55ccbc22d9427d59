"""A model's metrics beside those of its baselines and of the champion: one table, for the page and for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.report.documents import mapping
from pipelines.report.format import as_number, figure, whole_percent
from pipelines.report.measures import Measure, Measures, goal_of

__all__ = ["Cell", "Column", "Comparison", "Row", "compare"]


@dataclass(frozen=True)
class Column:
    """Whose values stand in a column: `model`, `fields_only`, `champion` or a baseline's key; and the name to show."""

    key: str
    name: str


@dataclass(frozen=True)
class Cell:
    """A value as text, and whether it is the best of its row."""

    text: str
    best: bool


@dataclass(frozen=True)
class Row:
    """A measure of every column. `aim` says which values are better: `↑`, `↓`, `→ 90 %`. `difference` is the model's
    less the champion's, `tone` good, bad or nothing.
    """

    measure: Measure
    aim: str
    cells: Sequence[Cell]
    difference: str
    tone: str


@dataclass(frozen=True)
class Comparison:
    """`columns` begins with the model. `champion` is where the champion's model lies; `not_comparable` says why it is
    not among the columns although there is one.
    """

    columns: Sequence[Column]
    rows: Sequence[Row]
    champion: str | None
    not_comparable: str | None

    @property
    def has_champion(self) -> bool:
        """Whether the champion is among the columns."""
        return self.columns[-1].key == "champion"


def compare(evaluation: Mapping[str, Any], measures: Measures) -> Comparison | None:
    """The table of an evaluation; None when it has no metric of the workload's."""
    metrics = mapping(evaluation.get("metrics"))
    champion = mapping(evaluation.get("champion"))
    theirs = mapping(champion.get("metrics"))
    columns: list[tuple[Column, Mapping[str, Any]]] = [(Column("model", "This model"), metrics)]
    if fields_only := mapping(evaluation.get("fields_only")):
        columns.append((Column("fields_only", "From the request\u2019s fields alone"), fields_only))
    for key, values in mapping(evaluation.get("baselines")).items():
        columns.append((Column(str(key), measures.baseline(str(key))), mapping(values)))
    if theirs:
        columns.append((Column("champion", "Champion"), theirs))
    goal = goal_of(evaluation)
    rows = []
    for measure in measures.metrics:
        value = as_number(metrics.get(measure.key))
        if value is not None:
            of_columns = [as_number(values.get(measure.key)) for _, values in columns]
            rows.append(_row(measure, value, of_columns, as_number(theirs.get(measure.key)), goal))
    if not rows:
        return None
    reason = champion.get("not_comparable")
    return Comparison(
        columns=[column for column, _ in columns],
        rows=rows,
        champion=str(champion.get("model_uri", "")) or None,
        not_comparable=str(reason) if reason and not theirs else None,
    )


def _row(
    measure: Measure, value: float, of_columns: Sequence[float | None], champion: float | None, goal: float | None
) -> Row:
    ranks = [None if each is None else measure.badness(each, goal) for each in of_columns]
    present = [rank for rank in ranks if rank is not None]
    best = min(present) if len(present) > 1 else None
    cells = [
        Cell(measure.shown(each), rank is not None and rank == best)
        for each, rank in zip(of_columns, ranks, strict=True)
    ]
    aim = measure.arrow
    if measure.better == "nearer" and goal is not None:
        aim += f" {whole_percent(goal) if measure.share else figure(goal)}"
    if champion is None:
        return Row(measure, aim, cells, "", "")
    own, other = measure.badness(value, goal), measure.badness(champion, goal)
    tone = "" if own is None or other is None or own == other else "good" if own < other else "bad"
    return Row(measure, aim, cells, measure.difference(value - champion), tone)
