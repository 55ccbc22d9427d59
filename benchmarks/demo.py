"""The demo as a newcomer's machine sees it, after installation: wall time and peak memory of the whole process tree.

Then each pipeline again, unchanged, on the state that the demo left: every cacheable step must be a cache hit.

    .venv/bin/python benchmarks/demo.py [--rounds 3]

Memory is the sum of the proportional set sizes (PSS) of the process tree, sampled five times a second, so that pages
which processes share count once. The result is kept in benchmarks/results/demo.json.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
MLOPS = ROOT / ".venv/bin/mlops"
WORKLOADS = ("cardholders", "forecaster")
PORT = 4680
STATE = ROOT / f".mlops/demo-{PORT}"


def tree_mib(root: psutil.Process) -> float:
    total = 0.0
    for process in [root, *root.children(recursive=True)]:
        try:
            total += process.memory_full_info().pss / 2**20
        except psutil.Error:
            continue  # it ended between the listing and the reading
    return total


def watched(command: list[str], environment: dict[str, str]) -> tuple[float, float, str]:
    """Wall seconds, peak MiB and standard output of a command. Raises RuntimeError with its output when it fails."""
    begin = time.perf_counter()
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        peak, ended = [0.0], threading.Event()

        def watch() -> None:
            root = psutil.Process(process.pid)
            while not ended.wait(0.2):
                try:
                    peak.append(tree_mib(root))
                except psutil.Error:
                    return

        watcher = threading.Thread(target=watch)
        watcher.start()
        output, errors = process.communicate()
        took = time.perf_counter() - begin
        ended.set()
        watcher.join()
    if process.returncode:
        raise RuntimeError(f"`{' '.join(command)}` ended with {process.returncode}:\n{output}\n{errors}")
    return took, max(peak), output


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=3)
    rounds = arguments.parse_args().rounds
    console = Console()
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "MLFLOW_", "MLOPS_"))}
    walls, peaks = [], []
    again: dict[str, list[float]] = {workload: [] for workload in WORKLOADS}
    steps: dict[str, dict[str, bool]] = {}
    for number in range(rounds):
        console.print(f"demo {number + 1} of {rounds} …")
        shutil.rmtree(STATE, ignore_errors=True)
        wall, peak, _ = watched([str(MLOPS), "demo", "--port", str(PORT)], plain)
        walls.append(wall)
        peaks.append(peak)
    env_file = ROOT / ".mlops/env"
    before = env_file.read_bytes() if env_file.exists() else None
    watched([str(MLOPS), "up", "--port", str(PORT), "--state", str(STATE)], plain)
    try:
        for workload in [workload for _ in range(rounds) for workload in WORKLOADS]:
            wall, _, output = watched([str(MLOPS), "run", workload, "build", "--json"], plain)
            again[workload].append(wall)
            listed = json.loads(output)["steps"]
            steps[workload] = {
                step["name"]: step["cached_from"] is not None for step in listed if step["status"] != "Skipped"
            }
    finally:
        subprocess.run([str(MLOPS), "down", "--state", str(STATE)], cwd=ROOT, env=plain, check=True)
        if before is not None:
            env_file.write_bytes(before)
    result = {
        "rounds": rounds,
        "demo_seconds": {"median": round(statistics.median(walls), 1), "all": [round(w, 1) for w in walls]},
        "demo_peak_mib": {"median": round(statistics.median(peaks)), "all": [round(p) for p in peaks]},
        **{
            f"unchanged_{workload}_seconds": {
                "median": round(statistics.median(seconds), 2),
                "all": [round(second, 2) for second in seconds],
            }
            for workload, seconds in again.items()
        },
        "unchanged_run_cache_hits": steps,
    }
    table = Table("figure", "median", "each")
    for name in [name for name in result if name.endswith(("_seconds", "_mib"))]:
        table.add_row(name, str(result[name]["median"]), str(result[name]["all"]))
    console.print(table)
    console.print("cache hits of the unchanged runs:", steps)
    kept_at = ROOT / "benchmarks/results/demo.json"
    kept_at.parent.mkdir(exist_ok=True)
    kept_at.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
