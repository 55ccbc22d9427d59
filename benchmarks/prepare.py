"""Prepare, as a process of its own, at 442,458, 2 million and 10 million transactions: wall time and peak memory.

    .venv/bin/python benchmarks/prepare.py [--rounds 5] [--sizes 442458 2000000 10000000] [--data FILE ...]

Wall time runs from before the interpreter starts until the process has ended; memory is the largest resident set that
the kernel saw of it (`ru_maxrss`), and CPU seconds are its own, by the same accounting, so that a busy machine can be
told from a slow program. The data is generated once (synthetic, seeded) and kept in the system's temporary folder.
Smaller sizes run several times and their medians count; 10 million runs once. The smallest size is also read as
.csv.gz, which no reader can decompress on more than one core. `--data` measures files of one's own as well.

The result is kept in benchmarks/results/prepare.json.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(tempfile.gettempdir()) / "cardholders-benchmark"
HOLDERS_PER_THOUSAND = 12  # as 5,200 holders of 442,458 transactions
SMALL, LARGE = 442_458, 10_000_000
LIMITS = {SMALL: (5.0, 1.0), LARGE: (60.0, 6.0)}  # seconds and GiB


@dataclass(frozen=True)
class Run:
    """What one process took."""

    seconds: float
    cpu_seconds: float
    peak_gib: float


@dataclass(frozen=True)
class Result:
    """A size's runs, and their medians."""

    file: str
    transactions: int
    holders: int
    runs: list[Run]
    seconds: float
    cpu_seconds: float
    peak_gib: float
    within_limits: bool | None


def generated(transactions: int, suffix: str) -> Path:
    """The file of that size, made if it is not there yet."""
    sources = [ROOT / "seed_code/cardholders" / name for name in ("generate.py", "vocabulary.py", "mixing.py")]
    version = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:8]
    file = CACHE / version / f"{transactions}{suffix}"
    if not file.is_file():
        if not file.parent.is_dir():  # what is there is of another version of the generator
            shutil.rmtree(CACHE, ignore_errors=True)
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = CACHE / f"unfinished-{os.getpid()}{suffix}"
        holders = 5_200 if transactions == SMALL else max(1, transactions * HOLDERS_PER_THOUSAND // 1000)
        subprocess.run(
            [
                *(sys.executable, "-m", "seed_code.cardholders.generate", "--out", str(unfinished)),
                *("--transactions", str(transactions), "--holders", str(holders)),
            ],
            cwd=ROOT,
            check=True,
        )
        unfinished.replace(file)
    return file


def prepared(file: Path) -> tuple[Run, dict]:
    """Run Prepare on one file in a fresh folder; the run, and Prepare's own report."""
    base = Path(tempfile.mkdtemp(prefix="prepare-", dir=CACHE))
    try:
        source = base / "processing/input/transactions"
        source.mkdir(parents=True)
        (source / file.name).symlink_to(file.resolve())
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "seed_code.cardholders.prepare"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "SAGEMAKER_BASE_DIR": str(base)},
        )
        # wait4, unlike RUSAGE_CHILDREN, tells of this child alone.
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"prepare ended with {process.returncode} on {file}; its message is above")
        report = json.loads((base / "processing/output/report/prepare.json").read_text())
    finally:
        shutil.rmtree(base, ignore_errors=True)
    run = Run(round(seconds, 2), round(usage.ru_utime + usage.ru_stime, 2), round(usage.ru_maxrss / 2**20, 3))
    return run, report


def measured(file: Path, rounds: int) -> Result:
    runs, report = [], {}
    for _ in range(rounds):
        run, report = prepared(file)
        runs.append(run)
    seconds = statistics.median(run.seconds for run in runs)
    peak = max(run.peak_gib for run in runs)
    lines = report["counts"]["lines"]
    limit = LIMITS.get(lines)
    return Result(
        file=file.name,
        transactions=lines,
        holders=report["counts"]["holders"],
        runs=runs,
        seconds=seconds,
        cpu_seconds=statistics.median(run.cpu_seconds for run in runs),
        peak_gib=peak,
        within_limits=None if limit is None else seconds < limit[0] and peak < limit[1],
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=5, help="of the sizes below 10 million")
    arguments.add_argument("--sizes", type=int, nargs="*", default=[SMALL, 2_000_000, LARGE])
    arguments.add_argument("--data", type=Path, nargs="*", default=[], help="files of transactions to measure as well")
    given = arguments.parse_args()
    files = [generated(size, ".csv") for size in given.sizes]
    files += [generated(size, ".csv.gz") for size in given.sizes if size == SMALL] + given.data
    load = os.getloadavg()[0]
    prepared(files[0])  # byte code and disk cache, which a second run of a pipeline finds warm
    results = []
    for file in files:
        print(f"{file.name} …", flush=True)
        results.append(measured(file, 1 if file.name == f"{LARGE}.csv" else given.rounds))
    table = Table(title="prepare: medians; peak memory is the largest seen")
    for name in ("file", "transactions", "holders", "runs", "seconds", "CPU seconds", "peak GiB", "µs/line", "limits"):
        table.add_column(name, justify="left" if name == "file" else "right")
    for one in results:
        table.add_row(
            one.file,
            f"{one.transactions:,}",
            f"{one.holders:,}",
            str(len(one.runs)),
            f"{one.seconds:.2f}",
            f"{one.cpu_seconds:.2f}",
            f"{one.peak_gib:.2f}",
            f"{one.seconds / one.transactions * 1e6:.2f}",
            {None: "", True: "met", False: "not met"}[one.within_limits],
        )
    Console(width=120).print(table)
    by_size = sorted((one for one in results if one.file.endswith(".csv")), key=lambda one: one.transactions)
    growth = None
    if len(by_size) > 1:
        first, last = by_size[0], by_size[-1]
        growth = {
            "transactions_times": round(last.transactions / first.transactions, 2),
            "seconds_times": round(last.seconds / first.seconds, 2),
            "cpu_seconds_times": round(last.cpu_seconds / first.cpu_seconds, 2),
        }
        print(f"growth from {first.transactions:,} to {last.transactions:,}: {growth}")
    kept = ROOT / "benchmarks/results/prepare.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    result = {
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "load_average_before": round(load, 2)},
        "results": [asdict(one) for one in results],
        "growth": growth,
    }
    kept.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
