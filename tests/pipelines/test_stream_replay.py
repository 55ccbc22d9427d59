"""What `mlops replay` says of what the task has found."""

from __future__ import annotations

from typing import Any

from pipelines.cli.replay import told

FOUND: dict[str, Any] = {
    "minutes": 1440,
    "transactions": 403_200,
    "same": 1437,
    "different": 2,
    "missing": 1,
    "incomplete": 0,
    "only_in_store": 0,
    "archive": {"first_problem": None},
}
FIRST = "1,440 minutes of 403,200 transactions: 1,437 as the store has them, 2 different, 1 missing there"


def test_one_line_when_the_archive_has_all() -> None:
    assert list(told(FOUND)) == [FIRST]


def test_what_was_left_out_and_could_not_be_read_is_said() -> None:
    problem = {"first_problem": "s3://b/x.gz is damaged: EOF"}
    assert list(told({**FOUND, "incomplete": 3, "only_in_store": 1, "archive": problem})) == [
        FIRST,
        "3 minutes left out, of which the archive may not have all yet; try again in some minutes",
        "1 minutes in the store of which the archive has nothing",
        "not all of the archive could be read: s3://b/x.gz is damaged: EOF",
    ]
