"""What the forecaster's benchmarks share: running a trainer in a process of its own, and scoring what it forecast."""

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from seed_code.forecaster import metrics  # noqa: E402

PEER_PYTHON = Path(os.environ.get("PEER_PYTHON", ROOT / ".venvs/bench/bin/python"))
QUANTILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class Windows:
    """Training series and test windows, with their file."""

    file: Path
    futures: np.ndarray  # (windows, steps)
    histories: Sequence[np.ndarray]


def write_windows(
    file: Path, start: str, train: Sequence[np.ndarray], histories: Sequence[np.ndarray], futures: np.ndarray
) -> Windows:
    arrays = {f"train_{at}": values for at, values in enumerate(train)}
    arrays |= {f"history_{at}": values for at, values in enumerate(histories)}
    np.savez(file, start=np.array(start), **arrays)
    return Windows(file, futures, histories)


def run_deepar(trainer: str, windows: Windows, hyperparameters: dict[str, str]) -> dict[str, float]:
    """Train and forecast; seconds, epochs and scores on the windows."""
    with tempfile.TemporaryDirectory() as folder:
        spec, out = Path(folder, "spec.json"), Path(folder, "out.npz")
        spec.write_text(
            json.dumps({"trainer": trainer, "series": str(windows.file), "hyperparameters": hyperparameters})
        )
        python = sys.executable if trainer == "ours" else str(PEER_PYTHON)
        run_peer(python, "deepar.py", spec, out)
        with np.load(out) as stored:
            made = {name: stored[name] for name in stored.files}
    forecast = metrics.quantiles_of(made["samples"], QUANTILES)
    score = metrics.score(windows.futures, forecast, QUANTILES, made["samples"].mean(axis=1, dtype=np.float64))
    return {
        "wall_s": float(made["wall_s"]),
        "cpu_s": float(made["cpu_s"]),
        "epochs": int(made["epochs"]),
        "final_loss": float(made["final_loss"]),
        **scores(score),
    }


def run_peer(python: str, program: str, spec: Path, out: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(out.parent)}
    command = [python, str(ROOT / "benchmarks/peers" / program), str(spec), str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-2000:]}")


def scores(score: metrics.Score) -> dict[str, float]:
    return {
        "mean_wQuantileLoss": round(score.mean_quantile_loss, 5),
        "rmse": round(score.rmse, 5),
        "coverage_80": round(score.coverage[0.9] - score.coverage[0.1], 4),
    }


def seasonal_naive(windows: Windows, season: int) -> dict[str, float]:
    horizon = windows.futures.shape[1]
    rows = [metrics.seasonal_naive(history, season, horizon, QUANTILES) for history in windows.histories]
    forecast = np.stack(rows, axis=1)
    return scores(metrics.score(windows.futures, forecast, QUANTILES, forecast[QUANTILES.index(0.5)]))


def machine() -> dict[str, object]:
    name = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    return {
        "cpu": name,
        "cores": os.cpu_count(),
        "load_1m": round(os.getloadavg()[0], 1),
        "python": sys.version.split()[0],
    }


def keep(name: str, result: dict[str, object], part: str | None = None) -> None:
    """Write the result beside the others, and show it; `part` is one of several that a file has room for."""
    file = ROOT / "benchmarks/results" / f"{name}.json"
    file.parent.mkdir(exist_ok=True)
    made = {"machine": machine(), **result}
    kept = made
    if part is not None:
        before = json.loads(file.read_text()) if file.exists() else {}
        kept = {**before, part: made}
    file.write_text(json.dumps(kept, indent=2) + "\n")
    print(json.dumps(made, indent=2))


def minutes(days: int, seed: int = 0) -> np.ndarray:
    """Average fees per minute, invented: daily and weekly rhythm, bursts that decay, spikes, gaps."""
    rng = np.random.default_rng(seed)
    count = days * 1440
    at = np.arange(count)
    rhythm = 1 + 0.35 * np.sin(2 * np.pi * (at / 1440 - 0.3)) + 0.15 * (at // 1440 % 7 < 5)
    burst, level = np.zeros(count), 0.0
    starts = rng.random(count) < 1 / 400
    for minute in range(count):
        level = level * 0.97 + (rng.gamma(2, 0.5) if starts[minute] else 0)
        burst[minute] = level
    values = 2000 * rhythm * (1 + burst) * rng.lognormal(0, 0.15, count)
    values[rng.random(count) < 1 / 700] *= 6
    values[rng.integers(0, count, count // 500)] = np.nan
    return values.astype(np.float32)
