"""How fast the image trains, side by side with GluonTS's own estimator: same network, settings, epochs; one thread.

    .venv/bin/python benchmarks/forecaster_training.py [--epochs 40] [--seeds 5] [--default-epochs 3] [--full]

For prediction_length 5 and 30, on seven days of (invented) minutes: seconds per epoch of ours, of the estimator with
`cache_data=True`, and of its default, each in a process of its own, rounds interleaved, medians over rounds. Ratios are
of processor seconds, which a busy machine disturbs less than the wall's. Imports are left out of all. Beside it the
mean weighted quantile loss of each on the day that follows, median over seeds: faster must not mean worse.

`--full` times the reference setting (253 epochs, patience 40) by the wall as well, on one core.
Goals: 2.2 times as fast as the cached estimator at 5, 1.3 at 30; the reference setting in about 25 s.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np
from peers.forecaster_harness import Windows, keep, minutes, run_deepar, write_windows

REFERENCE = {
    "time_freq": "1min", "mini_batch_size": "114", "learning_rate": "0.004968", "dropout_rate": "0.10126986",
    "embedding_dimension": "19",
}  # fmt: skip
TRAINING_DAYS = 7
GOALS = {5: 2.2, 30: 1.3}


def windows(folder: Path, horizon: int) -> Windows:
    """A week to train on, and forecasts through the day that follows, from every 36 minutes on."""
    values = minutes(TRAINING_DAYS + 1)
    begin = TRAINING_DAYS * 1440
    cuts = range(begin, len(values) - horizon, 36)
    futures = [values[cut : cut + horizon] for cut in cuts]

    return write_windows(
        folder / f"minutes-{horizon}.npz", "2026-01-05 00:00:00", [values[:begin]],
        [values[:cut] for cut in cuts], np.stack(futures).astype(np.float64),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--default-epochs", type=int, default=3, help="epochs of the uncached estimator, which is slow")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--full", action="store_true")
    arguments = parser.parse_args()
    result: dict[str, object] = {"epochs": arguments.epochs, "seeds": arguments.seeds}
    with tempfile.TemporaryDirectory() as folder:
        for horizon, goal in GOALS.items():
            result[f"prediction_length_{horizon}"] = compare(windows(Path(folder), horizon), horizon, goal, arguments)
        if arguments.full:
            given = {
                **REFERENCE, "context_length": "5", "prediction_length": "5", "epochs": "253",
                "early_stopping_patience": "40",
            }  # fmt: skip
            result["reference_setting"] = run_deepar("ours", windows(Path(folder), 5), given)
    keep("forecaster_training", result)


def compare(data: Windows, horizon: int, goal: float, arguments: argparse.Namespace) -> dict[str, object]:
    made: dict[str, list[dict[str, float]]] = {"ours": [], "gluonts-cached": [], "gluonts": []}
    for seed in range(arguments.seeds):
        for trainer, runs in made.items():
            if trainer == "gluonts" and seed:
                continue  # one round: it takes longer than all others together
            epochs = arguments.default_epochs if trainer == "gluonts" else arguments.epochs
            given = {
                **REFERENCE, "context_length": f"{horizon}", "prediction_length": f"{horizon}", "epochs": f"{epochs}",
                "seed": f"{seed}",
            }  # fmt: skip
            runs.append(run_deepar(trainer, data, given))
            print(horizon, trainer, seed, runs[-1], flush=True)
    per_epoch = {name: statistics.median(run["cpu_s"] / run["epochs"] for run in runs) for name, runs in made.items()}
    losses = {
        name: sorted(run["mean_wQuantileLoss"] for run in runs) for name, runs in made.items() if name != "gluonts"
    }
    return {
        "cpu_ms_per_epoch": {name: round(seconds * 1000, 1) for name, seconds in per_epoch.items()},
        "times_as_fast_as_cached": round(per_epoch["gluonts-cached"] / per_epoch["ours"], 2),
        "goal": goal,
        "times_as_fast_as_default": round(per_epoch["gluonts"] / per_epoch["ours"], 1),
        "mean_wQuantileLoss": {
            name: {"median": statistics.median(values), "from": values[0], "to": values[-1]}
            for name, values in losses.items()
        },
        "coverage_80": {
            name: statistics.median(run["coverage_80"] for run in made[name]) for name in ("ours", "gluonts-cached")
        },
    }


if __name__ == "__main__":
    main()
