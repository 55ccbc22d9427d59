"""The operator and the Flink job on the same streams: events a second, memory, start-up, and whether their rows agree.

    .venv/bin/python benchmarks/stream.py [--events 1000000] [--rounds 3] [--without-flink]

Streams are those that the tests make to tell the two apart (tests/seed_code/ingestion/adversary.py): a fifth of the
events are repeated, out of order or late. The operator is a process of its own that reads a file as its service reads
records, 10,000 at a time: JSON is parsed, minutes and late records are written as JSON. Its events a second are those
of its own processor time, which a busy machine does not change much; memory is the largest resident set that the kernel
saw of it (`VmHWM`), at one length of the stream and at four times that. `whole` are records as the API gives them, with
inputs and outputs, 1.3 KB each. Medians of the rounds.

Flink runs once over one event, which is its start-up with the program's, and once over the whole stream; what the
second takes longer is the stream's. Its memory is that of the program and of Java together, at most.

Writes results/stream.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from seed_code.ingestion.operator import lines  # noqa: E402
from seed_code.ingestion.operator.windows import Minutes  # noqa: E402

LATENESS = 30
RECORDS = 10_000  # that a GetRecords gives at most
GOAL = 150_000  # events a second on one core
LONGER = 4
SEED = 7


@dataclass(frozen=True)
class Run:
    """What one process of the operator took, and how much it wrote."""

    events: int
    seconds: float
    cpu_seconds: float
    megabytes: float
    rows: int
    late: int


def operate(file: Path, written: Path) -> Run:
    """The operator over a file, in this process."""
    minutes, count, rows, late = Minutes(LATENESS), 0, 0, 0
    begun, cpu = time.perf_counter(), time.process_time()
    with file.open("rb") as source, written.open("wb") as sink:
        while batch := list(itertools.islice(source, RECORDS)):
            count += len(batch)
            for row in minutes.feed(lines.events(batch)[0]):
                late += "late_hash" in row
                rows += "tx_minute" in row
                sink.write(lines.encode(row))
        for row in minutes.end():
            rows += 1
            sink.write(lines.encode(row))
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    return Run(count, seconds, cpu, _megabytes(), rows, late)


def _megabytes() -> float:
    """The largest resident set of this process. Not `ru_maxrss`, in which the one that started it counts as well."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))) / 1024


def operator(file: Path, written: Path) -> Run:
    """The operator over a file, in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--operate", str(file), str(written)], check=True, capture_output=True, text=True
    )
    return Run(**json.loads(done.stdout))


def measured(file: Path, written: Path, rounds: int) -> dict[str, Any]:
    """Medians over the rounds."""
    runs = [operator(file, written) for _ in range(rounds)]
    return {
        "events": runs[0].events,
        "events_per_cpu_second": round(statistics.median(run.events / run.cpu_seconds for run in runs)),
        "events_per_second": round(statistics.median(run.events / run.seconds for run in runs)),
        "megabytes": round(statistics.median(run.megabytes for run in runs), 1),
        "rows": runs[0].rows,
        "late": runs[0].late,
    }


def write(file: Path, stream: Iterator[str]) -> None:
    """A stream as a file, without ever holding it."""
    with file.open("w", encoding="ascii") as sink:
        sink.writelines(f"{line}\n" for line in stream)


def whole(count: int) -> Iterator[str]:
    """Transactions as the API gives them, 10 a second."""
    script = "4830450221" + "0f" * 96
    for number in range(count):
        spent = {"value": 50_000, "script": script[:50], "addr": "bc1q" + "x" * 38, "n": 0, "tx_index": number}
        record = {
            "hash": f"{number:064x}", "ver": 2, "vin_sz": 2, "vout_sz": 2, "size": 372, "weight": 1488, "fee": number,
            "relayed_by": "0.0.0.0", "lock_time": 0, "tx_index": number, "double_spend": False,
            "time": 1_763_820_180 + number // 10, "block_index": None, "block_height": None,
            "inputs": [{"sequence": 1, "witness": script[:80], "script": script, "index": at, "prev_out": spent}
                       for at in range(2)],
            "out": [spent, spent],
        }  # fmt: skip
        yield json.dumps(record, separators=(",", ":"))


def flink(file: Path, folder: Path) -> dict[str, Any]:
    """The job over one event, and over a file."""
    from tests.seed_code.ingestion import flink_run

    begun = flink_run.run(['{"hash":"a","time":1763820180,"fee":1}'], LATENESS, folder / "one")
    with file.open(encoding="ascii") as source:
        done = flink_run.run((line.rstrip("\n") for line in source), LATENESS, folder / "all")
        source.seek(0)
        count = sum(1 for _ in source)
    return {
        "events": count,
        "start_seconds": round(begun.seconds, 1),
        "seconds": round(done.seconds, 1),
        "events_per_second": round(count / (done.seconds - begun.seconds)),
        "megabytes": round(done.megabytes),
        "rows": done.rows,
        "late": done.late,
    }


def agree(written: Path, answer: dict[str, Any]) -> bool:
    """Whether the operator wrote what Flink did."""
    with written.open(encoding="ascii") as source:
        found = [json.loads(line) for line in source]
    rows = [row for row in found if "tx_minute" in row]
    return rows == answer["rows"] and [row for row in found if "late_hash" in row] == answer["late"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-flink", action="store_true")
    parser.add_argument("--operate", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.operate:
        sys.stdout.write(json.dumps(asdict(operate(*arguments.operate))))
        return
    from tests.seed_code.ingestion import adversary

    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        once, longer, big = folder / "once", folder / "longer", folder / "whole"
        write(once, adversary.lines(arguments.events, SEED, LATENESS))
        write(longer, adversary.lines(LONGER * arguments.events, SEED, LATENESS))
        write(big, whole(arguments.events // 5))
        written = folder / "written"
        result["operator"] = {
            "longer": measured(longer, written, 1),
            "whole": measured(big, written, arguments.rounds),
            "once": measured(once, written, arguments.rounds),
        }
        print(json.dumps(result["operator"], indent=1))
        if not arguments.without_flink:
            answer = flink(once, folder)
            result["rows_agree"] = agree(written, answer)
            result["flink"] = {**answer, "rows": len(answer["rows"]), "late": len(answer["late"])}
            print(json.dumps(result["flink"], indent=1), f"rows agree: {result['rows_agree']}")
    ran = result["operator"]
    result["goals"] = {
        "events_per_cpu_second": ran["once"]["events_per_cpu_second"] >= GOAL,
        "memory_independent_of_length": ran["longer"]["megabytes"] < 1.1 * ran["once"]["megabytes"],
    }
    (Path(__file__).parent / "results" / "stream.json").write_text(json.dumps(result, indent=2) + "\n")
    if not all(result["goals"].values()) or not result.get("rows_agree", True):
        sys.exit(f"a goal was missed: {result['goals']}, rows agree: {result.get('rows_agree')}")


if __name__ == "__main__":
    main()
