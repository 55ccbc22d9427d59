"""The operator gives the rows that Flink gave."""

from __future__ import annotations

import json
from typing import Any

import pytest

from seed_code.ingestion.operator import lines
from seed_code.ingestion.operator.windows import Minutes
from tests.seed_code.ingestion import golden

CASES = golden.cases()


def told(stream: list[str], lateness: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The operator's rows and late records."""
    minutes = Minutes(lateness)
    events, _ = lines.events(line.encode("ascii") for line in stream)
    written = [json.loads(lines.encode(row)) for row in minutes.feed(events) + minutes.end()]
    return [row for row in written if "tx_minute" in row], [row for row in written if "late_hash" in row]


def test_the_streams_are_those_that_the_program_asks_for() -> None:
    assert tuple((case.count, case.seed, case.lateness) for case in CASES) == golden.STREAMS


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"lateness-{case.lateness}")
def test_rows_and_late_records_are_flinks(case: golden.Case) -> None:
    rows, late = told(case.lines, case.lateness)
    assert rows == case.rows
    assert late == case.late


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"lateness-{case.lateness}")
def test_the_streams_have_what_makes_it_hard(case: golden.Case) -> None:
    assert len(case.late) > 200
    assert sum(row["total_nb_trx_1min"] == 0 for row in case.rows) > 10
    assert max(row["total_fee_1min"] for row in case.rows) > 2**51
    assert any(row["avg_fee_1min"] is not None and not float(row["avg_fee_1min"]).is_integer() for row in case.rows)
    found, broken = lines.events(line.encode("ascii") for line in case.lines)
    assert broken > 5
    assert len({name for name, _, _ in found}) < 0.95 * len(found)
