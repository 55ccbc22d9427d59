"""Flink and the operator, held against each other; `make stream-test` runs this, with Java and PyFlink."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from tests.seed_code.ingestion import adversary, flink_run, golden
from tests.seed_code.ingestion.test_flink_golden import told

pytestmark = [pytest.mark.flink, pytest.mark.timeout(900)]
EVENTS = 1_000_000
_SHOWN = 5


def differing(ours: list[dict[str, Any]], flinks: list[dict[str, Any]]) -> list[tuple[Any, Any]]:
    """The first records that differ: whole lists of them, compared word by word, take pytest minutes to show."""
    pairs = itertools.zip_longest(ours, flinks)
    return list(itertools.islice((pair for pair in pairs if pair[0] != pair[1]), _SHOWN))


@pytest.mark.parametrize("lateness", [30])
def test_a_million_events_give_identical_rows(tmp_path: Path, lateness: int) -> None:
    stream = list(adversary.lines(EVENTS, seed=lateness, lateness=lateness))
    done = flink_run.run(stream, lateness, tmp_path)
    rows, late = told(stream, lateness)
    assert len(rows) > 10_000
    assert len(late) > 100_000
    assert differing(rows, done.rows) == []
    assert differing(late, done.late) == []


@pytest.mark.parametrize(("count", "seed", "lateness"), golden.STREAMS)
def test_flink_still_gives_what_it_gave(tmp_path: Path, count: int, seed: int, lateness: int) -> None:
    case = next(case for case in golden.cases() if case.seed == seed)
    assert golden.ask(count, seed, lateness, tmp_path) == case


def test_one_job_reads_its_source_once_and_keeps_no_more_than_its_windows(tmp_path: Path) -> None:
    executed = flink_run.plan(tmp_path).rpartition("== Optimized Execution Plan ==")[2]
    assert executed.count("TableSourceScan(") == 1
    assert executed.count("Reused(") == 2
    assert "WindowDeduplicate(window=[TUMBLE" in executed
    assert "GlobalWindowAggregate(window=[TUMBLE" in executed
    assert "keep=[FirstRow]" in executed
