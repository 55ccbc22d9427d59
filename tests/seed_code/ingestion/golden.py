"""What Flink answered: rows and late records of a few streams, to which the operator is held without Java.

    .venv/bin/python -m tests.seed_code.ingestion.golden

asks Flink anew, and writes golden_minutes.json. The streams are `adversary`'s: the file has their seeds, and digests of
their lines, so that no answer is held against other lines than those that Flink read.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.seed_code.ingestion import adversary, flink_run

FILE = Path(__file__).parent / "golden_minutes.json"
# (events, seed, lateness in seconds)
STREAMS = ((2500, 11, 0), (2500, 12, 30), (2500, 13, 90))


@dataclass(frozen=True)
class Case:
    """One stream, and what Flink made of it."""

    count: int
    seed: int
    lateness: int
    sha256: str
    rows: list[dict[str, Any]]
    late: list[dict[str, Any]]

    @property
    def lines(self) -> list[str]:
        """The stream. Raises AssertionError when the adversary makes another one today."""
        made = list(adversary.lines(self.count, self.seed, self.lateness))
        assert digest(made) == self.sha256, (
            f"the adversary makes other lines of seed {self.seed} than those that Flink read; ask Flink anew: "
            "`.venv/bin/python -m tests.seed_code.ingestion.golden`"
        )
        return made


def digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode("ascii")).hexdigest()


def cases() -> list[Case]:
    """What is in the file."""
    return [
        Case(
            case["count"],
            case["seed"],
            case["lateness"],
            case["sha256"],
            [dict(zip(_ROW, row, strict=True)) for row in case["rows"]],
            [dict(zip(_LATE, record, strict=True)) for record in case["late"]],
        )
        for case in json.loads(FILE.read_text(encoding="ascii"))
    ]


def ask(count: int, seed: int, lateness: int, folder: Path) -> Case:
    """Flink's answer to a stream."""
    lines = list(adversary.lines(count, seed, lateness))
    done = flink_run.run(lines, lateness, folder)
    return Case(count, seed, lateness, digest(lines), done.rows, done.late)


_ROW = ("tx_minute", "total_nb_trx_1min", "total_fee_1min", "avg_fee_1min")
_LATE = ("late_hash", "late_time", "late_minute")


def _text(case: Case) -> str:
    def table(records: list[dict[str, Any]], members: tuple[str, ...]) -> str:
        return ",\n".join(json.dumps([record[member] for member in members]) for record in records)

    head = json.dumps({"count": case.count, "seed": case.seed, "lateness": case.lateness, "sha256": case.sha256})
    return f'{head[:-1]}, "rows": [\n{table(case.rows, _ROW)}\n], "late": [\n{table(case.late, _LATE)}\n]}}'


def main() -> None:
    texts = []
    for count, seed, lateness in STREAMS:
        with tempfile.TemporaryDirectory() as folder:
            case = ask(count, seed, lateness, Path(folder))
        sys.stdout.write(f"seed {seed}: {len(case.rows)} rows, {len(case.late)} late\n")
        texts.append(_text(case))
    FILE.write_text("[\n" + ",\n".join(texts) + "\n]\n", encoding="ascii")


if __name__ == "__main__":
    main()
