"""What length and number of series cost: memory of a training job, and time of an epoch.

    .venv/bin/python benchmarks/forecaster_scale.py

The image's `train`, as a process of its own, on a day of minutes, on a year of minutes (525,600), and on 10,000 series
of 1,000 hours: peak memory, seconds until the first epoch begins, and milliseconds of the median epoch afterwards.
Goal: under 2 GB, and an epoch that takes no longer for longer series.
"""

import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from peers.forecaster_harness import ROOT, keep, minutes

EPOCHS = 8
CASES = {
    "a day of minutes": (1, 1440, "1min"),
    "a year of minutes": (1, 525_600, "1min"),
    "10,000 series": (10_000, 1000, "H"),
}


def write(folder: Path, count: int, steps: int, time_freq: str) -> None:
    (folder / "input/config").mkdir(parents=True)
    (folder / "input/data/train").mkdir(parents=True)
    given = {"time_freq": time_freq, "context_length": "30", "prediction_length": "30", "epochs": str(EPOCHS)}
    (folder / "input/config/hyperparameters.json").write_text(json.dumps(given))
    values = minutes(max(2, -(-(steps + 1440) // 1440)))
    rng = np.random.default_rng(0)
    with (folder / "input/data/train/series.json").open("w") as file:
        for _ in range(count):
            at = int(rng.integers(0, len(values) - steps))
            target = [None if np.isnan(value) else round(float(value), 1) for value in values[at : at + steps]]
            file.write(json.dumps({"start": "2025-01-01 00:00:00", "target": target}) + "\n")


def measure(folder: Path) -> dict[str, float]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SAGEMAKER_BASE_DIR": str(folder)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    begin = time.perf_counter()
    job = subprocess.Popen(
        [sys.executable, "-m", "seed_code.forecaster.train"], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert job.stdout
    peak, ready, rates = 0, 0.0, []
    for line in job.stdout:
        if "Training set statistics" in line:
            ready = time.perf_counter() - begin
        if found := re.search(r"train throughput=(\S+)", line):
            rates.append(float(found[1]))
            status = Path(f"/proc/{job.pid}/status").read_text()
            peak = max(peak, int(re.search(r"VmHWM:\s+(\d+)", status)[1]))  # type: ignore[index]
    if job.wait():
        raise RuntimeError(f"the job ended with {job.returncode}")
    return {
        "peak_memory_mb": round(peak / 1024),
        "read_s": round(ready, 1),
        "epoch_ms": round(statistics.median(1280 / rate for rate in rates[1:]) * 1000),
        "job_cpu_s": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before, 1),
    }


def main() -> None:
    result: dict[str, object] = {"epochs": EPOCHS, "goal_memory_mb": 2000}
    for name, (count, steps, time_freq) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), count, steps, time_freq)
            result[name] = measure(Path(folder))
    keep("forecaster_scale", result)


if __name__ == "__main__":
    main()
